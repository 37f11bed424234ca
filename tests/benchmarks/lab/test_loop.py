"""Short measurements of the live loop on a drawn lesion. They check that there are values, not how large these are."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.benchmarks.lab.loop import PARTS, main, watching
from dermedge.edge.errors import DermedgeError, OptionError
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.edge.views.web.server import WebView

SHORT = ("--pairs", "8", "--secs", "1", "--periods", "1", "--frames", "20")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = np.full((480, 640, 3), (158, 180, 222), np.uint8)
    cv2.circle(image, (320, 240), 120, (60, 80, 120), -1, cv2.LINE_AA)
    grain = np.random.default_rng(0).normal(0, 9, (160, 213))
    structure = cv2.resize(grain, (640, 480), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "lesion.png"
    cv2.imwrite(str(path), np.clip(image + structure[..., None], 0, 255).astype(np.uint8))
    return path


def test_each_part_is_held_against_its_bar(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", str(picture), *SHORT]) == 0
    machine, *lines = capsys.readouterr().out.splitlines()
    assert machine.startswith(f"{DEFAULT_MODEL.stem} on ")
    told = [line for line in lines if not line.startswith("  noisy")]
    assert [re.split("[,:]", line)[0] for line in told] == [
        name for name in PARTS if name != "page" for _ in range(2 if name in ("overhead", "age") else 1)
    ]
    verdict = r"; limit (met|MISSED): at most [\d.]+|; limit: at most 1\.(15|05): (met|missed|undecided)"
    assert all(re.search(verdict, line) for line in told)


def test_viewers_that_saw_nothing_are_no_measurement() -> None:
    with (
        WebView("127.0.0.1:0", {}, True) as web,
        pytest.raises(
            DermedgeError, match="2 viewers should have received video, but the bytes received are: 0, 0"
        ),
        watching(web.port, 2),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--parts", "age,speed"], "unknown part 'speed'"),
        ([], "no frame of"),
        (["--secs", "0"], "not a whole"),
        (["--parts", "page"], "the part 'page' needs the phone app; make the app"),
    ],
)
def test_what_cannot_be_measured_is_one_line(options: list[str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), 128, np.uint8))
    with pytest.raises(OptionError, match=complaint):
        main(["--source", str(path), *options])
