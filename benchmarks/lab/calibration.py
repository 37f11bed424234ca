"""Compares ways to choose calibration photos and activation ranges for int8 conversion, on a run of `dermedge train`.

    python -m dermedge.benchmarks.lab calibration RUN [--counts 20 200 500]

Calibration photos are sampled from the training split, either with equal numbers per class, or at random. Each int8
file is run on all validation photos, with the runtime that the device uses. The results are compared with the results
of the float network.
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
    """The results of one conversion on the validation photos.

    Attributes:
        photos: number of calibration photos.
        sampling: how the calibration photos are sampled. ``evenly``: equal numbers per class; ``as they come``: at
            random from the training split.
        ranges: method that chooses the activation ranges; see `dermedge.convert.to_tflite.form.Form`.
        agreement: fraction of the photos for which the int8 file and the float network give the same answer.
        logits_apart: mean absolute difference between the logits of the int8 file and the logits of the float network.
        balanced_accuracy: balanced accuracy of the int8 file, if the most probable class is always the answer.
    """

    photos: int
    sampling: str
    ranges: str
    agreement: float
    logits_apart: float
    balanced_accuracy: float


def main(argv: Sequence[str]) -> int:
    """Prints a Markdown table; returns the exit status."""
    parser = experiment_parser(
        "calibration", "Compare calibration photos and activation ranges for int8 conversion."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="convert this run of dermedge train")
    parser.add_argument(
        "--counts",
        type=positive_int,
        nargs="+",
        default=_COUNTS,
        help="convert the run once with each of these numbers of calibration photos, and compare the files",
    )
    options = parser.parse_args(argv)
    print(
        "| photos | sampling | activation ranges | same class as float | logit difference from float | "
        "balanced accuracy |"
    )
    print("| ---: | --- | --- | ---: | ---: | ---: |")
    for row in _measure(options.run, options.counts):
        print(
            f"| {row.photos} | {row.sampling} | {row.ranges} | {row.agreement:.1%} | {row.logits_apart:.3f} "
            f"| {row.balanced_accuracy:.3f} |",
            flush=True,
        )
    return 0


def _measure(path: Path, counts: Sequence[int]) -> Iterator[CalibrationResult]:
    """Yields the results of several conversions.

    Each conversion varies one choice: the method that chooses the activation ranges, the number of calibration photos,
    or the sampling of these photos.

    Raises:
        DataError: the folder is not a run, or photos of the run are missing.
    """
    from dermedge.convert.conversion import convert_to_form
    from dermedge.convert.load.run import load_run
    from dermedge.convert.to_tflite.form import INT8_PTQ, Form
    from dermedge.convert.to_tflite.ranges import METHODS

    run = RunFolder(path)
    middle = load_run(run, _MIDDLE, show_progress=progress_line)
    usual = Form(INT8_PTQ).ranges
    choices = [(_MIDDLE, _EVENLY, method) for method in dict.fromkeys((usual, *METHODS))]
    choices += [(count, _EVENLY, usual) for count in counts if count != _MIDDLE]
    choices.append((_MIDDLE, _AS_THEY_COME, usual))
    for count, sampling, method in choices:
        source = middle
        if sampling == _AS_THEY_COME:
            source = replace(middle, calibration=_as_they_come(run, count))
        elif count != _MIDDLE:
            source = load_run(run, count)
        made = convert_to_form(source, Form(INT8_PTQ, ranges=method), 1.0)
        yield CalibrationResult(
            len(source.calibration),
            sampling,
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
