"""Times the phone app in a browser, from frame to answer, and compares this time with the time of the network alone.

    dermedge phone build app/
    python -m dermedge.benchmarks.lab phone app/ --source photos/ [--browser chromium]

The web worker of the app processes frames of 640x480 pixels like those of a camera: quality gate, preprocessing,
network, smoothing and decision. For each answer, three durations are measured:

- on the page: from the frame to the answer, including the copy of the frame and the messages to and from the worker.
- in the worker: from the arrival of the frame to the answer.
- `model.run()`: the network, including the copies of the input and the outputs.

The report shows the median of each time. The time on the page and the time in the worker are also divided by the time
of `model.run()` for the same answer. For both ratios, the report shows the median, the 95 % confidence interval and the
limit.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dermedge.benchmarks.frames import frames_of_source
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.ratio_interval import ratio_of
from dermedge.benchmarks.machine import describe_machine
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import OptionError, ToolError
from dermedge.edge.phone.serve import LOOPBACK, FileHandler, ServedFile, load_files, make_file, make_server

__all__ = ["BROWSER", "ROUNDS", "main", "measure_page"]

BROWSER, ROUNDS = "chromium", 8

_PAGE = Path(__file__).resolve().parent / "phone_page"
# The key is a place where the time of a whole answer is measured. The value is the largest allowed ratio of this time
# to the time of `model.run()` alone.
_BARS = {"in the worker": 1.15, "on the page": 1.2}
_TIMEOUT_S = 300
_END_TIMEOUT_S = 10
# This many answers warm up the browser and are not counted.
_WARMUP = 32
# Arguments that start a browser without a window and with a new profile. The keys are parts of the names of browsers.
_ARGUMENTS = {
    "chrom": (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        "--user-data-dir={profile}",
    ),
    "firefox": ("--headless", "--profile", "{profile}"),
}


def _files_of(app: Path, source: str | None, rounds: int) -> tuple[dict[str, ServedFile], str]:
    """Returns the served files (the app, the measuring page and the frames), and a description of the frames.

    Raises:
        OptionError: the folder holds no built app, or there is no source.
        SourceError, PictureError: the source cannot be read.
    """
    files = load_files(app)
    frames, origin = frames_of_source(source)
    names = [f"frames/{number}.png" for number in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        files[f"/{name}"] = make_file(cv2.imencode(".png", frame)[1].tobytes(), ".png")
    for path in _PAGE.iterdir():
        files[f"/{path.name}"] = make_file(path.read_bytes(), path.suffix)
    work = json.dumps({"frames": names, "rounds": rounds})
    return {**files, "/work.json": make_file(work.encode(), ".json")}, origin


@contextmanager
def _serving(files: dict[str, ServedFile]) -> Iterator[tuple[int, queue.Queue[dict[str, Any]]]]:
    """Serves ``files`` over HTTP; yields the port, and a queue of the results that the page sends."""
    results: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(FileHandler):
        def do_POST(self) -> None:  # noqa: N802
            results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    with make_server(files, LOOPBACK, 0, handler=Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, results
        server.shutdown()


def _command_of(browser: str) -> tuple[str, ...]:
    """Returns the program and the arguments of a browser. In the arguments, "{profile}" stands for a folder.

    Raises:
        OptionError: the browser is not installed, or is neither Chromium nor Firefox.
    """
    program = shutil.which(browser)
    family = next((one for one in _ARGUMENTS if one in Path(browser).name), None)
    if program is None or family is None:
        raise OptionError(f"'{browser}' is not an installed Chromium or Firefox; name one with --browser")
    return (program, *_ARGUMENTS[family])


@contextmanager
def _browsing(command: Sequence[str], address: str) -> Iterator[None]:
    """Opens a URL in a browser without a window and with a new profile. The browser ends with the ``with`` block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [one.format(profile=profile) for one in command]
        process = subprocess.Popen([*words, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(_END_TIMEOUT_S)


def measure_page(app: Path, source: str | None, browser: str, rounds: int) -> Iterator[str]:
    """Measures the phone app in a browser, and yields the lines of the report.

    Raises:
        OptionError, SourceError, PictureError: the browser, the app or the source cannot be used; see `_command_of` and
            `_files_of`.
        ToolError: the browser did not answer, or the page failed.
    """
    command = _command_of(browser)
    files, origin = _files_of(app, source, rounds)
    with _serving(files) as (port, results), _browsing(command, f"http://localhost:{port}/measure.html"):
        try:
            result = results.get(timeout=_TIMEOUT_S)
        except queue.Empty as error:
            raise ToolError(
                f"'{browser}' sent no result within {_TIMEOUT_S} s; name another browser with --browser"
            ) from error
    if "error" in result:
        raise ToolError(
            f"the measuring page failed in '{browser}': {result['error']}; name another browser with --browser"
        )
    answers = [times for times in result["times"] if times][_WARMUP:]
    if not answers:
        raise ToolError(
            "too few frames passed the quality gate; name photos of lesions with --source, or raise --rounds"
        )
    manifest = json.loads(files["/app.json"].content)["manifest"]
    machine = describe_machine("litert")
    yield f"{machine.cpu}, {machine.cores} cores, load {machine.load}; {result['agent']}"
    yield f"{manifest['architecture']} at {manifest['input_size']} pixels; {origin}"
    yield f"{len(answers)} answers; the quality gate rejected {result['times'].count(None)} frames"
    page, worker, run = np.array(answers).T
    yield f"model.run()                  {np.median(run):6.2f} ms"
    for (name, bar), times in zip(_BARS.items(), (worker, page), strict=True):
        found = ratio_of((times / run).tolist())
        yield (
            f"frame to answer {name:<13}{np.median(times):6.2f} ms   "
            f"ratio {found.median:.3f} (95 % {found.low:.3f} to {found.high:.3f}); limit: {found.against(bar)}"
        )


def main(argv: Sequence[str]) -> int:
    """Prints the report; returns the exit status."""
    options = _parser().parse_args(argv)
    for line in measure_page(options.app, options.source, options.browser, options.rounds):
        print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser("phone", "Time the phone app in a browser, from frame to answer.")
    parser.add_argument(
        "app",
        type=Path,
        metavar="APP",
        help="measure the app in this folder, which `dermedge phone build` has made",
    )
    parser.add_argument(
        "--source",
        help="measure on frames of this source: a photo, a folder of photos, a video, a camera, or demo for generated "
        "frames",
    )
    parser.add_argument(
        "--browser",
        default=BROWSER,
        help="run the app in this browser: the name or path of Chromium or Firefox",
    )
    parser.add_argument(
        "--rounds",
        type=positive_int,
        default=ROUNDS,
        help="do this many rounds. In a round, each frame is classified 8 times",
    )
    return parser
