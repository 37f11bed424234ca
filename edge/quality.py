"""The quality gate: light, glare, a lesion in the reticle, focus and motion, each with a hint for the user.

The gate judges the crop that the network sees, within the reticle, which is the circle inside it. So it measures the
image that would be classified, and needs no second resized image. The grey levels of the crop are reduced to `GRID`
pixels a side for light and focus, and to `_COARSE` for the lesion and motion:

- too dark: the 95th percentile of the grey levels, so that dark skin in good light is not dark;
- too bright: the share of pixels that are nearly white;
- glare: the share of pixels that are white, which skin is not;
- the lesion is the connected part below Otsu's threshold ("A Threshold Selection Method from Gray-Level
  Histograms", 1979) with the greatest weight, where a pixel in the middle weighs more than one at the rim; there is
  no lesion if the two sides of the threshold differ too little, or if the part is a shadow that enters over a part of
  the rim;
- out of focus: the root mean square of the Laplacian (Pech-Pacheco et al., "Diatom Autofocusing in
  Brightfield Microscopy", 2000, take its variance), or its mean absolute value, which a few hairs do not raise;
- moving: the mean absolute change since the previous frame, divided by the mean absolute gradient (which gives the
  shift in pixels, if it is small) and by the time between the frames.

Right after an inference, the processor's caches are full of the network, and the first call of a function costs more
than its arithmetic. Therefore the gate makes few calls, computes one histogram of the grey levels, and loops over its
bins in plain Python. The phone app repeats these measures.

The thresholds are fitted on real photos, unchanged and degraded on purpose. `dermedge.benchmarks.lab.quality` prints
how often each threshold errs; benchmarks/results/quality-gate has the last figures.
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

# Sides in pixels of the two reduced images that are made from the crop. The side of the crop must be GRID or more.
GRID, _COARSE = 96, 48
# The number of bins of the histogram, and the grey levels in each.
_BINS, _LEVELS = 64, 4
# The share of pixels that may be lighter than `Measures.light`.
_LIGHTER = 0.05
# From these grey levels on, a pixel counts as nearly white, and as white. Each is the first level of a bin.
_CLIPPED, _WHITE = 240, 252
# The rim of the reticle begins at this share of its radius.
_RIM = 0.84
# The weight of a pixel falls with its distance from the middle, but not below this.
_LEAST_WEIGHT = 0.02
# Motion is not measured between frames that are further apart in time than this.
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
    """The measures of one crop, all within the reticle.

    Attributes:
        light: the 95th percentile of the grey levels, rounded down to the first level of its bin, 0 to 252.
        clipped: the share of pixels with a grey level of at least `_CLIPPED`, 0 to 1.
        glare: the share of pixels with a grey level of at least `_WHITE`.
        contrast: mean grey level of the lighter side of Otsu's threshold less that of the darker one.
        area: the share of the reticle that the lesion covers.
        offset: distance between the centres of the reticle and of the lesion, in radii of the reticle.
        cut: the share of the rim that the lesion covers.
        sharpness: the root mean square of the Laplacian, in grey levels.
        texture: its mean absolute value.
        speed: motion in sides of the crop per second; None if there was no frame just before.
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


# A crop is rejected if a measure is below its MIN_ or above its MAX_ threshold. `dermedge.benchmarks.lab.quality`
# fits them.
MIN_BLACK_LIGHT = 16.0
MIN_LIGHT = 72.0
MAX_CLIPPED = 0.3
MAX_GLARE = 0.003
MIN_CONTRAST = 12.0
# Below this contrast, a dark part that covers more than MAX_SHADE of the rim counts as a shadow.
MIN_SHADE_CONTRAST = 16.0
MAX_SHADE = 0.3
MAX_AREA = 0.9
MIN_AREA = 0.015
MAX_OFFSET = 0.65
# A lesion counts as cut off if it covers at least this share of the rim, and its centre is at least this far from the
# reticle's.
MAX_CUT, MAX_CUT_OFFSET = 0.2, 0.55
MIN_SHARPNESS = 5.0
MIN_TEXTURE = 3.2
MAX_SPEED = 0.3


def judge(measures: Measures) -> Defect | None:
    """Returns the first defect for the user to mend, or None if the crop is worth an answer."""
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
    """Measures crops, one after the other. Use it from one thread at a time."""

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
        # weights by which a lesion in the middle outweighs the dark corners of a lens
        self._weights = np.maximum(1 - squared, _LEAST_WEIGHT).ravel()

    def check(self, crop_rgb: NDArray[np.uint8], at_s: float | None) -> Defect | None:
        """Returns the first defect of a crop, or None; the arguments are those of `measure`."""
        return judge(self.measure(crop_rgb, at_s))

    def measure(self, crop_rgb: NDArray[np.uint8], at_s: float | None) -> Measures:
        """Measures one crop.

        Args:
            crop_rgb: uint8 [S, S, 3], red first, S of `GRID` or more, as `dermedge.edge.preprocess` makes it.
            at_s: the time of the crop in seconds, or None for a photo, which follows no other frame.
        """
        # OpenCV's type hints are too general here
        grid = _reduced(np.asarray(cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY), np.uint8), GRID)
        coarse = _reduced(grid, _COARSE)
        counts: list[float] = cv2.calcHist([grid], [0], self._reticle, [_BINS], [0, 256]).ravel().tolist()
        threshold, contrast = _otsu(counts)
        # a norm without a mask is several times faster than one with it
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
        """Returns area, offset and share of the rim of the lesion, which is the dark connected part with the greatest
        weight.
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
    """Returns a square image reduced to ``side`` as `dermedge.edge.preprocess` does it; the image itself if it has
    that side.
    """
    while grey.shape[0] >= 2 * side:
        half = grey.shape[0] // 2
        grey = _resized(grey[: 2 * half, : 2 * half], half, cv2.INTER_AREA)
    return grey if grey.shape[0] == side else _resized(grey, side, cv2.INTER_LINEAR_EXACT)


def _resized(grey: NDArray[np.uint8], side: int, way: int) -> NDArray[np.uint8]:
    return cv2.resize(grey, (side, side), interpolation=way)  # type: ignore[return-value]


def _squared_radii(side: int) -> NDArray[np.float64]:
    """Returns float64 [side, side]: squared distances from the middle, the reticle's radius being 1."""
    reach = (2 * np.arange(side) - (side - 1)) ** 2
    return (reach[:, None] + reach[None, :]) / side**2


def _light(counts: Sequence[float], lighter: float) -> float:
    """Returns the first grey level of the lightest bin above which lie at most ``lighter`` pixels."""
    level, above = _BINS - 1, counts[-1]
    while above <= lighter and level:
        level -= 1
        above += counts[level]
    return float(_LEVELS * level)


def _otsu(counts: Sequence[float]) -> tuple[int, float]:
    """Returns Otsu's threshold (the last grey level of its bin) and the difference between the means of its two
    sides.
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
