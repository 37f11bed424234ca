"""What each part measured stands in the row of its model and its number of threads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dermedge.benchmarks import side_by_side
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.energy import Energy
from dermedge.benchmarks.latency import Measurement, RunLength, latency
from dermedge.benchmarks.side_by_side import BenchmarkSettings, benchmark, named_source
from dermedge.edge.errors import DataError
from dermedge.edge.model.prediction import Timing

HOT = Conditions(80.0, 1500.0, "ondemand", ("throttled",), None)


@pytest.fixture
def models(make_view_model: Any, tmp_path: Path) -> tuple[Path, Path]:
    """Two files of the same network. The second file has one more byte at its end."""
    first = make_view_model(architecture="a-network")
    second = tmp_path / "second.tflite"
    second.write_bytes(first.read_bytes() + b" ")
    return first, second


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the parts of the benchmark, so that nothing is measured. The value holds what each part was asked for.

    Under ``loops`` are the measured loops, with their durations.
    """
    asked: dict[str, Any] = {"loops": []}

    def measure(classifiers: Sequence[Any], frames: Any, run_length: RunLength, progress: Any) -> Measurement:
        asked["frames"], asked["run_length"] = frames, run_length
        latencies = tuple(
            latency([Timing(0, 10.0 * at, 0)], cpu_ms=1) for at in range(1, len(classifiers) + 1)
        )
        return Measurement(latencies, 96, True, 9.5, 0.01, 0.5, (HOT,) * 3)

    def measure_loop(open_again: Any, classifier: Any, secs: float, progress: Any) -> Any:
        asked["loops"].append(secs)
        return ("loop", classifier.path.stem, classifier.num_threads)

    monkeypatch.setattr(side_by_side, "measure", measure)
    monkeypatch.setattr(side_by_side, "measure_loop", measure_loop)
    monkeypatch.setattr(side_by_side, "find_meter", lambda: SimpleNamespace(name="a meter"))
    monkeypatch.setattr(
        side_by_side,
        "frame_energies",
        lambda meter, all_, frames: [Energy(n, n, n) for n in range(len(all_))],
    )
    monkeypatch.setattr(
        side_by_side,
        "cold_start",
        lambda model, threads, runtime, normalization: ("start", model.stem, threads, runtime, normalization),
    )
    monkeypatch.setattr(
        side_by_side, "profile", lambda model, threads, runtime: ("ops", model.stem, threads, runtime)
    )
    return asked


def test_each_row_has_the_figures_of_its_model_and_its_threads(
    models: tuple[Path, Path], parts: dict[str, Any]
) -> None:
    length = RunLength(1, 2, 0.5, 4.0)
    settings = BenchmarkSettings(
        models, (1, 3), "litert", source="demo", run_length=length, profile=True, command="a command"
    )
    report = benchmark(settings)
    assert parts["run_length"] == length
    assert len(parts["frames"]) == 16
    assert parts["loops"] == [0.5] * 4
    kinds = [("view", 1), ("view", 3), ("second", 1), ("second", 3)]
    assert [(row.model, row.num_threads) for row in report.rows] == kinds
    assert [row.start for row in report.rows] == [("start", *kind, "litert", None) for kind in kinds]
    assert [row.loop for row in report.rows] == [("loop", *kind) for kind in kinds]
    assert [row.profile for row in report.rows] == [("ops", *kind, "litert") for kind in kinds]
    assert [row.latency.total.median for row in report.rows] == [10, 20, 30, 40]
    assert [row.energy and row.energy.mj for row in report.rows] == [0, 1, 2, 3]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in models]
    assert [row.sha256 for row in report.rows] == [one for one in digests for _ in range(2)]
    assert [row.size_bytes for row in report.rows] == [
        path.stat().st_size for path in models for _ in range(2)
    ]
    assert {(row.quantization, row.input_size, row.accuracy) for row in report.rows} == {
        ("int8-ptq", 8, None)
    }
    assert (report.warmup_runs, report.secs, report.harness, report.others_cores) == (96, 9.5, 0.01, 0.5)
    assert (report.command, report.meter, report.source, report.data) == (
        "a command",
        "a meter",
        "demo",
        None,
    )
    assert report.conditions == (HOT,) * 3
    assert report.faults == (
        "throttled: the firmware reports throttled",
        "noisy: other processes kept 0.50 cores busy",
    )
    made = datetime.fromisoformat(report.created)
    assert made.tzinfo == UTC
    assert abs(datetime.now(UTC) - made) < timedelta(hours=1)


def test_without_a_meter_and_a_profile_nothing_is_told_of_them(
    models: tuple[Path, Path], parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "find_meter", lambda: None)
    report = benchmark(BenchmarkSettings(models[:1], source="demo"))
    assert report.meter is None
    assert [(row.num_threads, row.energy, row.profile) for row in report.rows] == [(1, None, None)]
    # the usual measurement of the whole loop takes three seconds
    assert parts["loops"] == [3.0]


def test_some_of_the_photos_are_said_to_be_sampled(
    models: tuple[Path, Path], parts: dict[str, Any], tmp_path: Path
) -> None:
    import cv2

    for label in ("melanoma", "nevus"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            level = 60 + 10 * number + 100 * (label == "nevus")
            cv2.imwrite(
                str(tmp_path / "photos" / label / f"{label}{number}.png"), np.full((9, 9, 3), level, np.uint8)
            )
    for most, told in ((4, ", sampled evenly over the classes"), (7, "")):
        settings = BenchmarkSettings(models[:1], data=tmp_path / "photos", max_photos=most)
        report = benchmark(settings)
        accuracy = report.rows[0].accuracy
        assert accuracy
        assert (accuracy.photos, accuracy.lesions) == (min(most, 6),) * 2
        assert report.data == f"{tmp_path / 'photos'}{told}"
        assert report.frames == f"{min(most, 6)} photos of --data resized to 640x480"
        assert report.source == "the photos of --data"


def test_a_model_that_learned_from_the_photos_is_not_scored_on_them(
    models: tuple[Path, Path], parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(data: Path, split: str | None, classifiers: Sequence[Any]) -> None:
        raise DataError(f"learned {data.name} {split} {[one.path.stem for one in classifiers]}")

    monkeypatch.setattr("dermedge.train.data.scoring.check_unlearned", refuse)
    settings = BenchmarkSettings(models, (1, 2), data=tmp_path / "catalogue.csv", split="val")
    with pytest.raises(DataError, match=r"^learned catalogue\.csv val \['view', 'second'\]$"):
        benchmark(settings)


def test_a_source_is_named_without_its_password() -> None:
    assert named_source("rtsp://me:secret@camera/1") == "rtsp://camera/1"
    assert named_source(None) == "the photos of --data"
