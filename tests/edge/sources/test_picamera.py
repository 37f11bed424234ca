"""The Raspberry Pi's camera, against a fake that has the real package's signatures and pixel formats."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import MissingExtra, SourceError, SourceLost
from dermedge.edge.sources import picamera, reconnect
from dermedge.edge.sources.camera import CameraMode
from dermedge.edge.sources.open import open_source

HERE = Path(__file__).parent
SIGNATURES = json.loads((HERE / "picamera2_signatures.json").read_text(encoding="utf-8"))
COLOUR_BGR = (40, 90, 200)
STRIDE = 64


def memory_of(image_bgr: np.ndarray, pixel_format: str) -> np.ndarray:
    """An image as `capture_array` of picamera2 delivers it in a format."""
    if pixel_format == "RGB888":
        return image_bgr
    if pixel_format == "BGR888":
        return image_bgr[..., ::-1].copy()
    if pixel_format == "XRGB8888":
        return np.dstack([image_bgr, np.full(image_bgr.shape[:2], 255, np.uint8)])
    if pixel_format == "XBGR8888":
        return np.dstack([image_bgr[..., ::-1], np.full(image_bgr.shape[:2], 255, np.uint8)])
    # This format is planar. The luma comes first, in rows with padding. Then come the two chroma planes, which are half
    # as wide and half as high. One row of the array holds two of their rows.
    height, width = image_bgr.shape[:2]
    planes = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420)
    array = np.full(
        (height * 3 // 2, width + (-width) % STRIDE), 77, np.uint8
    )  # the padding is filled with 77
    array[:height, :width] = planes[:height]
    halves = array.reshape(height * 3, -1)  # each row becomes two
    chroma = planes[height:].reshape(height, width // 2)
    halves[2 * height :, : width // 2] = chroma
    return array


class FakePicamera2:
    """Has the parts of picamera2 0.3.38 that PiCamera uses.

    Attributes:
        delivers: the format that the camera delivers, which may differ from the requested one.
        has: the controls that the camera has.
    """

    delivers = "RGB888"
    has = ("FrameRate", "AfMode", "LensPosition", "AeEnable", "AwbEnable")
    silent = False
    closed = False

    def __init__(self, camera_num=0, verbose_console=None, tuning=None, allocator=None):
        self.controls: dict[str, Any] = {}
        self.running = False

    # fmt: off
    def create_video_configuration(
        self, main={}, lores=None, raw={}, transform=None, colour_space=None,  # noqa: B006
        buffer_count=6, controls={}, display="main", encode="main", queue=True, sensor={},  # noqa: B006
        use_case="video",
    ):
        # fmt: on
        return {"main": main, "controls": controls}

    def configure(self, camera_config=None):
        self.configuration = camera_config
        self.controls |= camera_config["controls"]

    def camera_configuration(self):
        return {"main": {**self.configuration["main"], "format": self.delivers}}

    @property
    def camera_controls(self):
        return dict.fromkeys(self.has, (0, 1, 0))

    def start(self, config=None, show_preview=False):
        self.running = True

    def capture_array(self, name="main", wait=None, signal_function=None):
        assert self.running
        assert wait is not None, "without it a lost camera is waited for for ever"
        if self.silent:
            raise TimeoutError
        width, height = self.configuration["main"]["size"]
        return memory_of(np.full((height, width, 3), COLOUR_BGR, np.uint8), self.delivers)

    def set_controls(self, controls):
        for name in controls:
            if name not in self.has:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.controls |= controls

    def stop(self):
        self.running = False

    def close(self):
        self.closed = True


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[FakePicamera2]]:
    """A function that installs a FakePicamera2 with these attributes. It returns the list of all created objects."""

    def install(**attributes: Any) -> list[FakePicamera2]:
        made: list[FakePicamera2] = []

        class Fake(FakePicamera2):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                made.append(self)

        for name, value in attributes.items():
            setattr(Fake, name, value)
        monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=Fake))
        monkeypatch.setattr(picamera, "SETTLE_S", 0)
        return made

    return install


@pytest.mark.parametrize("name", SIGNATURES["methods"])
def test_the_fake_has_the_signatures_of_the_real_package(name: str) -> None:
    real = SIGNATURES["methods"][name]
    ours = inspect.getattr_static(FakePicamera2, name)
    assert isinstance(ours, property) == real.startswith("@property")
    function = ours.fget if isinstance(ours, property) else ours
    parameters = [f"{one}".replace('"', "'") for one in inspect.signature(function).parameters.values()]
    # this default is an object of libcamera, which exists only on a Raspberry Pi
    expected = real.removeprefix("@property ").replace("libcamera.Transform()", "None")
    assert f"({', '.join(parameters)})" == expected


def test_the_signatures_are_those_of_the_source_where_it_is_at_hand() -> None:
    folder = os.environ.get("PICAMERA2_SOURCE")
    if not folder:
        pytest.skip("no source of picamera2: tests/edge/sources/picamera2_signatures.py tells how to get it")
    spec = importlib.util.spec_from_file_location("signatures", HERE / "picamera2_signatures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.signatures(Path(folder)) == SIGNATURES


def test_a_missing_picamera2_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtra, match=r"python3-picamera2.*system-site-packages.*\[pi\]"):
        open_source("picamera2")


@pytest.mark.parametrize("delivers", picamera.FORMATS)
@pytest.mark.parametrize("width", [320, 328])
def test_frames_are_blue_first_and_without_padding_whatever_the_format(
    delivers: str, width: int, install: Callable[..., list[FakePicamera2]]
) -> None:
    install(delivers=delivers)
    with open_source("picamera2", width=width, height=240) as source:
        frame = source.read()
    assert frame is not None
    assert frame.number == 0
    assert frame.image_bgr.shape == (240, width, 3)
    # in YUV of eight bits, rounding changes a colour by one or two levels
    assert np.abs(frame.image_bgr.astype(int) - COLOUR_BGR).max() <= 2


def test_a_format_that_nobody_knows_is_refused(install: Callable[..., list[FakePicamera2]]) -> None:
    made = install(delivers="NV12")
    with pytest.raises(SourceError, match=r"the unknown format NV12\. Known: RGB888"):
        open_source("picamera2")
    assert made[0].closed


def test_a_silent_camera_stops_with_its_name(install: Callable[..., list[FakePicamera2]]) -> None:
    install(silent=True)
    with open_source("picamera2") as source, pytest.raises(SourceError, match="'picamera2' stopped"):
        source.read()


def test_a_camera_that_can_neither_be_read_nor_stopped_is_opened_again(
    install: Callable[..., list[FakePicamera2]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stop` and `close` of picamera2 raise RuntimeError in this case. Earlier, this error ended the run."""

    def fail(self: FakePicamera2) -> None:
        raise RuntimeError("No such device")

    made = install(silent=True, stop=fail, close=fail)
    monkeypatch.setattr(reconnect, "FIRST_WAIT_S", 0.0)
    with open_source("picamera2") as source:
        with pytest.raises(SourceLost, match="'picamera2' stopped"):
            source.read()
        with pytest.raises(SourceLost):
            source.read()
    assert len(made) == 2


