"""Measures the energy of a prediction on machines that have an energy meter.

Two meters are supported: the RAPL counters of x86 processors, and the power chip (PMIC) of a Raspberry Pi 5. RAPL
measures the whole processor, and the PMIC measures the whole board; neither can measure one program. Therefore the
models run one at a time, in alternating blocks, and no other program should run. The idle power is not subtracted.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.conditions import Ask, read_number, read_text
from dermedge.benchmarks.latency import Predictor, one_opencv_thread
from dermedge.edge.doctor import ask_firmware

__all__ = ["Energy", "Meter", "Pmic", "Rapl", "find_meter", "frame_energies", "rails_watts"]

_BLOCKS, _BLOCK_S = 8, 1.0
# The 97.5 % quantile of Student's t distribution with _BLOCKS - 1 degrees of freedom.
_T_OF_BLOCKS = 2.3646
_SAMPLE_EVERY_S = 0.05
_MICRO, _MILLI = 1e-6, 1e-3


@dataclass(frozen=True)
class Energy:
    """The energy of one frame in millijoules, with the 95 % confidence interval over the blocks.

    Attributes:
        mj: total energy of all blocks in millijoules, divided by the total number of frames.
        low: lower end of the 95 % confidence interval of ``mj``, in millijoules.
        high: upper end of the 95 % confidence interval of ``mj``, in millijoules.
    """

    mj: float
    low: float
    high: float


class Meter(Protocol):
    """Measures the energy that the machine uses."""

    @property
    def name(self) -> str:
        """The name of the meter in user-facing text."""

    def joules(self, work: Callable[[], None]) -> float:
        """Calls ``work``, and returns the energy in joules that was used during the call."""


@dataclass(frozen=True)
class Rapl:
    """Reads the energy counters of the processor packages. On most systems, only root may read these counters."""

    domains: tuple[Path, ...]
    name: str = field(default="RAPL, processor packages", init=False)

    def joules(self, work: Callable[[], None]) -> float:
        before = [read_number(domain / "energy_uj") for domain in self.domains]
        work()
        used_uj = 0.0
        for domain, start in zip(self.domains, before, strict=True):
            taken = (read_number(domain / "energy_uj") or 0) - (start or 0)
            # if the difference is negative, the counter has wrapped around to 0
            used_uj += taken if taken >= 0 else taken + (read_number(domain / "max_energy_range_uj") or 0)
        return used_uj * _MICRO


@dataclass(frozen=True)
class Pmic:
    """Samples the total power of all rails of a Raspberry Pi 5, and multiplies the mean power by the duration.

    The power of USB devices is not included.
    """

    ask: Ask
    name: str = field(default="Raspberry Pi 5 power chip, all rails", init=False)

    def joules(self, work: Callable[[], None]) -> float:
        watts: list[float] = []
        done = threading.Event()

        def sample() -> None:
            while True:
                # a reading that fails, for example because the board is busy, is left out
                if found := rails_watts(self.ask("pmic_read_adc") or ""):
                    watts.append(found)
                if done.wait(_SAMPLE_EVERY_S):
                    return

        sampling = threading.Thread(target=sample)
        sampling.start()
        started = perf_counter()
        try:
            work()
        finally:
            secs = perf_counter() - started
            done.set()
            sampling.join()
        return float(np.mean(watts)) * secs if watts else 0.0


def rails_watts(answer: str) -> float:
    """Returns the power of all rails together in watts.

    Args:
        answer: the output of `vcgencmd pmic_read_adc`. For each rail, this output has two lines, such as ``NAME_A
            current(7)=1.5A`` and ``NAME_V volt(15)=0.8V``. Other lines are ignored.
    """
    amperes = dict(re.findall(r"(\w+)_A current\(\d+\)=([\d.]+)A", answer))
    volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=([\d.]+)V", answer))
    return sum(float(amperes[rail]) * float(volts[rail]) for rail in amperes.keys() & volts.keys())


def find_meter(root: Path = Path("/"), ask: Ask = ask_firmware) -> Meter | None:
    """Returns the energy meter of this machine; None if there is no meter, or if this user may not read the meter."""
    zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    packages = [zone for zone in zones if (read_text(zone / "name") or "").startswith("package")]
    if packages and all(read_number(zone / "energy_uj") is not None for zone in packages):
        return Rapl(tuple(packages))
    return Pmic(ask) if rails_watts(ask("pmic_read_adc") or "") else None


def frame_energies(
    meter: Meter,
    predictors: Sequence[Predictor],
    frames: Sequence[NDArray[np.uint8]],
    block_s: float = _BLOCK_S,
) -> list[Energy]:
    """Returns the energy of one frame for each predictor. The predictors alternate in blocks of ``block_s`` seconds."""
    joules, counts = np.zeros((len(predictors), _BLOCKS)), np.zeros((len(predictors), _BLOCKS), int)
    shown = np.zeros(len(predictors), int)
    with one_opencv_thread():
        for block in range(_BLOCKS):
            for place, predictor in enumerate(predictors):
                before = int(shown[place])
                joules[place, block] = meter.joules(_block(predictor, frames, block_s, place, shown))
                counts[place, block] = shown[place] - before
    return [_energy(*of_predictor) for of_predictor in zip(joules, counts, strict=True)]


def _energy(joules: NDArray[np.float64], counts: NDArray[np.int_]) -> Energy:
    """Returns the energy of one frame.

    The confidence interval is computed from the mean energies of the blocks with Student's t distribution.

    Args:
        joules: float64 [blocks], the energy of each block.
        counts: int [blocks], the number of frames of each block.
    """
    mj = float(joules.sum() / counts.sum() / _MILLI)
    error = float((joules / counts / _MILLI).std(ddof=1) / np.sqrt(len(joules)))
    return Energy(mj, mj - _T_OF_BLOCKS * error, mj + _T_OF_BLOCKS * error)


def _block(
    predictor: Predictor,
    frames: Sequence[NDArray[np.uint8]],
    block_s: float,
    place: int,
    counts: NDArray[np.int_],
) -> Callable[[], None]:
    """Returns a function that predicts for ``block_s`` seconds, and adds the number of frames to ``counts[place]``."""

    def work() -> None:
        ends = perf_counter() + block_s
        while True:
            predictor.predict(frames[counts[place] % len(frames)])
            counts[place] += 1
            if perf_counter() >= ends:
                return

    return work
