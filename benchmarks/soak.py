"""Runs the whole loop for a long time and tests the measurements for drift, for `dermedge benchmark --soak MINUTES`."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dermedge import DISCLAIMER
from dermedge.benchmarks.conditions import Conditions, OtherProcesses, read_conditions
from dermedge.benchmarks.drift import Drift, drift_of
from dermedge.benchmarks.latency import one_opencv_thread
from dermedge.benchmarks.machine import Machine, describe_machine
from dermedge.benchmarks.memory import BYTES_PER_MB, resident_bytes
from dermedge.benchmarks.plot import PLAIN_TEXT, plain_axes
from dermedge.benchmarks.status_line import ShowStatus
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.benchmarks.whole_loop import WARMUP_RESULTS, OpenSource, results
from dermedge.edge.files import write_beside, write_text
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import NOT_MEASURED, TextTable, csv_of

__all__ = [
    "MAX_WINDOW_S",
    "MIN_WINDOW_S",
    "SERIES",
    "SoakRun",
    "SoakWindow",
    "save",
    "save_plot",
    "soak",
    "to_json",
    "to_text",
    "window",
]

_SCHEMA = "dermedge-soak/1"
# A run is divided into this many windows. But a window is never shorter than MIN_WINDOW_S or longer than MAX_WINDOW_S.
# So a very short run has fewer windows, and a very long run has more.
_WINDOWS = 60
MIN_WINDOW_S, MAX_WINDOW_S = 1.0, 30.0
_S_PER_MINUTE = 60.0
# The significance level of the drift test: 5 % with a Bonferroni correction for the four series that are tested.
_ALPHA = 0.05 / 4
# The fields of SoakWindow that are tested for drift, each with the title and unit of the series.
SERIES = {
    "latency_ms": ("end to end, median", "ms"),
    "fps": ("frame rate", "frames/s"),
    "memory_mb": ("memory", "MB"),
    "temperature_c": ("temperature", "°C"),
}
_TOO_FEW = "too few windows to test"
_SIZE_INCHES = (8.0, 9.0)
_DPI = 130
_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")


@dataclass(frozen=True)
class SoakWindow:
    """One window of a long run.

    A latency is None if no frame passed the quality gate. Any other value is None if the system does not report it.

    Attributes:
        at_s: middle of the window, in seconds from the start of the run.
        latency_ms: median latency from capture to decision.
        p99_ms: 99th percentile of the latency from capture to decision.
        fps: frames per second.
        memory_mb: resident memory at the end of the window, in 10^6 bytes.
        temperature_c: temperature at the end of the window, in degrees Celsius.
        clock_mhz: clock rate at the end of the window.
        others_cores: mean number of cores that other processes kept busy.
        frames: number of frames in the window.
        rejected: number of frames that the quality gate rejected.
    """

    at_s: float
    latency_ms: float | None
    p99_ms: float | None
    fps: float
    memory_mb: float | None
    temperature_c: float | None
    clock_mhz: float | None
    others_cores: float | None
    frames: int
    rejected: int


@dataclass(frozen=True)
class SoakRun:
    """A long run of one model.

    Attributes:
        created: date and time of the start, UTC, ISO 8601.
        command: the command line.
        machine: the machine that the model ran on.
        model: name of the model.
        num_threads: number of threads of the interpreter.
        source: description of the source of the frames.
        minutes: requested duration in minutes.
        window_s: seconds per window.
        stopped: whether Ctrl-C ended the run.
        windows: windows in the order of time, without the warm-up.
    """

    created: str
    command: str
    machine: Machine
    model: str
    num_threads: int
    source: str
    minutes: float
    window_s: float
    stopped: bool
    windows: tuple[SoakWindow, ...]

    def drifts(self) -> dict[str, Drift | None]:
        """Returns the trend of each series in SERIES.

        The trend is None if the series was measured in too few windows or not at all.
        """
        return {name: self._drift(name) for name in SERIES}

    def _drift(self, name: str) -> Drift | None:
        told = [(one.at_s, value) for one in self.windows if (value := getattr(one, name)) is not None]
        return drift_of(*zip(*told, strict=True)) if told else None


def soak(
    classifier: Classifier,
    open_again: OpenSource,
    minutes: float,
    source: str,
    command: str,
    keep: Callable[[SoakRun], None],
    progress: ShowStatus = lambda text: None,
) -> SoakRun:
    """Runs the loop for some minutes. If the user presses Ctrl-C, the loop ends and the results so far are returned.

    Args:
        classifier: the loaded model.
        open_again: a function that opens the source. It is called again whenever the source has ended.
        minutes: duration of the run, above 0.
        source: description of the source of the frames.
        command: the command line, which becomes part of the result.
        keep: a function that is called after each window with the results so far.
        progress: a function that shows a text as the current status.

    Raises:
        SourceError, PictureError: the source cannot be read.
    """
    window_s = min(max(minutes * _S_PER_MINUTE / _WINDOWS, MIN_WINDOW_S), MAX_WINDOW_S)
    found = SoakRun(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine=describe_machine(classifier.runtime),
        model=classifier.path.stem,
        num_threads=classifier.num_threads,
        source=source,
        minutes=minutes,
        window_s=window_s,
        stopped=False,
        windows=(),
    )
    try:
        with closing(_windows(open_again, classifier, window_s)) as running:
            for made, end_s in running:
                found = replace(found, windows=(*found.windows, made))
                keep(found)
                progress(f"soak: {end_s / _S_PER_MINUTE:.1f} of {minutes:g} minutes")
                if end_s >= minutes * _S_PER_MINUTE:
                    return found
    except KeyboardInterrupt:
        return replace(found, stopped=True)
    return found


def _windows(
    open_again: OpenSource, classifier: Classifier, window_s: float
) -> Generator[tuple[SoakWindow, float], None, None]:
    """Yields each window of a run, with the seconds from the start of the run to the end of the window."""
    with one_opencv_thread(), closing(results(open_again, classifier)) as running:
        for _ in zip(range(WARMUP_RESULTS), running, strict=False):
            pass
        began = started = perf_counter()
        # only the latencies are stored: the frame results hold images, and would fill the memory in a long run
        company, seen = OtherProcesses(), list[float | None]()
        for result, at_s in running:
            seen.append(result.classification.end_to_end_ms if result.classification else None)
            if at_s - started >= window_s:
                made = window(seen, started - began, at_s - began, company.busy_cores(), read_conditions())
                yield made, at_s - began
                started, company = perf_counter(), OtherProcesses()
                seen.clear()


def window(
    seen: Sequence[float | None], begin_s: float, end_s: float, others: float | None, now: Conditions
) -> SoakWindow:
    """Summarizes the frames of one window of a long run. The window must have at least one frame.

    Args:
        seen: end-to-end milliseconds of each frame; None for a frame that the quality gate rejected.
        begin_s: start of the window, in seconds from the start of the run.
        end_s: end of the window, in seconds from the start of the run.
        others: mean number of cores that other processes kept busy.
        now: state of the machine at the end of the window.
    """
    times_ms = [one for one in seen if one is not None]
    memory = resident_bytes()
    return SoakWindow(
        at_s=(begin_s + end_s) / 2,
        latency_ms=float(np.median(times_ms)) if times_ms else None,
        p99_ms=float(np.percentile(times_ms, 99)) if times_ms else None,
        fps=len(seen) / (end_s - begin_s),
        memory_mb=None if memory is None else memory / BYTES_PER_MB,
        temperature_c=now.temperature_c,
        clock_mhz=now.clock_mhz,
        others_cores=others,
        frames=len(seen),
        rejected=len(seen) - len(times_ms),
    )


def to_text(found: SoakRun) -> str:
    """Returns the table of drifts, and notes on the run."""
    return printable_lines("\n".join([_table(found).to_text(), "", *_notes(found)]))


def to_json(found: SoakRun) -> str:
    """Returns all windows and drifts as JSON; null means "not measured"."""
    drifts = {name: drift and asdict(drift) for name, drift in found.drifts().items()}
    content: dict[str, Any] = {
        "schema": _SCHEMA,
        "disclaimer": DISCLAIMER,
        **asdict(found),
        "alpha": _ALPHA,
        "drifts": drifts,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _to_csv(found: SoakRun) -> str:
    """Returns CSV with one line per window; an empty cell means "not measured"."""
    return csv_of(list(SoakWindow.__dataclass_fields__), map(asdict, found.windows))


def save(found: SoakRun, folder: Path) -> list[Path]:
    """Writes soak.csv and soak.json into a folder, each file atomically.

    Returns:
        The paths of the files.

    Raises:
        StorageError: a file cannot be written.
    """
    writers = {"soak.csv": _to_csv, "soak.json": to_json}
    for name, writer in writers.items():
        write_text(folder / name, writer(found))
    return [folder / name for name in writers]


def save_plot(found: SoakRun, path: Path) -> None:
    """Plots each series and its trend over time. Each series has its own panel.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib import rc_context

    with rc_context(PLAIN_TEXT), write_beside(path) as part:
        _figure(found).savefig(part)


