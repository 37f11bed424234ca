"""Reads the state of the machine during a measurement: temperature, clock, throttling, and other processes."""

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
# Indices of the busy fields in the first line of /proc/stat. After the name, this line has the fields user, nice,
# system, idle, iowait, irq, softirq and steal.
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
# Index of the core in /proc/thread-self/stat, counted after the name of the program.
_CORE_FIELD = 36

Ask = Callable[[str], str | None]


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one time. A value is None if this system does not report it.

    Attributes:
        temperature_c: temperature of the first thermal zone in degrees Celsius.
        clock_mhz: clock rate in MHz of the core that this process runs on. The clock rate of another core tells
            nothing about the measurement, because that core may be idle or of another kind.
        governor: frequency governor of the first core.
        throttling: the limits that currently reduce the clock rate, as the firmware of a Raspberry Pi names them. Empty
            if the clock rate is not limited.
        throttle_events: number of times since boot that heat throttled the first core of an Intel processor.
    """

    temperature_c: float | None
    clock_mhz: float | None
    governor: str | None
    throttling: tuple[str, ...] | None
    throttle_events: int | None


def read_conditions(root: Path = Path("/"), ask: Ask = ask_firmware) -> Conditions:
    """Reads the current state of the machine.

    Args:
        root: the folder that holds proc/ and sys/.
        ask: a function that asks the firmware of a Raspberry Pi for the throttling flags. It is called only if no file
            holds these flags.
    """
    cpu0 = root / "sys/devices/system/cpu/cpu0"
    events = read_number(cpu0 / "thermal_throttle/core_throttle_count")
    return Conditions(
        temperature_c=read_number(root / "sys/class/thermal/thermal_zone0/temp", MILLI),
        clock_mhz=read_number(_own_core(root) / "cpufreq/scaling_cur_freq", KHZ_PER_MHZ),
        governor=read_text(cpu0 / "cpufreq/scaling_governor"),
        throttling=_throttling(root, ask),
        throttle_events=None if events is None else int(events),
    )


def _own_core(root: Path) -> Path:
    """Returns the folder of the core that this thread runs on, or of the first core if this is not known."""
    # the name of the program, in parentheses, may contain spaces; the core is the 37th field after it
    fields = (read_text(root / "proc/thread-self/stat") or "").rpartition(")")[2].split()
    core = fields[_CORE_FIELD] if len(fields) > _CORE_FIELD else "0"
    return root / f"sys/devices/system/cpu/cpu{core}"


def busy_s(root: Path = Path("/")) -> float | None:
    """Returns the busy seconds of all cores together since boot, or None if the system does not report them.

    Time that another virtual machine on the same host used (steal) counts as busy.
    """
    fields = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) <= max(_BUSY_FIELDS) + 1 or fields[0] != "cpu":
        return None
    return sum(int(fields[1 + at]) for at in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


class OtherProcesses:
    """Measures how many cores other processes keep busy. The measurement starts when the object is created.

    A running child of this process counts as another process. After the child has ended, all processor time of the
    child counts as time of this process.
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
    """Returns the text of a small file, stripped of whitespace and NUL characters at both ends.

    Returns None if the file is empty or cannot be read.
    """
    try:
        return path.read_text(errors="replace").strip(" \n\0") or None
    except OSError:
        return None


def read_number(path: Path, divisor: float = 1) -> float | None:
    """Returns the number in a file divided by ``divisor``; None if the file has no number or cannot be read."""
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
