"""The table of the quality gate's errors, on drawn photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.quality import DEGRADED, SIDE, draw_photos, errors, main, measure, moving
from edge.quality import Defect


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders of four drawn photos of a lesion each."""
    rng = np.random.default_rng(0)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            photo = np.full((240, 320, 3), (158, 180, 222), np.uint8)
            cv2.circle(photo, (160, 120), 50, (60, 80, 120), -1)
            grain = cv2.resize(rng.normal(0, 9, (120, 160)), (320, 240), interpolation=cv2.INTER_CUBIC)
            noisy = np.clip(photo + grain[..., None], 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), noisy)
    return tmp_path


def test_photos_are_drawn_evenly_and_the_same_each_time(photos: Path) -> None:
    first, again = draw_photos(photos, 3), draw_photos(photos, 3)
    assert {name: len(images) for name, images in first.items()} == {"one": 3, "other": 3}
    assert all(np.array_equal(*pair) for pair in zip(first["one"], again["one"], strict=True))
    assert first["one"][0].shape == (SIDE, SIDE, 3)


def test_good_photos_pass_and_each_grave_way_to_spoil_them_is_mostly_caught(photos: Path) -> None:
    [images, _] = draw_photos(photos, 4).values()
    assert errors(measure(images)).rejected == 0
    grave = {name: degrade for name, degrade in DEGRADED.items() if name != "out of focus, 1 % of the side"}
    for name, degrade in grave.items():
        assert errors(measure(images, degrade)).rejected >= 0.75, name


def test_a_sweep_is_motion_and_a_tremor_is_none(photos: Path) -> None:
    [images, _] = draw_photos(photos, 1).values()
    swept = errors([moving(0.03, images[0], np.random.default_rng(0))])
    held = errors([moving(0.002, images[0], np.random.default_rng(0))])
    assert (swept.defects, held.rejected) == ({Defect.MOVING: 1}, 0)


def test_the_report_has_both_tables(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(photos)]) == 0
    output = capsys.readouterr().out
    for part in ("4 photos to fit", "MIN_SHARPNESS", "4 other photos", "as they are: one", "a moving hand"):
        assert part in output


def test_a_folder_without_photos_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "no folder with pictures" in capsys.readouterr().err
