"""`dermedge benchmark`: accuracy, latency and memory of .tflite files side by side."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dermedge.benchmarks import compare, soak
from dermedge.benchmarks.accuracy import Accuracy, find_photos, score
from dermedge.benchmarks.arguments import check_different, seconds
from dermedge.benchmarks.energy import energy_mj, find_meter
from dermedge.benchmarks.frames import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    GENERATED,
    Frames,
    frames_of_pictures,
    frames_of_source,
)
from dermedge.benchmarks.latency import Latency, RunLength, ShowProgress, measure
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import ColdStart, cold_start
from dermedge.benchmarks.plot import check_plot, save_plot
from dermedge.benchmarks.profile import Profile, profile
from dermedge.benchmarks.progress import progress_cleared, show_progress
from dermedge.benchmarks.report import BenchmarkReport, ModelResult, save, to_json, to_text
from dermedge.benchmarks.verdict import faults_of_run
from dermedge.benchmarks.whole_loop import LOOP_S, LoopTimes, OpenSource, measure_loop, source_opener
from dermedge.edge.cli.arguments import Parser, make_parser, positive_int, read_labels, whole
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_writable
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.model.flatbuffer import tflite_schema
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_argument, model_path
from dermedge.edge.sources.camera import without_password

DEFAULT_RUN_LENGTH = RunLength()
STOPPED = 130


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to measure, and how.

    Attributes:
        models: .tflite files, all different.
        num_threads: one row a model for each.
        runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        labels: class names for files without a manifest.
        data: a folder with a folder per class, or a run's catalogue.csv; None leaves accuracy out.
        split: val or test, for a catalogue.
        max_photos: score on so many, drawn evenly over the classes; None takes all.
        source: what the latency is taken on, as `open_source` takes it; None takes ``data``.
        rules: how long to measure.
        profile: whether to time each op too.
        tta: whether to measure each model once more with test-time augmentation, as a row of its own.
        command: to be written into the report.
    """

    models: tuple[Path, ...]
    num_threads: tuple[int, ...] = (1,)
    runtime: str = "auto"
    labels: tuple[str, ...] | None = None
    data: Path | None = None
    split: str | None = None
    max_photos: int | None = None
    source: str | None = None
    run_length: RunLength = DEFAULT_RUN_LENGTH
    profile: bool = False
    tta: bool = False
    command: str = ""


@dataclass(frozen=True)
class MeasurementInput:
    """What the models are shown: frames to be timed on, a source for the loop, and the scores on photos."""

    frames: Frames
    origin: str
    open_again: OpenSource
    source: str
    scores: list[Accuracy] | None
    data: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes what was asked for; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["compare"]:
        return compare.main(given[1:])
    arguments = _parse(given)
    _check_before_running(arguments)
    command = shlex.join(["dermedge", "benchmark", *given])
    if arguments.soak:
        return _soak(_settings(arguments, command), arguments)
    with progress_cleared():
        report = benchmark(_settings(arguments, command), show_progress)
    try:
        _write(report, arguments.output, arguments.plot)
    finally:  # what took minutes is shown, even where it cannot be written
        print(to_json(report) if arguments.json else to_text(report))
    return 0


def benchmark(settings: BenchmarkSettings, progress: ShowProgress = lambda text: None) -> BenchmarkReport:
    """Opens all models, scores them, lets them take turns, and starts each in a process of its own.

    Raises:
        DermedgeError: a file, option or photo cannot be used; most is found before anything is measured.
    """
    check_different(settings.models)
    runtime = choose_runtime(settings.runtime)
    machine = describe_machine(runtime)
    pairs = [(model, threads) for model in settings.models for threads in settings.num_threads]
    with ExitStack() as stack:
        progress("loading the models")
        classifiers = _open_all(settings, runtime, stack)
        scoring = classifiers[:: len(settings.num_threads)]
        shown = _pictures(settings, scoring, progress)
        progress("latency: warming up")
        run = measure(classifiers, shown.frames, settings.run_length, progress)
        progress("energy")
        meter, energies = _energies(classifiers, shown.frames)
        loop_s = min(LOOP_S, settings.run_length.min_secs)
        loops = [measure_loop(shown.open_again, one, loop_s, progress) for one in classifiers]
    # neither the start nor an op depends on test-time augmentation
    starts = {pair: _cold_start(*pair, runtime, progress) for pair in pairs}
    profiles = {pair: _profile(*pair, runtime, progress) for pair in pairs if settings.profile}
    names = dict(zip(settings.models, short_names(settings.models), strict=True))
    scores = {(one.path, one.tta): found for one, found in zip(scoring, shown.scores or [], strict=False)}
    rows = tuple(
        _row(
            f"{names[one.path]} --tta" if one.tta else names[one.path],
            one,
            starts[one.path, one.num_threads],
            latency,
            loop,
            energy,
            profiles.get((one.path, one.num_threads)),
            scores.get((one.path, one.tta)),
        )
        for one, latency, loop, energy in zip(classifiers, run.latencies, loops, energies, strict=True)
    )
    return BenchmarkReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=settings.command,
        machine=machine,
        frames=shown.origin,
        source=shown.source,
        data=shown.data,
        warmup_runs=run.warmup_runs,
        secs=run.secs,
        harness=run.harness,
        others_cores=run.others_cores,
        meter=meter,
        conditions=run.conditions,
        faults=tuple(faults_of_run(run)),
        rows=rows,
    )


