"""Measures how costs and accuracy grow with the size of the network, the number of threads or the number of photos.

    python -m dermedge.benchmarks.lab growth latency --source photos/ --output DIR
    python -m dermedge.benchmarks.lab growth training --data catalogue.csv --output DIR
    python -m dermedge.benchmarks.lab growth audit photos/ --output DIR
    python -m dermedge.benchmarks.lab growth photos photos/ --counts 2000,25000 --output DIR
    python -m dermedge.benchmarks.lab growth accuracy A.tflite B.tflite --data catalogue.csv --split val --output DIR

The costs are the latency, the file size, and the duration of training and audit. Each command writes a CSV file, a plot
and a page. ``latency``, ``training`` and ``audit`` also fit power laws. The networks of ``latency`` have random
weights. Trained networks have the same latencies and file sizes, but the predictions of networks with random weights
mean nothing. The extras ``train`` and ``benchmark`` must be installed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import util
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge import DISCLAIMER
from dermedge.benchmarks.accuracy import find_photos, score
from dermedge.benchmarks.arguments import check_different
from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.conditions import OtherProcesses
from dermedge.benchmarks.frames import Frames, frames_of_source
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.growth_result import GrowthPoint, GrowthResult, machine_line, save, table
from dermedge.benchmarks.lab.random_networks import NetworkShape, write_random_network
from dermedge.benchmarks.lab.synthetic_photos import HEIGHT, WIDTH, check_room, make_photos
from dermedge.benchmarks.lab.training_costs import first_start, second_start
from dermedge.benchmarks.lab.training_run import ARCHITECTURE, BATCH
from dermedge.benchmarks.lab.training_run import SIZE as TRAINING_SIZE
from dermedge.benchmarks.latency import Latency, RunLength, measure
from dermedge.benchmarks.memory import BYTES_PER_MB
from dermedge.benchmarks.status_line import show_status
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.edge.cli.arguments import Parser, positive_int
from dermedge.edge.errors import DataError, MissingExtra
from dermedge.edge.files import check_writable
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.preprocess import to_input

__all__ = [
    "PHOTO_SERIES",
    "SIZE",
    "SMALL_SIZE",
    "accuracy",
    "audit",
    "latency",
    "main",
    "photos",
    "training",
]

_EXTRAS = {"matplotlib": "benchmark", "tensorflow": "train"}
_SIZES = (96, 128, 160, 192, 224, 256)
_WIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
SIZE, SMALL_SIZE = 192, 128
_RUN_LENGTH = RunLength(num_runs=512, min_secs=10.0, max_secs=150.0)
_TRAINING_COUNTS = (256, 512, 1024, 2048)
_AUDIT_COUNTS = (500, 1000, 2000, 4000)
_PHOTO_COUNTS, _PHOTOS_PER_EPOCH = (2000, 25000), 1024
# The key is the name of a series of the command ``photos``. The value is the name that `training_costs` gives to the
# measured quantity, and the unit of the quantity.
PHOTO_SERIES = {
    "reading all photos for the catalogue": ("reading_s", "s"),
    "searching for duplicates": ("comparing_s", "s"),
    "decoding into the cache": ("decoding_s", "s"),
    "rate of decoding into the cache": ("decoding", "photos/s"),
    "second start": ("start_s", "s"),
    "second start, resumed": ("resumed_s", "s"),
    "rate of the pipeline alone": ("pipeline", "photos/s"),
    "rate of training": ("training", "photos/s"),
    "peak memory, catalogue": ("catalogue_peak_mb", "MB"),
    "peak memory, whole training": ("peak_mb", "MB"),
    "cache on disk": ("cache_mb", "MB"),
}
# A photo needs this many bytes of disk space. They hold the decoded image, and the texture that is stored during the
# search for duplicates.
_CACHED_BYTES = TRAINING_SIZE**2 * 3 + 8192
_BYTES_PER_KB = 1e3
_SCORES = {
    "balanced_accuracy": "balanced accuracy",
    "melanoma_sensitivity": "melanoma sensitivity at 90 % specificity",
}
# A quantity that is varied. The tuple holds the name of the quantity, the description, and the measurements to make.
# A measurement has three parts: the value of the quantity, the network, and the number of threads.
_Varied = tuple[str, str, list[tuple[float, NetworkShape, int]]]


def main(argv: Sequence[str]) -> int:
    """Runs one of the commands, and writes and prints the result; returns the exit status."""
    options = _parse(argv)
    for package, extra in _EXTRAS.items():
        if util.find_spec(package) is None:
            raise MissingExtra(package, extra)
    check_writable(options.output)
    company = OtherProcesses()
    found = options.measure(options)
    others = company.busy_cores()
    if others is not None and others > MAX_OTHERS_CORES:
        found = replace(
            found,
            notes=(
                *found.notes,
                f"do not rely on these results: {NOISY}: other processes kept {others:.2f} cores busy",
            ),
        )
    found = replace(found, notes=(*found.notes, machine_line(), DISCLAIMER))
    show_status("")
    save(found, options.output)
    print("\n".join(["", table(found).to_text(), "", *found.notes]))
    return 0


def latency(options: argparse.Namespace) -> GrowthResult:
    """Times networks of several input sizes and widths, on several numbers of threads. The networks run alternately."""
    frames, origin = frames_of_source(options.source)
    cores = [count for count in (1, 2, 4, 8) if count <= (os.cpu_count() or 1)]
    base = NetworkShape(options.arch, SIZE)
    sizes = [replace(base, size=size) for size in options.sizes]
    widths = [NetworkShape(options.arch, SMALL_SIZE, width) for width in options.widths]
    wanted = dict.fromkeys(
        [*((shape, 1) for shape in (*sizes, *widths)), *((base, count) for count in cores)]
    )
    times, bytes_of = _time_untrained(list(wanted), frames, options.run_length)
    varied: list[_Varied] = [
        ("input size", "side of the input, pixels", [(shape.size, shape, 1) for shape in sizes]),
        ("width", "width multiplier", [(shape.width, shape, 1) for shape in widths]),
        ("threads", "threads", [(count, base, count) for count in cores]),
    ]
    points, x_names = _series_of(varied, times, bytes_of)
    runs = times[base, 1].total.n
    notes = (
        f"{options.arch} in int8 with random weights. Each series varies one quantity. The others are one thread, "
        f"inputs of {SIZE} pixels and the width multiplier 1. If the width multiplier varies, the inputs have "
        f"{SMALL_SIZE} pixels.",
        f"Medians of {runs} runs on {origin}. The networks were measured alternately.",
    )
    title = "Latency and file size against input size, width multiplier and threads"
    return GrowthResult("latency", title, tuple(points), x_names, notes)


def _time_untrained(
    wanted: Sequence[tuple[NetworkShape, int]], frames: Frames, run_length: RunLength
) -> tuple[dict[tuple[NetworkShape, int], Latency], dict[NetworkShape, int]]:
    """Times networks with random weights. The networks run alternately.

    Args:
        wanted: pairs of a network and a number of threads.
        frames: frames for the measurement.
        run_length: duration of the measurement.

    Returns:
        Two dicts. The first holds the latency of each network with each number of threads. The second holds the file
        size of each network in bytes.
    """
    with TemporaryDirectory() as made, ExitStack() as stack:
        files: dict[NetworkShape, Path] = {}
        for shape in dict.fromkeys(shape for shape, _ in wanted):
            show_status(f"making {shape.name}")
            files[shape] = write_random_network(shape, Path(made))
        opened = [stack.enter_context(Classifier(files[shape], num_threads=count)) for shape, count in wanted]
        measured = measure(opened, frames, run_length, show_status)
        times = dict(zip(wanted, measured.latencies, strict=True))
        return times, {shape: path.stat().st_size for shape, path in files.items()}


def _series_of(
    varied: Sequence[_Varied],
    times: dict[tuple[NetworkShape, int], Latency],
    bytes_of: dict[NetworkShape, int],
) -> tuple[list[GrowthPoint], dict[str, str]]:
    """Returns the points of all series, and for each series a description of the quantity that varies.

    There is no series of the file size by threads, because the file size does not depend on the threads.
    """
    points: list[GrowthPoint] = []
    x_names: dict[str, str] = {}
    for name, x_name, steps in varied:
        for part, what in (("invoke", "inference"), ("total", "frame to decision")):
            series = f"{what} by {name}"
            x_names[series] = x_name
            for x, shape, count in steps:
                spread = getattr(times[shape, count], part)
                points.append(GrowthPoint(series, x, spread.median, spread.low, spread.high, "ms"))
        if name != "threads":
            series = f"file size by {name}"
            x_names[series] = x_name
            for x, shape, _ in steps:
                size_mb = bytes_of[shape] / BYTES_PER_MB
                points.append(GrowthPoint(series, x, size_mb, size_mb, size_mb, "MB"))
    return points, x_names


def training(options: argparse.Namespace) -> GrowthResult:
    """Times an epoch of training on increasing numbers of photos. The first step is not included."""
    import tf_keras as keras

    import dermedge.train  # noqa: F401 - chooses Keras 2 before TensorFlow is imported
    from dermedge.train.data.catalogue import read_catalogue
    from dermedge.train.fit.batches import TrainingBatches
    from dermedge.train.fit.distribution import share_batches
    from dermedge.train.fit.loss import adjusted_loss
    from dermedge.train.fit.networks import build_network

    import tensorflow as tf  # isort: skip

    photos = [photo for photo in read_catalogue(options.data) if photo.split == "train"]
    counts = _counts(options.counts, len(photos), str(options.data))
    order = np.random.default_rng(0).permutation(len(photos))[: counts[-1]]
    sampled = [photos[index] for index in order]
    pixels = _decode([Path(photo.path) for photo in sampled])
    classes = sorted({photo.label for photo in photos})
    model = build_network(ARCHITECTURE, TRAINING_SIZE, len(classes))
    strategy = tf.distribute.get_strategy()
    compiled = False
    points = []
    for count in (BATCH, *counts):  # the epoch of one batch traces the graph, and is not counted
        batches = TrainingBatches(
            pixels[:count],
            sampled[:count],
            classes,
            batch_size=BATCH,
            photos_per_epoch=count + BATCH // 2,  # the sampling may return slightly fewer photos
            seed=0,
            epoch=0,
        )
        if not compiled:
            model.compile(keras.optimizers.AdamW(1e-5), adjusted_loss(batches.shares), metrics=["accuracy"])
            compiled = True
        show_status(f"an epoch of {count} photos")
        began = perf_counter()
        model.fit(share_batches(batches, strategy), steps_per_epoch=len(batches), verbose=0)
        secs = perf_counter() - began
        points.append(GrowthPoint("an epoch by photos", len(batches) * BATCH, secs, secs, secs, "s"))
    notes = (
        f"{ARCHITECTURE} at {TRAINING_SIZE} pixels, batches of {BATCH} photos, float stage, with augmentation. One "
        "process trains one epoch for each number of photos. The time does not include the decoding, the very first "
        "step or a validation.",
    )
    title = "Time of an epoch of training against the number of photos"
    return GrowthResult("training", title, tuple(points[1:]), {"an epoch by photos": "photos"}, notes)


def _decode(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Returns the photos as network inputs, uint8 [N, TRAINING_SIZE, TRAINING_SIZE, 3] RGB."""
    pixels = np.empty((len(paths), TRAINING_SIZE, TRAINING_SIZE, 3), np.uint8)
    for place, path in enumerate(paths):
        show_status(f"decoding photo {place + 1} of {len(paths)}")
        pixels[place] = to_input(read_picture(path), TRAINING_SIZE)
    return pixels


