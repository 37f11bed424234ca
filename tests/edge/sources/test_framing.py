"""Images are flipped, and their middle is cut out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermedge.edge.sources.frame import Delivery, Frame, FrameSource
from dermedge.edge.sources.framing import FLIPS, FramedSource, Framing, frame_image

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


def test_a_zoom_keeps_the_middle_rows_and_columns() -> None:
    image = numbered(12, 8)
    assert np.array_equal(frame_image(image, Framing(zoom=2)), image[3:9, 2:6])
    assert np.array_equal(frame_image(image, Framing("vertical", 4)), image[4:7, 3:5][::-1])


class Told(FrameSource):
    """A camera that states its size, rate and format, and records that it was closed."""

    is_live = True

    def __init__(self, *frames: Frame | None) -> None:
        self.frames, self.is_closed = list(frames), False

    def read(self) -> Frame | None:
        return self.frames.pop(0)

    def delivery(self) -> Delivery:
        return Delivery(8, 12, 30, "MJPG")

    def notice(self) -> str:
        return "a notice"

    def close(self) -> None:
        self.is_closed = True


def test_a_framed_source_is_its_source_but_for_the_images() -> None:
    inner = Told(Frame(numbered(12, 8), 7, 3.5, "a camera", 1.5, 2), None)
    source = FramedSource(inner, Framing("both", 2))
    assert (source.is_live, source.delivery(), source.notice()) == (True, inner.delivery(), "a notice")
    frame = source.read()
    assert frame is not None
    assert np.array_equal(frame.image_bgr, numbered(12, 8)[3:9, 2:6][::-1, ::-1])
    told = (frame.number, frame.captured_at, frame.name, frame.at_s, frame.repeated)
    assert told == (7, 3.5, "a camera", 1.5, 2)
    assert source.read() is None
    source.close()
    assert inner.is_closed
