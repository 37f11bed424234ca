"""The measurements of one start in a fresh process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dermedge.benchmarks.memory import cold_start, resident_bytes, resident_peak_bytes
from dermedge.edge.errors import ModelError


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
    # Linux brings the two counters up to date at different moments
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
