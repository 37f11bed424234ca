"""Changes training images at random.

From changed images, a network learns that the orientation, size, place, light and sharpness of a lesion may vary.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.train.fit.recipe import Augmentation

__all__ = ["augment"]

Image = NDArray[np.uint8]
# OpenCV's 8-bit hue has 180 levels, each of 2 degrees.
_HUE_STEP_DEGREES, _HUE_LEVELS = 2, 180
_MID_GRAY = 128
# Order of the Minkowski mean. Source: Finlayson and Trezzi, "Shades of Gray and Colour Constancy", 2004.
_MINKOWSKI_ORDER = 6
_MAX_LEVEL = 255


def augment(image: Image, rng: np.random.Generator, how: Augmentation | None = None) -> Image:
    """Returns a random variation of an image. The same state of ``rng`` gives the same variation.

    Args:
        image: uint8 [s, s, 3] RGB.
        rng: random generator for all changes.
        how: settings of the changes. With None, the defaults of `Augmentation` are used.

    Returns:
        uint8 [s, s, 3] RGB.
    """
    how = how or Augmentation()
    if how.white_balance_share and rng.random() < how.white_balance_share:
        image = balance_white(image)
    for is_varied, change in (
        (_is_moved(how), move),
        (_is_lit(how), vary_light),
        (_is_coloured(how), vary_colour),
    ):
        if is_varied:
            image = change(image, rng, how)
    for share, change in (
        (how.shrink_share, shrink),
        (how.blur_share, blur),
        (how.hair_share, draw_hairs),
        (how.patch_share, cover),
        (how.jpeg_share, compress),
    ):
        if share and rng.random() < share:
            image = change(image, rng, how)
    return image


def _is_moved(how: Augmentation) -> bool:
    return (how.rotation_degrees, how.zoom, how.shift, how.mirror_share) != ((0, 0), (1, 1), 0, 0)


def _is_lit(how: Augmentation) -> bool:
    return (how.exposure, how.gain, how.contrast) != ((1, 1), 0, (1, 1))


def _is_coloured(how: Augmentation) -> bool:
    return (how.saturation, how.hue_degrees) != ((1, 1), 0)


def balance_white(image: Image) -> Image:
    """Returns the image with a neutral white balance by the method "shades of gray".

    Each channel is scaled so that all channels have the same Minkowski mean of order 6.
    """
    values = image.astype(np.float32) + 1
    light = (values**_MINKOWSKI_ORDER).mean(axis=(0, 1)) ** (1 / _MINKOWSKI_ORDER)
    return np.clip(values * (light.mean() / light) - 1, 0, _MAX_LEVEL).astype(np.uint8)


def move(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Rotates, zooms, shifts and mirrors the image. Empty borders are filled by reflection.

    The centre of the image is the centre of the rotation and of the zoom.
    """
    angle, zoom = rng.uniform(*how.rotation_degrees), rng.uniform(*how.zoom)
    shift = rng.uniform(-how.shift, how.shift, 2) * image.shape[0]
    matrix = motion_matrix(image.shape[0], angle, zoom, shift, mirrored=rng.random() < how.mirror_share)
    return cv2.warpAffine(  # type: ignore[return-value]
        image, matrix, image.shape[:2], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def motion_matrix(
    side: int, angle_degrees: float, zoom: float, shift: NDArray[np.float64], mirrored: bool
) -> NDArray[np.float64]:
    """Returns the matrix of the affine map that `move` applies to pixel coordinates (x, y), float64 [2, 3].

    Args:
        side: side of the image in pixels.
        angle_degrees: angle of the rotation about the centre; a positive angle turns the shown image anticlockwise.
        zoom: factor by which the image is enlarged.
        shift: float64 [2], the shift along x and y in pixels.
        mirrored: whether left and right are exchanged after the other changes.
    """
    centre = (side - 1) / 2
    matrix = np.array(cv2.getRotationMatrix2D((centre, centre), angle_degrees, zoom), np.float64)
    matrix[:, 2] += shift
    if mirrored:
        # replaces x by side - 1 - x
        matrix[0] = (0, 0, side - 1) - matrix[0]
    return matrix


def vary_light(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Changes the contrast about mid-gray, the exposure, and the gain of each channel.

    Values are clipped to 0 to 255.
    """
    contrast, exposure = rng.uniform(*how.contrast), rng.uniform(*how.exposure)
    gain = exposure * (1 + rng.uniform(-how.gain, how.gain, 3))
    levels = (_MID_GRAY + (np.arange(256)[:, None] - _MID_GRAY) * contrast) * gain
    return _apply_levels(image, levels)


def vary_colour(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Turns the hue and scales the saturation. The saturation is clipped to 0 to 255."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    turn = round(rng.uniform(-how.hue_degrees, how.hue_degrees) / _HUE_STEP_DEGREES)
    levels = np.stack([np.arange(256)] * 3, axis=-1).astype(np.float64)
    levels[:, 0] = (levels[:, 0] + turn) % _HUE_LEVELS
    levels[:, 1] *= rng.uniform(*how.saturation)
    return cv2.cvtColor(_apply_levels(hsv, levels), cv2.COLOR_HSV2RGB)  # type: ignore[return-value,arg-type]


def _apply_levels(image: Image, levels: NDArray[np.float64]) -> Image:
    """Returns the image with each value v of channel c replaced by ``levels[v, c]``, clipped to 0 to 255.

    ``levels`` is float64 [256, 3].
    """
    return cv2.LUT(image, np.clip(levels, 0, _MAX_LEVEL).astype(np.uint8)[None])  # type: ignore[return-value]


def shrink(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Shrinks the image to a random size and enlarges it to the old size again, to remove fine detail."""
    side = image.shape[0]
    small = int(rng.integers(min(how.shrink_pixels, side), side + 1))
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def blur(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Blurs the image with a Gaussian kernel of random width."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(*how.blur_sigma))  # type: ignore[return-value]


def draw_hairs(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Draws dark hairs of one shade across the image, as quadratic Bézier curves."""
    side = image.shape[0]
    shade = tuple(rng.uniform(10, 90) * np.array([1.0, 0.85, 0.75]))
    hairy = image.copy()
    for _ in range(int(rng.integers(1, how.max_hairs + 1))):
        start, bend, end = rng.uniform(-0.2, 1.2, (3, 2)) * side
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        cv2.polylines(hairy, [curve.astype(np.int32)], False, shade, 1, cv2.LINE_AA)
    return hairy


def cover(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Covers a random square with one random colour. Source: DeVries and Taylor, "Cutout", 2017."""
    side = image.shape[0]
    patch = int(side * rng.uniform(*how.patch))
    y, x = rng.integers(0, side - patch, 2)
    covered = image.copy()
    covered[y : y + patch, x : x + patch] = rng.integers(0, 256, 3)
    return covered


def compress(image: Image, rng: np.random.Generator, how: Augmentation) -> Image:
    """Compresses the image as JPEG with a random quality, and decodes it again."""
    low, high = how.jpeg_quality
    quality = int(rng.integers(low, max(high, low + 1)))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, packed = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]
