"""Each check of `dermedge doctor`, on machines that are made of arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dermedge
from dermedge.edge import doctor
from dermedge.edge.doctor import (
    FAULT,
    OK,
    WARNING,
    Finding,
    ask_firmware,
    check_cameras,
    check_model,
    check_numpy,
    check_opencv,
    check_picamera2,
    check_python,
    check_runtime,
    check_temperature,
    check_throttling,
    examine,
)
from dermedge.edge.installation import pip_command
from dermedge.edge.model.manifest import attach, read_manifest, strip


def loads(**modules: Any) -> Callable[[str], Any]:
    """Returns an import function. It returns these modules, but raises one that is an exception. It knows no others."""

    def load(name: str) -> Any:
        module = modules.get(name.split(".")[0])
        if module is None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        if isinstance(module, Exception):
            raise module
        return module

    return load


RUNTIME = SimpleNamespace(Interpreter=object)


def numpy_of(version: str) -> SimpleNamespace:
    return SimpleNamespace(__version__=version)


def opencv_of(gui: str) -> SimpleNamespace:
    return SimpleNamespace(__version__="5.0.0", getBuildInformation=lambda: f"  GUI:    {gui}\n  Media:\n")


@pytest.mark.parametrize(
    ("python", "is_64_bit", "status", "cure"),
    [
        ((3, 11), True, OK, ""),
        ((3, 13), True, OK, ""),
        ((3, 15), True, FAULT, "Python 3.11, 3.12, 3.13 or 3.14"),
        ((3, 10), True, FAULT, "Python 3.11, 3.12, 3.13 or 3.14"),
        ((3, 11), False, WARNING, "64-bit system"),
        ((3, 12), False, FAULT, "Python 3.11"),
    ],
)
def test_a_python_without_a_wheel_of_a_runtime_is_told(
    python: tuple[int, int], is_64_bit: bool, status: str, cure: str
) -> None:
    finding = check_python(python, is_64_bit, "armv7l")
    assert finding.status == status
    assert cure in finding.cure
    assert bool(finding.cure) == (status != OK)


def test_a_numpy_that_cannot_be_imported_is_a_fault() -> None:
    assert check_numpy(loads(numpy=numpy_of("2.4.6"))).text == "2.4.6"
    finding = check_numpy(loads(numpy=ImportError("libopenblas.so: no such file\nmore lines")))
    assert (finding.status, finding.text) == (FAULT, "libopenblas.so: no such file")
    assert finding.cure == pip_command("install", "--force-reinstall", "numpy>=1.26")


@pytest.mark.parametrize(
    ("gui", "said"), [("NONE", "cannot open windows"), ("QT5", "opens windows with QT5")]
)
def test_opencv_is_told_with_or_without_windows(gui: str, said: str) -> None:
    finding = check_opencv(loads(cv2=opencv_of(gui)), {"opencv-python-headless": "5"}.get)
    assert finding.status == OK
    assert said in finding.text


def test_two_opencvs_are_told_with_the_commands_that_leave_one() -> None:
    versions = {"opencv-python-headless": "5", "opencv-python": "4"}.get
    finding = check_opencv(loads(cv2=opencv_of("NONE")), versions)
    assert finding.status == WARNING
    uninstall = pip_command("uninstall", "-y", "opencv-python-headless", "opencv-python")
    assert finding.cure == f"{uninstall}; {pip_command('install', 'opencv-python-headless')}"


@pytest.mark.parametrize(
    "damaged",
    [
        AttributeError(
            "partially initialized module 'cv2' has no attribute 'gapi_wip_gst_GStreamerPipeline'"
        ),
        SyntaxError("source code string cannot contain null bytes"),
        OSError(8, "Exec format error"),
        SimpleNamespace(),  # an empty folder is left of two packages of this name; a power cut leaves empty files
    ],
)
def test_a_damaged_package_is_a_fault_and_no_traceback(damaged: Any) -> None:
    assert check_numpy(loads(numpy=damaged)).status == FAULT
    opencv = check_opencv(loads(cv2=damaged), {"opencv-python": "5"}.get)
    assert opencv.status == FAULT
    assert pip_command("install", "opencv-python-headless") in opencv.cure
    assert check_runtime(["litert"], loads(ai_edge_litert=damaged)).status == FAULT


def test_an_opencv_without_libgl_is_a_fault_and_the_headless_one_the_cure() -> None:
    broken = loads(cv2=ImportError("libGL.so.1: cannot open shared object file"))
    finding = check_opencv(broken, {"opencv-python": "5"}.get)
    assert finding.status == FAULT
    assert "libGL" in finding.text
    install = pip_command("install", "opencv-python-headless")
    assert finding.cure == f"{pip_command('uninstall', '-y', 'opencv-python')}; {install}"
    assert check_opencv(loads(), {}.get).cure == install


@pytest.mark.parametrize(
    ("installed", "modules", "status", "said", "cure"),
    [
        (["litert", "tflite-runtime"], {"ai_edge_litert": RUNTIME}, OK, "ai-edge-litert", ""),
        (
            ["litert"],
            {"ai_edge_litert": ImportError("GLIBC_2.38 not found")},
            FAULT,
            "GLIBC",
            "ai-edge-litert",
        ),
        ([], {}, FAULT, "no TFLite runtime", pip_command("install", "ai-edge-litert")),
        (
            ["tflite-runtime"],
            {"numpy": numpy_of("2.4.6"), "tflite_runtime": RUNTIME},
            FAULT,
            "NumPy 1",
            pip_command("install", "numpy<2"),
        ),
        (
            ["tflite-runtime"],
            {"numpy": numpy_of("1.26.4"), "tflite_runtime": RUNTIME},
            WARNING,
            "without XNNPACK",
            pip_command("install", "ai-edge-litert"),
        ),
    ],
)
def test_the_runtime_and_its_traps(
    installed: list[str], modules: dict[str, Any], status: str, said: str, cure: str
) -> None:
    finding = check_runtime(installed, loads(**modules), (3, 11), is_64_bit=True)
    assert finding.status == status
    assert said in finding.text
    assert cure in finding.cure


def test_where_there_is_no_wheel_of_litert_the_older_runtime_and_its_python_are_named() -> None:
    assert "[tflite-runtime]" in check_runtime([], loads(), (3, 11), is_64_bit=False).cure
    assert "Python 3.11" in check_runtime([], loads(), (3, 13), is_64_bit=False).cure


@pytest.fixture
def two_cameras(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of the devices and of their names."""
    for number, name in ((0, "unicam"), (10, "USB Camera")):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / f"video{number}").touch()
        (tmp_path / "names" / f"video{number}").mkdir(parents=True)
        (tmp_path / "names" / f"video{number}" / "name").write_text(f"{name}\n")
    return tmp_path / "dev", tmp_path / "names"


