"""The results of a benchmark. They can be written as text, CSV, JSON and Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermedge import DISCLAIMER
from dermedge.benchmarks.accuracy import Accuracy
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.energy import Energy
from dermedge.benchmarks.frames import FRAME_HEIGHT, FRAME_WIDTH
from dermedge.benchmarks.latency import Latency
from dermedge.benchmarks.machine import Machine
from dermedge.benchmarks.memory import BYTES_PER_MB, ColdStart
from dermedge.benchmarks.profile import OpTime, Profile
from dermedge.benchmarks.verdict import faults_of_model, mark
from dermedge.benchmarks.whole_loop import LoopTimes
from dermedge.edge.files import write_text
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import NOT_MEASURED, TABLE_WIDTH, TextTable, csv_of, measured

if TYPE_CHECKING:
    from dermedge.train.evaluation.metrics import Score

__all__ = [
    "SCHEMA",
    "BenchmarkReport",
    "ModelResult",
    "hardware",
    "notes",
    "row_name",
    "save",
    "software",
    "tables",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_text",
]

SCHEMA = "dermedge-benchmark/2"
_PERCENTILES = ("median", "low", "high", "p90", "p99", "p999")
_SLOWEST_OPS = 10
_PROFILE_HEAD = ("op", "ms", "share", "MMAC", "GMAC/s")
_MACS_PER_MMAC = 1e6
# If a model has more classes than this, only the CSV and JSON files contain the recall of each class.
_MAX_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class ModelResult:
    """The results of one model with one number of threads.

    Attributes:
        model: a short name, unique in the report.
        path: path of the file, or the name of a shipped model.
        sha256: SHA-256 digest of the file.
        size_bytes: size of the file.
        quantization: the quantization that the manifest states; None without a manifest.
        input_size: width and height of the network input in pixels.
        num_threads: number of threads of the interpreter.
        start: durations and memory of the cold start.
        latency: latency after the warm-up.
        loop: durations of the steps of the whole loop on the source; None if the quality gate rejected all frames.
        energy: energy of one frame; None if the machine has no meter.
        profile: the times of the ops; None if no profile was requested.
        accuracy: the accuracy on labelled photos; None without labelled photos.
    """

    model: str
    path: str
    sha256: str
    size_bytes: int
    quantization: str | None
    input_size: int
    num_threads: int
    start: ColdStart
    latency: Latency
    loop: LoopTimes | None
    energy: Energy | None
    profile: Profile | None
    accuracy: Accuracy | None


@dataclass(frozen=True)
class BenchmarkReport:
    """The results of one run of `dermedge benchmark` with one or more models.

    Attributes:
        created: date and time, UTC, ISO 8601.
        command: the command line.
        machine: the machine that the benchmark ran on.
        frames: description of the frames on which latency was measured.
        source: description of the source of the whole loop.
        data: description of the photos that were scored; None if accuracy was not measured.
        warmup_runs: number of warm-up rounds.
        secs: duration of the measured rounds in seconds.
        harness: time of a round outside its predictions, as a fraction of the time of the predictions. The benchmark
            itself spends this time and, on a busy machine, other programs. The latencies do not include this time.
        others_cores: mean number of cores that other processes kept busy; None if the system does not report it.
        meter: name of the energy meter; None if the machine has no meter.
        conditions: state of the machine before, during and after the measurement.
        faults: reasons why the whole run is noisy or throttled. Reasons that concern one model only are not included;
            see `dermedge.benchmarks.verdict.faults_of_model`.
        rows: one result for each model and number of threads, in the order of the command line.
        unreadable: error messages of the photos that could not be decoded. These photos are not scored.
    """

    created: str
    command: str
    machine: Machine
    frames: str
    source: str
    data: str | None
    warmup_runs: int
    secs: float
    harness: float
    others_cores: float | None
    meter: str | None
    conditions: tuple[Conditions, ...]
    faults: tuple[str, ...]
    rows: tuple[ModelResult, ...]
    unreadable: tuple[str, ...] = ()

    def invoke_ratio(self, row: ModelResult) -> float:
        """Returns the median invoke time of a row of the report divided by the median invoke time of the first row."""
        return row.latency.invoke.median / self.rows[0].latency.invoke.median

    def mark(self, row: ModelResult) -> str:
        """Returns the mark of a row: ``good``, ``noisy`` or ``throttled``."""
        return mark([*self.faults, *faults_of_model(row.latency)])


def tables(report: BenchmarkReport) -> list[TextTable]:
    """Returns all tables of the report."""
    shown = [_latency_table(report), _parts_table(report), _loop_table(report), _start_table(report)]
    scored = [table for table in (_accuracy_table(report), _recall_table(report)) if table]
    profiles = [table for row in report.rows if row.profile for table in _profile_tables(row, row.profile)]
    return [*shown, *scored, *profiles]


def to_text(report: BenchmarkReport) -> str:
    """Returns the report for a terminal of TABLE_WIDTH columns."""
    lines = (textwrap.fill(line, TABLE_WIDTH, subsequent_indent="  ") for line in notes(report))
    return printable_lines("\n\n".join([*(table.to_text() for table in tables(report)), "\n".join(lines)]))


def to_markdown(report: BenchmarkReport) -> str:
    """Returns the report in Markdown."""
    parts = [f"# Benchmark, {report.created[:10]}", *(table.to_markdown() for table in tables(report))]
    return printable_lines("\n\n".join([*parts, "\n".join(f"- {line}" for line in notes(report))]) + "\n")


def to_json(report: BenchmarkReport) -> str:
    """Returns all values as JSON with a versioned schema; null means "not measured".

    Each row also has three derived values: ``invoke_ratio``, ``overhead`` and ``mark``.
    """
    content: dict[str, Any] = {"schema": SCHEMA, "disclaimer": DISCLAIMER, **asdict(report)}
    for row, values in zip(report.rows, content["rows"], strict=True):
        values |= {
            "invoke_ratio": report.invoke_ratio(row),
            "overhead": row.latency.overhead,
            "mark": report.mark(row),
        }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(report: BenchmarkReport) -> str:
    """Returns CSV with one line per row. The column names have units; an empty cell means "not measured"."""
    lines = [_flat(report, row) for row in report.rows]
    return csv_of(list(lines[0]), lines)


def save(report: BenchmarkReport, folder: Path) -> list[Path]:
    """Writes results.csv, results.html, results.json and results.md into a folder, each file atomically.

    Returns:
        The paths of the files.

    Raises:
        StorageError: a file cannot be written.
    """
    from dermedge.benchmarks.page import to_html

    writers: dict[str, Callable[[BenchmarkReport], str]] = {
        "results.csv": to_csv,
        "results.html": to_html,
        "results.json": to_json,
        "results.md": to_markdown,
    }
    for name, writer in writers.items():
        write_text(folder / name, writer(report))
    return [folder / name for name in writers]


def notes(report: BenchmarkReport) -> list[str]:
    """Returns notes on the run, one line each."""
    return [
        hardware(report.machine),
        *_state(report),
        software(report.machine),
        f"frames: {report.frames}",
        f"source of the whole loop: {report.source}",
        f"photos: {report.data or NOT_MEASURED}",
        *_unreadable(report),
        f"protocol: {report.warmup_runs} warm-up runs, then {report.rows[0].latency.total.n} measured runs in "
        f"{report.secs:.1f} s; a round took {report.harness:.1%} longer than the predictions in it",
        f"energy: {report.meter or NOT_MEASURED}; 1 MB is 10^6 bytes",
        *(f"do not rely on these results: {fault}" for fault in _faults(report)),
        DISCLAIMER,
    ]


def _unreadable(report: BenchmarkReport) -> list[str]:
    """Returns a list with one line, which states how many photos could not be decoded.

    The list is empty if all photos were decoded.
    """
    count = len(report.unreadable)
    return [f"photos that could not be decoded and are not scored: {count}"] if count else []


def hardware(machine: Machine) -> str:
    """Returns one line that describes the computer."""
    return (
        f"machine: {', '.join(filter(None, (machine.model, machine.cpu)))}, {machine.cores} cores "
        f"({', '.join(machine.features) or 'features not readable'})"
    )


def software(machine: Machine) -> str:
    """Returns one line that describes the software of the computer."""
    return (
        f"software: {machine.system} {machine.architecture}, Python {machine.python}, {machine.runtime}, "
        f"NumPy {machine.numpy}, OpenCV {machine.opencv}"
    )


def _state(report: BenchmarkReport) -> list[str]:
    """Returns one line that describes the state of the machine before, during and after the run."""
    before, *during, after = report.conditions
    load = report.machine.load
    known = {
        "governor": before.governor,
        "clock": _course([one.clock_mhz for one in (before, *during, after)], "MHz"),
        "temperature": _course([one.temperature_c for one in (before, *during, after)], "°C"),
        "throttling": None if before.throttling is None else ", ".join(after.throttling or ("none",)),
        "load before the run": None if load is None else f"{load:.2f}",
        "cores used by other processes": None
        if report.others_cores is None
        else f"{report.others_cores:.2f}",
    }
    return [f"state: {', '.join(f'{name} {value or NOT_MEASURED}' for name, value in known.items())}"]


def _course(values: Sequence[float | None], unit: str) -> str | None:
    """Describes how a value changed during the run: the first value, the range and the last value.

    Returns None if there are no values.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return f"{known[0]:.0f} ({min(known):.0f} to {max(known):.0f}) {known[-1]:.0f} {unit}"


