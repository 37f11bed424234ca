"""Disturbs photos in ways that occur in everyday use: blur, light, compression, rotation, hair and ink.

Each perturbation has several severities. A perturbation is a function of a uint8 [h, w, 3] BGR photo, a severity and a
random generator. It returns a new photo of the same shape. The code calls a photo a frame. Lengths are fractions of the
shorter side of the photo, because photos differ in size.

The idea and most perturbations are from Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", 2019. The ink is from Winkler et al., "Association Between Surgical Skin Markings in
Dermoscopic Images and Diagnostic Performance of a Deep Learning Convolutional Neural Network", 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PERTURBATIONS",
    "Perturbation",
    "add_hairs",
    "add_ink",
    "blur",
    "compress",
    "perturbed",
    "rotate",
    "scale_light",
]

_Frame = NDArray[np.uint8]
_Perturb = Callable[[_Frame, float, np.random.Generator], _Frame]

_HAIR_COLOUR_BGR, _INK_COLOUR_BGR = (28, 32, 42), (120, 45, 70)
_HAIR_WIDTH, _INK_WIDTH = 0.006, 0.02
# Coordinates for OpenCV's drawing functions are in sixteenths of a pixel.
_FRACTION_BITS = 4


def blur(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Blurs the frame with a Gaussian kernel. ``severity`` is the sigma in thousandths of the shorter side."""
    return cv2.GaussianBlur(  # type: ignore[return-value]
        frame_bgr, (0, 0), severity / 1000 * min(frame_bgr.shape[:2])
    )


def scale_light(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Multiplies all values by the factor ``severity`` and clips them at 255."""
    return cv2.convertScaleAbs(frame_bgr, alpha=severity)  # type: ignore[return-value]


def compress(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Compresses the frame as JPEG with the quality ``severity``, 0 to 100, and decodes it again."""
    _, content = cv2.imencode(".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, int(severity)])
    return cv2.imdecode(content, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def rotate(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Rotates the frame about its centre by ``severity`` degrees. Empty corners are filled by reflection."""
    height, width = frame_bgr.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), severity, 1)
    return cv2.warpAffine(  # type: ignore[return-value]
        frame_bgr, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def add_hairs(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Draws dark bent hairs across the centre square. ``severity`` is the number of hairs."""
    image = frame_bgr.copy()
    origin, side = _centre_square(image)
    thickness = max(1, round(_HAIR_WIDTH * side))
    for _ in range(int(severity)):
        ends = rng.uniform(-0.1, 1.1, (2, 2))
        bend = ends.mean(axis=0) + rng.normal(0, 0.2, 2)
        _draw_curve(image, origin + side * np.stack([ends[0], bend, ends[1]]), _HAIR_COLOUR_BGR, thickness)
    return image


def add_ink(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Draws strokes of a skin marker around the middle of the centre square. ``severity`` is the number of strokes."""
    image = frame_bgr.copy()
    origin, side = _centre_square(image)
    thickness = max(2, round(_INK_WIDTH * side))
    for _ in range(int(severity)):
        angles = rng.uniform(0, 2 * np.pi) + np.array([0, 0.3, 0.6])
        radii = side * rng.uniform(0.36, 0.46, 3)
        points = origin + side / 2 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        _draw_curve(image, points, _INK_COLOUR_BGR, thickness)
    return image


def _centre_square(image: _Frame) -> tuple[NDArray[np.float64], int]:
    """Returns the upper left corner (x, y) and the side of the square that the network sees, in pixels."""
    height, width = image.shape[:2]
    side = min(height, width)
    return np.array([(width - side) / 2, (height - side) / 2]), side


def _draw_curve(
    image: _Frame, points: NDArray[np.float64], colour: tuple[int, int, int], thickness: int
) -> None:
    """Draws a smooth quadratic Bézier curve into ``image``.

    The control points (x, y) of the curve are in ``points``, float64 [3, 2].
    """
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
    fixed = np.round(curve * 2**_FRACTION_BITS).astype(np.int32)
    cv2.polylines(image, [fixed], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)


@dataclass(frozen=True)
class Perturbation:
    """One way to disturb a frame.

    Attributes:
        apply: function that returns the disturbed frame.
        severities: severities, from mild to strong.
        unit: format string that turns a severity into text.
    """

    apply: _Perturb
    severities: tuple[float, ...]
    unit: str


PERTURBATIONS: dict[str, Perturbation] = {
    "blur": Perturbation(blur, (4, 8, 16), "{:g}/1000 of the side"),
    "brighter": Perturbation(scale_light, (1.15, 1.3, 1.6), "{:g} times"),
    "darker": Perturbation(scale_light, (0.8, 0.6, 0.4), "{:g} times"),
    "JPEG": Perturbation(compress, (50, 25, 10), "quality {:g}"),
    "rotation": Perturbation(rotate, (15, 45, 90), "{:g}°"),
    "hairs": Perturbation(add_hairs, (4, 12, 30), "{:g}"),
    "ink strokes": Perturbation(add_ink, (1, 2, 4), "{:g}"),
}


def perturbed(frame_bgr: _Frame, name: str, step: int, seed: int) -> _Frame:
    """Returns the frame after a perturbation. The same seed gives the same frame.

    Args:
        frame_bgr: uint8 [h, w, 3] BGR.
        name: key of `PERTURBATIONS`.
        step: index of the severity; 0 is the mildest.
        seed: seed of the random numbers.
    """
    kind = PERTURBATIONS[name]
    # The seed does not depend on the severity. A stronger severity therefore draws the strokes of the milder severity,
    # and additional strokes.
    return kind.apply(frame_bgr, kind.severities[step], np.random.default_rng(seed))
