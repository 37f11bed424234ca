"""Flips frames and crops them to their middle, for cameras that are mounted upside down or far away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError
from dermedge.edge.sources.frame import Delivery, Frame, FrameSource

__all__ = ["FLIPS", "Flip", "FramedSource", "Framing", "frame_image"]

Flip = Literal["horizontal", "vertical", "both"]
# Maps each flip to the code that cv2.flip expects.
FLIPS: dict[str, int] = {"horizontal": 1, "vertical": 0, "both": -1}


@dataclass(frozen=True)
class Framing:
    """The flip and the crop that are applied to each frame before anything else.

    Attributes:
        flip: ``horizontal`` swaps left and right. ``vertical`` swaps top and bottom. ``both`` does both, which rotates
            the frame by 180 degrees. None leaves the frame as it is.
        zoom: a factor of 1 or more. The frame is cropped to its middle, to 1/zoom of the height and 1/zoom of the
            width. The result is not resized.

    Raises:
        OptionError: there is no such flip, or the zoom is not a finite number of 1 or more.
    """

    flip: Flip | None = None
    zoom: float = 1.0

    def __post_init__(self) -> None:
        if self.flip is not None and self.flip not in FLIPS:
            raise OptionError(f"unknown flip '{self.flip}'. Known: {', '.join(FLIPS)}")
        if not 1 <= self.zoom < math.inf:
            raise OptionError(f"the zoom is {self.zoom}; it must be a finite number of 1 or more")


def frame_image(image_bgr: NDArray[np.uint8], framing: Framing) -> NDArray[np.uint8]:
    """Returns the middle of an image, flipped if asked for.

    Without a flip, the result shares its memory with ``image_bgr``.

    Args:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        framing: the flip and the zoom.
    """
    height, width = image_bgr.shape[:2]
    rows, columns = max(1, round(height / framing.zoom)), max(1, round(width / framing.zoom))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = image_bgr[top : top + rows, left : left + columns]
    if framing.flip is None:
        return middle
    return cv2.flip(middle, FLIPS[framing.flip])  # type: ignore[return-value]


class FramedSource(FrameSource):
    """A source that flips and crops the frames of another source."""

    def __init__(self, source: FrameSource, framing: Framing) -> None:
        self.is_live = source.is_live
        self._source = source
        self._framing = framing

    def read(self) -> Frame | None:
        frame = self._source.read()
        return frame and replace(frame, image_bgr=frame_image(frame.image_bgr, self._framing))

    def delivery(self) -> Delivery | None:
        return self._source.delivery()

    def notice(self) -> str:
        return self._source.notice()

    def repeated(self) -> int:
        return self._source.repeated()

    def close(self) -> None:
        self._source.close()