def test_cameras_are_named_and_one_that_may_not_be_opened_is_a_fault(two_cameras: tuple[Path, Path]) -> None:
    devices, names = two_cameras
    finding = check_cameras(devices, names)
    assert finding.status == OK
    assert finding.text == f"unicam ({devices}/video0), USB Camera ({devices}/video10)"
    refused = check_cameras(devices, names, may_use=lambda path: path.name != "video10")
    assert refused.status == FAULT
    assert refused.text.endswith(f"no permission for {devices}/video10")
    assert "usermod -aG video" in refused.cure


def test_a_node_whose_name_is_more_than_a_number_is_passed_over(two_cameras: tuple[Path, Path]) -> None:
    devices, names = two_cameras
    (devices / "video0-left").touch()
    assert check_cameras(devices, names).text == f"unicam ({devices}/video0), USB Camera ({devices}/video10)"


def test_no_camera_is_a_warning(tmp_path: Path) -> None:
    assert check_cameras(tmp_path, tmp_path).status == WARNING


@pytest.fixture
def raspberry(tmp_path: Path) -> Path:
    """The file in which the firmware of a board states its model."""
    path = tmp_path / "model"
    path.write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    return path


def test_picamera2_is_no_matter_but_on_a_raspberry_pi(raspberry: Path, tmp_path: Path) -> None:
    assert check_picamera2(tmp_path / "none", loads()).status == OK
    assert check_picamera2(raspberry, loads(picamera2=object())).status == OK
    missing = check_picamera2(raspberry, loads(), None, tmp_path)
    assert missing.status == WARNING
    assert "sudo apt install python3-picamera2" in missing.cure


