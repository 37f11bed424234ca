"""`python -m dermedge.benchmarks.lab phone` with a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.benchmarks.lab.phone import main


def test_it_tells_the_times_of_page_worker_and_run(
    app: Path,
    chromium: str,
    camera_picture: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cv2.imwrite(str(tmp_path / "lesion.png"), camera_picture)
    assert main([str(app), "--source", str(tmp_path), "--browser", chromium]) == 0
    said = capsys.readouterr().out
    run, worker, page = (float(one) for one in re.findall(r"([0-9.]+) ms", said))
    assert 0 < run < worker <= page
    assert "HeadlessChrome" in said
    assert re.findall(r"at most ([0-9.]+): (?:met|missed|undecided)", said) == ["1.15", "1.2"]
