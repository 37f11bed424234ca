"""Photo files as a source of frames."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.photo_files import PhotoFiles, open_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two photos of 4 x 6 pixels in a single colour. The second photo is in a folder of its own."""
    (tmp_path / "b").mkdir()
    for name, bgr in (("a.png", (10, 100, 200)), ("b/c.png", (30, 20, 10))):
        assert cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), bgr, np.uint8))
    return tmp_path


def test_photos_come_one_after_the_other_and_wait_to_be_read(folder: Path) -> None:
    before = time.monotonic()
    source = open_folder(folder)
    assert not source.is_live
    first, second = source.read(), source.read()
    assert first is not None
    assert second is not None
    assert source.read() is None
    assert np.unique(first.image_bgr.reshape(-1, 3), axis=0).tolist() == [[10, 100, 200]]
    assert np.unique(second.image_bgr.reshape(-1, 3), axis=0).tolist() == [[30, 20, 10]]
    assert (first.number, second.number) == (0, 1)
    assert (first.name, second.name) == (str(folder / "a.png"), str(folder / "b" / "c.png"))
    assert before <= first.captured_at <= second.captured_at <= time.monotonic()
    for frame in (first, second):
        assert frame.is_photo
        assert frame.at_s is None
        assert frame.repeated == 0


def test_a_closed_source_has_no_further_photo(folder: Path) -> None:
    with PhotoFiles([folder / "a.png", folder / "b" / "c.png"]) as source:
        assert source.read() is not None
    assert source.read() is None


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"there is no photo in the folder '{tmp_path}'"):
        open_folder(tmp_path)
