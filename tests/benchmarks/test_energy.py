"""Energy, as machines tell it that this test does not run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.benchmarks.energy import Pmic, Rapl, energy_mj, find_meter, rails_watts

# As a Raspberry Pi 5 answers, but for the numbers.
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


def test_models_take_turns_and_their_energy_is_by_the_frame() -> None:
    class Joule:
        name = "one joule a block"

        def joules(self, work: Callable[[], None]) -> float:
            work()
            return 1.0

    models = [Counting(), Counting()]
    found = energy_mj(Joule(), models, [np.zeros((2, 2, 3), np.uint8)], block_s=0)
    assert [model.frames for model in models] == [4, 4]
    assert found == [1000, 1000]
