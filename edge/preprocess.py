"""Turns a frame into the network's input: centre square, 2x2 means, bilinear, RGB.

Training, calibration, evaluation, the benchmark and the device all call this module, so that the network sees the same
pixels everywhere. Every step is integer arithmetic with the same result on every processor; OpenCV's INTER_LINEAR,
and INTER_AREA at factors that are not whole, differ between x86-64 and arm64. The phone app repeats these steps, and
shared test vectors hold both equal.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_TRIM",
    "PREPROCESSING",
    "SCALE",
    "ZERO_POINT",
    "Preprocessor",
    "crop_square",
    "normalize",
    "to_input",
]

PREPROCESSING = "centre square less a rest of 1/15, 2x2 means, exact bilinear, RGB, uint8"

# If halving alone leads to the input size after cutting off at most this share of the side, it is cut off: at
# 640x480 a 224-pixel input sees the centre 448 pixels of 480, which saves the bilinear step.
MAX_TRIM = 1 / 15

# A pixel p enters the network as (p - ZERO_POINT) / SCALE, which a uint8 input tensor states as its
# quantization parameters; the zero point is an integer so that padding with 0 stays exact.
ZERO_POINT = 128
SCALE = 127.5


def crop_square(height: int, width: int, size: int) -> tuple[int, int, int]:
    """The region of a frame that the network sees: top, left and side, in pixels.

    It is the largest centred square, less at most MAX_TRIM of its side if halving alone then leads to ``size``.

    Args:
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        size: the side of the network's input, in pixels.
    """
    side = min(height, width)
    halved = size << max(0, (side // size).bit_length() - 1)
    if 0 < side - halved <= side * MAX_TRIM:
        side = halved
    return (height - side) // 2, (width - side) // 2, side


class Preprocessor:
    """Turns frames into network inputs of one size. It keeps its buffers, because fresh ones cost page faults.

    While the crop is at least twice as large as the input, 2x2 blocks are averaged (an odd last row and column are
    left out); the last step is bilinear. OpenCV's own area resize is slow at a factor that is not whole.

    Not for use from several threads at once.

    Args:
        size: the side of the network's input in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._buffers: dict[int, NDArray[np.uint8]] = {}

    def __call__(
        self, frame_bgr: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """The network's input for a frame.

        Args:
            frame_bgr: uint8 [height, width, 3], 0 to 255, blue first, as OpenCV delivers it.
            out: uint8 [size, size, 3] to write into, so that no copy is made.

        Returns:
            uint8 [size, size, 3], 0 to 255, red first; ``out`` where given, else a fresh array.
        """
        top, left, side = crop_square(frame_bgr.shape[0], frame_bgr.shape[1], self.size)
        square = frame_bgr[top : top + side, left : left + side]
        out = np.empty((self.size, self.size, 3), np.uint8) if out is None else out
        while side >= 2 * self.size:
            side //= 2
            half = self._buffer(side)
            square = cv2.resize(  # type: ignore[assignment]
                square[: 2 * side, : 2 * side], (side, side), dst=half, interpolation=cv2.INTER_AREA
            )
        if side != self.size:
            square = cv2.resize(  # type: ignore[assignment]
                square, (self.size, self.size), dst=out, interpolation=cv2.INTER_LINEAR_EXACT
            )
        return cv2.cvtColor(square, cv2.COLOR_BGR2RGB, dst=out)  # type: ignore[return-value]

    def _buffer(self, side: int) -> NDArray[np.uint8]:
        if side not in self._buffers:
            self._buffers[side] = np.empty((side, side, 3), np.uint8)
        return self._buffers[side]


def to_input(frame_bgr: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The network's input for one uint8 [height, width, 3] BGR frame: uint8 [size, size, 3], red first."""
    return Preprocessor(size)(frame_bgr)


def normalize(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The input of the float network: (p - 128) / 127.5, float32 from -128/127.5 to 127/127.5, same shape."""
    return (rgb.astype(np.float32) - ZERO_POINT) / SCALE
