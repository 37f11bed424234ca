"""Turns a frame into the network's input: crops its centre, averages 2x2 blocks, resizes bilinearly, converts to RGB.

Training, calibration, evaluation, the benchmark and the device all call this module, so that the network sees the same
pixels everywhere. Every step is integer arithmetic with the same result on every processor. Two methods of OpenCV are
avoided, because their results differ between x86-64 and arm64: INTER_LINEAR, and INTER_AREA with a factor that is not a
whole number. The phone app repeats the steps in JavaScript. Shared test vectors prove that the phone app computes the
same pixels as this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_TRIM",
    "PREPROCESSING",
    "SCALE",
    "ZERO_POINT",
    "Preprocessor",
    "Region",
    "crop_region",
    "normalize",
    "to_input",
]

PREPROCESSING = "centre square less a rest of 1/15, 2x2 means, exact bilinear, RGB, uint8"

# If the size of a crop is the input size times a power of two, the crop can be halved until it has the input size. The
# slower bilinear step is then not needed. To get such a size, up to this fraction of the crop's height is cut off. For
# example, a network with an input of 224 pixels sees the middle 448 of the 480 rows of a 640x480 frame: 448 is 2 x 224.
MAX_TRIM = 1 / 15

# A pixel p enters the network as (p - ZERO_POINT) / SCALE. The quantization parameters of a uint8 input tensor state
# this formula. The zero point is an integer, so that padding with 0 is exact.
ZERO_POINT = 128
SCALE = 127.5


class Region(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def crop_region(height: int, width: int, rows: int, columns: int) -> Region:
    """Returns the region of a frame that the network sees. The network's input may have any aspect ratio.

    Usually, the function returns the largest centred region with the aspect ratio of the input, rounded down to whole
    pixels. The function cuts off a part of this region if two conditions hold: the remaining height and width are the
    input size times a power of two, and at most the fraction MAX_TRIM of the height is cut off. For a square input, the
    region is a square.

    Args:
        height: height of the frame, in pixels.
        width: width of the frame, in pixels.
        rows: height of the network's input, in pixels.
        columns: width of the network's input, in pixels.
    """
    high = max(1, min(height, width * rows // columns))
    wide = max(1, min(width, height * columns // rows))
    doublings = max(0, min(high // rows, wide // columns).bit_length() - 1)
    halved = rows << doublings
    if 0 < high - halved <= high * MAX_TRIM:
        high, wide = halved, columns << doublings
    return Region((height - high) // 2, (width - wide) // 2, high, wide)


class Preprocessor:
    """Turns frames into network inputs of one size. It reuses its buffers, because allocating new ones is slow.

    As long as the image is at least twice as large as the input, 2x2 blocks are averaged. An odd last row or column is
    left out. If the image does not have the size of the input after these steps, the last step resizes it bilinearly. A
    single step of OpenCV's INTER_AREA would be slow, because the factor is usually not a whole number. OpenCV's exact
    bilinear resizing is slower with three channels than with four. Therefore the last step resizes an image with a
    fourth channel.

    Do not use one Preprocessor from several threads at the same time.

    Args:
        size: the height of the network's input in pixels. It is also the width, if ``width`` is None.
        width: the width of the network's input in pixels.
    """

    def __init__(self, size: int, width: int | None = None) -> None:
        self._rows, self._columns = size, width or size
        # the region and the buffers are for frames of this size, which is the size of the last frame
        self._frame_size = (0, 0)
        self._region = Region(0, 0, 0, 0)
        self._halves: list[NDArray[np.uint8]] = []
        self._rgba: NDArray[np.uint8] | None = None
        self._resized_rgba = np.empty((self._rows, self._columns, 4), np.uint8)

    def __call__(
        self, frame_bgr: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Returns the network's input for a frame.

        Args:
            frame_bgr: uint8 [height, width, 3], 0 to 255, blue first, as OpenCV delivers it.
            out: a uint8 array of the returned shape, which receives the result. None makes a new array.

        Returns:
            uint8 [size, size, 3], or [size, width, 3], 0 to 255, red first. It is ``out`` if given, else a new array.
        """
        rows, columns = self._rows, self._columns
        top, left, high, wide = self.region(frame_bgr.shape[0], frame_bgr.shape[1])
        # OpenCV's type hints do not state the type of an image
        image: Any = frame_bgr[top : top + high, left : left + wide]
        for half in self._halves:
            high, wide = half.shape[:2]
            image = cv2.resize(
                image[: 2 * high, : 2 * wide], (wide, high), dst=half, interpolation=cv2.INTER_AREA
            )
        out = np.empty((rows, columns, 3), np.uint8) if out is None else out
        if self._rgba is None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out)  # type: ignore[return-value]
        rgba = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA, dst=self._rgba)
        resized = cv2.resize(
            rgba, (columns, rows), dst=self._resized_rgba, interpolation=cv2.INTER_LINEAR_EXACT
        )
        return cv2.cvtColor(resized, cv2.COLOR_RGBA2RGB, dst=out)  # type: ignore[return-value]

    def region(self, height: int, width: int) -> Region:
        """Returns the region that the network sees in a frame of this size. `crop_region` describes the region."""
        if (height, width) != self._frame_size:
            self._region = crop_region(height, width, self._rows, self._columns)
            self._make_buffers(self._region.height, self._region.width)
            self._frame_size = (height, width)
        return self._region

    def _make_buffers(self, high: int, wide: int) -> None:
        """Makes the buffers for a crop: one for each halving, and one for the bilinear step if it is needed."""
        self._halves = []
        while high >= 2 * self._rows and wide >= 2 * self._columns:
            high, wide = high // 2, wide // 2
            self._halves.append(np.empty((high, wide, 3), np.uint8))
        is_done = (high, wide) == (self._rows, self._columns)
        self._rgba = None if is_done else np.empty((high, wide, 4), np.uint8)


def to_input(frame_bgr: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns the network's input for one uint8 [height, width, 3] BGR frame: uint8 [size, size, 3], red first."""
    return Preprocessor(size)(frame_bgr)


def normalize(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the input of the float network: (p - 128) / 127.5 for each value p, as float32 of the same shape.

    The results range from -128 / 127.5 (about -1.004) to 127 / 127.5 (about 0.996).
    """
    return (rgb.astype(np.float32) - ZERO_POINT) / SCALE