def audit(options: argparse.Namespace) -> GrowthResult:
    """Times the audit of increasing numbers of photos, which are sampled from all photos of a folder."""
    from dermedge.train.data.audit.run import run_audit

    paths = find_photo_files(options.photos) if options.photos.is_dir() else []
    if not paths:
        raise DataError(f"'{options.photos}' is not a folder with photos; name a folder of photos")
    asked = options.counts or [*(count for count in _AUDIT_COUNTS if count < len(paths)), len(paths)]
    counts = _counts(asked, len(paths), str(options.photos))
    order = np.random.default_rng(0).permutation(len(paths))
    points = []
    for count in counts:
        with TemporaryDirectory() as made:
            _link([paths[index] for index in order[:count]], options.photos, Path(made))
            show_status(f"auditing {count} photos")
            began = perf_counter()
            run_audit([Path(made)])
            secs = perf_counter() - began
        points.append(GrowthPoint("audit by photos", count, secs, secs, secs, "s"))
    notes = (
        f"`run_audit` on photos that are sampled from the {len(paths)} photos of the folder, once for each number of "
        "photos. Files may be in the page cache. A power law has no term for the constant cost of the start.",
    )
    title = "Time of `dermedge data audit` against the number of photos"
    return GrowthResult("audit", title, tuple(points), {"audit by photos": "photos"}, notes)


