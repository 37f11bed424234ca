"""The choice of runtime and threads: measured once for a model, a runtime and a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model import tuning
from dermedge.edge.model.runtime import installed_runtimes
from dermedge.edge.model.tuning import Choice, cache_folder, measure, tuned, tuned_threads


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what is remembered, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder() / tuning.FILE


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Threads -> milliseconds that are measured for them, on a machine of four cores."""
    times = {1: 20.0, 2: 12.0, 4: 11.5}
    monkeypatch.setattr(tuning.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(tuning, "_invoke_ms", lambda model, threads, runtime: times[threads])
    return times


def test_more_threads_are_taken_where_they_are_clearly_faster(
    times: dict[int, float], model_path: Path
) -> None:
    runtimes = installed_runtimes()[:1]
    assert measure(model_path, runtimes).num_threads == 2
    times[4] = 6.0
    assert measure(model_path, runtimes).num_threads == 4
    times.update({2: 19.0, 4: 18.5})
    assert measure(model_path, runtimes).num_threads == 1


def test_no_more_threads_than_cores(
    times: dict[int, float], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning.os, "cpu_count", lambda: 1)
    assert measure(model_path, installed_runtimes()[:1]).num_threads == 1


def test_a_choice_is_measured_once_and_remembered(
    times: dict[int, float], cache: Path, model_path: Path
) -> None:
    first = tuned(model_path)
    times.update({1: 1.0})
    assert tuned(model_path) == first
    [remembered] = json.loads(cache.read_text()).values()
    assert Choice(**remembered) == first


def test_another_model_and_another_machine_are_measured_for_themselves(
    times: dict[int, float], cache: Path, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(model_path)
    other = tmp_path / "other.tflite"
    other.write_bytes(model_path.read_bytes() + b"more")
    tuned(other)
    monkeypatch.setattr(tuning.os, "cpu_count", lambda: 2)
    tuned(model_path)
    assert len(json.loads(cache.read_text())) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_memory_is_measured_anew(
    content: bytes, times: dict[int, float], cache: Path, model_path: Path
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert tuned(model_path).num_threads == 2
    assert len(json.loads(cache.read_text())) == 1


def test_where_nothing_can_be_written_it_is_measured_at_each_start(
    times: dict[int, float], model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert tuned(model_path).num_threads == 2


def test_the_real_model_is_measured_in_a_moment(cache: Path, model_path: Path) -> None:
    assert tuned(model_path).invoke_ms > 0


def test_a_missing_model_is_named(cache: Path) -> None:
    with pytest.raises(ModelError, match="no model file 'nowhere"):
        tuned(Path("nowhere.tflite"))


def test_a_number_of_threads_is_kept_and_auto_is_tuned_for_the_first_runtime(
    cache: Path, times: dict[int, float], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[list[str]] = []
    real = tuning.measure
    monkeypatch.setattr(
        tuning, "measure", lambda model, runtimes: (measured.append(runtimes), real(model, runtimes))[1]
    )
    assert tuned_threads(model_path, 3) == 3
    assert not measured
    assert tuned_threads(model_path, "auto") == 2
    assert measured == [installed_runtimes()[:1]]
