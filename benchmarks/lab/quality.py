"""Measures how often the quality gate errs, on real photos and on degraded copies of these photos.

    python -m dermedge.benchmarks.lab quality --data runs/mine/catalogue.csv [--imgsz 192] [--per-source 200]

The same number of photos is sampled from each source. Each threshold of the quality gate was chosen as a rounded
quantile. The first table shows the thresholds beside the quantiles over photos of the training split. The second table
shows the errors on photos of the validation split. An unchanged photo that is rejected counts as a false reject, even
if the photo is bad. A degraded photo that is accepted counts as a miss.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.edge import quality
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import OptionError
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import Preprocessor
from dermedge.edge.quality import GRID, Defect, Measures, QualityGate, judge
from dermedge.train.data.catalogue import read_catalogue
from dermedge.train.evaluation.stress import blur, scale_light

__all__ = ["DEGRADED", "SIDE", "GateErrors", "errors", "main", "measure", "moving", "sample_photos"]

_Image = NDArray[np.uint8]
_Degrade = Callable[[_Image, np.random.Generator], _Image]

# The width and the height in pixels of the square that is cut out of a frame of a 640x480 camera.
SIDE = 448
_NOISE_LEVELS = 3.0
_CAMERA_FPS = 30
# Between two frames, the camera moves by this fraction of the width of the image: _TREMOR for a steady hand, _SWEEP for
# an unsteady hand.
_TREMOR, _SWEEP = 0.002, 0.03
# Each threshold of the quality gate may reject this fraction of the unchanged photos.
_REJECTED = 0.005
_NO_LESION = ("not_a_lesion",)


@dataclass(frozen=True)
class GateErrors:
    """The decisions of the quality gate on several images.

    Attributes:
        count: number of images.
        defects: for each defect, the number of images that were rejected because of this defect.
    """

    count: int
    defects: Counter[Defect]

    @property
    def rejected(self) -> float:
        """The fraction of the images that were rejected, 0 to 1."""
        return self.defects.total() / self.count


def _centre_square(image: _Image) -> _Image:
    """Returns the largest centred square of a photo, resized to `SIDE`: uint8 [SIDE, SIDE, 3] BGR."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _add_noise(image: _Image, rng: np.random.Generator) -> _Image:
    """Adds sensor noise, which is different in each frame of a camera."""
    noise = _NOISE_LEVELS * rng.standard_normal(image.shape, np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _through(
    degrade: Callable[..., _Image], severity: float, image: _Image, rng: np.random.Generator
) -> _Image:
    """Degrades an image as `dermedge evaluate --stress` does, and adds sensor noise."""
    return _add_noise(degrade(image, severity, rng), rng)


def _add_glare(spots: int, image: _Image, rng: np.random.Generator) -> _Image:
    """Adds white spots with soft edges near the middle. The radius of a spot is 2 to 6 % of the width of the image."""
    image = image.copy()
    for _ in range(spots):
        centre = (SIDE / 2 + rng.normal(0, 0.15 * SIDE, 2)).astype(int).tolist()
        cv2.circle(image, centre, int(SIDE * rng.uniform(0.02, 0.06)), (255, 255, 255), -1)
    return cv2.GaussianBlur(image, (0, 0), 2)  # type: ignore[return-value]


def _place(scale: float, right: float, down: float, image: _Image, rng: np.random.Generator) -> _Image:
    """Returns a reduced and shifted copy of the photo. The rest of the image has the colour of the border of the photo.

    Args:
        scale: width of the reduced photo as a fraction of `SIDE`.
        right: shift to the right as a fraction of `SIDE`.
        down: shift downwards as a fraction of `SIDE`.
        image: uint8 [SIDE, SIDE, 3] BGR.
        rng: source of the noise.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    shade = cv2.resize(rng.normal(0, 4, (8, 8, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    skin = np.asarray(shade) + np.median(border, axis=0)
    corner = (1 - scale) * SIDE / 2
    moved = np.array([[scale, 0, corner + right * SIDE], [0, scale, corner + down * SIDE]])
    inside = np.zeros((SIDE, SIDE), np.float32)
    cv2.rectangle(inside, (12, 12), (SIDE - 13, SIDE - 13), 1.0, -1)
    opacity = cv2.GaussianBlur(cv2.warpAffine(inside, moved, (SIDE, SIDE)), (0, 0), 6)[..., None]
    small = cv2.warpAffine(_minified(image, scale), moved, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return _add_noise(np.clip(small * opacity + skin * (1 - opacity), 0, 255).astype(np.uint8), rng)


def _skin_alone(image: _Image, rng: np.random.Generator) -> _Image:
    """Returns the least varying corner of a photo, enlarged to the whole image, with sensor noise.

    The width of the corner is a fifth of the width of the photo.
    """
    side = SIDE // 5
    corners = [image[rows, columns] for rows in _ends(side) for columns in _ends(side)]
    plain = min(corners, key=lambda corner: float(corner.std()))
    return _add_noise(np.asarray(cv2.resize(plain, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)), rng)


DEGRADED: dict[str, _Degrade] = {
    "out of focus, 1 % of the side": partial(_through, blur, 10),
    "out of focus, 2 %": partial(_through, blur, 20),
    "out of focus, 4 %": partial(_through, blur, 40),
    "light x 0.3": partial(_through, scale_light, 0.3),
    "light x 0.15": partial(_through, scale_light, 0.15),
    "light x 2": partial(_through, scale_light, 2.0),
    "light x 3": partial(_through, scale_light, 3.0),
    "glare, 3 spots": partial(_add_glare, 3),
    "glare, 8 spots": partial(_add_glare, 8),
    "lesion at a quarter of its size": partial(_place, 0.25, 0.0, 0.0),
    "lesion at a seventh of its size": partial(_place, 0.15, 0.0, 0.0),
    "lesion far off centre": partial(_place, 0.5, 0.36, 0.0),
    "lesion half outside": partial(_place, 0.9, 0.5, 0.0),
    "skin without a lesion": _skin_alone,
}


def moving(shift: float, imgsz: int, image: _Image, rng: np.random.Generator) -> Measures:
    """Simulates two frames between which the camera moves. Returns what the quality gate measures in the second frame.

    Args:
        shift: motion of the camera as a fraction of the width of the image.
        imgsz: input size of the network in pixels.
        image: uint8 [SIDE, SIDE, 3] BGR.
        rng: source of the direction and of the noise.
    """
    gate, preprocess = QualityGate(), Preprocessor(imgsz)
    side = round(SIDE * (1 - _SWEEP))
    angle = rng.uniform(0, np.pi / 2)
    step = np.round(shift * SIDE * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    for number in range(2):
        x, y = number * step
        seen = _add_noise(image[y : y + side, x : x + side], rng)
        measures = gate.measure(preprocess(seen), number / _CAMERA_FPS)
    return measures


def measure(images: Sequence[_Image], imgsz: int, degrade: _Degrade | None = None) -> list[Measures]:
    """Returns what the quality gate measures in each image at the input size of a network.

    The images are not frames of a video, so no motion is measured.

    Args:
        images: uint8 [SIDE, SIDE, 3] BGR.
        imgsz: input size of the network in pixels.
        degrade: a function that degrades the images first; None for unchanged images. The random numbers are the same
            in each call.
    """
    gate, preprocess, rng = QualityGate(), Preprocessor(imgsz), np.random.default_rng(0)
    return [gate.measure(preprocess(degrade(image, rng) if degrade else image), None) for image in images]


def errors(measures: Sequence[Measures]) -> GateErrors:
    """Counts how many images the quality gate rejects, for each defect. ``measures`` holds one entry per image."""
    return GateErrors(len(measures), Counter(defect for one in measures if (defect := judge(one))))


def sample_photos(catalogue: Path, split: str, per_source: int) -> dict[str, list[_Image]]:
    """Returns centre squares of photos of a split, sampled from each source. The keys are the names of the sources.

    Args:
        catalogue: path of a catalogue.csv.
        split: split of the photos.
        per_source: number of photos from each source. A source with fewer photos gives all its photos. Each call
            returns the same photos.

    Raises:
        DataError: the file is not a catalogue.
        OptionError: the catalogue has no photo of the split.
        PictureError: a photo cannot be read.
    """
    paths: dict[str, list[str]] = {}
    for photo in read_catalogue(catalogue):
        if photo.split == split:
            paths.setdefault(photo.source, []).append(photo.path)
    if not paths:
        raise OptionError(
            f"'{catalogue}' has no photo of the split {split}; name a catalogue with this split"
        )
    rng = np.random.default_rng(0)
    return {
        source: [_centre_square(read_picture(Path(path))) for path in rng.permutation(found)[:per_source]]
        for source, found in sorted(paths.items())
    }


def _fitted(measures: Sequence[Measures]) -> dict[str, tuple[float, float]]:
    """Returns two values for each threshold of the quality gate: the threshold in use and the measured quantile.

    The threshold in use is the constant in `dermedge.edge.quality`. The quantile is taken over unchanged photos.
    """

    def quantile(name: str, share: float) -> float:
        return float(np.quantile([getattr(one, name) for one in measures], share))

    low, high = _REJECTED, 1 - _REJECTED
    return {
        "MIN_LIGHT": (quality.MIN_LIGHT, quantile("light", low)),
        "MAX_CLIPPED": (quality.MAX_CLIPPED, quantile("clipped", high)),
        "MAX_GLARE": (quality.MAX_GLARE, quantile("glare", high)),
        "MIN_CONTRAST": (quality.MIN_CONTRAST, quantile("contrast", low)),
        "MAX_AREA": (quality.MAX_AREA, quantile("area", high)),
        "MIN_AREA": (quality.MIN_AREA, quantile("area", low)),
        "MAX_OFFSET": (quality.MAX_OFFSET, quantile("offset", high)),
        "MIN_SHARPNESS": (quality.MIN_SHARPNESS, quantile("sharpness", low)),
        "MIN_TEXTURE": (quality.MIN_TEXTURE, quantile("texture", low)),
    }


def _report(catalogue: Path, imgsz: int, per_source: int) -> Iterator[str]:
    """Yields the lines of two tables: the thresholds and the errors."""
    fit = [
        image
        for name, images in sample_photos(catalogue, "train", per_source).items()
        for image in images
        if name not in _NO_LESION
    ]
    yield f"{len(fit)} photos of train at {imgsz} pixels: threshold, and the quantile of {_REJECTED:.1%}"
    for name, (threshold, found) in _fitted(measure(fit, imgsz)).items():
        yield f"  {name:<15}{threshold:>8.3f}{found:>9.3f}"
    sampled = sample_photos(catalogue, "val", per_source)
    held_out = {name: images for name, images in sampled.items() if name not in _NO_LESION}
    everything = [image for images in held_out.values() for image in images]
    yield f"{len(everything)} photos of val: rejected"
    for name, images in held_out.items():
        yield _line(f"unchanged: {name}", errors(measure(images, imgsz)))
    yield _line("unchanged: all", errors(measure(everything, imgsz)))
    yield _line("with sensor noise", errors(measure(everything, imgsz, _add_noise)))
    for words, shift in (("steady hand", _TREMOR), ("moving hand", _SWEEP)):
        rng = np.random.default_rng(0)
        found_of = errors([moving(shift, imgsz, one, rng) for one in everything])
        yield _line(f"{words}, {shift:.1%} per frame", found_of)
    for name, degrade in DEGRADED.items():
        yield _line(name, errors(measure(everything, imgsz, degrade)))
    for name in _NO_LESION:
        if name in sampled:
            yield _line(name, errors(measure(sampled[name], imgsz)))


def _line(name: str, found: GateErrors) -> str:
    shares = ", ".join(f"{defect} {count / found.count:.1%}" for defect, count in found.defects.most_common())
    return f"  {name:<32}{found.rejected:>7.1%}  {shares}"


def _ends(side: int) -> tuple[slice, slice]:
    return slice(0, side), slice(SIDE - side, SIDE)


def _minified(image: _Image, scale: float) -> _Image:
    """Blurs an image before it is reduced, which prevents aliasing."""
    if scale > 0.8:
        return image
    return cv2.GaussianBlur(image, (0, 0), 0.4 / scale)  # type: ignore[return-value]


def main(argv: Sequence[str]) -> int:
    """Prints the report; returns the exit status."""
    options = _parser().parse_args(argv)
    for line in _report(options.data, options.imgsz, options.per_source):
        print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(
        "quality", "Measure how often the quality gate rejects good photos and accepts bad ones."
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="CSV", help="sample the photos from this catalogue.csv"
    )
    parser.add_argument(
        "--imgsz", type=_size, default=192, help="measure at this input size of the network, in pixels"
    )
    parser.add_argument(
        "--per-source",
        type=positive_int,
        default=200,
        help="sample this many photos from each source in each split",
    )
    return parser


def _size(text: str) -> int:
    """Parses an input size at which the quality gate can judge images, as an argparse type."""
    if (size := positive_int(text)) < GRID:
        raise argparse.ArgumentTypeError(
            f"'{text}' is below {GRID} pixels, the least input size that the quality gate can judge"
        )
    return size