def photos(options: argparse.Namespace) -> GrowthResult:
    """Measures time and memory of training on small and large numbers of synthetic photos."""
    from dermedge.train.data.catalogue import NONE_OF_THESE
    from dermedge.train.data.scoring import labelled_photos

    originals = labelled_photos(options.photos, (NONE_OF_THESE,))
    counts = sorted(options.counts)
    options.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".photos-", dir=options.output) as made:
        all_photos = Path(made) / "photos"
        check_room(originals, counts[-1], _CACHED_BYTES, Path(made))
        paths = make_photos(originals, all_photos, counts[-1], _told("making photo"))
        points = []
        for count in counts:
            folder = Path(made) / str(count)
            _link(paths[:count], all_photos, folder / "photos")
            points += _starts(folder, count, options.photos_per_epoch)
            rmtree(folder)
        size_kb = sum(path.stat().st_size for path in paths) / len(paths) / _BYTES_PER_KB
    notes = (
        f"JPEG photos of {WIDTH}x{HEIGHT} pixels and {size_kb:.0f} kB, synthesized from {len(originals)} real photos "
        "by `synthetic_photos`. Each photo is a lesion of its own. A smaller set of photos is the first part of a "
        "larger set.",
        f"{ARCHITECTURE} at {TRAINING_SIZE} pixels with random weights, batches of {BATCH} photos. Of two epochs of "
        f"{options.photos_per_epoch} photos, the second is timed. Each start is a new process. Its memory includes "
        "TensorFlow and memory-mapped files.",
        "second start: the time before the first step of another training on the same photos. resumed: the time before "
        "the first step when the other training is resumed.",
    )
    ordered = tuple(sorted(points, key=lambda point: list(PHOTO_SERIES).index(point.series)))
    title = "Training on few and on many photos"
    return GrowthResult(
        "photos", title, ordered, dict.fromkeys(PHOTO_SERIES, "photos"), notes, fitted=False, from_zero=True
    )


