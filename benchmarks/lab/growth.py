"""How cost grows: latency and size of a network, the time of training and audit, and what accuracy they buy.

    python -m dermedge.benchmarks.lab growth latency --source photos/ --output DIR
    python -m dermedge.benchmarks.lab growth training --data catalogue.csv --output DIR
    python -m dermedge.benchmarks.lab growth audit photos/ --output DIR
    python -m dermedge.benchmarks.lab growth photos photos/ --counts 2000,25000 --output DIR
    python -m dermedge.benchmarks.lab growth accuracy A.tflite B.tflite --data catalogue.csv --split val --output DIR

Each writes what it measured as CSV, a plot, and a page with the power laws fitted to it. The networks of
``latency`` are built by `dermedge.train.fit.networks` and converted by `convert`; they are untrained: their times and
sizes are those of trained ones, their answers mean nothing. Needs the extras ``train`` and ``benchmark``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import util
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from dermedge import DISCLAIMER
from dermedge.benchmarks.accuracy import find_photos, score
from dermedge.benchmarks.arguments import check_different
from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.conditions import OtherProcesses
from dermedge.benchmarks.frames import Frames, frames_of_source
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.power_law import PowerLaw, fit
from dermedge.benchmarks.lab.random_networks import NetworkShape, write_random_network
from dermedge.benchmarks.lab.synthetic_photos import HEIGHT, WIDTH, check_room, make_photos
from dermedge.benchmarks.lab.training_costs import ARCHITECTURE, BATCH, first_start, second_start
from dermedge.benchmarks.lab.training_costs import SIZE as TRAINING_SIZE
from dermedge.benchmarks.latency import Latency, RunLength, measure
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import BYTES_PER_MB
from dermedge.benchmarks.plot import plain_axes
from dermedge.benchmarks.status_line import show_status
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.edge.cli.arguments import Parser, positive_int
from dermedge.edge.errors import DataError, MissingExtra
from dermedge.edge.files import check_writable, write_beside, write_text
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.photos import find_pictures, read_picture
from dermedge.edge.preprocess import to_input
from dermedge.edge.text_table import NOT_MEASURED, TextTable, csv_of

__all__ = [
    "PHOTO_SERIES",
    "SIZE",
    "SMALL_SIZE",
    "GrowthPoint",
    "GrowthResult",
    "accuracy",
    "audit",
    "latency",
    "main",
    "photos",
    "table",
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
# Series of ``photos`` -> the figure of `many_photos` that it is, and its unit.
PHOTO_SERIES = {
    "reading all photos for the catalogue": ("reading_s", "s"),
    "looking for copies among them": ("comparing_s", "s"),
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
# Of a photo: its decoded picture, and its texture while copies are looked for.
_CACHED_BYTES = TRAINING_SIZE**2 * 3 + 8192
_BYTES_PER_KB = 1e3
_PANEL_INCHES = 4.4
_DPI = 130
# Above and below the points, a factor.
_ROOM = 1.15
_SCORES = {
    "balanced_accuracy": "balanced accuracy",
    "melanoma_sensitivity": "melanoma sensitivity at 90 % specificity",
}
# What varies, what x is, and of each step x, the network and its threads.
_Varied = tuple[str, str, list[tuple[float, NetworkShape, int]]]
_COLOUR, _FIT_COLOUR = "#0072b2", "#444444"


@dataclass(frozen=True)
class GrowthPoint:
    """One measurement.

    Attributes:
        series: what was varied, and what was measured, such as ``invoke by input size``.
        x: how much of the varied thing.
        cost: measured.
        low: lower end of the 95 % interval of the cost, or the cost itself where there is none.
        high: its upper end.
        unit: of the cost.
    """

    series: str
    x: float
    cost: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class GrowthResult:
    """What one command found.

    Attributes:
        name: of the command, and of its files.
        title: of the page, a sentence.
        points: all series, each by rising x.
        x_names: of each series, what x is.
        notes: what the figures hold for, a line each.
        fitted: whether power laws say anything of them.
        from_zero: whether the plots begin at 0, so that what does not grow is seen not to.
    """

    name: str
    title: str
    points: tuple[GrowthPoint, ...]
    x_names: dict[str, str]
    notes: tuple[str, ...]
    fitted: bool = True
    from_zero: bool = False

    def of(self, series: str) -> list[GrowthPoint]:
        """The points of one series."""
        return [point for point in self.points if point.series == series]

    def law(self, series: str) -> PowerLaw | None:
        """The power law of one series, or None of too few points or where none is fitted."""
        points = self.of(series)
        return fit([one.x for one in points], [one.cost for one in points]) if self.fitted else None


def main(argv: Sequence[str]) -> int:
    """Measures, writes and prints; returns the exit status."""
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
            found, notes=(*found.notes, f"not to be relied on: {NOISY}: others kept {others:.2f} cores busy")
        )
    found = replace(found, notes=(*found.notes, _machine(), DISCLAIMER))
    show_status("")
    _save(found, options.output)
    print("\n".join(["", table(found).to_text(), "", *found.notes]))
    return 0


def latency(options: argparse.Namespace) -> GrowthResult:
    """Networks of several sizes and widths, and numbers of threads, timed in turn."""
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
        ("width", "factor of the filters", [(shape.width, shape, 1) for shape in widths]),
        ("threads", "threads", [(count, base, count) for count in cores]),
    ]
    points, x_names = _series_of(varied, times, bytes_of)
    runs = times[base, 1].total.n
    notes = (
        f"{options.arch}, int8, one thread, {SIZE} pixels and width 1 unless that is what varies; widths at "
        f"{SMALL_SIZE} pixels; weights that nobody trained, which makes no difference to time and size",
        f"medians of {runs} runs, networks in turn, on {origin}",
    )
    title = "Latency and file size against input size, width and threads"
    return GrowthResult("latency", title, tuple(points), x_names, notes)


def _time_untrained(
    wanted: Sequence[tuple[NetworkShape, int]], frames: Frames, run_length: RunLength
) -> tuple[dict[tuple[NetworkShape, int], Latency], dict[NetworkShape, int]]:
    """The times of networks at numbers of threads, all in turn, and the bytes of their files."""
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
    """The points of all series, and what x is in each; threads make no difference to the size."""
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
    """One epoch of training on more and more photos, without the start of TensorFlow and the first step."""
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
    chosen = [photos[index] for index in order]
    pixels = np.empty((len(chosen), TRAINING_SIZE, TRAINING_SIZE, 3), np.uint8)
    for place, photo in enumerate(chosen):
        show_status(f"decoding photo {place + 1} of {len(chosen)}")
        pixels[place] = to_input(read_picture(Path(photo.path)), TRAINING_SIZE)
    classes = sorted({photo.label for photo in photos})
    model = build_network(ARCHITECTURE, TRAINING_SIZE, len(classes))
    strategy = tf.distribute.get_strategy()
    compiled = False
    points = []
    for count in (BATCH, *counts):  # the first traces the graph, and is not counted
        batches = TrainingBatches(
            pixels[:count],
            chosen[:count],
            classes,
            batch_size=BATCH,
            photos_per_epoch=count + BATCH // 2,  # a draw may be some photos short
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
        f"{ARCHITECTURE} at {TRAINING_SIZE} pixels, batches of {BATCH}, the float stage, augmentation "
        "included; one epoch each, in one process, without its start, decoding, first step and validation",
    )
    title = "Time of an epoch of training against the number of photos"
    return GrowthResult("training", title, tuple(points[1:]), {"an epoch by photos": "photos"}, notes)


def audit(options: argparse.Namespace) -> GrowthResult:
    """The audit of more and more photos, drawn at random from all."""
    from dermedge.train.data.audit.run import run_audit

    paths = find_pictures(options.photos) if options.photos.is_dir() else []
    if not paths:
        raise DataError(f"there is no picture in '{options.photos}'")
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
        f"`run_audit` on photos drawn from the {len(paths)} of --photos, once each, files in the "
        "page cache or not as it came; a power law leaves out what a start costs",
    )
    title = "Time of `dermedge data audit` against the number of photos"
    return GrowthResult("audit", title, tuple(points), {"audit by photos": "photos"}, notes)


def photos(options: argparse.Namespace) -> GrowthResult:
    """A training on few and on many photos of a camera's size, made of real ones: only time may grow."""
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
        f"JPEG photos of {WIDTH}x{HEIGHT}, {size_kb:.0f} kB each, made of {len(originals)} real ones as "
        "`benchmarks/made_photos.py` tells, each its own lesion; the first ones of more are the fewer",
        f"{ARCHITECTURE} at {TRAINING_SIZE} pixels from no weights, batches of {BATCH}; two epochs of "
        f"{options.photos_per_epoch} photos, the second timed; a process for each start; its memory is all "
        "that it has, TensorFlow and what it maps of files included; it has threads and no children",
        "second start: another training on the same photos, or a stopped one, up to its first step",
    )
    ordered = tuple(sorted(points, key=lambda point: list(PHOTO_SERIES).index(point.series)))
    title = "Training on few and on many photos"
    return GrowthResult(
        "photos", title, ordered, dict.fromkeys(PHOTO_SERIES, "photos"), notes, fitted=False, from_zero=True
    )


