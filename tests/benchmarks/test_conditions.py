"""Temperature, clock, throttling and other processes, read from files of other machines."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dermedge.benchmarks import conditions
from dermedge.benchmarks.conditions import Conditions, OtherProcesses, busy_s, read_conditions

CPU0 = "sys/devices/system/cpu/cpu0"


def silent(what: str) -> str | None:
    return None


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_raspberry_pi_tells_heat_clock_and_what_holds_it_back(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{CPU0}/cpufreq/scaling_governor": "ondemand\n",
            f"{CPU0}/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/class/thermal/thermal_zone0/temp": "82500\n",
        },
    )
    found = read_conditions(tmp_path, {"get_throttled": "throttled=0xd0004"}.get)
    assert found == Conditions(82.5, 1500, "ondemand", ("throttled",), None)


def test_the_clock_is_that_of_the_core_that_measures(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{CPU0}/cpufreq/scaling_cur_freq": "400000\n",
            f"{CPU0.removesuffix('0')}3/cpufreq/scaling_cur_freq": "4500000\n",
            "proc/thread-self/stat": f"71 (python (3) x) R {' '.join('0' * 35)} 3 {' '.join('0' * 13)}\n",
        },
    )
    assert read_conditions(tmp_path, silent).clock_mhz == 4500


@pytest.mark.skipif(not Path("/proc/thread-self/stat").exists(), reason="only Linux tells the core")
def test_the_core_is_one_that_this_process_may_use() -> None:
    core = conditions._own_core(Path("/")).name
    assert int(core.removeprefix("cpu")) in os.sched_getaffinity(0)


def test_a_file_of_the_firmware_is_read_in_place_of_asking_it(tmp_path: Path) -> None:
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "0\n"})
    assert read_conditions(tmp_path, lambda what: pytest.fail("asked")).throttling == ()


def test_an_intel_processor_counts_how_often_it_was_slowed(tmp_path: Path) -> None:
    write(tmp_path, {f"{CPU0}/thermal_throttle/core_throttle_count": "7\n"})
    assert read_conditions(tmp_path, silent).throttle_events == 7


def test_what_a_system_does_not_tell_is_none(tmp_path: Path) -> None:
    assert read_conditions(tmp_path, silent) == Conditions(None, None, None, None, None)
    assert busy_s(tmp_path) is None
    assert OtherProcesses(tmp_path).busy_cores() is None


def test_idle_and_waiting_time_is_no_work_and_stolen_time_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    write(tmp_path, {"proc/stat": "cpu  100 20 30 99999 88888 4 6 40 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"})
    assert busy_s(tmp_path) == 2.0


def test_other_processes_are_what_is_busy_beside_this_one_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"here": 10.0, "user": 1.0, "system": 0.5, "at": 50.0}
    monkeypatch.setattr(
        conditions, "time", SimpleNamespace(process_time=lambda: own["here"], perf_counter=lambda: own["at"])
    )
    times = lambda: SimpleNamespace(children_user=own["user"], children_system=own["system"])  # noqa: E731
    monkeypatch.setattr(conditions, "os", SimpleNamespace(times=times, sysconf=lambda name: 100))
    write(tmp_path, {"proc/stat": "cpu  1000 0 0 5 5 0 0 0 0 0\n"})
    others = OtherProcesses(tmp_path)
    # Within four seconds, the processors were busy for ten more seconds. This process used two of them, and its
    # children one and a half, so that other processes used 6.5.
    write(tmp_path, {"proc/stat": "cpu  2000 0 0 9 9 0 0 0 0 0\n"})
    own.update(here=12.0, user=2.0, system=1.0, at=54.0)
    assert others.busy_cores() == pytest.approx(6.5 / 4)
    own["here"] = 30.0
    assert others.busy_cores() == 0
