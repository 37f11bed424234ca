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
    """The file that holds the measured choices, in a cache folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder() / tuning.FILE


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """For each number of threads, the milliseconds that are measured. The machine has four cores."""
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


def test_a_runtime_from_a_package_of_another_name_is_measured_too(
    times: dict[int, float], cache: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise tuning.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(tuning.metadata, "version", missing)
    assert tuned(model_path).num_threads == 2
    assert len(json.loads(cache.read_text())) == 1


def test_the_real_model_is_measured_in_a_moment(cache: Path, model_path: Path) -> None:
    assert tuned(model_path).invoke_ms > 0


def test_a_missing_model_is_named(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"the model file '.*nowhere.*' does not exist"):
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


def test_more_threads_must_save_a_tenth(times: dict[int, float], model_path: Path) -> None:
    runtimes = installed_runtimes()[:1]
    for second, threads in ((18.0, 1), (17.99, 2)):
        times.update({2: second, 4: 30.0})
        found = measure(model_path, runtimes)
        assert (found.num_threads, found.runtime) == (threads, runtimes[0])
        assert found.invoke_ms == (20.0 if threads == 1 else second)


@pytest.mark.parametrize(
    ("durations_ms", "runs", "median_ms"),
    [
        # at most twenty runs are measured, and the first two inferences are not counted
        ([50, 50, *[1, 9, 2] * 10], 20, 2.0),
        # after a quarter of a second, no further run begins
        ([50, 50, *[100, 120, 140] * 10], 3, 120.0),
        ([50, 50, *[125, 125, 140] * 10], 2, 125.0),
    ],
)
def test_the_time_is_the_median_of_a_few_inferences(
    durations_ms: list[int], runs: int, median_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_ns, done, opened = [0], [0], []

    class Interpreter:
        """On a simulated clock, each inference takes the next of the durations."""

        def invoke(self) -> None:
            clock_ns[0] += durations_ms[done[0]] * 1_000_000
            done[0] += 1

    def open_one(*given: object) -> Interpreter:
        opened.append(given)
        return Interpreter()

    monkeypatch.setattr(tuning, "open_interpreter", open_one)
    monkeypatch.setattr(tuning, "invoke", lambda interpreter, model: interpreter.invoke())
    monkeypatch.setattr(tuning, "perf_counter_ns", lambda: clock_ns[0])
    assert tuning._invoke_ms(Path("a.tflite"), 4, "litert") == median_ms
    assert done[0] == 2 + runs
    assert opened == [(Path("a.tflite"), 4, "litert")]
