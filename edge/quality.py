"""The quality gate checks light, glare, the lesion, focus and motion. For each defect, it has a hint for the user.

The quality gate judges the crop that the network sees, but only within the reticle, which is the largest circle in the
crop. So it measures the image that would be classified, and usually no second resized image is needed. Light, glare and
focus are measured on the grey levels of the crop, reduced to `GRID` pixels a side. The lesion and motion are measured
on the same grey levels, reduced to `_COARSE` pixels a side. These are the measures for each kind of defect:

- too dark: the 95th percentile of the grey levels. In good light, it is high even if the skin is dark;
- too bright: the share of pixels that are nearly white;
- glare: the share of pixels that are white, because skin itself is never white;
- lesion: Otsu's threshold ("A Threshold Selection Method from Gray-Level Histograms", 1979) separates dark from light
  pixels. The lesion is the connected area of dark pixels with the greatest weight. A pixel in the middle weighs more
  than a pixel at the rim. There is no lesion if the contrast between dark and light pixels is too low, if the dark area
  fills nearly the whole reticle, or if the dark area is a shadow that covers a part of the rim;
- out of focus: the root mean square and the mean absolute value of the Laplacian. Pech-Pacheco et al. ("Diatom
  Autofocusing in Brightfield Microscopy", 2000) use the variance of the Laplacian. The mean absolute value is
  measured too, because a few hairs hardly raise it;
- moving: the mean absolute change since the previous frame, divided by the mean absolute gradient and by the time
  between the frames. The change divided by the gradient is the shift in pixels, if the shift is small.

Right after an inference, the processor's caches are full of the network's data. The first call of a function then takes
longer than the arithmetic in the function. Therefore the quality gate calls few functions. It computes one histogram of
the grey levels, and loops over the bins of the histogram in plain Python. The phone app computes the same measures.

The thresholds are fitted on real photos, some of which were degraded on purpose. `dermedge.benchmarks.lab.quality`
prints how often each threshold is wrong; benchmarks/results/quality-gate has the latest results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot, sqrt
from operator import mul

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GRID",
    "HINTS",
    "MAX_AREA",
    "MAX_CLIPPED",
    "MAX_CUT",
    "MAX_CUT_OFFSET",
    "MAX_GLARE",
    "MAX_OFFSET",
    "MAX_SHADE",
    "MAX_SPEED",
    "MIN_AREA",
    "MIN_BLACK_LIGHT",
    "MIN_CONTRAST",
    "MIN_LIGHT",
    "MIN_SHADE_CONTRAST",
    "MIN_SHARPNESS",
    "MIN_TEXTURE",
    "Defect",
    "Measures",
    "QualityGate",
    "judge",
]

# The crop is reduced to two square images. One has GRID x GRID pixels, the other has _COARSE x _COARSE pixels. The crop
# itself must have at least GRID x GRID pixels.
GRID, _COARSE = 96, 48
# The histogram of the 256 grey levels has `_BINS` bins. Each bin counts the pixels of `_LEVELS` grey levels.
_BINS, _LEVELS = 64, 4
# `Measures.light` is the 95th percentile of the grey levels: at most this fraction of the pixels is lighter.
_LIGHTER = 0.05
# A pixel counts as nearly white from the grey level `_CLIPPED` on, and as white from the grey level `_WHITE` on. Both
# are the first grey level of a bin.
_CLIPPED, _WHITE = 240, 252
# A point of the reticle belongs to the rim if its distance from the centre is more than this fraction of the reticle's
# radius.
_RIM = 0.84
# The weight of a pixel decreases with its distance from the middle, down to this value.
_LEAST_WEIGHT = 0.02
# Motion is measured between two frames only if at most this many seconds lie between them.
_MOTION_GAP_S = 0.5


class Defect(StrEnum):
    """The reason why a frame is not classified."""

    BLACK = "black"
    DARK = "too dark"
    BRIGHT = "too bright"
    GLARE = "glare"
    ABSENT = "no lesion"
    CUT = "lesion cut"
    OFF_CENTRE = "off centre"
    SMALL = "too small"
    BLURRED = "out of focus"
    MOVING = "moving"


HINTS = {
    Defect.BLACK: "the image is black: uncover the lens",
    Defect.DARK: "more light",
    Defect.BRIGHT: "less light",
    Defect.GLARE: "turn the light until nothing shines",
    Defect.ABSENT: "bring a lesion into the circle",
    Defect.CUT: "bring the whole lesion into the circle",
    Defect.OFF_CENTRE: "bring the lesion to the middle",
    Defect.SMALL: "move closer",
    Defect.BLURRED: "change the distance until it is sharp",
    Defect.MOVING: "hold still",
}


@dataclass(frozen=True)
class Measures:
    """What the quality gate measures in one crop, inside the reticle.

    Attributes:
        light: the 95th percentile of the grey levels, rounded down to the first level of its bin, 0 to 252.
        clipped: the share of pixels with a grey level of at least `_CLIPPED`, 0 to 1.
        glare: the share of pixels with a grey level of at least `_WHITE`, 0 to 1.
        contrast: the mean grey level above Otsu's threshold minus the mean grey level up to the threshold.
        area: the share of the reticle that the lesion covers, 0 to 1.
        offset: the distance from the centre of the reticle to the centre of the lesion, in radii of the reticle.
        cut: the share of the rim that the lesion covers, 0 to 1.
        sharpness: the root mean square of the Laplacian, in grey levels.
        texture: the mean absolute value of the Laplacian, in grey levels.
        speed: the shift of the image in one second, divided by the side of the crop. It is None for a photo. It is also
            None if no frame came in the previous `_MOTION_GAP_S` seconds.
    """

    light: float
    clipped: float
    glare: float
    contrast: float
    area: float
    offset: float
    cut: float
    sharpness: float
    texture: float
    speed: float | None


# A crop is rejected if a measure is below its MIN_ threshold or above its MAX_ threshold. The experiment
# `dermedge.benchmarks.lab.quality` fits these thresholds.
MIN_BLACK_LIGHT = 16.0
MIN_LIGHT = 72.0
MAX_CLIPPED = 0.3
MAX_GLARE = 0.003
MIN_CONTRAST = 12.0
# A dark area counts as a shadow if the contrast is below MIN_SHADE_CONTRAST, and if the area covers more than the
# fraction MAX_SHADE of the rim.
MIN_SHADE_CONTRAST = 16.0
MAX_SHADE = 0.3
MAX_AREA = 0.9
MIN_AREA = 0.015
MAX_OFFSET = 0.65
# A lesion counts as cut off if it covers more than the fraction MAX_CUT of the rim, and if its centre is more than
# MAX_CUT_OFFSET radii away from the centre of the reticle.
MAX_CUT, MAX_CUT_OFFSET = 0.2, 0.55
MIN_SHARPNESS = 5.0
MIN_TEXTURE = 3.2
MAX_SPEED = 0.3


def judge(measures: Measures) -> Defect | None:
    """Returns the defect that the user should correct first, or None if the crop is good enough for an answer."""
    failing = (
        (measures.light < MIN_BLACK_LIGHT, Defect.BLACK),
        (measures.light < MIN_LIGHT, Defect.DARK),
        (measures.clipped > MAX_CLIPPED, Defect.BRIGHT),
        (measures.glare > MAX_GLARE, Defect.GLARE),
        (_is_absent(measures), Defect.ABSENT),
        (measures.cut > MAX_CUT and measures.offset > MAX_CUT_OFFSET, Defect.CUT),
        (measures.offset > MAX_OFFSET, Defect.OFF_CENTRE),
        (measures.area < MIN_AREA, Defect.SMALL),
        (measures.speed is not None and measures.speed > MAX_SPEED, Defect.MOVING),
        (measures.sharpness < MIN_SHARPNESS or measures.texture < MIN_TEXTURE, Defect.BLURRED),
    )
    return next((defect for fails, defect in failing if fails), None)


def _is_absent(measures: Measures) -> bool:
    is_shade = measures.contrast < MIN_SHADE_CONTRAST and measures.cut > MAX_SHADE
    return measures.contrast < MIN_CONTRAST or is_shade or measures.area > MAX_AREA


class QualityGate:
    """Measures crops one after the other, and keeps the last crop to measure motion.

    Use a QualityGate from one thread at a time.
    """

    def __init__(self) -> None:
        self._before: tuple[float, NDArray[np.uint8]] | None = None
        self._reticle = (_squared_radii(GRID) <= 1).astype(np.uint8)
        self._pixels = int(self._reticle.sum())
        self._reticle_bits = -self._reticle.astype(np.int16)
        squared = _squared_radii(_COARSE)
        self._coarse_reticle = (squared <= 1).astype(np.uint8)
        self._coarse_pixels = int(self._coarse_reticle.sum())
        self._rim = ((squared > _RIM * _RIM) & (squared <= 1)).astype(np.float64).ravel()
        self._rim_pixels = float(self._rim.sum())
        # with these weights, a lesion in the middle outweighs the dark corners that a lens causes
        self._weights = np.maximum(1 - squared, _LEAST_WEIGHT).ravel()

    def check(self, crop_rgb: NDArray[np.uint8], at_s: float | None) -> Defect | None:
        """Measures a crop, and returns the defect to correct first, or None. `measure` describes the arguments."""
        return judge(self.measure(crop_rgb, at_s))

    def measure(self, crop_rgb: NDArray[np.uint8], at_s: float | None) -> Measures:
        """Measures one crop.

        Args:
            crop_rgb: uint8 [S, S, 3], 0 to 255, red first, as `dermedge.edge.preprocess` makes it. S is at least
                `GRID`.
            at_s: the time of the crop in seconds, or None for a photo, which follows no other frame.
        """
        # OpenCV's type hints are too general here
        grid = _reduced(np.asarray(cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY), np.uint8), GRID)
        coarse = _reduced(grid, _COARSE)
        counts: list[float] = cv2.calcHist([grid], [0], self._reticle, [_BINS], [0, 256]).ravel().tolist()
        threshold, contrast = _otsu(counts)
        # Pixels outside the reticle are set to 0 here, because `cv2.norm` is several times faster without a mask.
        laplacian = cv2.bitwise_and(cv2.Laplacian(grid, cv2.CV_16S), self._reticle_bits)
        area, offset, cut = self._lesion(coarse, threshold)
        return Measures(
            light=_light(counts, _LIGHTER * self._pixels),
            clipped=sum(counts[_CLIPPED // _LEVELS :]) / self._pixels,
            glare=sum(counts[_WHITE // _LEVELS :]) / self._pixels,
            contrast=contrast,
            area=area,
            offset=offset,
            cut=cut,
            sharpness=cv2.norm(laplacian, cv2.NORM_L2) / sqrt(self._pixels),
            texture=cv2.norm(laplacian, cv2.NORM_L1) / self._pixels,
            speed=self._speed(coarse, at_s),
        )

    def _lesion(self, coarse: NDArray[np.uint8], threshold: int) -> tuple[float, float, float]:
        """Returns the lesion's ``area``, ``offset`` and ``cut``, which `Measures` describes.

        If no pixel is dark, ``area``, ``offset`` and ``cut`` are 0.
        """
        dark = cv2.threshold(coarse, threshold, 1, cv2.THRESH_BINARY_INV)[1]
        dark = cv2.bitwise_and(dark, self._coarse_reticle)
        count, parts, statistics, centres = cv2.connectedComponentsWithStats(dark, connectivity=4)
        if count == 1:
            return 0.0, 0.0, 0.0
        part_of = parts.ravel()
        lesion = 1 + int(np.bincount(part_of, self._weights, count)[1:].argmax())
        on_rim = float(np.bincount(part_of, self._rim, count)[lesion])
        x, y = (centres[lesion] - (_COARSE - 1) / 2).tolist()
        area = int(statistics[lesion, cv2.CC_STAT_AREA]) / self._coarse_pixels
        return area, hypot(x, y) / (_COARSE / 2), on_rim / self._rim_pixels

    def _speed(self, coarse: NDArray[np.uint8], at_s: float | None) -> float | None:
        before, self._before = self._before, None if at_s is None else (at_s, coarse)
        if before is None or at_s is None or not 0 < at_s - before[0] <= _MOTION_GAP_S:
            return None
        change = cv2.norm(coarse, before[1], cv2.NORM_L1, self._coarse_reticle) / self._coarse_pixels
        across = cv2.norm(coarse[:, 1:], coarse[:, :-1], cv2.NORM_L1)
        down = cv2.norm(coarse[1:], coarse[:-1], cv2.NORM_L1)
        gradient = max((across + down) / (2 * _COARSE * (_COARSE - 1)), 1.0)
        return change / gradient / _COARSE / (at_s - before[0])


def _reduced(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Returns a square image, reduced to ``side`` x ``side`` pixels. The steps are those of `dermedge.edge.preprocess`.

    An image that already has this size is returned unchanged.
    """
    while grey.shape[0] >= 2 * side:
        half = grey.shape[0] // 2
        grey = _resized(grey[: 2 * half, : 2 * half], half, cv2.INTER_AREA)
    return grey if grey.shape[0] == side else _resized(grey, side, cv2.INTER_LINEAR_EXACT)


