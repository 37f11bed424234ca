"""The table of the quality gate's errors, on drawn photos."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.benchmarks.lab.quality import DEGRADED, SIDE, errors, main, measure, moving, sample_photos
from dermedge.edge.errors import OptionError
from dermedge.edge.quality import Defect


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A catalogue of two sources with four drawn photos of a lesion in each of two splits."""
    rng = np.random.default_rng(0)
    lines = ["path,image_id,lesion_id,group,diagnosis,label,source,split"]
    for source, split in product(("one", "other"), ("train", "val")):
        for number in range(4):
            photo = np.full((240, 320, 3), (158, 180, 222), np.uint8)
            cv2.circle(photo, (160, 120), 50, (60, 80, 120), -1)
            grain = cv2.resize(rng.normal(0, 9, (120, 160)), (320, 240), interpolation=cv2.INTER_CUBIC)
            noisy = np.clip(photo + grain[..., None], 0, 255).astype(np.uint8)
            path = tmp_path / f"{source}-{split}-{number}.png"
            cv2.imwrite(str(path), noisy)
            lines.append(f"{path},{path.stem},,{path.stem},nevus,nevus,{source},{split}")
    catalogue = tmp_path / "catalogue.csv"
    catalogue.write_text("\n".join(lines) + "\n")
    return catalogue


def test_photos_are_drawn_evenly_and_the_same_each_time(photos: Path) -> None:
    first, again = sample_photos(photos, "val", 3), sample_photos(photos, "val", 3)
    assert {name: len(images) for name, images in first.items()} == {"one": 3, "other": 3}
    assert all(np.array_equal(*pair) for pair in zip(first["one"], again["one"], strict=True))
    assert first["one"][0].shape == (SIDE, SIDE, 3)


def test_good_photos_pass_and_each_grave_way_to_spoil_them_is_mostly_caught(photos: Path) -> None:
    [images, _] = sample_photos(photos, "val", 4).values()
    assert errors(measure(images, 192)).rejected == 0
    grave = {name: degrade for name, degrade in DEGRADED.items() if name != "out of focus, 1 % of the side"}
    for name, degrade in grave.items():
        assert errors(measure(images, 192, degrade)).rejected >= 0.75, name


def test_a_sweep_is_motion_and_a_tremor_is_none(photos: Path) -> None:
    [images, _] = sample_photos(photos, "val", 1).values()
    swept = errors([moving(0.03, 192, images[0], np.random.default_rng(0))])
    held = errors([moving(0.002, 192, images[0], np.random.default_rng(0))])
    assert (swept.defects, held.rejected) == ({Defect.MOVING: 1}, 0)


def test_the_report_has_both_tables(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(photos)]) == 0
    output = capsys.readouterr().out
    for part in (
        "8 photos of train at 192",
        "MIN_SHARPNESS",
        "8 photos of val",
        "unchanged: one",
        "moving hand, 3.0% per frame",
    ):
        assert part in output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(["--imgsz", "64"], "96 pixels"), ([], "no photo of the split train")],
)
def test_what_cannot_be_measured_is_one_line(options: list[str], complaint: str, photos: Path) -> None:
    photos.write_text(photos.read_text().replace(",train", ",val"))
    with pytest.raises(OptionError, match=complaint):
        main(["--data", str(photos), *options])
