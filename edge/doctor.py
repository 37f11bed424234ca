"""Checks an installation, and names a cure for each fault. Each check is a function that changes nothing.

This module imports neither NumPy nor OpenCV nor a TFLite runtime, so that it can report when one of these packages
does not work.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dermedge
from dermedge.edge.errors import DermedgeError
from dermedge.edge.installation import pip_command, this_installation
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime, installed_runtimes
from dermedge.edge.sources.video_devices import video_nodes

__all__ = [
    "FAULT",
    "OK",
    "THROTTLING",
    "WARNING",
    "Finding",
    "ask_firmware",
    "check_cameras",
    "check_model",
    "check_numpy",
    "check_opencv",
    "check_picamera2",
    "check_python",
    "check_runtime",
    "check_temperature",
    "check_throttling",
    "examine",
]

OK, WARNING, FAULT = "ok", "warning", "fault"
_PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
# tflite-runtime has no wheel for a later Python than this one.
_TFLITE_PYTHON = (3, 11)
_OPENCV_PACKAGES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
# A Raspberry Pi slows down when it is at least this hot, in degrees Celsius.
_HOT_C = 80
_MILLI = 1000
_COMMAND_TIMEOUT_S = 5
# The command `vcgencmd get_throttled` prints a number. THROTTLING maps some bits of this number to the conditions that
# they stand for. A bit is set while its condition holds. The bit that is 16 places higher is set if the condition has
# held at any time since the board started. The documentation of vcgencmd lists the bits.
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16
_INSTALL_PICAMERA2 = "sudo apt install python3-picamera2"
_CONVERT_AGAIN = "convert the model again with this version of dermedge"
# A .tflite file of another maker has no golden test, because only `dermedge convert` writes one. `dermedge convert`
# cannot convert every such file.
_EVALUATE = "check its answers on labelled photos: dermedge evaluate {} --data FOLDER"

_Load = Callable[[str], Any]
_Ask = Callable[[str], str | None]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: the name of the check.
        status: one of three constants. OK: nothing is wrong; WARNING: something is slow, unusual or absent; FAULT:
            something cannot work.
        text: the finding, in words.
        cure: what the user can do about a warning or a fault. It is empty if nothing is wrong, or if ``text`` already
            says what to do.
    """

    check: str
    status: str
    text: str
    cure: str = ""


def examine(model: Path, runtime: str = "auto") -> list[Finding]:
    """Runs all checks. Returns a finding with the version of dermedge, and then one finding for each check.

    The model is not run if the check of Python, NumPy, OpenCV or the TFLite runtime finds a fault.
    """
    needed = [check_python(), check_numpy(), check_opencv(), check_runtime()]
    if any(one.status == FAULT for one in needed):
        checked = Finding(
            "model", WARNING, "not run", "mend the faults above, and run `dermedge doctor` again"
        )
    else:
        checked = check_model(model, runtime)
    return [
        Finding("dermedge", OK, dermedge.__version__),
        *needed,
        check_cameras(),
        check_picamera2(),
        check_temperature(),
        check_throttling(),
        checked,
    ]


def check_python(
    python: tuple[int, int] = sys.version_info[:2],
    is_64_bit: bool = sys.maxsize > 2**32,
    machine: str = platform.machine(),
) -> Finding:
    """Tells whether dermedge supports this version of Python, and which TFLite runtimes have a wheel for it."""
    text = f"{python[0]}.{python[1]}, {64 if is_64_bit else 32} bits, {machine}"
    if python not in _PYTHONS:
        return Finding(
            "python", FAULT, text, "make a virtual environment with Python 3.11, 3.12, 3.13 or 3.14"
        )
    if not is_64_bit and python > _TFLITE_PYTHON:
        return Finding(
            "python",
            FAULT,
            f"{text}: no TFLite runtime has a wheel for this Python",
            "install a 64-bit system, or make a virtual environment with Python 3.11",
        )
    if not is_64_bit:
        text = f"{text}: tflite-runtime is the only TFLite runtime with a wheel for this Python"
        return Finding("python", WARNING, text, "install a 64-bit system to use ai-edge-litert")
    return Finding("python", OK, text)