def _starts(folder: Path, count: int, photos_per_epoch: int) -> list[GrowthPoint]:
    """Measures a first and a second start of a training on the ``count`` photos in ``folder``.

    Returns a point for each series of `PHOTO_SERIES`.
    """
    show_status(f"training on {count} photos")
    first = call_in_child(first_start, folder / "photos", folder / "first", photos_per_epoch)
    show_status(f"starting again on {count} photos")
    again = call_in_child(second_start, folder / "photos", folder / "again", photos_per_epoch)
    figures = {
        **first,
        "decoding": first["decoded"] / first["decoding_s"],
        **{name: again[name] for name in ("start_s", "resumed_s")},
    }
    return [
        GrowthPoint(series, count, figures[name], figures[name], figures[name], unit)
        for series, (name, unit) in PHOTO_SERIES.items()
    ]


def _link(paths: Sequence[Path], root: Path, folder: Path) -> None:
    """Makes a link in ``folder`` to each file of ``paths``.

    The path of the link, relative to ``folder``, equals the path of the file, relative to ``root``.
    """
    for path in paths:
        link = folder / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _told(what: str) -> Callable[[int, int], None]:
    return lambda done, total: show_status(f"{what} {done} of {total}")


def accuracy(options: argparse.Namespace) -> GrowthResult:
    """Scores trained .tflite files with several input sizes."""
    check_different(options.models)
    with ExitStack() as stack:
        opened = [stack.enter_context(Classifier(path)) for path in options.models]
        opened.sort(key=lambda classifier: classifier.input_size)
        photos = find_photos(options.data, common_labels(opened), options.split, options.max_photos)
        scores = score(opened, photos, show_status)
        sizes = [classifier.input_size for classifier in opened]
    points, x_names = [], {}
    for name in ("balanced_accuracy", "melanoma_sensitivity"):
        series = f"{_SCORES[name]} by input size"
        told = [
            (size, found)
            for size, one in zip(sizes, scores.models, strict=True)
            if (found := getattr(one, name))
        ]
        if told:
            x_names[series] = "side of the input, pixels"
            points += [GrowthPoint(series, size, one.value, one.low, one.high, "") for size, one in told]
    names = ", ".join(f"{one.path.stem} ({one.input_size})" for one in opened)
    notes = (
        f"files: {names}",
        f"{scores.models[0].photos} photos of {scores.models[0].lesions} lesions, split {options.split}; "
        "95 % confidence intervals, which count lesions; no power law is fitted, because accuracy cannot exceed 1",
    )
    return GrowthResult(
        "accuracy", "Accuracy against input size", tuple(points), x_names, notes, fitted=False
    )