def _starts(folder: Path, count: int, photos_per_epoch: int) -> list[GrowthPoint]:
    """The series of ``PHOTO_SERIES`` for the photos in ``folder``."""
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
    """Links to ``paths`` in ``folder``, where they lie below ``root``."""
    for path in paths:
        link = folder / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _told(what: str) -> Callable[[int, int], None]:
    return lambda done, total: show_status(f"{what} {done} of {total}")


def accuracy(options: argparse.Namespace) -> GrowthResult:
    """Balanced accuracy and melanoma sensitivity of trained files against their input size."""
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
            (size, found) for size, one in zip(sizes, scores, strict=True) if (found := getattr(one, name))
        ]
        if told:
            x_names[series] = "side of the input, pixels"
            points += [GrowthPoint(series, size, one.value, one.low, one.high, "") for size, one in told]
    names = ", ".join(f"{one.path.stem} ({one.input_size})" for one in opened)
    notes = (
        f"files: {names}",
        f"{scores[0].photos} photos of {scores[0].lesions} lesions, split {options.split}; 95 % intervals by "
        "bootstrap over lesions; a law is not fitted, since accuracy ends at 1",
    )
    return GrowthResult(
        "accuracy", "Accuracy against input size", tuple(points), x_names, notes, fitted=False
    )


