"""Compares a frame with the frame before, to find repeated frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["equals_last", "is_flat"]

# Every 16th pixel of every 16th row is compared first. Most frames already differ there, and need no full comparison.
_SAMPLING = 16


def equals_last(image: NDArray[np.uint8], last: NDArray[np.uint8]) -> bool:
    """Tells whether two uint8 [height, width, 3] images are equal, byte for byte."""
    if image.shape != last.shape:
        return False
    if not np.array_equal(image[::_SAMPLING, ::_SAMPLING], last[::_SAMPLING, ::_SAMPLING]):
        return False
    return np.array_equal(image, last)


def is_flat(image: NDArray[np.uint8]) -> bool:
    """Tells whether an image seems to have a single grey level, as images of a covered or saturated sensor have."""
    sample = image[::_SAMPLING, ::_SAMPLING]
    return bool(sample.min() == sample.max())
