"""Disturbs photos as everyday use does, at several severities: blur, light, compression, rotation, hair, ink.

Each is a function of a uint8 [h, w, 3] BGR frame of 0 to 255, a severity and a random generator, and returns a new
frame of the same shape. Lengths are shares of the frame's shorter side, because photos differ in size. The idea and
most of the list: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", 2019; ink: Winkler et al., "Association Between Surgical Skin Markings in Dermoscopic Images and
Diagnostic Performance of a Deep Learning Convolutional Neural Network", 2019.
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
    """Returns a Gaussian blur, with sigma in thousandths of the shorter side."""
    return cv2.GaussianBlur(  # type: ignore[return-value]
        frame_bgr, (0, 0), severity / 1000 * min(frame_bgr.shape[:2])
    )


def scale_light(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Multiplies the light by this factor; values are clipped at 255."""
    return cv2.convertScaleAbs(frame_bgr, alpha=severity)  # type: ignore[return-value]


def compress(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Compresses as JPEG of this quality."""
    _, content = cv2.imencode(".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, int(severity)])
    return cv2.imdecode(content, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def rotate(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Rotates about the centre by an angle in degrees; beyond the edges, the image is mirrored."""
    height, width = frame_bgr.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), severity, 1)
    return cv2.warpAffine(  # type: ignore[return-value]
        frame_bgr, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def add_hairs(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Draws this number of dark bent hairs across the centre square."""
    image = frame_bgr.copy()
    origin, side = _centre_square(image)
    thickness = max(1, round(_HAIR_WIDTH * side))
    for _ in range(int(severity)):
        ends = rng.uniform(-0.1, 1.1, (2, 2))
        bend = ends.mean(axis=0) + rng.normal(0, 0.2, 2)
        _draw_curve(image, origin + side * np.stack([ends[0], bend, ends[1]]), _HAIR_COLOUR_BGR, thickness)
    return image


def add_ink(frame_bgr: _Frame, severity: float, rng: np.random.Generator) -> _Frame:
    """Draws this number of strokes of a skin marker in a ring around the middle of the centre square."""
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
    """Returns the upper left corner (x, y) and the side of what the network sees."""
    height, width = image.shape[:2]
    side = min(height, width)
    return np.array([(width - side) / 2, (height - side) / 2]), side


def _draw_curve(
    image: _Frame, points: NDArray[np.float64], colour: tuple[int, int, int], thickness: int
) -> None:
    """Draws a quadratic Bézier curve with float [3, 2] control points (x, y) and soft edges."""
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
    fixed = np.round(curve * 2**_FRACTION_BITS).astype(np.int32)
    cv2.polylines(image, [fixed], False, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)


@dataclass(frozen=True)
class Perturbation:
    """One kind of disturbance.

    Attributes:
        apply: a function that changes a frame.
        severities: severities from mild to strong.
        unit: format string that shows a severity to people.
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
    """Returns the frame under one perturbation at its ``step``-th severity; the same for the same ``seed``."""
    kind = PERTURBATIONS[name]
    # the strokes of a stronger severity begin with those of the milder ones
    return kind.apply(frame_bgr, kind.severities[step], np.random.default_rng(seed))
