"""Finds the runtime and the number of threads with which a model is fastest on this machine.

The measurement is made once for each model file, and its result is stored.
"""

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

from dermedge.edge.errors import StorageError
from dermedge.edge.files import user_folder, write_text
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime, installed_runtimes, invoke, open_interpreter
from dermedge.edge.model.shipped import require_model_file

__all__ = ["FILE", "Choice", "cache_folder", "measure", "tuned", "tuned_threads"]

FILE = "tuning.json"
_THREADS = (1, 2, 4)
_WARMUP_RUNS = 2
_MAX_RUNS = 20
_MAX_S = 0.25
_NS_PER_MS, _NS_PER_S = 1e6, 1e9
# More threads heat the board. Therefore they are chosen only if the latency is below this share of the latency with
# fewer threads.
_GAIN = 0.9


@dataclass(frozen=True)
class Choice:
    """The runtime and the number of threads for a model.

    Attributes:
        runtime: the name of the runtime, a key of `RUNTIMES`.
        num_threads: the number of threads.
        invoke_ms: the median latency that was measured for this choice, in milliseconds.
    """

    runtime: str
    num_threads: int
    invoke_ms: float


def cache_folder() -> Path:
    """Returns the folder of dermedge in the cache folder of this user."""
    return user_folder("XDG_CACHE_HOME", ".cache")


def tuned(model: Path, runtime: str = "auto") -> Choice:
    """Returns the stored choice for a model file. If no choice is stored, measures now, and stores the fastest choice.

    Args:
        model: path of the .tflite.
        runtime: the name of the runtime to use. ``auto`` chooses the fastest of the installed ones.

    Raises:
        ModelError: the file is missing, or cannot be run.
        OptionError: no runtime has this name.
        MissingExtra: the runtime is not installed. For ``auto``: no runtime is installed.
    """
    first = choose_runtime(runtime)
    runtimes = installed_runtimes() if runtime == "auto" else [first]
    require_model_file(model)
    key = " ".join([digest(model), platform.machine(), str(os.cpu_count()), *map(_version, runtimes)])
    path = cache_folder() / FILE
    remembered = _read(path)
    # a TypeError means that another version of dermedge stored a choice with other fields
    with suppress(KeyError, TypeError):
        return Choice(**remembered[key])
    measured = measure(model, runtimes)
    # if the file cannot be written, the next start measures again
    with suppress(StorageError):
        write_text(path, json.dumps({**remembered, key: asdict(measured)}, indent=1) + "\n")
    return measured


def tuned_threads(model: Path, num_threads: int | str, runtime: str = "auto") -> int:
    """Returns the number of threads to use.

    If ``num_threads`` is ``auto``, the function returns the number of threads that is fastest with the runtime that
    `Classifier` chooses for ``runtime``. In this case, the function can raise the errors of `tuned`.
    """
    return tuned(model, choose_runtime(runtime)).num_threads if num_threads == "auto" else int(num_threads)


def measure(model: Path, runtimes: list[str]) -> Choice:
    """Measures each runtime in ``runtimes`` with each number of threads, and returns the fastest choice.

    The function tries one thread, and each larger number of threads in `_THREADS` for which the processor has enough
    cores.
    """
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
    """Returns the median latency of a few inferences, in milliseconds."""
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
    try:
        return f"{runtime} {metadata.version(RUNTIMES[runtime].package)}"
    except metadata.PackageNotFoundError:
        # another package has installed the module, such as ai-edge-litert-nightly
        return runtime


def _read(path: Path) -> dict[str, Any]:
    """Returns the stored choices. The dict is empty if the file is missing or is not JSON."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
