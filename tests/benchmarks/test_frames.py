"""The frames that models are shown while they are timed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermedge.benchmarks.frames import FRAMES, camera_frame, frames_of_source
from dermedge.edge.errors import OptionError


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 900))
def test_a_picture_of_any_size_fills_a_camera_frame(height: int, width: int) -> None:
    frame = camera_frame(np.full((height, width, 3), 77, np.uint8))
    assert (frame.shape, frame.dtype, frame.flags.c_contiguous) == ((480, 640, 3), np.uint8, True)
    assert np.all(frame == 77)


def test_a_square_picture_keeps_its_proportions_and_its_middle() -> None:
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[50:70, 50:70] = 255
    rows, columns = np.nonzero(camera_frame(picture)[..., 0] > 127)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    assert (rows.mean(), columns.mean()) == (pytest.approx(239.5, abs=1), pytest.approx(319.5, abs=1))


def test_of_a_folder_pictures_are_spread_over_all(tmp_path: Path) -> None:
    for number in range(2 * FRAMES):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), np.full((6, 8, 3), number, np.uint8))
    frames, origin = frames_of_source(str(tmp_path))
    levels = [int(frame[0, 0, 0]) for frame in frames]
    assert (len(levels), levels[0], levels[-1]) == (FRAMES, 0, 2 * FRAMES - 1)
    assert levels == sorted(set(levels))
    assert origin == "16 of 32 photos of --source resized to 640x480"


def test_drawn_frames_are_named_as_what_they_are() -> None:
    frames, origin = frames_of_source("demo")
    assert len(frames) == FRAMES
    assert origin == "16 generated frames of 640x480, not photos"


def test_without_a_source_nothing_is_made_up() -> None:
    with pytest.raises(OptionError, match="--source demo"):
        frames_of_source(None)
