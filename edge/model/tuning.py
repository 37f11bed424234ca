"""Measures once with which runtime and how many threads a model is fastest here, and remembers it."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from dermedge.edge.errors import ModelError, StorageError
from dermedge.edge.files import write_text
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime, installed_runtimes, invoke, open_interpreter

__all__ = ["FILE", "Choice", "cache_folder", "measure", "tuned", "tuned_threads"]

FILE = "tuning.json"
_THREADS = (1, 2, 4)
_WARMUP_RUNS = 2
_MAX_RUNS = 20
_MAX_S = 0.25
_NS_PER_MS, _NS_PER_S = 1e6, 1e9
# More threads must be faster by this factor, because they heat the board.
_GAIN = 0.9


@dataclass(frozen=True)
class Choice:
    """The runtime and the number of threads for a model.

    Attributes:
        invoke_ms: the median latency that was measured for this choice.
    """

    runtime: str
    num_threads: int
    invoke_ms: float


def cache_folder() -> Path:
    """Returns the cache folder of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dermedge"


def tuned(model: Path, runtime: str = "auto") -> Choice:
    """Returns the remembered choice for a model file, or one that is measured now and remembered.

    Args:
        runtime: the one to use, or ``auto`` for the fastest that is installed.

    Raises:
        ModelError: the file is missing, or cannot be run.
        OptionError, MissingExtra: as `dermedge.edge.model.runtime.choose_runtime` does.
    """
    first = choose_runtime(runtime)
    runtimes = installed_runtimes() if runtime == "auto" else [first]
    if not model.is_file():
        raise ModelError(f"there is no model file '{model}'")
    key = " ".join([digest(model), platform.machine(), str(os.cpu_count()), *map(_version, runtimes)])
    path = cache_folder() / FILE
    remembered = _read(path)
    with suppress(KeyError, TypeError):  # TypeError: another version wrote the file
        return Choice(**remembered[key])
    measured = measure(model, runtimes)
    # a device whose disk cannot be written measures again at each start
    with suppress(StorageError):
        write_text(path, json.dumps({**remembered, key: asdict(measured)}, indent=1) + "\n")
    return measured


def tuned_threads(model: Path, num_threads: int | str, runtime: str = "auto") -> int:
    """Returns the number of threads, or for ``auto`` the one that is fastest with the runtime that `Classifier` would
    choose.

    Raises:
        ModelError, OptionError, MissingExtra: as `tuned` does.
    """
    return tuned(model, choose_runtime(runtime)).num_threads if num_threads == "auto" else int(num_threads)


def measure(model: Path, runtimes: list[str]) -> Choice:
    """Returns the fastest of these runtimes and of `_THREADS` up to the number of cores."""
    choices = [
        Choice(runtime, threads, _invoke_ms(model, threads, runtime))
        for runtime in runtimes
        for threads in _THREADS
        if threads == 1 or threads <= (os.cpu_count() or 1)
    ]
    best = choices[0]
    for choice in choices[1:]:
        if choice.invoke_ms < _GAIN * best.invoke_ms:
            best = choice
    return best


def _invoke_ms(model: Path, threads: int, runtime: str) -> float:
    """Returns the median of a few inferences, in milliseconds."""
    interpreter = open_interpreter(model, threads, runtime)
    for _ in range(_WARMUP_RUNS):
        invoke(interpreter, model)
    began, runs = perf_counter_ns(), list[float]()
    while len(runs) < _MAX_RUNS and perf_counter_ns() - began < _MAX_S * _NS_PER_S:
        started = perf_counter_ns()
        interpreter.invoke()
        runs.append((perf_counter_ns() - started) / _NS_PER_MS)
    return median(runs)


def _version(runtime: str) -> str:
    return f"{runtime} {metadata.version(RUNTIMES[runtime].package)}"


def _read(path: Path) -> dict[str, Any]:
    """Returns the stored choices; empty if the file is missing or not JSON."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
