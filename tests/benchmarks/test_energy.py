"""Energy, read from files of other machines."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.benchmarks.energy import Energy, Pmic, Rapl, find_meter, frame_energies, rails_watts
from dermedge.benchmarks.report import BenchmarkReport, tables, to_csv, to_text

# The answer of a Raspberry Pi 5. The numbers were changed.
ADC = """       3V7_WL_SW_A current(0)=0.5A
       VDD_CORE_A current(7)=2.0A
       3V7_WL_SW_V volt(8)=4.0V
       VDD_CORE_V volt(15)=0.75V
       EXT5V_V volt(24)=5.1V
"""


class Counting:
    def __init__(self) -> None:
        self.frames = 0

    def predict(self, frame_bgr: NDArray[np.uint8]) -> None:
        self.frames += 1


def package(root: Path, number: int, energy_uj: int) -> Path:
    zone = root / f"sys/class/powercap/intel-rapl:{number}"
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"package-{number}\n")
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    (zone / "max_energy_range_uj").write_text("1000000\n")
    return zone


def silent(what: str) -> str | None:
    return None


def test_rapl_sums_the_packages_and_knows_a_counter_that_starts_again(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 100_000), package(tmp_path, 1, 900_000)
    (tmp_path / "sys/class/powercap/intel-rapl:0:0").mkdir()
    (tmp_path / "sys/class/powercap/intel-rapl:0:0/name").write_text("core\n")

    def work() -> None:
        (first / "energy_uj").write_text("350000\n")
        (second / "energy_uj").write_text("50000\n")

    meter = find_meter(tmp_path, silent)
    assert isinstance(meter, Rapl)
    assert meter.joules(work) == pytest.approx(0.25 + 0.15)


def test_a_counter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    (package(tmp_path, 0, 0) / "energy_uj").unlink()
    assert find_meter(tmp_path, silent) is None


def test_the_rails_of_a_pi_5_are_those_with_current_and_voltage() -> None:
    assert rails_watts(ADC) == pytest.approx(0.5 * 4 + 2 * 0.75)
    assert rails_watts("error=1") == 0


def test_a_pi_5_is_known_by_its_answer(tmp_path: Path) -> None:
    meter = find_meter(tmp_path, {"pmic_read_adc": ADC}.get)
    assert isinstance(meter, Pmic)
    assert meter.joules(lambda: None) > 0


class Metered:
    """A meter that measures these energies in joules, one for each block."""

    name = "made up"

    def __init__(self, *joules: float) -> None:
        self.left = list(joules)

    def joules(self, work: Callable[[], None]) -> float:
        work()
        return self.left.pop(0)


FRAMES = [np.zeros((2, 2, 3), np.uint8)]


def test_models_take_turns_and_their_energy_is_by_the_frame() -> None:
    models = [Counting(), Counting()]
    found = frame_energies(Metered(*[1.0, 2.0] * 8), models, FRAMES, block_s=0)
    assert [model.frames for model in models] == [8, 8]
    assert found == [Energy(1000, 1000, 1000), Energy(2000, 2000, 2000)]


def test_the_interval_is_that_of_the_mean_of_the_blocks() -> None:
    # Each block has one frame. Four blocks take 1 J, and four take 3 J. The mean is 2 J, and the variance is 8 / 7 J².
    # So the standard error of the mean is sqrt(8 / 7 / 8) = sqrt(1 / 7) J. For 7 degrees of freedom, Student's t is
    # 2.365.
    [found] = frame_energies(Metered(*[1.0] * 4, *[3.0] * 4), [Counting()], FRAMES, block_s=0)
    assert found.mj == pytest.approx(2000)
    assert found.high - found.mj == pytest.approx(2.365 * 1000 / 7**0.5, rel=1e-3)
    assert found.mj - found.low == pytest.approx(found.high - found.mj)


def test_energy_is_shown_with_its_interval_and_not_measured_without_a_meter(report: BenchmarkReport) -> None:
    without = replace(report, rows=(replace(report.rows[0], energy=None), *report.rows[1:]), meter=None)
    [parts] = [table for table in tables(without) if "energy mJ" in table.head]
    at = parts.head.index("energy mJ")
    assert [row[at] for row in parts.rows] == ["not measured", "12.5 [12.1, 12.9]"]
    first, second = csv.DictReader(io.StringIO(to_csv(without)))
    assert (first["energy_mj"], first["energy_mj_low"]) == ("", "")
    assert (second["energy_mj"], second["energy_mj_low"], second["energy_mj_high"]) == (
        "12.5",
        "12.1",
        "12.9",
    )
    assert "energy: not measured" in to_text(without)


def test_each_frame_is_shown_in_turn_and_all_frames_of_a_block_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    seen: list[int] = []

    class OneSecond(Counting):
        def predict(self, frame_bgr: NDArray[np.uint8]) -> None:
            clock[0] += 1
            seen.append(int(frame_bgr[0, 0, 0]))

    monkeypatch.setattr("dermedge.benchmarks.energy.perf_counter", lambda: clock[0])
    frames = [np.full((2, 2, 3), number, np.uint8) for number in range(2)]
    # a frame takes one second, so a block of 2.5 seconds has three frames
    [found] = frame_energies(Metered(*[3.0] * 8), [OneSecond()], frames, block_s=2.5)
    assert seen == [0, 1] * 12
    assert found == Energy(1000, 1000, 1000)


def test_a_pi_5_multiplies_its_mean_power_by_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples are 1 W, 3 W, and then 2 W until the work is done, which takes four seconds. So the mean is 2 W."""
    asked, over = threading.Semaphore(0), threading.Event()
    watts = iter([1, 3])

    def answer(what: str) -> str:
        asked.release()
        return f"VDD_CORE_A current(7)={next(watts, 2)}A\nVDD_CORE_V volt(15)=1V\n"

    def work() -> None:
        for _ in range(3):
            assert asked.acquire(timeout=60)
        over.set()

    stamps = iter([10.0, 14.0])
    monkeypatch.setattr("dermedge.benchmarks.energy.perf_counter", lambda: next(stamps))
    monkeypatch.setattr("dermedge.benchmarks.energy._SAMPLE_EVERY_S", 0)
    before = threading.active_count()
    assert Pmic(answer).joules(work) == pytest.approx(8)
    assert over.is_set()
    assert threading.active_count() == before


def test_a_sample_that_fails_is_no_sample_of_no_power(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    over = threading.Event()

    def answer(what: str) -> str | None:
        asked.append(what)
        if len(asked) == 4:
            over.set()
        # None means that the command ran into its time limit; ADC are 3.5 watts
        return ADC if len(asked) % 2 else None

    stamps = iter([10.0, 12.0])
    monkeypatch.setattr("dermedge.benchmarks.energy.perf_counter", lambda: next(stamps))
    monkeypatch.setattr("dermedge.benchmarks.energy._SAMPLE_EVERY_S", 0)
    assert Pmic(answer).joules(lambda: over.wait(10) and None) == pytest.approx(7)
    stamps = iter([10.0, 12.0])
    assert Pmic(lambda what: None).joules(lambda: None) == 0


def test_packages_count_only_if_all_can_be_read(tmp_path: Path) -> None:
    package(tmp_path, 0, 5)
    (package(tmp_path, 1, 5) / "energy_uj").unlink()
    assert find_meter(tmp_path, silent) is None
