"""Takes screenshots of the pages of dermedge at three sizes, in the light and the dark theme, for a person to look at.

    python -m dermedge.benchmarks.lab screenshots SHOTS --data photos/ [--more conversion.html build/docs/index.html]

The command itself makes these pages with a shipped model: the live view, the review, and the reports of evaluate,
benchmark and data audit. The folder of --data must have a subfolder with photos for each class of the model. The report
of a conversion, the phone app and the documentation take longer. Make such pages first, and name their files or URLs
with --more.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dermedge.benchmarks.child import run_program, with_our_packages
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.edge.cli.arguments import Parser
from dermedge.edge.errors import OptionError, ToolError

__all__ = ["SIZES", "THEMES", "main", "pages", "photograph"]

# The screen sizes of a desktop, a tablet and a phone: name, width in pixels and height in pixels.
SIZES = {"1280": (1280, 1600), "768": (768, 1600), "390": (390, 1600)}
# For each theme, the value of Chromium's setting preferredColorScheme.
THEMES = {"light": 1, "dark": 0}
# Chromium stops waiting for the page after this many milliseconds. Without a limit, it would wait forever for the end
# of the live video.
_PATIENCE_MS = 8000
# The scripts of a page may use this many milliseconds of Chromium's virtual time.
_SCRIPTS_MS = 4000
_LIMIT_S = 300
_START_S = 60
_MODEL = "dermedge-128"
_RECORDED = ("--max-secs", "12")


def main(argv: Sequence[str]) -> int:
    """Makes the pages, and writes PAGE-SIZE-THEME.png for each page, size and theme; returns the exit status."""
    options = _parser().parse_args(argv)
    browser = shutil.which(options.browser)
    if browser is None:
        raise OptionError(f"'{options.browser}' is not installed; name an installed Chromium with --browser")
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dermedge-") as work:
        for name, address in pages(Path(work), options.data, options.more):
            for path in photograph(browser, name, address, options.output):
                print(path, flush=True)
    return 0


def photograph(browser: str, name: str, address: str, folder: Path) -> Iterator[Path]:
    """Writes an image of a page at each size and in each theme; yields the paths of the images.

    Args:
        browser: path of Chromium.
        name: name of the page, for the file names.
        address: URL of the page.
        folder: folder of the images.

    Raises:
        ToolError: the browser fails, or writes no image.
    """
    for size, (width, height) in SIZES.items():
        for theme, number in THEMES.items():
            path = folder / f"{name}-{size}-{theme}.png"
            path.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
                command += [f"--user-data-dir={profile}", f"--blink-settings=preferredColorScheme={number}"]
                command += [f"--timeout={_PATIENCE_MS}", f"--virtual-time-budget={_SCRIPTS_MS}"]
                command += [f"--window-size={width},{height}", f"--screenshot={path}", address]
                run_program(command, "the browser", timeout_s=_LIMIT_S)
            if not path.is_file():
                raise ToolError(
                    f"'{browser}' wrote no image of {address}; name an installed Chromium with --browser"
                )
            yield path


def pages(work: Path, data: Path | None, more: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the name and the URL of each page. The page can be opened until the next one is requested.

    Args:
        work: an empty folder for the files of the pages.
        data: a folder with a subfolder of photos for each class, on which the reports are made. None makes no reports.
        more: files and URLs of further pages.
    """
    with _serving("run", "--source", "demo", "--model", _MODEL, "--json") as address:
        yield "live", address
    _dermedge(
        "run", "--source", "demo", "--model", _MODEL, "--json", "--record", str(work / "seen"), *_RECORDED
    )
    with _serving("review", str(work / "seen")) as address:
        yield "review", address
    if data is not None:
        _dermedge("evaluate", _MODEL, "--data", str(data), "--output", str(work / "evaluation"))
        _dermedge(
            "benchmark", _MODEL, "dermedge-192", "--data", str(data), "--output", str(work / "benchmark")
        )
        _dermedge("data", "audit", str(data), "--html", str(work / "audit.html"))
        for path in ("evaluation/evaluation.html", "benchmark/results.html", "audit.html"):
            yield Path(path).stem, (work / path).as_uri()
    for number, one in enumerate(more):
        yield f"{number}-{Path(one).stem}", one if "://" in one else _existing(one).resolve().as_uri()


@contextmanager
def _serving(verb: str, *arguments: str) -> Iterator[str]:
    """Runs a command of dermedge with --serve; yields the URL of its page.

    Raises:
        ToolError: the command does not serve the page within `_START_S` seconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dermedge", verb, *arguments, "--serve", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, f"dermedge {verb}")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(_START_S)


def _wait_for(port: int, name: str) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise ToolError(
        f"{name} did not serve its page within {_START_S} s; run the command by itself to see why"
    )


def _dermedge(*arguments: str) -> None:
    command = [sys.executable, "-m", "dermedge", *arguments]
    run_program(command, f"dermedge {arguments[0]}", environment=with_our_packages(), timeout_s=_LIMIT_S)


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise OptionError(f"there is no file '{path}'; name HTML files that exist, or URLs, with --more")
    return Path(path)


def _parser() -> Parser:
    parser = experiment_parser(
        "screenshots",
        "Take screenshots of the pages of dermedge at three sizes, in the light and the dark theme.",
    )
    parser.add_argument("output", type=Path, metavar="SHOTS", help="write the images into this folder")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="make the reports on the photos of this folder, which has a subfolder for each class",
    )
    parser.add_argument(
        "--more",
        nargs="+",
        default=[],
        metavar="PAGE",
        help="take screenshots of these HTML files and URLs too",
    )
    parser.add_argument(
        "--browser",
        default="chromium",
        help="take the screenshots with this browser: the name or path of Chromium",
    )
    return parser