def _open_all(settings: BenchmarkSettings, runtime: str, stack: ExitStack) -> list[Classifier]:
    """One classifier a row; those of a model and its augmentation, which differ in threads, lie together."""
    return [
        stack.enter_context(Classifier(model, settings.labels, threads, runtime, tta))
        for model in settings.models
        for tta in ((False, True) if settings.tta else (False,))
        for threads in settings.num_threads
    ]


def short_names(models: Sequence[Path]) -> list[str]:
    """The files' names without .tflite, with as many of their folders as tell equal names apart."""
    plain = [model.resolve().with_suffix("") for model in models]
    for depth in range(1, max(len(path.parts) for path in plain)):
        names = ["/".join(path.parts[-depth:]) for path in plain]
        if len(set(names)) == len(names):
            return names
    return [str(model) for model in models]


def thread_counts(text: str) -> tuple[int, ...]:
    """An argparse type: whole numbers of 1 or more with commas between them, none twice."""
    counts = tuple(positive_int(part) for part in text.split(","))
    if len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(f"'{text}' has a number twice")
    return counts


def _write(report: BenchmarkReport, folder: Path | None, plot: Path | None) -> None:
    written = save(report, folder) if folder else []
    if plot:
        save_plot(report, plot)
        written.append(plot)
    _tell_written(written)


