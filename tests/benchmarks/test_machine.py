"""Descriptions of machines, read from files of other machines."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import cv2
import pytest

from dermedge.benchmarks.machine import describe_machine
from dermedge.edge.model.runtime import installed_runtimes

PI_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 cpuid asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_raspberry_pi_is_named_with_its_clock_governor_and_heat(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/cpuinfo": PI_CPUINFO,
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/meminfo": "MemTotal:        4000000 kB\nMemFree: 1 kB\n",
            "proc/loadavg": "0.25 0.10 0.05 1/234 5678\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
            "sys/class/thermal/thermal_zone0/temp": "61234\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        },
    )
    machine = describe_machine("litert", tmp_path)
    assert machine.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu == "implementer 0x41 part 0xd0b"
    assert machine.features == ("asimd", "asimddp")
    assert machine.memory_mb == 4096
    assert (machine.governor, machine.clock_mhz, machine.temperature_c) == ("ondemand", 2400, 61.234)
    assert machine.load == 0.25
    assert machine.system.startswith("Debian GNU/Linux 13 (trixie), ")


def test_an_x86_processor_is_named_with_the_instructions_that_matter(tmp_path: Path) -> None:
    cpuinfo = "model name\t: Some CPU @ 2 GHz\ncpu MHz\t: 2793.5\nflags\t: fpu avx2 mmx avx512_vnni\n"
    write(tmp_path, {"proc/cpuinfo": cpuinfo})
    machine = describe_machine("litert", tmp_path)
    assert (machine.cpu, machine.clock_mhz) == ("Some CPU @ 2 GHz", 2793.5)
    assert machine.features == ("avx2", "avx512_vnni")


def test_the_instruction_sets_of_both_architectures_are_told_in_one_order(tmp_path: Path) -> None:
    told = "avx2 fma avx512f avx512_vnni avx_vnni amx_int8 neon asimd asimdhp asimddp i8mm sve"
    write(tmp_path, {"proc/cpuinfo": f"flags\t: fpu sse2 {' '.join(reversed(told.split()))} aes\n"})
    assert describe_machine("litert", tmp_path).features == tuple(told.split())


def test_what_a_system_does_not_tell_is_none(tmp_path: Path) -> None:
    machine = describe_machine("litert", tmp_path)
    unknown = (machine.model, machine.memory_mb, machine.governor, machine.clock_mhz, machine.temperature_c)
    assert unknown == (None,) * 5
    assert machine.features == ()
    assert machine.cores >= 1


def test_a_machine_is_named_by_its_firmware_its_runtime_and_the_cores_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    write(
        tmp_path, {"sys/class/dmi/id/product_name": "A computer\n", "proc/loadavg": "0.25 0.50 0.75 1/2 3\n"}
    )
    [name, *_] = installed_runtimes()
    machine = describe_machine(name, tmp_path)
    package = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}[name]
    assert machine.runtime == f"{package} {version(package)}"
    assert (machine.model, machine.cores, machine.load) == ("A computer", 3, 0.25)
    assert (machine.numpy, machine.opencv) == (version("numpy"), cv2.__version__)
