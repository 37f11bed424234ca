"""A report of a benchmark with made-up figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.benchmarks.accuracy import Accuracy
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.energy import Energy
from dermedge.benchmarks.latency import latency
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import ColdStart
from dermedge.benchmarks.report import BenchmarkReport, ModelResult
from dermedge.benchmarks.whole_loop import frame_times, summarize
from dermedge.edge.model.decision import Decision, Headline
from dermedge.edge.model.prediction import Prediction, Timing
from dermedge.edge.preprocess import Region
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import State
from dermedge.train.evaluation.metrics import Score

SKIN = Accuracy(
    accuracy=Score(0.8, 0.7, 0.9),
    balanced_accuracy=Score(0.75, 0.6, 0.85),
    melanoma_sensitivity=Score(0.65, 0.5, 0.8),
    recall={"melanoma": 0.9, "nevus": 0.6, "dermatofibroma": None},
    photos=40,
    lesions=30,
)

COOL = Conditions(45.0, 2400.0, "performance", (), None)


def a_result() -> FrameResult:
    """A loop whose frame was captured in 3 ms. The answer came 5 ms later; the classifier took 4 of these 5 ms."""
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0, "a camera")
    prediction = Prediction(
        "nevus", Decision(0, False, False, False), None, (1.0,), (0.0,), Timing(0.5, 3.0, 0.5), None
    )
    classification = Classification(
        frame=frame,
        prediction=prediction,
        labels=("nevus",),
        label="nevus",
        headline=Headline("nevus"),
        prediction_set=None,
        crop=Region(0, 0, 48, 48),
        dropped=0,
        capture_ms=3.0,
        frame_age_ms=5.0,
        fps=None,
    )
    return FrameResult(
        State.ANSWER,
        "",
        frame,
        (0, 0, 48),
        classification,
        classification,
        None,
        FrameCounts(classified=1),
        None,
        None,
    )


@pytest.fixture
def make_result() -> Callable[[], FrameResult]:
    return a_result


@pytest.fixture
def report() -> BenchmarkReport:
    """Two models; the system reported no memory for the second."""
    first = ModelResult(
        model="alpha",
        path="models/alpha.tflite",
        sha256="0" * 64,
        size_bytes=2_700_000,
        quantization="int8-qat",
        input_size=160,
        num_threads=1,
        start=ColdStart(load_ms=7, first_ms=4, peak_mb=73.5, steady_mb=70.25, model_mb=13.25, starts=3),
        latency=latency([Timing(0.4, 2.0 + step, 0.1) for step in range(5)], cpu_ms=4.5),
        loop=summarize([frame_times(a_result())] * 2, [0.0, 0.02]),
        energy=Energy(mj=12.5, low=12.1, high=12.9),
        profile=None,
        accuracy=SKIN,
    )
    second = replace(
        first,
        model="a-model-with-a-name-that-is-much-longer-than-any-table-can-show-of-it-and-ends-in-omega",
        quantization=None,
        start=replace(first.start, peak_mb=None, steady_mb=None, model_mb=None),
        latency=latency([Timing(0.4, 4.0 + 2 * step, 0.1) for step in range(5)], cpu_ms=4.5),
    )
    machine = describe_machine("litert", root=Path("/nowhere"))
    return BenchmarkReport(
        created="2026-11-23T09:00:00+00:00",
        command="dermedge benchmark",
        machine=machine,
        frames="16 frames",
        source="photos/",
        data="photos/",
        warmup_runs=64,
        secs=10.5,
        harness=0.004,
        others_cores=0.01,
        meter="a meter",
        conditions=(COOL, COOL, replace(COOL, temperature_c=61.0)),
        faults=(),
        rows=(first, second),
    )


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The matplotlib figures that the test saves. Nothing is written into their files."""
    figure = pytest.importorskip("matplotlib.figure", reason="the device's environment has no matplotlib")
    figures: list[Any] = []
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda one, part, **options: figures.append(one) or part.touch()
    )
    return figures
