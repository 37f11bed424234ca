"""A report as a benchmark leaves it, with figures that were made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import Accuracy
from benchmarks.latency import latency
from benchmarks.machine import describe_machine
from benchmarks.memory import ColdStart
from benchmarks.report import Report, Row
from edge.classifier import Timing
from train.metrics import Score

SKIN = Accuracy(
    accuracy=Score(0.8, 0.7, 0.9),
    balanced_accuracy=Score(0.75, 0.6, 0.85),
    recall={"melanoma": 0.9, "nevus": 0.6, "dermatofibroma": None},
    photos=40,
    lesions=30,
)


@pytest.fixture
def report() -> Report:
    """Two models; of the second the system told no memory."""
    first = Row(
        model="alpha",
        path="models/alpha.tflite",
        sha256="0" * 64,
        size_bytes=2_700_000,
        quantization="int8-qat",
        input_size=160,
        num_threads=1,
        start=ColdStart(load_ms=7, first_ms=4, peak_mb=73.5, model_mb=13.25, starts=3),
        latency=latency([Timing(0.4, 2.0 + step, 0.1) for step in range(5)]),
        accuracy=SKIN,
    )
    second = replace(
        first,
        model="a-model-with-a-name-that-is-much-longer-than-any-table-can-show-of-it-and-ends-in-omega",
        quantization=None,
        start=replace(first.start, peak_mb=None, model_mb=None),
        latency=latency([Timing(0.4, 4.0 + 2 * step, 0.1) for step in range(5)]),
    )
    machine = describe_machine("litert", root=Path("/nowhere"))
    return Report(
        "2026-11-23T09:00:00+00:00", "dermedge benchmark", machine, "16 frames", "photos/", 5, (first, second)
    )
