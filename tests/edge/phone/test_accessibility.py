"""axe-core finds nothing on the pages and reports. Those of the phone app are in test_browser.py."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge import cli

HERE = Path(__file__).resolve().parent
LIMIT_S = 60


@contextmanager
def serving(*arguments: object) -> Iterator[str]:
    """The address of the page that a verb serves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dermedge", *map(str, arguments), "--serve", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def reports(labelled_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> address of the reports that a shipped model and drawn photos give."""
    work = tmp_path_factory.mktemp("reports")
    data = ["--data", str(labelled_set)]
    short = [
        "--num-runs",
        "8",
        "--warmup-runs",
        "2",
        "--min-secs",
        "0.2",
        "--max-secs",
        "2",
        "--max-photos",
        "6",
    ]
    models = ["dermedge-128", "dermedge-192"]
    assert cli.main(["evaluate", *models, *data, "--output", str(work / "evaluation")]) == 0
    assert cli.main(["benchmark", *models, *data, *short, "--output", str(work / "benchmark")]) == 0
    cli.main(["data", "audit", str(labelled_set), "--html", str(work / "audit.html")])
    files = {
        "evaluation": "evaluation/evaluation.html",
        "benchmark": "benchmark/results.html",
        "audit": "audit.html",
    }
    return {name: (work / file).as_uri() for name, file in files.items()}


@pytest.fixture(scope="module")
def found(
    node: str, chromium: str, reports: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What axe.mjs saw on each page."""
    seen = tmp_path_factory.mktemp("recorded") / "seen"
    run = ["run", "--source", "demo", "--model", "dermedge-128", "--json"]
    assert cli.main([*run, "--record", str(seen), "--max-secs", "8"]) == 0
    with ExitStack() as stack:
        live = stack.enter_context(serving(*run))
        review = stack.enter_context(serving("review", seen))
        pages = {**reports, "live": live, "review": review}
        told = json.dumps({"program": chromium, "pages": pages})
        done = subprocess.run(
            [node, str(HERE / "axe.mjs"), told], capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert len(answer) == 6 * len(pages)
    return answer


def test_axe_finds_nothing(found: dict[str, Any]) -> None:
    breaches = [f"{name}: {text[:300]}" for name, one in found.items() for text in one["violations"]]
    assert not breaches, "\n".join(breaches)


def test_no_page_is_wider_than_the_window(found: dict[str, Any]) -> None:
    wider = {name: one["overflow"] for name, one in found.items() if one["overflow"] > 0}
    assert not wider, wider
