"""From a camera frame to the picture that the network sees: centre square, halvings, bilinear, RGB.

Training, calibration, evaluation, the benchmark and the device all call this module, so that what was
learned is what is shown. Every step is integer arithmetic that OpenCV computes bit for bit alike on every
processor; the phone app repeats it and is held equal by a shared test vector.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

PREPROCESSING = "centre square, 2x2 means while twice as large, exact bilinear, RGB, uint8"

# A pixel p enters the network as (p - ZERO_POINT) / SCALE, which a uint8 input tensor states as its
# quantization parameters; the zero point is an integer so that padding with 0 stays exact.
ZERO_POINT = 128
SCALE = 127.5


def centre_square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest centred square of a uint8 [height, width, 3] frame, as a view."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]


def shrink(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A uint8 [side, side, 3] picture at ``size`` pixels a side, without aliasing.

    While the side is at least twice ``size``, 2x2 blocks are averaged (an odd last row and column are
    left out); the rest of the way is bilinear. OpenCV's own area resize has no fast path for a factor
    that is not whole: for 480 to 224 pixels it takes four times as long as this.
    """
    side = square.shape[0]
    while side >= 2 * size:
        side //= 2
        square = cv2.resize(
            square[: 2 * side, : 2 * side], (side, side), interpolation=cv2.INTER_AREA
        )  # type: ignore[assignment]
    if side == size:
        return square
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)  # type: ignore[return-value]


def to_input(
    frame_bgr: NDArray[np.uint8], size: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The network's picture of a frame.

    Args:
        frame_bgr: uint8 [height, width, 3], 0 to 255, blue first, as OpenCV delivers it.
        size: the side of the network's input in pixels.
        out: uint8 [size, size, 3] to write into, so that no copy is made.

    Returns:
        uint8 [size, size, 3], 0 to 255, red first; ``out`` where given.
    """
    return cv2.cvtColor(shrink(centre_square(frame_bgr), size), cv2.COLOR_BGR2RGB, dst=out)  # type: ignore[return-value]


def normalize(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the float network computes on: (p - 128) / 127.5, about -1 to 1, float32, same shape."""
    return (rgb.astype(np.float32) - ZERO_POINT) / SCALE
