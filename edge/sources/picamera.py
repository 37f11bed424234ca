"""Reads the Raspberry Pi's own camera with the picamera2 package (tests check the calls against version 0.3.38)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import MissingExtra, SourceError
from dermedge.edge.installation import this_installation
from dermedge.edge.sources.camera import SETTLE_S, CameraMode
from dermedge.edge.sources.capture import READ_TIMEOUT_S
from dermedge.edge.sources.frame import Delivery, Frame, FrameSource, live_frame

__all__ = ["FORMATS", "PiCamera"]

_NAME = "picamera2"
_SIZE = (640, 480)
# These are values of libcamera's enum AfModeEnum, which sets the autofocus mode.
_AF_MANUAL, _AF_CONTINUOUS = 0, 2

# Maps each format of a picamera2 stream to the conversion to BGR. The name of a format gives the order of the colours
# in a little-endian word, so that "RGB888" is stored as blue, green, red. Rows of YUV420 are padded to the stride;
# `read` cuts off the padding after the conversion. The other formats have no padding.
FORMATS: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
    "RGB888": lambda array: array,
    "BGR888": lambda array: cv2.cvtColor(array, cv2.COLOR_RGB2BGR),
    "XRGB8888": lambda array: cv2.cvtColor(array, cv2.COLOR_BGRA2BGR),
    "XBGR8888": lambda array: cv2.cvtColor(array, cv2.COLOR_RGBA2BGR),
    "YUV420": lambda array: cv2.cvtColor(array, cv2.COLOR_YUV2BGR_I420),
}


class PiCamera(FrameSource):
    """A camera of the Raspberry Pi as a live source.

    Raises:
        MissingExtra: picamera2 cannot be imported.
        SourceError: there is no camera, or the camera refuses a setting.
    """

    is_live = True

    def __init__(self, mode: CameraMode) -> None:
        camera_class = _import_picamera2()
        self._number = 0
        try:
            self._camera = camera_class()
        except (RuntimeError, IndexError) as error:
            raise SourceError(
                f"cannot open '{_NAME}': {error}; check the cable (`rpicam-hello --list-cameras` lists the cameras)"
            ) from error
        try:
            self._start(mode)
        except RuntimeError as error:
            self._release()
            raise SourceError(
                f"'{_NAME}' refuses these settings: {error}; leave out --width, --height and --fps"
            ) from error
        except SourceError:
            self._release()
            raise

    def read(self) -> Frame | None:
        try:
            array = self._camera.capture_array("main", wait=READ_TIMEOUT_S)
        except (TimeoutError, RuntimeError) as error:
            reason = str(error) or f"no frame came for {READ_TIMEOUT_S} s"
            raise SourceError(
                f"'{_NAME}' stopped delivering frames after {self._number} frames: {reason}; check the cable"
            ) from error
        self._number += 1
        image = FORMATS[self._format](array)[:, : self._width]
        return live_frame(image, self._number - 1, _NAME)

    def delivery(self) -> Delivery | None:
        return self._delivery

    def close(self) -> None:
        # a camera that was unplugged can neither be stopped nor released
        with suppress(RuntimeError):
            self._camera.stop()
        self._release()

    def _release(self) -> None:
        with suppress(RuntimeError):
            self._camera.close()

    def _start(self, mode: CameraMode) -> None:
        if mode.pixel_format is not None:
            raise SourceError(
                f"'{_NAME}' refuses --pixel-format, which is only for V4L2 cameras such as /dev/video0; leave it out"
            )
        size = (mode.width or _SIZE[0], mode.height or _SIZE[1])
        controls = self._controls(mode)
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": size, "format": "RGB888"}, controls=controls
            )
        )
        # picamera2 may have chosen a different format or size, which it does not report
        chosen = self._camera.camera_configuration()["main"]
        self._format, (self._width, height) = chosen["format"], chosen["size"]
        self._delivery = Delivery(self._width, height, mode.fps, self._format)
        if self._format not in FORMATS:
            known = ", ".join(FORMATS)
            raise SourceError(
                f"'{_NAME}' delivers frames in the unknown format {self._format}. Known: {known}"
            )
        self._camera.start()
        if mode.lock_exposure or mode.lock_white_balance:
            self._lock(mode)

    def _controls(self, mode: CameraMode) -> dict[str, Any]:
        """Returns the settings that the camera starts with.

        Raises:
            SourceError: this camera has no control for one of the settings.
        """
        controls: dict[str, Any] = {"FrameRate": mode.fps} if mode.fps else {}
        if mode.focus == "auto":
            controls["AfMode"] = _AF_CONTINUOUS
        elif mode.focus is not None:
            controls |= {"AfMode": _AF_MANUAL, "LensPosition": float(mode.focus)}
        for control, asked, option in (
            ("AfMode", mode.focus is not None, "--focus"),
            ("AeEnable", mode.lock_exposure, "--lock-exposure"),
            ("AwbEnable", mode.lock_white_balance, "--lock-white-balance"),
        ):
            if asked and control not in self._camera.camera_controls:
                raise SourceError(f"'{_NAME}' refuses {option}: this camera has no {control}; leave it out")
        return controls

    def _lock(self, mode: CameraMode) -> None:
        """Waits for `SETTLE_S`, and then locks exposure, white balance or both, as ``mode`` asks."""
        time.sleep(SETTLE_S)
        controls = {"AeEnable": False} if mode.lock_exposure else {}
        self._camera.set_controls(controls | ({"AwbEnable": False} if mode.lock_white_balance else {}))


def _import_picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingExtra("picamera2", "pi", cure=_cure()) from error
    return Picamera2


def _cure() -> str:
    return (
        "on Raspberry Pi OS, run `sudo apt install python3-picamera2`, and make the virtual environment with "
        "--system-site-packages; if you built libcamera yourself, run instead: "
        f"{this_installation().command_for('pi')}"
    )