def _faults(report: BenchmarkReport) -> list[str]:
    of_models = ((row, fault) for row in report.rows for fault in faults_of_model(row.latency))
    return [*report.faults, *(f"{row_name(row)}, {fault}" for row, fault in of_models)]


def _latency_table(report: BenchmarkReport) -> TextTable:
    head = ("model", "threads", "median", "95 % interval", "p90", "p99", "p99.9", "ratio", "run")
    base = report.rows[0]
    title = (
        f"Latency in ms from a {FRAME_WIDTH}x{FRAME_HEIGHT} frame to the decision. The models were measured "
        f"alternately, {base.latency.total.n} times each, after a warm-up. ratio: median invoke time divided by the "
        f"median invoke time of {base.model}. run: good, noisy or throttled."
    )
    return TextTable(title, head, tuple(_latency_cells(report, row) for row in report.rows))


def _latency_cells(report: BenchmarkReport, row: ModelResult) -> tuple[str, ...]:
    total = row.latency.total
    return (
        row.model,
        str(row.num_threads),
        f"{total.median:.2f}",
        f"[{total.low:.2f}, {total.high:.2f}]",
        f"{total.p90:.2f}",
        f"{total.p99:.2f}",
        measured(total.p999, ".2f"),
        f"{report.invoke_ratio(row):.2f}",
        report.mark(row),
    )


