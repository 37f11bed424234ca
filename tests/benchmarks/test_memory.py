"""The measurements of one start in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.benchmarks import memory
from dermedge.benchmarks.memory import (
    ColdStart,
    cold_start,
    resident_bytes,
    resident_peak_bytes,
    start_here,
)
from dermedge.edge.errors import ModelError
from dermedge.edge.model.runtime import installed_runtimes


def test_a_start_is_measured_in_processes_of_its_own(model_path: Path) -> None:
    before = resident_peak_bytes()
    found = cold_start(model_path, num_threads=1, starts=2)
    assert found.starts == 2
    assert found.load_ms > 0
    assert found.first_ms > 0
    assert resident_peak_bytes() == pytest.approx(before, rel=0.02)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_model_costs_a_part_of_the_process_it_runs_in(model_path: Path) -> None:
    found = cold_start(model_path, num_threads=1, starts=1)
    assert found.peak_mb is not None
    assert found.model_mb is not None
    assert found.steady_mb is not None
    assert model_path.stat().st_size / 1e6 / 2 < found.model_mb < found.peak_mb
    # Linux updates the two counters at different moments, so they may differ a little
    assert found.model_mb < found.steady_mb < found.peak_mb + 1


def test_it_works_in_any_folder(model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_path.resolve()
    monkeypatch.chdir(tmp_path)
    assert cold_start(model, num_threads=1, starts=1).load_ms > 0


def test_a_process_that_fails_names_its_model_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.tflite") as caught:
        cold_start(broken, num_threads=1, starts=1)
    assert "\n" not in str(caught.value)


def test_the_peak_is_linux_high_water_mark(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert resident_peak_bytes(status) == 2048 * 1024
    assert resident_bytes(status) == 1024 * 1024


def test_where_nothing_can_be_read_nothing_is_guessed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert resident_peak_bytes(tmp_path / "absent") is None
    assert resident_bytes(tmp_path / "absent") is None


class StartingClassifier:
    """Takes 4 ms for its first frame and 2 ms for each later frame. It records its arguments."""

    load_ms = 7.0
    opened: tuple[Any, dict[str, Any]]
    frames: list[NDArray[np.uint8]]

    def __init__(self, model: Any, **options: Any) -> None:
        type(self).opened, type(self).frames = (model, options), []

    def __enter__(self) -> StartingClassifier:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def predict(self, frame: NDArray[np.uint8]) -> Any:
        self.frames.append(frame)
        return SimpleNamespace(timing=SimpleNamespace(invoke_ms=2.0 if len(self.frames) > 1 else 4.0))


def test_memory_is_in_millions_of_bytes_and_the_model_s_part_is_what_came_after_the_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks: Iterator[int] = iter([50_000_000, 73_500_000])
    monkeypatch.setattr(memory, "resident_peak_bytes", lambda: next(peaks))
    monkeypatch.setattr(memory, "resident_bytes", lambda: 70_250_000)
    monkeypatch.setattr(memory, "Classifier", StartingClassifier)
    runtime = installed_runtimes()[0]
    found = start_here("net.tflite", 3, runtime, "unit")
    assert found == ColdStart(
        load_ms=7.0, first_ms=4.0, peak_mb=73.5, steady_mb=70.25, model_mb=23.5, starts=1
    )
    options = {"num_threads": 3, "runtime": runtime, "normalization": "unit"}
    assert StartingClassifier.opened == ("net.tflite", options)
    assert [(one.shape, one.dtype) for one in StartingClassifier.frames] == [((480, 640, 3), np.uint8)] * 5


def test_what_the_system_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Classifier", StartingClassifier)
    for peaks in ((None, None), (None, 9_000_000), (9_000_000, None)):
        given = iter(peaks)
        monkeypatch.setattr(memory, "resident_peak_bytes", lambda given=given: next(given))
        monkeypatch.setattr(memory, "resident_bytes", lambda: None)
        found = start_here("net.tflite", 1)
        assert (found.steady_mb, found.model_mb) == (None, None)
        assert found.peak_mb == (None if peaks[1] is None else 9.0)


def test_three_starts_are_measured_and_their_medians_told(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [
        ColdStart(load_ms=1, first_ms=30, peak_mb=5, steady_mb=9, model_mb=None, starts=1),
        ColdStart(load_ms=9, first_ms=10, peak_mb=7, steady_mb=2, model_mb=3, starts=1),
        ColdStart(load_ms=2, first_ms=11, peak_mb=6.5, steady_mb=3, model_mb=3, starts=1),
    ]
    calls: list[tuple[Any, ...]] = []

    def call(function: Any, *arguments: Any) -> ColdStart:
        calls.append((function, *arguments))
        return starts[len(calls) - 1]

    monkeypatch.setattr(memory, "call_in_child", call)
    found = cold_start("net.tflite", 2, "litert", normalization="unit")
    assert found == ColdStart(load_ms=2, first_ms=11, peak_mb=6.5, steady_mb=3, model_mb=None, starts=3)
    assert calls == [(start_here, Path("net.tflite"), 2, "litert", "unit")] * 3


@pytest.mark.parametrize(("platform", "expected"), [("linux", 3000 * 1024), ("darwin", 3000)])
def test_without_proc_the_peak_is_that_of_getrusage_in_the_unit_of_the_system(
    platform: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=3000 + who))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert resident_peak_bytes(tmp_path / "absent") == expected
