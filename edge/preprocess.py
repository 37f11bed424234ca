"""From a camera frame to the picture that the network sees: centre square, 2x2 means, bilinear, RGB.

Training, calibration, evaluation, the benchmark and the device all call this module, so that what was
learned is what is shown. Every step is integer arithmetic whose result is the same on every processor;
OpenCV's INTER_LINEAR and, at factors that are not whole, INTER_AREA differ between x86-64 and arm64.
The phone app repeats it and is held equal by a shared test vector.
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

# Where the halvings leave so little, it is cut off rather than resized away: at 640x480 a 224-pixel input
# sees the centre 448 pixels of 480, and the bilinear pass is saved.
MAX_TRIM = 1 / 15

# A pixel p enters the network as (p - ZERO_POINT) / SCALE, which a uint8 input tensor states as its
# quantization parameters; the zero point is an integer so that padding with 0 stays exact.
ZERO_POINT = 128
SCALE = 127.5


def crop_square(height: int, width: int, size: int) -> tuple[int, int, int]:
    """The part of a frame that the network sees: its top, its left and its side, in pixels.

    The largest centred square, less a rest of at most MAX_TRIM of its side where halvings alone then lead
    to ``size``.
    """
    side = min(height, width)
    halved = size << max(0, (side // size).bit_length() - 1)
    if 0 < side - halved <= side * MAX_TRIM:
        side = halved
    return (height - side) // 2, (width - side) // 2, side


class Preprocessor:
    """Frames to network inputs of one size, with buffers that are kept: fresh ones cost page faults.

    While the seen square is at least twice as large as the input, 2x2 blocks are averaged (an odd last
    row and column are left out); the rest of the way is bilinear. OpenCV's own area resize has no fast path
    for a factor that is not whole.

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
        """The network's picture of a frame.

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
    """The network's picture of one uint8 [height, width, 3] BGR frame: uint8 [size, size, 3], red first."""
    return Preprocessor(size)(frame_bgr)


def normalize(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the float network computes on: (p - 128) / 127.5, about -1 to 1, float32, same shape."""
    return (rgb.astype(np.float32) - ZERO_POINT) / SCALE