def table(found: GrowthResult) -> TextTable:
    """One line a series: its law, where laws are fitted, and its ends."""
    rows = []
    for series in found.x_names:
        points = found.of(series)
        ends = (
            f"{_figure(one.cost)} {one.unit}".rstrip() + f" at {one.x:g}" for one in (points[0], points[-1])
        )
        rows.append((series, *(_law_cells(found.law(series)) if found.fitted else ()), *ends))
    law_head = ("exponent", "95 % interval", "R²") if found.fitted else ()
    meaning = " exponent: of the power law fitted to the logarithms." if found.fitted else ""
    return TextTable(f"{found.title}.{meaning}", ("series", *law_head, "first", "last"), tuple(rows))


def _figure(cost: float) -> str:
    """Three digits, or all before the point."""
    return f"{cost:.3g}" if cost < 1000 else f"{cost:.0f}"


def _law_cells(law: PowerLaw | None) -> tuple[str, ...]:
    if law is None:
        return (NOT_MEASURED,) * 3
    exponent, low, high = (round(one, 2) + 0.0 for one in (law.exponent, law.low, law.high))
    return f"{exponent:.2f}", f"[{low:.2f}, {high:.2f}]", f"{law.r_squared:.3f}"


def _to_csv(found: GrowthResult) -> str:
    """One line a point."""
    return csv_of(list(GrowthPoint.__dataclass_fields__), map(asdict, found.points))


def _save(found: GrowthResult, folder: Path) -> None:
    """Writes NAME.csv, NAME.md and NAME.png, each whole or not at all; raises StorageError."""
    write_text(folder / f"{found.name}.csv", _to_csv(found))
    notes = "\n".join(f"- {note}" for note in found.notes)
    page = [f"# {found.title}", table(found).to_markdown(), notes, f"![{found.title}]({found.name}.png)"]
    write_text(folder / f"{found.name}.md", "\n\n".join(page) + "\n")
    _save_plot(found, folder / f"{found.name}.png")


