"""Variations of a training picture: a lesion has no up, and no fixed size, place, light or sharpness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ZOOM = (0.8, 1.3)
SHIFT = 0.08  # of the side
GAIN = 0.1  # of each colour channel
CONTRAST = (0.8, 1.25)
BRIGHTNESS = 20  # levels
BLUR_SHARE, BLUR_SIGMA = 0.3, (0.3, 1.2)


def augment(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random rotation, mirroring, zoom, shift, light and blur of a uint8 [s, s, 3] picture; same shape."""
    return _blur(_light(_move(rgb, rng), rng), rng)


def _move(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = rgb.shape[0]
    centre = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), rng.uniform(0, 360), rng.uniform(*ZOOM))
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * side
    moved = cv2.warpAffine(
        rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved[:, ::-1] if rng.random() < 0.5 else moved  # type: ignore[return-value]


def _light(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(*CONTRAST) * (1 + rng.uniform(-GAIN, GAIN, 3))
    offset = 128 * (1 - gain.mean()) + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    levels = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(rgb), levels[None])  # type: ignore[return-value]


def _blur(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    if rng.random() >= BLUR_SHARE:
        return rgb
    return cv2.GaussianBlur(rgb, (0, 0), rng.uniform(*BLUR_SIGMA))  # type: ignore[return-value]
