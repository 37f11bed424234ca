"""Describes the machine on which a measurement ran."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

from dermedge.benchmarks.conditions import KHZ_PER_MHZ, MILLI, read_text
from dermedge.edge.model.runtime import RUNTIMES

__all__ = ["Machine", "describe_machine"]

# Instruction sets that XNNPACK's kernels use, as Linux names them on x86 and ARM.
_FEATURES = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "neon",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "sve",
)
_BYTES_PER_KIB = 1024
_BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class Machine:
    """The machine and the software of a measurement. A value is None if this system does not report it.

    Attributes:
        model: model of the board or computer, as the firmware names it.
        cpu: name of the processor.
        cores: number of cores that this process may use.
        features: instruction sets of the processor that XNNPACK's kernels use, as Linux names them.
        memory_mb: RAM in 10^6 bytes.
        governor: frequency governor of the first core.
        clock_mhz: clock rate of the first core in MHz, at the start of the measurement.
        temperature_c: temperature of the first thermal zone in degrees Celsius, at the start of the measurement.
        load: load average over one minute, at the start of the measurement.
        system: the operating system and its kernel.
        architecture: architecture of the processor, as the kernel names it.
        python: version of Python.
        runtime: package and version of the TFLite interpreter.
        numpy: version of NumPy.
        opencv: version of OpenCV.
    """

    model: str | None
    cpu: str
    cores: int
    features: tuple[str, ...]
    memory_mb: int | None
    governor: str | None
    clock_mhz: float | None
    temperature_c: float | None
    load: float | None
    system: str
    architecture: str
    python: str
    runtime: str
    numpy: str
    opencv: str


def describe_machine(runtime: str, root: Path = Path("/")) -> Machine:
    """Describes this machine and its software.

    Args:
        runtime: a key of `dermedge.edge.model.runtime.RUNTIMES`.
        root: the folder that holds proc/, sys/ and etc/.
    """
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    cpu0 = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return Machine(
        model=_board(root),
        cpu=_field(cpuinfo, "model name") or _arm_cpu(cpuinfo) or platform.processor() or platform.machine(),
        cores=_usable_cores(),
        features=_features(cpuinfo),
        memory_mb=_memory_mb(read_text(root / "proc/meminfo") or ""),
        governor=read_text(cpu0 / "scaling_governor"),
        clock_mhz=_clock_mhz(read_text(cpu0 / "scaling_cur_freq"), cpuinfo),
        temperature_c=_scaled(read_text(root / "sys/class/thermal/thermal_zone0/temp"), MILLI),
        load=_scaled((read_text(root / "proc/loadavg") or "").split(" ")[0], 1),
        system=_system(read_text(root / "etc/os-release") or ""),
        architecture=platform.machine(),
        python=platform.python_version(),
        runtime=_runtime(runtime),
        numpy=np.__version__,
        opencv=cv2.__version__,
    )


def _field(cpuinfo: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else None


def _board(root: Path) -> str | None:
    return read_text(root / "proc/device-tree/model") or read_text(root / "sys/class/dmi/id/product_name")


def _arm_cpu(cpuinfo: str) -> str | None:
    """Returns the implementer number and the part number of an ARM processor, which Linux reports instead of a name."""
    implementer, part = _field(cpuinfo, "CPU implementer"), _field(cpuinfo, "CPU part")
    return f"implementer {implementer} part {part}" if implementer and part else None


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _features(cpuinfo: str) -> tuple[str, ...]:
    flags = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    return tuple(name for name in _FEATURES if name in flags)


def _memory_mb(meminfo: str) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return round(int(found.group(1)) * _BYTES_PER_KIB / _BYTES_PER_MB) if found else None


def _clock_mhz(khz: str | None, cpuinfo: str) -> float | None:
    return _scaled(khz, KHZ_PER_MHZ) or _scaled(_field(cpuinfo, "cpu MHz"), 1)


def _scaled(text: str | None, divisor: float) -> float | None:
    try:
        return float(text) / divisor if text else None
    except ValueError:
        return None


def _system(os_release: str) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', os_release, re.MULTILINE)
    return f"{found.group(1) if found else platform.system()}, {platform.system()} {platform.release()}"


def _runtime(name: str) -> str:
    package = RUNTIMES[name].package
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