def _tell_written(paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


def _check_before_running(arguments: argparse.Namespace) -> None:
    """Raises DermedgeError for what would otherwise be found after minutes of measuring."""
    models = getattr(arguments, "models", (DEFAULT_MODEL,))
    if arguments.soak:
        if len(models) > 1 or len(arguments.num_threads) > 1:
            raise OptionError("--soak runs one model with one number of threads: give one of each")
        if arguments.data or arguments.profile or arguments.tta:
            raise OptionError("--soak takes --source, and neither --data nor --profile nor --tta")
    of_photos = ("split", "max_photos") if arguments.soak else ("split", "max_photos", "plot")
    for option in of_photos:
        if getattr(arguments, option) is not None and arguments.data is None:
            raise OptionError(f"--{option.replace('_', '-')} needs labelled photos: give --data too")
    if arguments.data is None and arguments.source is None:
        frames_of_source(None)
    if arguments.profile:
        tflite_schema()
    if arguments.output:
        check_writable(arguments.output)
    if arguments.plot:
        check_plot(arguments.plot)
        check_writable(arguments.plot.parent)


def _energies(classifiers: Sequence[Classifier], frames: Frames) -> tuple[str | None, list[float | None]]:
    """The name of the machine's meter, and millijoules a frame of each; None without a meter."""
    meter = find_meter()
    if meter is None:
        return None, [None] * len(classifiers)
    return meter.name, [*energy_mj(meter, classifiers, frames)]


def _cold_start(model: Path, threads: int, runtime: str, progress: ShowProgress) -> ColdStart:
    progress(f"start and memory: {model.name}")
    return cold_start(model, threads, runtime)


def _profile(model: Path, threads: int, runtime: str, progress: ShowProgress) -> Profile:
    progress(f"ops: {model.name}")
    return profile(model, threads, runtime)


def _row(
    name: str,
    classifier: Classifier,
    start: ColdStart,
    latency: Latency,
    loop: LoopTimes | None,
    energy_mj: float | None,
    ops: Profile | None,
    accuracy: Accuracy | None,
) -> ModelResult:
    """The figures of one model at one number of threads, with what its file tells."""
    return ModelResult(
        model=name,
        path=model_argument(classifier.path),
        sha256=digest(classifier.path),
        size_bytes=classifier.path.stat().st_size,
        quantization=classifier.manifest.quantization if classifier.manifest else None,
        input_size=classifier.input_size,
        num_threads=classifier.num_threads,
        start=start,
        latency=latency,
        loop=loop,
        energy_mj=energy_mj,
        profile=ops,
        accuracy=accuracy,
    )


def _pictures(
    settings: BenchmarkSettings, models: Sequence[Classifier], progress: ShowProgress
) -> MeasurementInput:
    """Scores these classifiers where there is data, and gathers the frames for the latency."""
    if settings.data is None:
        open_again, source = source_opener(settings.source, []), _named_source(settings)
        return MeasurementInput(*frames_of_source(settings.source), open_again, source, None, None)
    from dermedge.train.data.scoring import check_unlearned

    check_unlearned(settings.data, settings.split, models)
    photos = find_photos(settings.data, common_labels(models), settings.split, settings.max_photos)
    paths = [photo.path for photo in photos]
    if settings.source:
        frames, origin = frames_of_source(settings.source)
    else:
        frames = frames_of_pictures(paths)
        origin = f"{len(frames)} photos of --data brought to {FRAME_WIDTH}x{FRAME_HEIGHT}"
    split = f", split {settings.split}" if settings.split else ""
    drawn = ", drawn evenly over the classes" if len(photos) == settings.max_photos else ""
    return MeasurementInput(
        frames,
        origin,
        source_opener(settings.source, paths),
        _named_source(settings),
        score(models, photos, progress),
        f"{settings.data}{split}{drawn}",
    )


def _named_source(settings: BenchmarkSettings) -> str:
    """What the loop reads, as it may be shown."""
    return without_password(settings.source) if settings.source else "the photos of --data"


def _soak(settings: BenchmarkSettings, arguments: argparse.Namespace) -> int:
    """A long run of one model; what was measured is shown and kept after Ctrl-C too, with status 130."""
    [model], [threads] = settings.models, settings.num_threads

    def keep(found: soak.SoakRun) -> None:
        if arguments.output:
            soak.save(found, arguments.output)

    runtime = choose_runtime(settings.runtime)
    with progress_cleared(), Classifier(model, settings.labels, threads, runtime) as classifier:
        found = soak.soak(
            classifier,
            source_opener(settings.source, []),
            arguments.soak,
            _named_source(settings),
            settings.command,
            keep,
            show_progress,
        )
    print(soak.to_json(found) if arguments.json else soak.to_text(found))
    written = soak.save(found, arguments.output) if arguments.output else []
    if arguments.plot:
        soak.save_plot(found, arguments.plot)
        written.append(arguments.plot)
    _tell_written(written)
    return STOPPED if found.stopped else 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = make_parser(
        "benchmark",
        "Accuracy, latency and memory of .tflite files, side by side. `compare A.json B.json` as the first "
        "arguments tells what differs between two results.",
    )
    parser.add_argument(
        "models",
        nargs="*",
        type=model_path,
        default=argparse.SUPPRESS,
        metavar="MODEL",
        help=f".tflite files, or names of those that ship: {', '.join(SHIPPED)}; without any, the first",
    )
    parser.add_argument("--data", type=Path, help="labelled photos: a folder per class, or a catalogue.csv")
    parser.add_argument("--split", choices=("val", "test"), help="of a catalogue.csv")
    parser.add_argument("--max-photos", type=positive_int, help="score on so many, drawn evenly over classes")
    parser.add_argument(
        "--source", help=f"time on these in place of --data: a picture, folder, video, camera, or {GENERATED}"
    )
    parser.add_argument("--labels", type=Path, help="a text file, one label a line, for a foreign .tflite")
    parser.add_argument(
        "--num-threads", type=thread_counts, default="1", help="of the interpreter; 1,2 gives a row for each"
    )
    parser.add_argument("--runtime", choices=("auto", *RUNTIMES), default="auto", help="the TFLite runtime")
    _add_run_length(parser)
    parser.add_argument("--profile", action="store_true", help="and where the network's time goes, op by op")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="and each model once more as predict --tta runs it: what it gains, and how much longer it takes",
    )
    parser.add_argument(
        "--soak",
        type=seconds,
        metavar="MINUTES",
        help="run the whole loop on --source for so long, and test latency, rate, memory and heat for drift",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="a folder for results.csv, .html, .json and .md, or soak.csv and .json",
    )
    parser.add_argument(
        "--plot", type=Path, help="draw accuracy against latency, or a soak, into this .png, .svg or .pdf"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(argv)


def _add_run_length(parser: Parser) -> None:
    """How long to measure."""
    run_length = DEFAULT_RUN_LENGTH
    parser.add_argument(
        "--warmup-runs",
        type=whole,
        default=run_length.warmup_runs,
        help="rounds before measuring, at least: it goes on until the models are steady",
    )
    parser.add_argument("--num-runs", type=positive_int, default=run_length.num_runs, help="rounds, at least")
    parser.add_argument(
        "--min-secs", type=seconds, default=run_length.min_secs, help="measure so long, at least"
    )
    parser.add_argument(
        "--max-secs", type=seconds, default=run_length.max_secs, help="begin no round after these"
    )


def _settings(arguments: argparse.Namespace, command: str) -> BenchmarkSettings:
    labels = read_labels(arguments.labels)
    return BenchmarkSettings(
        models=tuple(getattr(arguments, "models", (DEFAULT_MODEL,))),
        num_threads=arguments.num_threads,
        runtime=arguments.runtime,
        labels=tuple(labels) if labels is not None else None,
        data=arguments.data,
        split=arguments.split,
        max_photos=arguments.max_photos,
        source=arguments.source,
        run_length=RunLength(
            arguments.warmup_runs, arguments.num_runs, arguments.min_secs, arguments.max_secs
        ),
        profile=arguments.profile,
        tta=arguments.tta,
        command=command,
    )
