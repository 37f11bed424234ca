"""What the choice of calibration photos and of ranges does to an int8 file: one run, each choice by itself.

    python -m dermedge.benchmarks.lab calibration RUN [--counts 20 200 500]

Photos are drawn evenly over the classes, or as the training split has them. Every file is run by the device
runtime beside the float network on all validation photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.edge.cli.arguments import positive_int
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.progress import progress_line

__all__ = ["CalibrationResult", "main"]

_COUNTS = (20, 200, 500)
_MIDDLE = 200
_EVENLY, _AS_THEY_COME = "evenly", "as they come"


@dataclass(frozen=True)
class CalibrationResult:
    """One choice, and what became of it on the validation photos.

    Attributes:
        photos: to calibrate on.
        drawn: how.
        ranges: method, as `dermedge.convert.to_tflite.Form` names it.
        agreement: share of the photos that get the class of the float network.
        logits_apart: mean absolute difference of the logits.
        balanced_accuracy: by the most probable class.
    """

    photos: int
    drawn: str
    ranges: str
    agreement: float
    logits_apart: float
    balanced_accuracy: float


def main(argv: Sequence[str]) -> int:
    """Prints a Markdown table."""
    parser = experiment_parser("calibration", "Calibration choices of int8, measured against each other.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder of dermedge train")
    parser.add_argument("--counts", type=positive_int, nargs="+", default=_COUNTS, help="calibration photos")
    options = parser.parse_args(argv)
    print("| photos | drawn | ranges | same class as float | logits apart | balanced accuracy |")
    print("| ---: | --- | --- | ---: | ---: | ---: |")
    for row in _measure(options.run, options.counts):
        print(
            f"| {row.photos} | {row.drawn} | {row.ranges} | {row.agreement:.1%} | {row.logits_apart:.3f} "
            f"| {row.balanced_accuracy:.3f} |",
            flush=True,
        )
    return 0


def _measure(path: Path, counts: Sequence[int]) -> Iterator[CalibrationResult]:
    """Every method with the middle count drawn evenly, every count, and photos as they come.

    Raises:
        DataError: the folder is no run, or its photos have gone.
    """
    from dermedge.convert.conversion import convert_to_form
    from dermedge.convert.load.run import load_run
    from dermedge.convert.to_tflite.form import INT8_PTQ, RECORDED, Form
    from dermedge.convert.to_tflite.ranges import METHODS

    run = RunFolder(path)
    middle = load_run(run, _MIDDLE, show_progress=progress_line)
    choices = [(_MIDDLE, _EVENLY, method) for method in (RECORDED, *METHODS)]
    choices += [(count, _EVENLY, RECORDED) for count in counts if count != _MIDDLE]
    choices.append((_MIDDLE, _AS_THEY_COME, RECORDED))
    for count, drawn, method in choices:
        subject = middle
        if drawn == _AS_THEY_COME:
            subject = replace(middle, calibration=_as_they_come(run, count))
        elif count != _MIDDLE:
            subject = load_run(run, count)
        made = convert_to_form(subject, Form(INT8_PTQ, ranges=method), 1.0)
        yield CalibrationResult(
            len(subject.calibration),
            drawn,
            method,
            made.parity.agreement,
            made.parity.mean_logit_difference,
            made.manifest.metrics["val_balanced_accuracy_argmax"],
        )


def _as_they_come(run: RunFolder, count: int) -> list[NDArray[np.uint8]]:
    from dermedge.train.data.pixels import cached_pixels

    config = run.config()
    training = [photo for photo in run.photos() if photo.split == "train"]
    pixels = cached_pixels([Path(photo.path) for photo in training], config.size, run.cache)
    chosen = np.random.default_rng(config.seed).permutation(len(training))[:count]
    return [np.asarray(pixels[index]) for index in chosen]
