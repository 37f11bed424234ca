"""Whether a picture is worth an answer: light, glare, a lesion in the reticle, focus, motion; with hints.

The reticle is the circle inside the square that the network sees. All is measured on one small grey picture
of it, whatever the camera's resolution, in a fraction of a millisecond:

- too dark: the 95th percentile of the grey levels, so that dark skin in good light is not dark;
- too bright: the share of pixels with a clipped channel;
- glare: the share of pixels that are white, which skin is not;
- the lesion is the connected part below Otsu's threshold ("A Threshold Selection Method from Gray-Level
  Histograms", 1979) that weighs most, a pixel in the middle more than one at the rim; there is none where the
  two sides of the threshold differ too little, or where it is a shade that comes in over a part of the rim;
- out of focus: the mean absolute Laplacian (Pech-Pacheco et al., "Diatom Autofocusing in Brightfield
  Microscopy", 2000, take its variance, which single hairs rule);
- moving: the mean absolute change since the frame before by the mean absolute gradient, which is the shift in
  pixels where it is small, by the time between them.

The thresholds are fitted on real photos and on the same degraded on purpose: `python -m benchmarks.quality`
prints how often each errs, and README.md states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.preprocess import Preprocessor

# Side of the small picture; 640 x 480 and 1280 x 960 halve to it.
SIZE = 112
PERCENTILE = 0.95
CLIPPED, WHITE = 250, 245
# The rim of the reticle begins at this share of its radius.
RIM = 0.84
# Frames further apart say nothing of motion.
MOTION_GAP_S = 0.5


class Defect(StrEnum):
    """Why a picture is not classified."""

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
    Defect.BLACK: "the picture is black: uncover the lens",
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
    """What is measured of one picture, all within the reticle.

    Attributes:
        light: the 95th percentile of the grey levels, 0 to 255.
        clipped: the share of pixels with a channel of `CLIPPED` or more, 0 to 1.
        glare: the share of pixels whose channels are all `WHITE` or more.
        contrast: mean grey level of the lighter side of Otsu's threshold less that of the darker one.
        area: the share of the reticle that the lesion takes.
        offset: from the middle of the reticle to that of the lesion, in radii.
        cut: the share of the rim that the lesion takes.
        sharpness: the mean absolute Laplacian, in grey levels.
        speed: sides of the seen square a second, or None without a frame just before.
    """

    light: float
    clipped: float
    glare: float
    contrast: float
    area: float
    offset: float
    cut: float
    sharpness: float
    speed: float | None


# Below or above these a picture fails; fitted by benchmarks/quality.py.
MIN_BLACK_LIGHT = 16.0
MIN_LIGHT = 72.0
MAX_CLIPPED = 0.65
MAX_GLARE = 0.006
MIN_CONTRAST = 12.0
# Below it a dark part that takes more than MAX_SHADE of the rim is a shade.
MIN_SHADE_CONTRAST = 16.0
MAX_SHADE = 0.3
MAX_AREA = 0.9
MIN_AREA = 0.015
MAX_OFFSET = 0.65
# A lesion that is cut takes so much of the rim, and is so far from the middle.
MAX_CUT, MAX_CUT_OFFSET = 0.2, 0.55
MIN_SHARPNESS = 3.4
MAX_SPEED = 0.3


def judge(measures: Measures) -> Defect | None:
    """The first thing to mend, or None where the picture is worth an answer."""
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
        (measures.sharpness < MIN_SHARPNESS, Defect.BLURRED),
    )
    return next((defect for fails, defect in failing if fails), None)


def _is_absent(measures: Measures) -> bool:
    is_shade = measures.contrast < MIN_SHADE_CONTRAST and measures.cut > MAX_SHADE
    return measures.contrast < MIN_CONTRAST or is_shade or measures.area > MAX_AREA


class QualityGate:
    """Measures pictures, one after the other, with buffers that are kept. Not for several threads at once."""

    def __init__(self) -> None:
        self._preprocess = Preprocessor(SIZE)
        self._rgb = np.empty((SIZE, SIZE, 3), np.uint8)
        self._before: tuple[float, NDArray[np.uint8]] | None = None
        reach = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
        radii = np.hypot(reach[:, None], reach[None, :]) / (SIZE / 2)
        self._reticle = (radii <= 1).astype(np.uint8)
        self._rim = ((radii > RIM) & (radii <= 1)).astype(np.uint8)
        # a lesion in the middle outweighs the dark corners of a lens
        self._weights = np.clip(1 - radii**2, 0.02, None).ravel()
        self._pixels = int(self._reticle.sum())
        self._rim_pixels = int(self._rim.sum())

    def check(self, frame_bgr: NDArray[np.uint8], at_s: float | None) -> Defect | None:
        """What is wrong with a frame; arguments as those of `measure`."""
        return judge(self.measure(frame_bgr, at_s))

    def measure(self, frame_bgr: NDArray[np.uint8], at_s: float | None) -> Measures:
        """Measures one frame.

        Args:
            frame_bgr: uint8 [height, width, 3], blue first.
            at_s: its time in seconds, or None for a picture that follows no other.
        """
        rgb = self._preprocess(frame_bgr, out=self._rgb)
        # OpenCV's types know less than we do
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        histogram = np.asarray(cv2.calcHist([grey], [0], self._reticle, [256], [0, 256]), np.float32).ravel()
        threshold, contrast = _otsu(histogram)
        area, offset, cut = self._lesion(grey, threshold)
        return Measures(
            light=float(np.searchsorted(np.cumsum(histogram), PERCENTILE * self._pixels)),
            clipped=1 - self._share(rgb, 0, CLIPPED - 1),
            glare=self._share(rgb, WHITE, 255),
            contrast=contrast,
            area=area,
            offset=offset,
            cut=cut,
            sharpness=cv2.norm(cv2.Laplacian(grey, cv2.CV_16S), cv2.NORM_L1, self._reticle) / self._pixels,
            speed=self._speed(grey, at_s),
        )

    def _share(self, rgb: NDArray[np.uint8], low: int, high: int) -> float:
        """The share of the reticle whose channels are all between two levels, these included."""
        inside = cv2.inRange(rgb, (low,) * 3, (high,) * 3)
        return cv2.countNonZero(cv2.bitwise_and(inside, self._reticle)) / self._pixels

    def _lesion(self, grey: NDArray[np.uint8], threshold: int) -> tuple[float, float, float]:
        """Area, offset and share of the rim of the connected part below the threshold that weighs most."""
        dark = cv2.threshold(cv2.blur(grey, (3, 3)), threshold, 1, cv2.THRESH_BINARY_INV)[1]
        dark = cv2.multiply(dark, self._reticle)
        count, parts, statistics, centres = cv2.connectedComponentsWithStats(dark, connectivity=4)
        if count == 1:
            return 0.0, 0.0, 0.0
        weights = np.bincount(parts.ravel(), self._weights, count)
        lesion = 1 + int(weights[1:].argmax())
        offset = np.hypot(*(centres[lesion] - (SIZE - 1) / 2)) / (SIZE / 2)
        on_rim = cv2.countNonZero(cv2.multiply((parts == lesion).astype(np.uint8), self._rim))
        area = int(statistics[lesion, cv2.CC_STAT_AREA]) / self._pixels
        return area, float(offset), on_rim / self._rim_pixels

    def _speed(self, grey: NDArray[np.uint8], at_s: float | None) -> float | None:
        before, self._before = self._before, None if at_s is None else (at_s, grey)
        if before is None or at_s is None or not 0 < at_s - before[0] <= MOTION_GAP_S:
            return None
        change = cv2.mean(cv2.absdiff(grey, before[1]), self._reticle)[0]
        across = cv2.mean(cv2.absdiff(grey[:, 1:], grey[:, :-1]))[0]
        down = cv2.mean(cv2.absdiff(grey[1:], grey[:-1]))[0]
        gradient = max((across + down) / 2, 1.0)
        return change / gradient / SIZE / (at_s - before[0])


def _otsu(histogram: NDArray[np.float32]) -> tuple[int, float]:
    """Otsu's threshold of a histogram of 256 levels, and the difference of the means of its two sides."""
    counts = np.cumsum(histogram, dtype=np.float64)
    sums = np.cumsum(histogram * np.arange(256), dtype=np.float64)
    above = counts[-1] - counts
    both = (counts > 0) & (above > 0)
    if not both.any():
        return 0, 0.0
    difference = np.zeros(256)
    difference[both] = (sums[-1] - sums[both]) / above[both] - sums[both] / counts[both]
    threshold = int((counts * above * difference**2).argmax())
    return threshold, float(difference[threshold])
