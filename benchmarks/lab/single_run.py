"""Measures a model in a new process, because each run of `dermedge benchmark` is a new process too."""

from __future__ import annotations

from pathlib import Path

from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.frames import Frames
from dermedge.benchmarks.latency import Measurement, RunLength, measure
from dermedge.edge.model.classifier import Classifier

__all__ = ["measure_in_new_process"]


def measure_in_new_process(
    model: Path, frames: Frames, num_threads: int, run_length: RunLength
) -> Measurement:
    """Opens and measures a model in a new process. The arguments are those of `Classifier` and `measure`.

    Raises:
        ModelError: the model cannot be run.
        ToolError: the process died.
    """
    return call_in_child(_measure, model, frames, num_threads, run_length)


def _measure(model: Path, frames: Frames, num_threads: int, run_length: RunLength) -> Measurement:
    with Classifier(model, num_threads=num_threads) as classifier:
        return measure([classifier], frames, run_length)