def test_rate_focus_and_locks_are_asked_as_controls(install: Callable[..., list[FakePicamera2]]) -> None:
    made = install()
    with open_source("picamera2", fps=20, focus=8.5, lock_exposure=True, lock_white_balance=True) as source:
        source.read()
    assert made[0].controls == {
        "FrameRate": 20,
        "AfMode": 0,
        "LensPosition": 8.5,
        "AeEnable": False,
        "AwbEnable": False,
    }


def test_an_automatic_focus_is_a_continuous_one(install: Callable[..., list[FakePicamera2]]) -> None:
    made = install()
    open_source("picamera2", focus="auto")
    assert made[0].controls == {"AfMode": 2}


@pytest.mark.parametrize(
    ("asked", "control", "option"),
    [
        ({"focus": "auto"}, "AfMode", "--focus"),
        ({"lock_exposure": True}, "AeEnable", "--lock-exposure"),
        ({"lock_white_balance": True}, "AwbEnable", "--lock-white-balance"),
    ],
)
def test_a_control_that_the_camera_has_not_is_named(
    asked: dict, control: str, option: str, install: Callable[..., list[FakePicamera2]]
) -> None:
    made = install(has=tuple(one for one in FakePicamera2.has if one != control))
    with pytest.raises(SourceError, match=f"'picamera2' refuses {option}: this camera has no {control}"):
        open_source("picamera2", **asked)
    assert made[0].closed


def test_no_camera_is_one_line_with_its_cure(install: Callable[..., list[FakePicamera2]]) -> None:
    def none(self: Any, *arguments: Any) -> None:
        raise IndexError("list index out of range")

    install(__init__=none)
    with pytest.raises(SourceError, match=r"cannot open 'picamera2': .*rpicam-hello --list-cameras"):
        open_source("picamera2")


def test_a_camera_runs_for_a_second_before_it_is_locked_and_is_stopped_at_the_end(
    install: Callable[..., list[FakePicamera2]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_s = picamera.SETTLE_S
    made = install()
    monkeypatch.setattr(picamera, "SETTLE_S", settle_s)
    slept: list[tuple[float, bool, dict[str, Any]]] = []
    monkeypatch.setattr(
        picamera.time, "sleep", lambda secs: slept.append((secs, made[0].running, dict(made[0].controls)))
    )
    source = picamera.PiCamera(CameraMode(lock_exposure=True))
    assert slept == [(1.0, True, {})]
    assert made[0].controls == {"AeEnable": False}
    source.close()
    assert (made[0].running, made[0].closed) == (False, True)
