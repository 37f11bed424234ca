"""The state of the machine while it is measured: temperature, clock, throttling, and other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dermedge.edge.doctor import THROTTLING, ask_firmware

__all__ = [
    "KHZ_PER_MHZ",
    "MILLI",
    "Ask",
    "Conditions",
    "OtherProcesses",
    "busy_s",
    "read_conditions",
    "read_number",
    "read_text",
]

KHZ_PER_MHZ = 1000
MILLI = 1000
# Fields of the first line of /proc/stat after its name: user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)

Ask = Callable[[str], str | None]


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one time; None for what this system does not report.

    Attributes:
        temperature_c: temperature of the first thermal zone.
        clock_mhz: clock rate in MHz of the first core.
        governor: governor of the first core's frequency.
        throttling: limits of the clock that a Raspberry Pi's firmware reports now; empty if there are none.
        throttle_events: how often the first core was throttled because of heat since boot, on Intel processors.
    """

    temperature_c: float | None
    clock_mhz: float | None
    governor: str | None
    throttling: tuple[str, ...] | None
    throttle_events: int | None


def read_conditions(root: Path = Path("/"), ask: Ask = ask_firmware) -> Conditions:
    """Reads the state now.

    Args:
        root: where /proc and /sys are.
        ask: asks a Raspberry Pi's firmware, whose flags may not be in any file.
    """
    cpu0 = root / "sys/devices/system/cpu/cpu0"
    events = read_number(cpu0 / "thermal_throttle/core_throttle_count")
    return Conditions(
        temperature_c=read_number(root / "sys/class/thermal/thermal_zone0/temp", MILLI),
        clock_mhz=read_number(cpu0 / "cpufreq/scaling_cur_freq", KHZ_PER_MHZ),
        governor=read_text(cpu0 / "cpufreq/scaling_governor"),
        throttling=_throttling(root, ask),
        throttle_events=None if events is None else int(events),
    )


def busy_s(root: Path = Path("/")) -> float | None:
    """Returns the busy seconds of all cores together since boot, or None if the system does not report them.

    Time that another guest of the same host took (steal) counts as work of others.
    """
    fields = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) <= max(_BUSY_FIELDS) + 1 or fields[0] != "cpu":
        return None
    return sum(int(fields[1 + at]) for at in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


class OtherProcesses:
    """Measures how many cores other processes keep busy, from its creation on.

    Children of this process count as its own once they have ended.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._busy_s, self._own_s, self._at_s = busy_s(root), _own_s(), time.perf_counter()

    def busy_cores(self) -> float | None:
        """Returns the mean number of cores that other processes used, or None if the system does not report it."""
        now_s = busy_s(self._root)
        if now_s is None or self._busy_s is None:
            return None
        others_s = now_s - self._busy_s - (_own_s() - self._own_s)
        return max(0.0, others_s / (time.perf_counter() - self._at_s))


def _own_s() -> float:
    """Returns the processor seconds of this process and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def read_text(path: Path) -> str | None:
    """Returns the text of a small file without spaces and NULs at its ends; None if it is empty or unreadable."""
    try:
        return path.read_text(errors="replace").strip(" \n\0") or None
    except OSError:
        return None


def read_number(path: Path, divisor: float = 1) -> float | None:
    """Returns the number in a file divided by ``divisor``; None if there is none."""
    try:
        return float(read_text(path) or "") / divisor
    except ValueError:
        return None


def _throttling(root: Path, ask: Ask) -> tuple[str, ...] | None:
    in_file = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    try:
        bits = int((in_file or ask("get_throttled") or "").removeprefix("throttled="), 16)
    except ValueError:
        return None
    return tuple(name for bit, name in THROTTLING.items() if bits >> bit & 1)