def check_numpy(load: _Load = import_module) -> Finding:
    """Tells whether NumPy can be imported."""
    try:
        return Finding("numpy", OK, load("numpy").__version__)
    except Exception as error:  # a damaged package may raise any exception
        cure = pip_command("install", "--force-reinstall", "numpy>=1.26")
        return Finding("numpy", FAULT, _first_line(error), cure)


def check_opencv(load: _Load = import_module, versions: Callable[[str], str | None] | None = None) -> Finding:
    """Tells whether OpenCV can be imported, is installed only once, and can open windows."""
    installed = [name for name in _OPENCV_PACKAGES if (versions or _version)(name)]
    one = pip_command("install", "opencv-python-headless")
    one_of_them = f"{pip_command('uninstall', '-y', *installed)}; {one}"
    try:
        cv2 = load("cv2")
        built = cv2.getBuildInformation()
    except Exception as error:
        # An OpenCV that can open windows needs libGL. The import fails on a system without a desktop, which lacks
        # libGL. If one OpenCV package has overwritten parts of another, the import may raise any exception.
        cure = one_of_them if installed else one
        return Finding("opencv", FAULT, _first_line(error), cure)
    gui = re.search(r"^\s*GUI:\s*(\S+)", built, re.MULTILINE)
    windows = gui.group(1) if gui else "NONE"
    text = f"{cv2.__version__}, {'cannot open windows' if windows == 'NONE' else f'opens windows with {windows}'}"
    if len(installed) > 1:
        text = f"{text}; the packages {' and '.join(installed)} overwrite each other's files"
        return Finding("opencv", WARNING, text, one_of_them)
    return Finding("opencv", OK, text)


def check_runtime(
    installed: Sequence[str] | None = None,
    load: _Load = import_module,
    python: tuple[int, int] = sys.version_info[:2],
    is_64_bit: bool = sys.maxsize > 2**32,
) -> Finding:
    """Tells which TFLite runtime is installed, if any, and whether it can be imported with this NumPy."""
    names = installed_runtimes() if installed is None else installed
    if not names:
        return Finding("runtime", FAULT, "no TFLite runtime is installed", _runtime_cure(python, is_64_bit))
    name = names[0]
    text = f"{RUNTIMES[name].package} {_version(RUNTIMES[name].package) or ''}".strip()
    try:
        if name == "tflite-runtime" and int(load("numpy").__version__.split(".")[0]) >= 2:
            cure = pip_command("install", "numpy<2")
            return Finding(
                "runtime", FAULT, f"{text} was built for NumPy 1, and fails with later versions", cure
            )
        load(RUNTIMES[name].module).Interpreter  # noqa: B018  (after a power cut, the file may be empty)
    except Exception as error:  # a damaged package may raise any exception
        cure = pip_command("install", "--force-reinstall", RUNTIMES[name].package)
        return Finding("runtime", FAULT, f"{text}: {_first_line(error)}", cure)
    if name == "tflite-runtime":
        no_32_bits = "install a 64-bit system, because ai-edge-litert has no wheel for 32 bits"
        cure = _runtime_cure(python, is_64_bit) if is_64_bit else no_32_bits
        text = f"{text} runs int8 models without XNNPACK: they are several times slower, and answers differ a little"
        return Finding("runtime", WARNING, text, cure)
    return Finding("runtime", OK, text)


def check_cameras(
    devices: Path = Path("/dev"),
    names: Path = Path("/sys/class/video4linux"),
    may_use: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK),
) -> Finding:
    """Tells which V4L2 devices exist, and whether this user may open them."""
    found = video_nodes(devices)
    if not found:
        return Finding(
            "cameras", WARNING, "no V4L2 camera was found", "plug a camera in, or use --source demo"
        )
    told = ", ".join(f"{_read(names / path.name / 'name') or 'unnamed'} ({path})" for path in found)
    refused = [str(path) for path in found if not may_use(path)]
    if refused:
        text = f"{told}; this user has no permission for {', '.join(refused)}"
        return Finding("cameras", FAULT, text, "run `sudo usermod -aG video $USER`, and log in again")
    return Finding("cameras", OK, told)