def _save_plot(found: GrowthResult, path: Path) -> None:
    """Draws each series in a panel of its own, with its law; raises StorageError."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    columns = min(2, len(found.x_names))
    rows = -(-len(found.x_names) // columns)
    size = (_PANEL_INCHES * columns, 0.75 * _PANEL_INCHES * rows + 0.4)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (series, x_name) in zip(panels, found.x_names.items(), strict=False):
        points, law = found.of(series), found.law(series)
        x = [point.x for point in points]
        for point in points:
            axes.plot([point.x] * 2, [point.low, point.high], color=_COLOUR, linewidth=1.5, alpha=0.6)
        axes.plot(x, [point.cost for point in points], "o", color=_COLOUR, markersize=5)
        if found.fitted:
            axes.set(xscale="log", yscale="log")
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:.3g}"))
            # what hardly varies is drawn as such
            axes.set_ylim(min(one.low for one in points) / _ROOM, max(one.high for one in points) * _ROOM)
        elif found.from_zero:
            axes.set_ylim(0, max(one.high for one in points) * _ROOM)
        if law:
            line = np.geomspace(x[0], x[-1], 50)
            axes.plot(line, [law(at) for at in line], "--", color=_FIT_COLOUR, linewidth=1)
        axes.set_xticks(x, [f"{at:g}" for at in x])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=7, which="both")
        axes.set_xlabel(x_name, fontsize=8)
        axes.set_ylabel(points[0].unit, fontsize=8)
        axes.set_title(f"{series}\n{law}" if law else series, loc="left", fontsize=8)
        plain_axes(axes, which="both")
    for axes in panels[len(found.x_names) :]:
        axes.set_visible(False)
    figure.supxlabel(_machine(), fontsize=7, color="#666666")
    with write_beside(path) as part:
        figure.savefig(part)


def _counts(asked: Sequence[int], there: int, where: str) -> list[int]:
    """The numbers of photos, rising.

    Raises:
        DataError: there are fewer.
    """
    counts = sorted(asked)
    if counts[-1] > there:
        raise DataError(f"'{where}' has {there} photos to measure on, and {counts[-1]} were asked for")
    return counts


def _machine() -> str:
    machine = describe_machine("litert")
    return f"{machine.cpu}, {machine.cores} cores, {machine.runtime}, {datetime.now(UTC):%Y-%m-%d}"


def _numbers(kind: Any) -> Any:
    """An argparse type: a list with commas."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or min(values) <= 0:
            raise argparse.ArgumentTypeError(f"'{text}' is no list of positive numbers, such as 1,2,4")
        return values

    return read


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser("growth", "How latency, size, training, audit and accuracy grow.")
    commands = parser.add_subparsers(required=True, parser_class=Parser, metavar="COMMAND")
    one = commands.add_parser("latency", help="against input size, width and threads", allow_abbrev=False)
    one.add_argument("--source", help="what to show: photos, a video, a camera, or demo")
    one.add_argument("--arch", default=ARCHITECTURE, help="of the networks")
    one.add_argument("--sizes", type=_numbers(int), default=_SIZES, help="sides of the input in pixels")
    one.add_argument("--widths", type=_numbers(float), default=_WIDTHS, help="factors of the filters")
    one.set_defaults(measure=latency, run_length=_RUN_LENGTH)
    one = commands.add_parser("training", help="an epoch against the number of photos", allow_abbrev=False)
    one.add_argument("--data", type=Path, required=True, help="a catalogue.csv")
    one.add_argument("--counts", type=_numbers(int), default=_TRAINING_COUNTS, help="numbers of photos")
    one.set_defaults(measure=training)
    one = commands.add_parser("audit", help="against the number of photos", allow_abbrev=False)
    one.add_argument("photos", type=Path, metavar="PHOTOS", help="a folder of photos")
    one.add_argument("--counts", type=_numbers(int), help="numbers of photos; without it, up to all")
    one.set_defaults(measure=audit)
    one = commands.add_parser("photos", help="a training on few and on many photos", allow_abbrev=False)
    one.add_argument("photos", type=Path, metavar="PHOTOS", help="labelled ones, to make more of")
    one.add_argument("--counts", type=_numbers(int), default=_PHOTO_COUNTS, help="numbers of photos")
    one.add_argument(
        "--photos-per-epoch", type=positive_int, default=_PHOTOS_PER_EPOCH, help="the same for all counts"
    )
    one.set_defaults(measure=photos)
    one = commands.add_parser("accuracy", help="of trained files against input size", allow_abbrev=False)
    one.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=".tflite files of several sizes")
    one.add_argument("--data", type=Path, required=True, help="a catalogue.csv, or a folder per class")
    one.add_argument("--split", choices=("val", "test"), help="of a catalogue.csv")
    one.add_argument("--max-photos", type=positive_int, help="score on so many, drawn evenly over classes")
    one.set_defaults(measure=accuracy)
    for command in commands.choices.values():
        command.add_argument("--output", type=Path, required=True, help="a folder for what is written")
    return parser.parse_args(argv)