def _parts_table(report: BenchmarkReport) -> TextTable:
    head = (
        "model",
        "threads",
        "pre",
        "invoke",
        "post",
        "outside",
        "cpu ms",
        "energy mJ",
        "input px",
        "weights",
    )
    title = (
        "Time of each step. pre, invoke, post: median ms of preprocessing, network and postprocessing. outside: "
        "(pre + post) / invoke. cpu ms: mean processor time of a frame, summed over all threads."
    )
    return TextTable(title, head, tuple(_parts_cells(row) for row in report.rows))


def _parts_cells(row: ModelResult) -> tuple[str, ...]:
    times = row.latency
    return (
        row.model,
        str(row.num_threads),
        f"{times.preprocess.median:.2f}",
        f"{times.invoke.median:.2f}",
        f"{times.postprocess.median:.3f}",
        f"{times.overhead:.1%}",
        f"{times.cpu_ms:.2f}",
        _energy_cell(row.energy),
        str(row.input_size),
        row.quantization or "not stated",
    )


def _loop_table(report: BenchmarkReport) -> TextTable:
    head = (
        "model",
        "threads",
        "frames/s",
        "end to end",
        "p99",
        "capture",
        "pre",
        "invoke",
        "post",
        "rest",
        "rejected",
    )
    title = (
        "The whole loop of dermedge run, medians in ms. The models run one after the other on the source. capture: the "
        "time to wait for a frame and to decode it. rest: the time for the quality gate, for smoothing, and to pass on "
        "the results."
    )
    return TextTable(title, head, tuple(_loop_cells(row) for row in report.rows))