def _counts(asked: Sequence[int], there: int, where: str) -> list[int]:
    """Returns the requested numbers of photos in rising order.

    Args:
        asked: the requested numbers.
        there: number of photos that exist.
        where: name of the folder or catalogue with the photos.

    Raises:
        DataError: more photos are requested than exist.
    """
    counts = sorted(asked)
    if counts[-1] > there:
        raise DataError(
            f"'{where}' has only {there} photos, fewer than {counts[-1]}; give smaller numbers with --counts"
        )
    return counts


def _numbers(kind: Any) -> Any:
    """Returns an argparse type that parses positive numbers, separated by commas. ``kind`` is ``int`` or ``float``."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or min(values) <= 0:
            raise argparse.ArgumentTypeError(f"'{text}' is not a list of positive numbers, such as 1,2,4")
        return values

    return read


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "growth", "Measure how cost and accuracy grow with the size of the network and the number of photos."
    )
    commands = parser.add_subparsers(required=True, parser_class=Parser, metavar="COMMAND")
    for name, (purpose, add_options) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            allow_abbrev=False,
            formatter_class=parser.formatter_class,
        )
        add_options(command)
        command.add_argument(
            "--output", type=Path, required=True, help="write the CSV, plot and page into this folder"
        )
    return parser.parse_args(argv)


def _add_latency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        help="measure on frames of this source: a photo, a folder of photos, a video, a camera, or demo for generated "
        "frames",
    )
    parser.add_argument("--arch", default=ARCHITECTURE, help="measure networks of this architecture")
    parser.add_argument(
        "--sizes",
        type=_numbers(int),
        default=_SIZES,
        help="measure networks with these input sizes in pixels, separated by commas",
    )
    parser.add_argument(
        "--widths",
        type=_numbers(float),
        default=_WIDTHS,
        help="measure networks with these width multipliers, separated by commas",
    )
    parser.set_defaults(measure=latency, run_length=_RUN_LENGTH)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="train on the photos of this catalogue.csv")
    _add_counts(parser, _TRAINING_COUNTS)
    parser.set_defaults(measure=training)


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="audit the photos of this folder")
    _add_counts(parser, None)
    parser.set_defaults(measure=audit)


def _add_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", type=Path, metavar="PHOTOS", help="make the synthetic photos from the photos of this folder"
    )
    _add_counts(parser, _PHOTO_COUNTS)
    parser.add_argument(
        "--photos-per-epoch",
        type=positive_int,
        default=_PHOTOS_PER_EPOCH,
        help="train on this many photos per epoch",
    )
    parser.set_defaults(measure=photos)


def _add_accuracy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="score these .tflite files")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="score on the photos of this catalogue.csv, or of this folder with a subfolder for each class",
    )
    parser.add_argument("--split", choices=("val", "test"), help="score on this split of the catalogue.csv")
    parser.add_argument("--max-photos", type=positive_int, help="score on at most this many photos")
    parser.set_defaults(measure=accuracy)


def _add_counts(parser: argparse.ArgumentParser, default: tuple[int, ...] | None) -> None:
    without = "" if default else ". Without this option, measure 500, 1000, 2000, 4000 and all photos"
    parser.add_argument(
        "--counts",
        type=_numbers(int),
        default=default,
        help=f"measure once with each of these numbers of photos, separated by commas{without}",
    )


# The name of each command, with the purpose of the command and the function that adds the options.
_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "latency": (
        "measure latency and file size against input size, width multiplier and threads",
        _add_latency,
    ),
    "training": ("time an epoch of training against the number of photos", _add_training),
    "audit": ("time the audit against the number of photos", _add_audit),
    "photos": ("measure time and memory of training on small and large numbers of photos", _add_photos),
    "accuracy": ("score trained .tflite files with several input sizes", _add_accuracy),
}