def check_picamera2(
    board: Path = Path("/proc/device-tree/model"),
    load: _Load = import_module,
    environment: Path | None = Path(sys.prefix) if sys.prefix != sys.base_prefix else None,
    system_packages: Path = Path("/usr/lib/python3/dist-packages"),
    python: tuple[int, int] = sys.version_info[:2],
) -> Finding:
    """Tells whether the Raspberry Pi's own camera can be used from this environment.

    Args:
        board: the file that holds the name of the board.
        load: a function that imports a module by its name.
        environment: the folder of the virtual environment. It is None if Python runs outside of a virtual environment.
        system_packages: the folder in which Debian installs Python packages.
        python: the version of the running Python.
    """
    if "Raspberry Pi" not in (_read(board) or ""):
        return Finding("picamera2", OK, "not needed: this is not a Raspberry Pi")
    try:
        load("picamera2")
        return Finding("picamera2", OK, f"{_version('picamera2') or 'can be imported'}")
    except ModuleNotFoundError as error:
        if error.name != "picamera2":
            return Finding("picamera2", WARNING, _first_line(error), _INSTALL_PICAMERA2)
    except Exception as error:
        # picamera2 imports simplejpeg. Debian built simplejpeg for NumPy 1; with NumPy 2, it fails in various ways.
        cure = pip_command("install", "numpy<2") if "numpy" in str(error) else _INSTALL_PICAMERA2
        return Finding("picamera2", WARNING, _first_line(error), cure)
    again = "python3 -m venv --clear --system-site-packages"
    if environment is None or not (system_packages / "picamera2").is_dir():
        cure = f"run `{_INSTALL_PICAMERA2}`, and make the virtual environment with `{again} DIR`"
        return Finding("picamera2", WARNING, "not installed", cure)
    built_for = [path.name for path in (system_packages / "libcamera").glob("*.cpython-*.so")]
    text = (
        "installed for the system's Python, but this virtual environment does not see the system's packages"
    )
    if built_for and not any(f"cpython-{python[0]}{python[1]}-" in name for name in built_for):
        text = f"{text}; libcamera was not built for Python {python[0]}.{python[1]}"
        cure = f"make the environment anew with `/usr/bin/{again} {environment}`, and install dermedge again"
        return Finding("picamera2", WARNING, text, cure)
    cure = f"set include-system-site-packages = true in {environment / 'pyvenv.cfg'}"
    return Finding("picamera2", WARNING, text, cure)


def check_temperature(
    zone: Path = Path("/sys/class/thermal/thermal_zone0/temp"), ask: _Ask | None = None
) -> Finding:
    """Tells how hot the processor is."""
    in_milli = _read(zone)
    answer = re.search(r"temp=([\d.]+)", (ask or ask_firmware)("measure_temp") or "")
    if in_milli and in_milli.lstrip("-").isdigit():
        celsius = int(in_milli) / _MILLI
    elif answer:
        celsius = float(answer.group(1))
    else:
        return Finding("temperature", OK, "not readable on this machine")
    if celsius >= _HOT_C:
        cure = "cool the processor with a heat sink or a fan: a hot processor slows down, and latencies rise"
        return Finding("temperature", WARNING, f"{celsius:.0f} °C", cure)
    return Finding("temperature", OK, f"{celsius:.0f} °C")


