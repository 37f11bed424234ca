"""One measurement in a process of its own, as each `dermedge benchmark` is one."""

from __future__ import annotations

from pathlib import Path

from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.frames import Frames
from dermedge.benchmarks.latency import Measurement, Rules, measure
from dermedge.edge.model.classifier import Classifier

__all__ = ["measure_in_new_process"]


def measure_in_new_process(model: Path, frames: Frames, num_threads: int, rules: Rules) -> Measurement:
    """Opens a model in a new process, and measures it there.

    Raises:
        ModelError: the model cannot be run.
        ToolError: the process died.
    """
    return call_in_child(_measure, model, frames, num_threads, rules)


def _measure(model: Path, frames: Frames, num_threads: int, rules: Rules) -> Measurement:
    with Classifier(model, num_threads=num_threads) as classifier:
        return measure([classifier], frames, rules)