def test_an_environment_that_does_not_see_the_systems_picamera2_is_told_how_to(
    raspberry: Path, tmp_path: Path
) -> None:
    (tmp_path / "picamera2").mkdir()
    (tmp_path / "libcamera").mkdir()
    (tmp_path / "libcamera" / "_libcamera.cpython-311-aarch64-linux-gnu.so").touch()
    environment = Path("/home/pi/env")
    finding = check_picamera2(raspberry, loads(), environment, tmp_path, (3, 11))
    assert finding.status == WARNING
    assert finding.cure == "set include-system-site-packages = true in /home/pi/env/pyvenv.cfg"
    other = check_picamera2(raspberry, loads(), environment, tmp_path, (3, 13))
    assert "not built for Python 3.13" in other.text
    assert "/usr/bin/python3 -m venv --clear --system-site-packages /home/pi/env" in other.cure


def test_a_picamera2_that_meets_another_numpy_than_it_was_built_for_is_told(raspberry: Path) -> None:
    broken = ValueError("numpy.dtype size changed, may indicate binary incompatibility")
    finding = check_picamera2(raspberry, loads(picamera2=broken))
    assert (finding.status, finding.cure) == (WARNING, pip_command("install", "numpy<2"))
    no_libcamera = ModuleNotFoundError("No module named 'libcamera'", name="libcamera")
    assert "apt install" in check_picamera2(raspberry, loads(picamera2=no_libcamera)).cure


@pytest.mark.parametrize(
    ("zone", "firmware", "status", "said"),
    [
        ("61234\n", None, OK, "61 °C"),
        ("79999\n", None, OK, "80 °C"),
        ("80000\n", None, WARNING, "80 °C"),
        ("x80000\n", None, OK, "not readable"),
        (None, "temp=48.3'C", OK, "48 °C"),
        (None, None, OK, "not readable"),
        ("nonsense", "", OK, "not readable"),
    ],
)
def test_temperature(zone: str | None, firmware: str | None, status: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "temp"
    if zone is not None:
        path.write_text(zone)
    finding = check_temperature(path, lambda what: firmware)
    assert finding.status == status
    assert said in finding.text


@pytest.mark.parametrize(
    ("answer", "status", "said", "cure"),
    [
        ("throttled=0x0", OK, "none", ""),
        ("throttled=0x50005", WARNING, "under-voltage now, throttled now", "power supply"),
        (
            "throttled=0x50000",
            WARNING,
            "under-voltage earlier since the start, throttled earlier since the start",
            "power",
        ),
        ("throttled=0x80008", WARNING, "soft temperature limit now", "cool"),
        (None, OK, "not readable", ""),
    ],
)
def test_throttling_is_read_bit_by_bit(
    answer: str | None, status: str, said: str, cure: str, tmp_path: Path
) -> None:
    finding = check_throttling(tmp_path / "none", lambda what: answer)
    assert finding.status == status
    assert said in finding.text
    assert cure in finding.cure
    flags = tmp_path / "flags"
    flags.write_text((answer or "").removeprefix("throttled=0x"))
    assert check_throttling(flags, lambda what: None) == finding, "the kernel tells the same bits"


def test_a_model_that_is_damaged_is_a_fault_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"no model")
    finding = check_model(path)
    assert finding.status == FAULT
    assert finding.text.endswith(
        "m.tflite' is not a .tflite model, or its beginning is damaged; copy the file again"
    )
    assert "\n" not in finding.text
    assert not finding.cure, "the text names the cure already"


