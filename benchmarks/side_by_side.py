"""Measures several models side by side: times the models alternately, and scores them on the same photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dermedge.benchmarks.accuracy import Accuracy, ScoredPhotos, find_photos, score
from dermedge.benchmarks.arguments import check_different
from dermedge.benchmarks.energy import Energy, find_meter, frame_energies
from dermedge.benchmarks.frames import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Frames,
    frames_of_photos,
    frames_of_source,
)
from dermedge.benchmarks.latency import Measurement, RunLength, measure
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import ColdStart, cold_start
from dermedge.benchmarks.profile import Profile, profile
from dermedge.benchmarks.report import BenchmarkReport, ModelResult
from dermedge.benchmarks.status_line import ShowStatus
from dermedge.benchmarks.verdict import faults_of_run
from dermedge.benchmarks.whole_loop import LOOP_S, LoopTimes, OpenSource, measure_loop, source_opener
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import model_argument
from dermedge.edge.sources.redact import without_secrets

__all__ = ["DEFAULT_RUN_LENGTH", "BenchmarkSettings", "benchmark", "named_source", "short_names"]

DEFAULT_RUN_LENGTH = RunLength()


@dataclass(frozen=True)
class BenchmarkSettings:
    """The settings of a benchmark.

    Attributes:
        models: .tflite files, all different.
        num_threads: numbers of threads. Each model is measured with each of these numbers.
        runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        labels: class names for files without a manifest.
        normalization: normalization of the pixels for files without a manifest: a name that `Classifier` accepts.
        data: path of labelled photos, as `find_photos` accepts it. If it is None, accuracy is not measured.
        split: split of a catalogue: ``val`` or ``test``.
        max_photos: maximum number of photos to score, which are sampled evenly over the classes; None for all photos.
        source: source of the frames for the latency, as `open_source` accepts it. If it is None, the photos of ``data``
            are the frames.
        run_length: duration of the measurement.
        profile: whether each operator is timed too.
        tta: whether each model is measured a second time, with test-time augmentation.
        command: the command line, which becomes part of the report.
    """

    models: tuple[Path, ...]
    num_threads: tuple[int, ...] = (1,)
    runtime: str = "auto"
    labels: tuple[str, ...] | None = None
    normalization: str | None = None
    data: Path | None = None
    split: str | None = None
    max_photos: int | None = None
    source: str | None = None
    run_length: RunLength = DEFAULT_RUN_LENGTH
    profile: bool = False
    tta: bool = False
    command: str = ""


@dataclass(frozen=True)
class _Input:
    """The frames that the benchmark measures on, and the scores on the labelled photos.

    Attributes:
        frames: frames for the measurement of the latency.
        frames_origin: description of the frames.
        open_again: a function that opens the source of the whole loop.
        scores: scores of the classifiers; None without labelled photos.
        data: description of the labelled photos; None without labelled photos.
    """

    frames: Frames
    frames_origin: str
    open_again: OpenSource
    scores: ScoredPhotos | None
    data: str | None


@dataclass(frozen=True)
class _Figures:
    """The measurements of all classifiers. Each list has one entry per classifier."""

    run: Measurement
    meter: str | None
    energies: list[Energy | None]
    loops: list[LoopTimes | None]
    starts: list[ColdStart]
    profiles: list[Profile | None]
    accuracies: list[Accuracy | None]


def benchmark(
    settings: BenchmarkSettings,
    progress: ShowStatus = lambda text: None,
    say: Callable[[str], object] = lambda line: None,
) -> BenchmarkReport:
    """Scores all models, times them alternately, and measures the cold start of each model in new processes.

    Args:
        settings: the settings.
        progress: a function that is called with a text that names the current measurement.
        say: a function that is called with each line of text on how the photos were read.

    Raises:
        DermedgeError: a file, option or photo cannot be used. Most of these errors are raised before the measurement
            starts.
    """
    check_different(settings.models)
    runtime = choose_runtime(settings.runtime)
    machine = describe_machine(runtime)
    with ExitStack() as stack:
        progress("loading the models")
        classifiers = _open_all(settings, runtime, stack)
        shown = _find_input(settings, classifiers[:: len(settings.num_threads)], progress, say)
        figures = _measure_all(settings, classifiers, shown, runtime, progress)
    run = figures.run
    return BenchmarkReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=settings.command,
        machine=machine,
        frames=shown.frames_origin,
        source=named_source(settings.source),
        data=shown.data,
        warmup_runs=run.warmup_runs,
        secs=run.secs,
        harness=run.harness,
        others_cores=run.others_cores,
        meter=figures.meter,
        conditions=run.conditions,
        faults=tuple(faults_of_run(run)),
        rows=tuple(_results(settings, classifiers, figures)),
        unreadable=shown.scores.unreadable if shown.scores else (),
    )


def short_names(models: Sequence[Path]) -> list[str]:
    """Returns a short name for each model: the name of the file, without the suffix ``.tflite``.

    If two names are equal, folder names are put before all names.
    """
    plain = [model.resolve().with_suffix("") for model in models]
    for depth in range(1, max(len(path.parts) for path in plain)):
        names = ["/".join(path.parts[-depth:]) for path in plain]
        if len(set(names)) == len(names):
            return names
    return [str(model) for model in models]


def named_source(source: str | None) -> str:
    """Returns a description of the source of the whole loop, without passwords."""
    return without_secrets(source) if source else "the photos of --data"


def _open_all(settings: BenchmarkSettings, runtime: str, stack: ExitStack) -> list[Classifier]:
    """Opens each model once for each number of threads.

    If ``settings.tta`` is true, each model is also opened a second time, with test-time augmentation.
    """
    return [
        stack.enter_context(
            Classifier(model, settings.labels, threads, runtime, tta, normalization=settings.normalization)
        )
        for model in settings.models
        for tta in ((False, True) if settings.tta else (False,))
        for threads in settings.num_threads
    ]


def _find_input(
    settings: BenchmarkSettings,
    scored: Sequence[Classifier],
    progress: ShowStatus,
    say: Callable[[str], object],
) -> _Input:
    """Collects the frames, and scores the classifiers if there are labelled photos."""
    if settings.data is None:
        frames, origin = frames_of_source(settings.source, say)
        return _Input(frames, origin, source_opener(settings.source, []), None, None)
    from dermedge.train.data.scoring import check_unlearned

    check_unlearned(settings.data, settings.split, scored)
    photos = find_photos(settings.data, common_labels(scored), settings.split, settings.max_photos, say)
    scores = score(scored, photos, progress)
    paths = [photo.path for photo in scores.readable]
    if settings.source:
        frames, origin = frames_of_source(settings.source, say)
    else:
        frames = frames_of_photos(paths)
        origin = f"{len(frames)} photos of --data resized to {FRAME_WIDTH}x{FRAME_HEIGHT}"
    split = f", split {settings.split}" if settings.split else ""
    sampled = ", sampled evenly over the classes" if len(photos) == settings.max_photos else ""
    return _Input(
        frames,
        origin,
        source_opener(settings.source, paths),
        scores,
        f"{settings.data}{split}{sampled}",
    )


def _measure_all(
    settings: BenchmarkSettings,
    classifiers: Sequence[Classifier],
    shown: _Input,
    runtime: str,
    progress: ShowStatus,
) -> _Figures:
    progress("latency: warming up")
    run = measure(classifiers, shown.frames, settings.run_length, progress)
    progress("energy")
    meter, energies = _energies(classifiers, shown.frames)
    loop_s = min(LOOP_S, settings.run_length.min_secs)
    loops = [measure_loop(shown.open_again, one, loop_s, progress) for one in classifiers]
    # test-time augmentation changes neither the cold start nor the times of the operators. So they are measured only
    # once for each model and number of threads
    pairs = [(model, threads) for model in settings.models for threads in settings.num_threads]
    starts = {pair: _cold_start(*pair, runtime, settings.normalization, progress) for pair in pairs}
    profiles = {pair: _profile(*pair, runtime, progress) for pair in pairs if settings.profile}
    scored = classifiers[:: len(settings.num_threads)]
    found = shown.scores.models if shown.scores else [None] * len(scored)
    scores = {(one.path, one.tta): of_one for one, of_one in zip(scored, found, strict=True)}
    return _Figures(
        run=run,
        meter=meter,
        energies=energies,
        loops=loops,
        starts=[starts[one.path, one.num_threads] for one in classifiers],
        profiles=[profiles.get((one.path, one.num_threads)) for one in classifiers],
        accuracies=[scores.get((one.path, one.tta)) for one in classifiers],
    )


def _energies(classifiers: Sequence[Classifier], frames: Frames) -> tuple[str | None, list[Energy | None]]:
    """Returns the name of the energy meter, and the energy of a frame for each model.

    If there is no meter, the name and all energies are None.
    """
    meter = find_meter()
    if meter is None:
        return None, [None] * len(classifiers)
    return meter.name, [*frame_energies(meter, classifiers, frames)]


def _cold_start(
    model: Path, threads: int, runtime: str, normalization: str | None, progress: ShowStatus
) -> ColdStart:
    progress(f"start and memory: {model.name}")
    return cold_start(model, threads, runtime, normalization=normalization)


def _profile(model: Path, threads: int, runtime: str, progress: ShowStatus) -> Profile:
    progress(f"ops: {model.name}")
    return profile(model, threads, runtime)


def _results(
    settings: BenchmarkSettings, classifiers: Sequence[Classifier], figures: _Figures
) -> Iterator[ModelResult]:
    names = dict(zip(settings.models, short_names(settings.models), strict=True))
    for at, one in enumerate(classifiers):
        yield ModelResult(
            model=f"{names[one.path]} --tta" if one.tta else names[one.path],
            path=model_argument(one.path),
            sha256=digest(one.path),
            size_bytes=one.path.stat().st_size,
            quantization=one.manifest.quantization if one.manifest else None,
            input_size=one.input_size,
            num_threads=one.num_threads,
            start=figures.starts[at],
            latency=figures.run.latencies[at],
            loop=figures.loops[at],
            energy=figures.energies[at],
            profile=figures.profiles[at],
            accuracy=figures.accuracies[at],
        )