def _resized(grey: NDArray[np.uint8], side: int, way: int) -> NDArray[np.uint8]:
    return cv2.resize(grey, (side, side), interpolation=way)  # type: ignore[return-value]


def _squared_radii(side: int) -> NDArray[np.float64]:
    """Returns the squared distance of each pixel from the middle, in units of the squared radius of the reticle.

    The result is float64 [side, side].
    """
    reach = (2 * np.arange(side) - (side - 1)) ** 2
    return (reach[:, None] + reach[None, :]) / side**2


def _light(counts: Sequence[float], lighter: float) -> float:
    """Returns a high percentile of the grey levels: at most ``lighter`` pixels are in bins of higher levels.

    The result is the first grey level of the lowest bin for which this is true. ``counts`` has the number of pixels in
    each bin.
    """
    level, above = _BINS - 1, counts[-1]
    while above <= lighter and level:
        level -= 1
        above += counts[level]
    return float(_LEVELS * level)


def _otsu(counts: Sequence[float]) -> tuple[int, float]:
    """Returns Otsu's threshold and the contrast.

    The threshold is the last grey level of a bin. The contrast is the mean grey level above the threshold minus the
    mean grey level up to the threshold.
    """
    total = sum(counts)
    whole = sum(map(mul, range(len(counts)), counts))
    below = part = best = 0.0
    threshold, contrast = 0, 0.0
    for level, count in enumerate(counts):
        if not count:
            continue
        below += count
        part += level * count
        above = total - below
        if not above:
            break
        difference = (whole - part) / above - part / below
        between = below * above * difference * difference
        if between > best:
            best, threshold, contrast = between, _LEVELS * level + _LEVELS - 1, _LEVELS * difference
    return threshold, contrast