def _loop_cells(row: ModelResult) -> tuple[str, ...]:
    first = (row.model, str(row.num_threads))
    loop = row.loop
    if loop is None:
        return (*first, *[NOT_MEASURED] * 8, "100%")
    parts = (loop.capture, loop.preprocess, loop.invoke, loop.postprocess, loop.rest)
    return (
        *first,
        f"{loop.fps:.0f}",
        f"{loop.end_to_end.median:.2f}",
        f"{loop.end_to_end.p99:.2f}",
        *(f"{part.median:.2f}" for part in parts),
        f"{loop.rejected:.0%}",
    )


def _start_table(report: BenchmarkReport) -> TextTable:
    head = (
        "model",
        "threads",
        "load ms",
        "first ms",
        "file MB",
        "model MB",
        "peak MB",
        "steady MB",
    )
    title = (
        f"Start, size and memory, medians over {report.rows[0].start.starts} processes. peak MB: the highest memory of "
        "the process. steady MB: the memory of the process after the warm-up. model MB: peak MB minus the highest "
        "memory before the model was loaded."
    )
    return TextTable(title, head, tuple(_start_cells(row) for row in report.rows))


def _start_cells(row: ModelResult) -> tuple[str, ...]:
    start = row.start
    return (
        row.model,
        str(row.num_threads),
        f"{start.load_ms:.1f}",
        f"{start.first_ms:.1f}",
        f"{row.size_bytes / BYTES_PER_MB:.2f}",
        measured(start.model_mb, ".1f"),
        measured(start.peak_mb, ".1f"),
        measured(start.steady_mb, ".1f"),
    )


def _accuracy_table(report: BenchmarkReport) -> TextTable | None:
    """Returns a table with a row per model, or None if accuracy was not measured."""
    models = _first_rows(report)
    scored = models[0].accuracy
    if scored is None:
        return None
    title = (
        f"Accuracy on {scored.photos} photos of {scored.lesions} lesions, with 95 % confidence intervals that count "
        "lesions. melanoma: sensitivity for melanoma at 90 % specificity. The threshold was chosen on the same "
        "photos."
    )
    rows = tuple(
        (
            row.model,
            _score(row.accuracy.accuracy if row.accuracy else None),
            _score(row.accuracy.balanced_accuracy if row.accuracy else None),
            _score(row.accuracy.melanoma_sensitivity if row.accuracy else None),
        )
        for row in models
    )
    return TextTable(title, ("model", "accuracy", "balanced accuracy", "melanoma"), rows)


def _recall_table(report: BenchmarkReport) -> TextTable | None:
    """Returns a table with a row per class and a column per model.

    Returns None if accuracy was not measured, or if there are more than `_MAX_CLASSES_SHOWN` classes.
    """
    models = _first_rows(report)
    recalls = [row.accuracy.recall for row in models if row.accuracy]
    if not recalls or len(recalls[0]) > _MAX_CLASSES_SHOWN:
        return None
    numbers = tuple(str(number) for number in range(1, len(recalls) + 1))
    key = ", ".join(f"{number} = {row.model}" for number, row in zip(numbers, models, strict=True))
    rows = tuple((label, *(measured(recall[label], ".3f") for recall in recalls)) for label in recalls[0])
    return TextTable(f"Recall of each class. {key}.", ("class", *numbers), rows)


def _profile_tables(row: ModelResult, profile: Profile) -> list[TextTable]:
    """Returns a table of the kinds of ops, and a table of the slowest ops."""
    of = row_name(row)
    kinds = {
        kind: [op for op in profile.ops if op.kind == kind]
        for kind in dict.fromkeys(op.kind for op in profile.ops)
    }
    by_kind = [
        (f"{kind} x {len(ops)}", sum(op.macs for op in ops), _sum_ms(ops)) for kind, ops in kinds.items()
    ]
    slowest = sorted(profile.ops, key=lambda op: op.ms or 0.0, reverse=True)[:_SLOWEST_OPS]
    single = [(f"{op.number} {op.kind} {list(op.shape)}", op.macs, op.ms) for op in slowest]
    unmeasured = sum(op.ms is None for op in profile.ops)
    title = (
        f"Ops of {of}, each timed by itself. The medians add up to {profile.parts_ms:.2f} ms, which is "
        f"{profile.parts_ms / profile.whole_ms:.0%} of the median of the whole network, {profile.whole_ms:.2f} ms. "
        f"The ops and the whole network were timed alternately, {profile.rounds} times each. {unmeasured} of "
        f"{len(profile.ops)} ops could not be timed."
    )
    return [
        TextTable(
            title, _PROFILE_HEAD, _profile_rows(sorted(by_kind, key=lambda one: -(one[2] or 0.0)), profile)
        ),
        TextTable(
            f"The slowest ops of {of}. op: index, kind and output shape.",
            _PROFILE_HEAD,
            _profile_rows(single, profile),
        ),
    ]


