"""Flipping a picture and cutting its middle out, for cameras that hang the wrong way round or far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Flip = Literal["horizontal", "vertical", "both"]
# OpenCV's codes.
FLIPS: dict[str, int] = {"horizontal": 1, "vertical": 0, "both": -1}


@dataclass(frozen=True)
class Framing:
    """What becomes of each picture before anything looks at it.

    Attributes:
        flip: ``horizontal`` is a mirror image, ``both`` a turn by 180 degrees.
        zoom: 1 or more: the middle 1/zoom of height and width is kept, with its own pixels.
    """

    flip: Flip | None = None
    zoom: float = 1.0


def frame_image(image_bgr: NDArray[np.uint8], framing: Framing) -> NDArray[np.uint8]:
    """The flipped middle of a uint8 [height, width, 3] picture: a view of it where nothing is flipped."""
    height, width = image_bgr.shape[:2]
    rows, columns = max(1, round(height / framing.zoom)), max(1, round(width / framing.zoom))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = image_bgr[top : top + rows, left : left + columns]
    if framing.flip is None:
        return middle
    return cv2.flip(middle, FLIPS[framing.flip])  # type: ignore[return-value]