def test_a_model_without_a_golden_test_is_run_all_the_same(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(model_path.read_bytes(), replace(read_manifest(model_path), golden={})))
    finding = check_model(path)
    assert finding.status == WARNING
    assert "no golden test" in finding.text
    assert finding.cure == "convert the model again with this version of dermedge"
    path.write_bytes(strip(model_path.read_bytes()))
    assert check_model(path).cure == (
        f"check its answers on labelled photos: dermedge evaluate {path} --data FOLDER"
    ), "dermedge cannot convert every file that it did not make"


@pytest.mark.parametrize(
    ("shift", "pixels", "statuses", "said"),
    [
        (0, None, {OK}, "all 12 golden images get the same answers"),
        # With tflite-runtime, the difference is a warning, because its own kernels explain it. With XNNPACK, the same
        # difference is a fault.
        (2, None, {FAULT, WARNING}, "evidence differs for 12 of 12 images, by 2 levels at most"),
        (0, "0" * 64, {FAULT}, "the preprocessing computes other network inputs than at the conversion"),
    ],
)
def test_the_golden_test_is_told(
    make_golden: Callable[..., Path], shift: int, pixels: str | None, statuses: set[str], said: str
) -> None:
    finding = check_model(make_golden(shift, **({"pixels": pixels} if pixels else {})))
    assert finding.status in statuses
    assert said in finding.text
    assert ("without XNNPACK" in finding.text) == (finding.status == WARNING)
    assert bool(finding.cure) == (finding.status != OK)


def test_every_check_is_told_under_its_name(model_path: Path) -> None:
    found = examine(model_path)
    assert found[0].text == dermedge.__version__
    assert [one.check for one in found] == [
        "dermedge",
        "python",
        "numpy",
        "opencv",
        "runtime",
        "cameras",
        "picamera2",
        "temperature",
        "throttling",
        f"model {model_path.stem}",
    ]
    assert found[-1].status in (OK, WARNING)


@pytest.mark.parametrize("broken", ["check_python", "check_numpy", "check_opencv", "check_runtime"])
def test_a_model_is_not_run_where_what_it_needs_is_broken(
    broken: str, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, broken, lambda: Finding("broken", FAULT, "a text", "a cure"))
    found = examine(model_path)
    assert found[-1] == Finding(
        "model", WARNING, "not run", "mend the faults above, and run `dermedge doctor` again"
    )
    assert Finding("broken", FAULT, "a text", "a cure") in found


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (check_python((3, 12), False, "armv7l"), ("python", FAULT)),
        (check_python((3, 11), False, "armv7l"), ("python", WARNING)),
        (check_python((3, 9), True, "x86_64"), ("python", FAULT)),
        (check_numpy(loads()), ("numpy", FAULT)),
        (check_opencv(loads(), {}.get), ("opencv", FAULT)),
        (check_runtime([], loads()), ("runtime", FAULT)),
        (check_runtime(["litert"], loads(ai_edge_litert=ImportError("no"))), ("runtime", FAULT)),
        (check_runtime(["tflite-runtime"], loads(numpy=numpy_of("2.0"))), ("runtime", FAULT)),
        (check_cameras(Path("/nowhere"), Path("/nowhere")), ("cameras", WARNING)),
        (check_temperature(Path("/nowhere"), lambda what: "temp=80.0'C"), ("temperature", WARNING)),
        (check_temperature(Path("/nowhere"), lambda what: "temp=79.9'C"), ("temperature", OK)),
        (check_temperature(Path("/nowhere"), lambda what: None), ("temperature", OK)),
        (check_throttling(Path("/nowhere"), lambda what: "throttled=0x1"), ("throttling", WARNING)),
        (check_throttling(Path("/nowhere"), lambda what: None), ("throttling", OK)),
    ],
)
def test_each_result_bears_the_name_of_its_check(finding: Finding, expected: tuple[str, str]) -> None:
    assert (finding.check, finding.status) == expected