def _figure(found: SoakRun) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    panels = figure.subplots(len(SERIES), 1, sharex=True)
    for axes, colour, (name, (title, unit)) in zip(panels, _COLOURS, SERIES.items(), strict=True):
        told = [(one.at_s / _S_PER_MINUTE, getattr(one, name)) for one in found.windows]
        told = [(minute, value) for minute, value in told if value is not None]
        axes.set_ylabel(unit)
        plain_axes(axes)
        if not told:
            axes.set_title(f"{title}: {NOT_MEASURED}", loc="left", fontsize=9)
            axes.set_yticks([])
            continue
        minutes, values = zip(*told, strict=True)
        axes.plot(minutes, values, "o-", color=colour, markersize=3, linewidth=1)
        drift = found.drifts()[name]
        axes.set_title(f"{title}: {_verdict(drift, unit)}", loc="left", fontsize=9)
        if drift:
            middle, line = float(np.median(values)), np.array([-0.5, 0.5])
            axes.plot([minutes[0], minutes[-1]], middle + line * drift.change, "--", color="#444444")
        axes.set_ylim(*_limits(values))
    panels[-1].set_xlabel("minutes")
    how = f"{found.model}, {found.num_threads} thread(s), {found.source}\n{found.machine.cpu}. {DISCLAIMER}"
    figure.supxlabel(printable_lines(how), fontsize=7, color="#666666")
    return figure


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and the highest value that the axis of a series shows.

    The axis spans at least a tenth of the largest value, so that tiny changes look small.
    """
    least, most = min(values), max(values)
    margin = max(0.1 * (most - least), 0.05 * abs(most) - (most - least) / 2, 1e-9)
    return least - margin, most + margin


def _table(found: SoakRun) -> TextTable:
    head = ("series", "first fifth", "change", "95 % interval", "p", "drift")
    rows = []
    for name, drift in found.drifts().items():
        title, unit = SERIES[name]
        if drift is None:
            is_measured = any(getattr(one, name) is not None for one in found.windows)
            cells = (*["-"] * 4, _TOO_FEW) if is_measured else (*[NOT_MEASURED] * 4, "-")
            rows.append((f"{title}, {unit}", *cells))
            continue
        rows.append(
            (
                f"{title}, {unit}",
                f"{drift.start:.2f}",
                f"{drift.change:+.2f}",
                f"[{drift.low:+.2f}, {drift.high:+.2f}]",
                f"{drift.p_value:.2g}",
                _direction(drift),
            )
        )
    frames = sum(one.frames for one in found.windows)
    title = (
        f"The whole loop of {found.model} for {_minutes(found):.1f} minutes: {frames} frames, "
        f"{len(found.windows)} windows of {found.window_s:g} s. change: Theil-Sen's slope times the duration. "
        f"p: p-value of the Mann-Kendall test, corrected for autocorrelation. A series drifts if p is below "
        f"{_ALPHA:g}, which is 0.05 divided by the number of series."
    )
    return TextTable(title, head, tuple(rows))


def _notes(found: SoakRun) -> list[str]:
    others = [one.others_cores for one in found.windows if one.others_cores is not None]
    frames, rejected = sum(one.frames for one in found.windows), sum(one.rejected for one in found.windows)
    lines = [
        f"machine: {found.machine.cpu}, {found.machine.runtime}, {found.num_threads} thread(s)",
        f"source: {found.source}; the quality gate rejected {rejected} of {frames} frames",
    ]
    if found.stopped:
        lines.append(f"stopped after {_minutes(found):.1f} of {found.minutes:g} minutes")
    if others and max(others) > MAX_OTHERS_CORES:
        lines.append(
            f"do not rely on these results: {NOISY}: other processes kept {np.median(others):.2f} cores busy, and up "
            f"to {max(others):.2f} in one window"
        )
    return [*lines, DISCLAIMER]


def _minutes(found: SoakRun) -> float:
    """Returns the minutes to the end of the last window.

    A window ends with a frame. So if frames arrive slowly, a window is longer than ``window_s``.
    """
    end_s = 0.0
    for one in found.windows:
        end_s = 2 * one.at_s - end_s  # each window begins at the end of the previous one
    return end_s / _S_PER_MINUTE


def _direction(drift: Drift) -> str:
    if drift.p_value >= _ALPHA:
        return "none found"
    return "rises" if drift.rises > 0 else "falls"


def _verdict(drift: Drift | None, unit: str) -> str:
    if drift is None:
        return _TOO_FEW
    return (
        f"{drift.change:+.2f} {unit} [{drift.low:+.2f}, {drift.high:+.2f}], p = {drift.p_value:.2g}, "
        f"drift: {_direction(drift)}"
    )
