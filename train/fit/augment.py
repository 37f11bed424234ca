"""Variations of a training picture: a lesion has no up, and no fixed size, place, light or sharpness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ZOOM = (0.75, 1.5)
SHIFT = 0.1  # of the side
EXPOSURE = (0.65, 1.2)
GAIN = 0.08  # of each colour channel
CONTRAST = (0.8, 1.25)
SATURATION, HUE_DEGREES = (0.75, 1.25), 6
BLUR_SHARE, BLUR_SIGMA = 0.3, (0.3, 1.5)
HAIR_SHARE, MAX_HAIRS = 0.2, 6
PATCH_SHARE, PATCH = 0.3, (0.1, 0.35)  # of the side
JPEG_SHARE, JPEG_QUALITY = 0.2, (15, 70)


def augment(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random variation of a uint8 [s, s, 3] picture; same shape.

    Turned, mirrored, zoomed and shifted; darker or lighter, of another tint; and at times blurred, with hairs
    across it, with a patch covered (DeVries and Taylor, "Cutout", 2017), or compressed.
    """
    varied = _colour(_light(_move(rgb, rng), rng), rng)
    for change, share in (
        (_blur, BLUR_SHARE),
        (_hairs, HAIR_SHARE),
        (_cover, PATCH_SHARE),
        (_jpeg, JPEG_SHARE),
    ):
        if rng.random() < share:
            varied = change(varied, rng)
    return varied


def _move(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = rgb.shape[0]
    centre = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), rng.uniform(0, 360), rng.uniform(*ZOOM))
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * side
    if rng.random() < 0.5:
        # mirrored: x becomes side - 1 - x
        matrix[0] = (0, 0, side - 1) - matrix[0]
    return cv2.warpAffine(  # type: ignore[return-value]
        rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _light(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    contrast, exposure = rng.uniform(*CONTRAST), rng.uniform(*EXPOSURE)
    gain = exposure * (1 + rng.uniform(-GAIN, GAIN, 3))
    levels = (128 + (np.arange(256)[:, None] - 128) * contrast) * gain
    return cv2.LUT(rgb, np.clip(levels, 0, 255).astype(np.uint8)[None])  # type: ignore[return-value]


def _colour(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)  # hue in steps of 2 degrees
    turn = round(rng.uniform(-HUE_DEGREES, HUE_DEGREES) / 2)
    levels = np.stack([np.arange(256)] * 3, axis=-1).astype(np.float64)
    levels[:, 0] = (levels[:, 0] + turn) % 180
    levels[:, 1] *= rng.uniform(*SATURATION)
    changed = cv2.LUT(hsv, np.clip(levels, 0, 255).astype(np.uint8)[None])
    return cv2.cvtColor(changed, cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def _blur(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(rgb, (0, 0), rng.uniform(*BLUR_SIGMA))  # type: ignore[return-value]


def _hairs(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = rgb.shape[0]
    shade = tuple(rng.uniform(10, 90) * np.array([1.0, 0.85, 0.75]))
    hairy = rgb.copy()
    for _ in range(int(rng.integers(1, MAX_HAIRS + 1))):
        start, bend, end = rng.uniform(-0.2, 1.2, (3, 2)) * side
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        cv2.polylines(hairy, [curve.astype(np.int32)], False, shade, 1, cv2.LINE_AA)
    return hairy


def _cover(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = rgb.shape[0]
    patch = int(side * rng.uniform(*PATCH))
    y, x = rng.integers(0, side - patch, 2)
    covered = rgb.copy()
    covered[y : y + patch, x : x + patch] = rng.integers(0, 256, 3)
    return covered


def _jpeg(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = int(rng.integers(*JPEG_QUALITY))
    _, packed = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]
