"""One run of the measurement in a process of its own, as each `dermedge benchmark` is one."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dermedge.benchmarks.frames import Frames
from dermedge.benchmarks.latency import Measurement, Rules, measure
from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier


def measure_in_new_process(model: Path, frames: Frames, num_threads: int, rules: Rules) -> Measurement:
    """Opens a model in a new process, and measures it there; the process ends with it.

    Raises:
        DermedgeError: the model cannot be run.
        ModelError: the process died.
    """
    # `fork` would hand on what this process has loaded
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, model, frames, num_threads, rules).result()
        except BrokenProcessPool as error:
            raise ModelError(f"'{model}' fails in a process of its own: it died") from error


def _measure(model: Path, frames: Frames, num_threads: int, rules: Rules) -> Measurement:
    with Classifier(model, num_threads=num_threads) as classifier:
        return measure([classifier], frames, rules)