@pytest.mark.parametrize(
    ("script", "answer"),
    [("echo ' temp=48.3 '", "temp=48.3"), ("echo temp=1; exit 1", None), ("exec sleep 30", None)],
)
def test_the_firmware_is_asked_in_a_limited_time(
    script: str, answer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\ntest "$1" = measure_temp && {script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(doctor, "_COMMAND_TIMEOUT_S", 1.0)
    assert ask_firmware("measure_temp") == answer
    monkeypatch.setenv("PATH", "/nowhere")
    assert ask_firmware("measure_temp") is None


def test_a_cold_processor_is_below_zero(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("-5200\n")
    assert check_temperature(tmp_path / "temp", lambda what: None) == Finding("temperature", OK, "-5 °C")


@pytest.mark.parametrize(
    ("check", "argument", "path"),
    [
        (check_cameras, "devices", "/dev"),
        (check_cameras, "names", "/sys/class/video4linux"),
        (check_picamera2, "board", "/proc/device-tree/model"),
        (check_picamera2, "system_packages", "/usr/lib/python3/dist-packages"),
        (check_temperature, "zone", "/sys/class/thermal/thermal_zone0/temp"),
        (check_throttling, "flags", "/sys/devices/platform/soc/soc:firmware/get_throttled"),
    ],
)
def test_each_check_looks_where_linux_keeps_its_files(
    check: Callable[..., Finding], argument: str, path: str
) -> None:
    assert inspect.signature(check).parameters[argument].default == Path(path)


def test_what_is_said_of_picamera2_is_complete(raspberry: Path, tmp_path: Path) -> None:
    environment, again = Path("/home/pi/env"), "python3 -m venv --clear --system-site-packages"
    assert check_picamera2(tmp_path / "none", loads()) == Finding(
        "picamera2", OK, "not needed: this is not a Raspberry Pi"
    )
    without = Finding(
        "picamera2",
        WARNING,
        "not installed",
        f"run `sudo apt install python3-picamera2`, and make the virtual environment with `{again} DIR`",
    )
    assert check_picamera2(raspberry, loads(), None, tmp_path) == without
    assert check_picamera2(raspberry, loads(), environment, tmp_path) == without
    broken = loads(picamera2=ImportError("libcamera.so.0.3: cannot open\nmore"))
    assert check_picamera2(raspberry, broken) == Finding(
        "picamera2", WARNING, "libcamera.so.0.3: cannot open", "sudo apt install python3-picamera2"
    )
    (tmp_path / "picamera2").mkdir()
    assert check_picamera2(raspberry, loads(), None, tmp_path) == without
    text = (
        "installed for the system's Python, but this virtual environment does not see the system's packages"
    )
    cure = "set include-system-site-packages = true in /home/pi/env/pyvenv.cfg"
    unseen = Finding("picamera2", WARNING, text, cure)
    assert check_picamera2(raspberry, loads(), environment, tmp_path, (3, 11)) == unseen
    (tmp_path / "libcamera").mkdir()
    for python in ("311", "312"):
        (tmp_path / "libcamera" / f"_libcamera.cpython-{python}-aarch64-linux-gnu.so").touch()
    assert check_picamera2(raspberry, loads(), environment, tmp_path, (3, 12)) == unseen
    assert check_picamera2(raspberry, loads(), environment, tmp_path, (3, 13)) == Finding(
        "picamera2",
        WARNING,
        f"{text}; libcamera was not built for Python 3.13",
        f"make the environment anew with `/usr/bin/{again} /home/pi/env`, and install dermedge again",
    )