def _sum_ms(ops: Sequence[OpTime]) -> float | None:
    """Returns the sum of the times of the ops that could be timed; None if none of the ops could be timed."""
    timed = [op.ms for op in ops if op.ms is not None]
    return sum(timed) if timed else None


def _profile_rows(
    times: Sequence[tuple[str, int, float | None]], profile: Profile
) -> tuple[tuple[str, ...], ...]:
    """Returns the cells of a table with the times of ops, row by row.

    Args:
        times: name, multiply-accumulates and milliseconds of each row. The milliseconds are None if they were not
            measured.
        profile: the whole profile. The table shows the time of each row as a percentage of the time of all ops.
    """
    return tuple(
        (
            name,
            measured(ms, ".3f"),
            "-" if ms is None else f"{ms / profile.parts_ms:.1%}",
            f"{macs / _MACS_PER_MMAC:.2f}",
            f"{macs / _MACS_PER_MMAC / ms:.1f}" if macs and ms else "-",
        )
        for name, macs, ms in times
    )


def _first_rows(report: BenchmarkReport) -> list[ModelResult]:
    """Returns the first row of each model. The other rows of the model have the same accuracy."""
    return list({row.model: row for row in reversed(report.rows)}.values())[::-1]


def _flat(report: BenchmarkReport, row: ModelResult) -> dict[str, object]:
    times, start = row.latency, row.start
    values: dict[str, object] = {
        "model": row.model,
        "path": row.path,
        "quantization": row.quantization,
        "input_px": row.input_size,
        "num_threads": row.num_threads,
        "size_bytes": row.size_bytes,
        "load_ms": start.load_ms,
        "first_ms": start.first_ms,
        "peak_mb": start.peak_mb,
        "steady_mb": start.steady_mb,
        "model_mb": start.model_mb,
    }
    for part in ("total", "preprocess", "invoke", "postprocess"):
        found = getattr(times, part)
        values |= {f"{part}_{name}_ms": getattr(found, name) for name in _PERCENTILES}
    values |= {
        f"loop_{part}_ms": row.loop and getattr(row.loop, part).median
        for part in ("capture", "preprocess", "invoke", "postprocess", "rest", "end_to_end")
    }
    values |= {"loop_fps": row.loop and row.loop.fps, "loop_rejected": row.loop and row.loop.rejected}
    values |= {
        "runs": times.total.n,
        "invoke_ratio": report.invoke_ratio(row),
        "overhead": times.overhead,
        "drift": times.drift,
        "cpu_ms": times.cpu_ms,
        "energy_mj": row.energy and row.energy.mj,
        "energy_mj_low": row.energy and row.energy.low,
        "energy_mj_high": row.energy and row.energy.high,
        "mark": report.mark(row),
    }
    return {**values, **_flat_accuracy(row.accuracy), "runtime": report.machine.runtime}


def _flat_accuracy(accuracy: Accuracy | None) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in ("accuracy", "balanced_accuracy", "melanoma_sensitivity"):
        scored: Score | None = getattr(accuracy, name, None)
        values |= {
            name: scored.value if scored else None,
            f"{name}_low": scored.low if scored else None,
            f"{name}_high": scored.high if scored else None,
        }
    values |= {"photos": accuracy and accuracy.photos, "lesions": accuracy and accuracy.lesions}
    recall = accuracy.recall if accuracy else {}
    return values | {f"recall_{label}": value for label, value in recall.items()}


def row_name(row: ModelResult) -> str:
    """Returns the name of a row in user-facing text: the model and the number of threads."""
    return f"{row.model}, {row.num_threads} thread{'s' if row.num_threads > 1 else ''}"


def _energy_cell(energy: Energy | None) -> str:
    return NOT_MEASURED if energy is None else f"{energy.mj:.1f} [{energy.low:.1f}, {energy.high:.1f}]"


def _score(score: Score | None) -> str:
    return NOT_MEASURED if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