def check_throttling(
    flags: Path = Path("/sys/devices/platform/soc/soc:firmware/get_throttled"), ask: _Ask | None = None
) -> Finding:
    """Tells whether a Raspberry Pi slows down, or has slowed down since its start, because of low voltage or heat."""
    answer = ((ask or ask_firmware)("get_throttled") or _read(flags) or "").removeprefix("throttled=").strip()
    try:
        bits = int(answer, 16)
    except ValueError:
        return Finding("throttling", OK, "not readable on this machine")
    now = [name for bit, name in THROTTLING.items() if bits >> bit & 1]
    earlier = [name for bit, name in THROTTLING.items() if bits >> bit + _SINCE_START & 1 and name not in now]
    told = [*(f"{name} now" for name in now), *(f"{name} earlier since the start" for name in earlier)]
    if not told:
        return Finding("throttling", OK, "none since the board started")
    cure = "use the board's own power supply" if "under-voltage" in (*now, *earlier) else "cool the board"
    return Finding("throttling", WARNING, ", ".join(told), cure)


def check_model(model: Path, runtime: str = "auto") -> Finding:
    """Tells whether a model runs on this machine, and whether it passes the golden test.

    The golden test compares the outputs for generated images with the outputs that the model file stores. The outputs
    were stored when the model was converted.
    """
    from dermedge.edge.model.classifier import Classifier
    from dermedge.edge.model.golden import IMAGE_COUNT, golden_image, replay

    check = f"model {model.stem}"
    try:
        name = RUNTIMES[choose_runtime(runtime)].package
        replayed = replay(model, runtime)
        with Classifier(model, runtime=runtime) as classifier:
            classifier.predict(golden_image(0))
            manifest = classifier.manifest
    except DermedgeError as error:
        return Finding(check, FAULT, str(error))  # the error's message already states the cure
    if replayed is None:
        return Finding(
            check,
            WARNING,
            "the model runs, but it has no golden test",
            _CONVERT_AGAIN if manifest else _EVALUATE.format(shlex.quote(str(model))),
        )
    if replayed.passed:
        told = f"with {name}, all {IMAGE_COUNT} golden images get the same answers as at the conversion"
        return Finding(check, OK, told)
    told = "; ".join(map(str, replayed.moved))
    if replayed.moved:
        told = f"{told}; for {replayed.other_class} images, another class is now the most probable one"
    if not replayed.same_pixels:
        told = "; ".join(
            filter(None, ["the preprocessing computes other network inputs than at the conversion", told])
        )
        cure = pip_command("install", "--force-reinstall", "opencv-python-headless>=4.11")
        return Finding(check, FAULT, told, cure)
    if not replayed.is_xnnpack:
        told = f"{told}; {name} computed the answers with its own kernels, without XNNPACK"
        cure = f"use ai-edge-litert, which needs a 64-bit system: {pip_command('install', 'ai-edge-litert')}"
        return Finding(check, WARNING, told, cure)
    made_with = manifest.tools.get("ai-edge-litert") if manifest else None
    if made_with == _version("ai-edge-litert"):
        return Finding(check, FAULT, told, "copy the model file again, or convert the model again")
    package = f"ai-edge-litert=={made_with}" if made_with else "ai-edge-litert"
    return Finding(check, FAULT, told, pip_command("install", package))


def ask_firmware(what: str) -> str | None:
    """Asks the firmware of a Raspberry Pi with ``vcgencmd``. Returns the answer, or None on other machines.

    Args:
        what: the question, such as ``measure_temp``.
    """
    try:
        done = subprocess.run(
            ["vcgencmd", what], capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _runtime_cure(python: tuple[int, int], is_64_bit: bool) -> str:
    if is_64_bit:
        return pip_command("install", "ai-edge-litert")
    command = this_installation().command_for("tflite-runtime")
    if python <= _TFLITE_PYTHON:
        return command
    made = "make a virtual environment with Python 3.11, and install dermedge there"
    return f"{made}; here the command would be: {command}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    """Returns the content of a small text file, or None if the file is empty or cannot be read.

    White space and NUL characters are removed at both ends, because the texts of the device tree end in NUL.
    """
    try:
        return path.read_text(errors="replace").strip(" \n\0") or None
    except OSError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
