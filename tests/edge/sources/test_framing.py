"""Flipping an image and cutting its middle out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermedge.edge.sources.framing import FLIPS, Framing, frame_image

sides = st.integers(1, 40)


def numbered(height: int, width: int) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@given(sides, sides, st.sampled_from(sorted(FLIPS)))
def test_a_flip_twice_is_none(height: int, width: int, flip: str) -> None:
    image = numbered(height, width)
    once = frame_image(image, Framing(flip=flip))
    assert np.array_equal(frame_image(once, Framing(flip=flip)), image)


@given(sides, sides, st.floats(1, 100))
def test_a_zoom_keeps_the_middle_and_never_nothing(height: int, width: int, zoom: float) -> None:
    kept = frame_image(numbered(height, width), Framing(zoom=zoom))
    assert kept.shape[:2] == (max(1, round(height / zoom)), max(1, round(width / zoom)))


@pytest.mark.parametrize(("flip", "corner"), [("horizontal", (0, 2)), ("vertical", (1, 0)), ("both", (1, 2))])
def test_the_upper_left_corner_goes_where_the_name_says(flip: str, corner: tuple[int, int]) -> None:
    image = numbered(2, 3)
    assert np.array_equal(frame_image(image, Framing(flip=flip))[corner], image[0, 0])


def test_a_zoom_alone_copies_nothing() -> None:
    image = numbered(8, 8)
    assert np.shares_memory(frame_image(image, Framing(zoom=2)), image)
