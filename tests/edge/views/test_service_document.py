"""The commands of docs/service.md run as they stand, beside a server."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

import dermedge
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.sources.demo import generate
from dermedge.edge.views.web.photos import PhotoClassifier
from dermedge.edge.views.web.server import WebView

TEXT = (Path(dermedge.__file__).resolve().parents[1] / "docs" / "service.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
CURL = [text for language, text in BLOCKS if language == "sh" and text.startswith("curl ")]
[PYTHON] = [text for language, text in BLOCKS if language == "python"]
[ANSWER] = [json.loads(text) for language, text in BLOCKS if language == "json"]


@pytest.fixture(scope="module")
def web() -> Iterator[WebView]:
    with WebView("127.0.0.1:0", {}, True, PhotoClassifier(lambda: Classifier("dermedge-128"))) as view:
        yield view


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.jpg"), generate(60))
    return tmp_path


def at(text: str, web: WebView) -> str:
    assert "127.0.0.1:8000" in text
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{web.port}").replace("$DERMEDGE_TOKEN", "none")


def run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("text", CURL)
def test_curl_prints_the_keys_that_the_document_names(text: str, web: WebView, folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    answer = json.loads(run([*shlex.split(at(text, web)), "--silent", "--noproxy", "*"], folder))
    assert answer.keys() == ANSWER.keys()
    assert answer["path"] in ("photo", "photo.jpg")


def test_python_prints_the_answer(web: WebView, folder: Path) -> None:
    assert re.fullmatch(r".+ \d+%\n", run([sys.executable, "-c", at(PYTHON, web)], folder))


def test_both_ways_to_send_a_photo_are_shown() -> None:
    assert ["--data-binary" in text for text in CURL] == [True, False]
