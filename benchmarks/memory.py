"""Measures the cold start of a model: the memory, the time to load the model, and the time of the first frame.

Each start is measured in a new process. In one process, a second model would benefit from the libraries, code pages and
freed memory of the first model.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median

import numpy as np

from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.frames import FRAME_HEIGHT, FRAME_WIDTH
from dermedge.edge.errors import ModelError, ToolError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime

__all__ = [
    "BYTES_PER_MB",
    "ColdStart",
    "cold_start",
    "resident_bytes",
    "resident_peak_bytes",
    "start_here",
]

_STARTS = 3
# The resident memory still grows a little after the first prediction. It no longer grows after this many predictions.
_PREDICTIONS = 5
_BYTES_PER_KIB = 1024
BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class ColdStart:
    """Medians over several starts, each in a new process. The files are already in the page cache.

    A memory value is None if the system does not report it.

    Attributes:
        load_ms: time to read the model and allocate its tensors, without the import of the runtime.
        first_ms: time of the first invoke, which also fills caches and finishes deferred work.
        peak_mb: highest resident memory of the process, in 10^6 bytes.
        steady_mb: resident memory after the warm-up, in 10^6 bytes.
        model_mb: memory that the model adds, in 10^6 bytes. It is ``peak_mb`` minus the peak memory just before the
            model is loaded. At that time, Python has already imported NumPy, OpenCV and the runtime.
        starts: number of starts.
    """

    load_ms: float
    first_ms: float
    peak_mb: float | None
    steady_mb: float | None
    model_mb: float | None
    starts: int


def cold_start(
    model: Path | str,
    num_threads: int,
    runtime: str = "auto",
    starts: int = _STARTS,
    normalization: str | None = None,
) -> ColdStart:
    """Measures ``starts`` new processes one after the other, and returns the medians.

    Raises:
        ModelError: the model cannot be run, or one of the processes dies.
    """
    try:
        runs = [
            call_in_child(start_here, Path(model), num_threads, runtime, normalization) for _ in range(starts)
        ]
    except ToolError as error:
        raise ModelError(f"the cold start of '{model}' cannot be measured: {error}") from error
    return ColdStart(
        load_ms=median(run.load_ms for run in runs),
        first_ms=median(run.first_ms for run in runs),
        peak_mb=_median([run.peak_mb for run in runs]),
        steady_mb=_median([run.steady_mb for run in runs]),
        model_mb=_median([run.model_mb for run in runs]),
        starts=starts,
    )


def start_here(
    model: Path | str, num_threads: int, runtime: str = "auto", normalization: str | None = None
) -> ColdStart:
    """Measures one start in this process. The process should not have done anything else before."""
    # the frame is uniformly gray, because the generation of a realistic frame would raise the peak memory
    frame = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), 127, np.uint8)
    import_module(RUNTIMES[choose_runtime(runtime)].module)
    before = resident_peak_bytes()
    with Classifier(
        model, num_threads=num_threads, runtime=runtime, normalization=normalization
    ) as classifier:
        first, *_ = [classifier.predict(frame).timing.invoke_ms for _ in range(_PREDICTIONS)]
        after, steady = resident_peak_bytes(), resident_bytes()
        return ColdStart(
            load_ms=classifier.load_ms,
            first_ms=first,
            peak_mb=None if after is None else after / BYTES_PER_MB,
            steady_mb=None if steady is None else steady / BYTES_PER_MB,
            model_mb=None if after is None or before is None else (after - before) / BYTES_PER_MB,
            starts=1,
        )


def resident_peak_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Returns the highest resident memory of this process so far in bytes, or None if it cannot be read.

    Linux's VmHWM is preferred, because getrusage reports the peak of the parent process if the parent used more memory.
    """
    found = _status_bytes(status, "VmHWM")
    return _rusage_peak_bytes() if found is None else found


def resident_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Returns the current resident memory of this process in bytes, or None if it cannot be read."""
    return _status_bytes(status, "VmRSS")


def _status_bytes(status: Path, field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * _BYTES_PER_KIB if found else None


def _rusage_peak_bytes() -> int | None:
    try:
        import resource
    except ModuleNotFoundError:  # the module does not exist on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _BYTES_PER_KIB


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None
