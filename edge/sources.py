"""Where frames come from: one grammar for cameras, streams, videos, pictures, folders and the demo."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import MissingExtra, OptionError, SourceError
from edge.pictures import find_pictures, is_picture, read_picture

KNOWN = "0, /dev/video0, picamera2, rtsp://…, http://…, a video, a picture, a folder, demo"
# A camera or server that is silent for so long is lost.
OPEN_TIMEOUT_S = 5
READ_TIMEOUT_S = 3
PICAMERA_SIZE = (640, 480)

# What to look at when a stream (True) or a camera (False) does not open.
CHECKS = {
    True: "is the address right, and its server running?",
    False: "is it connected, and free of other programs? Without a camera, try --source demo",
}

# OpenCV reads these once, when it opens its first video or camera.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_TIMEOUT_S))


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        number: counts the frames of its source from 0, dropped ones included.
        captured_at: `time.monotonic` seconds when the frame arrived.
        name: what delivered it: the file's path, or the source as it was asked for.
    """

    image_bgr: NDArray[np.uint8]
    number: int
    captured_at: float
    name: str


@dataclass(frozen=True)
class CameraMode:
    """What is asked of a camera; None leaves the choice to it, and it may deliver its nearest."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None


class FrameSource(Protocol):
    """Delivers frames, one a `read`.

    Attributes:
        is_live: whether frames arrive at their own pace, so that one not read in time is lost.
    """

    is_live: bool

    def read(self) -> Frame | None:
        """The next frame, or None after the last.

        Returns or raises within seconds, also when nothing arrives, so that a thread can be joined.

        Raises:
            SourceError: a camera or stream stopped delivering; the message names it.
            PictureError: a picture cannot be decoded.
        """

    def close(self) -> None:
        """Releases the device or file; never called while another thread is in `read`."""


class Pictures:
    """Picture files, one after the other."""

    is_live = False

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._next = 0

    def read(self) -> Frame | None:
        if self._next == len(self._paths):
            return None
        path, number = self._paths[self._next], self._next
        self._next += 1
        return _frame(read_picture(path), number, str(path))

    def close(self) -> None:
        self._paths = ()
        self._next = 0


class VideoFile:
    """A video file, every frame of it in order."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._capture = _open_capture(self._name, cv2.CAP_FFMPEG)
        self._number = 0
        if not self._capture.isOpened():
            raise SourceError(f"'{path}' is not a video that can be decoded ({path.stat().st_size} bytes)")

    def read(self) -> Frame | None:
        delivered, image = self._capture.read()
        if not delivered and self._number == 0:
            raise SourceError(f"'{self._name}' holds no frame that can be decoded")
        if not delivered:
            return None
        self._number += 1
        return _frame(image, self._number - 1, self._name)

    def close(self) -> None:
        self._capture.release()


class LiveCapture:
    """A camera or network stream that OpenCV reads.

    Args:
        name: how errors call it.
        target: a camera's index or device, or an address.
        backend: OpenCV's, such as ``cv2.CAP_V4L2``.
        settings: OpenCV properties to open with, as name, value, name, value...
        mode: asked of it once it is open.

    Raises:
        SourceError: it cannot be opened.
    """

    is_live = True

    def __init__(
        self, name: str, target: int | str, backend: int, settings: Sequence[int], mode: CameraMode
    ) -> None:
        self._name = name
        self._number = 0
        self._capture = _open_capture(target, backend, settings)
        if not self._capture.isOpened():
            raise SourceError(f"cannot open '{name}': {CHECKS['://' in name]}")
        for key, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, mode.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
            (cv2.CAP_PROP_FPS, mode.fps),
        ):
            if value is not None:
                self._capture.set(key, value)

    def read(self) -> Frame | None:
        delivered, image = self._capture.read()
        if not delivered or image is None:
            raise SourceError(f"'{self._name}' stopped delivering frames after {self._number}")
        self._number += 1
        return _frame(image, self._number - 1, self._name)

    def close(self) -> None:
        self._capture.release()


# What a stream of picamera2 looks like in memory -> how it becomes BGR. The names tell the order of a
# little-endian word, so that "RGB888" lies in memory as blue, green, red.
PICAMERA_FORMATS: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
    "RGB888": lambda array: array,
    "BGR888": lambda array: cv2.cvtColor(array, cv2.COLOR_RGB2BGR),
    "XRGB8888": lambda array: cv2.cvtColor(array, cv2.COLOR_BGRA2BGR),
    "XBGR8888": lambda array: cv2.cvtColor(array, cv2.COLOR_RGBA2BGR),
}


class PiCamera:
    """The Raspberry Pi's own camera, by the picamera2 package.

    Raises:
        MissingExtra: picamera2 cannot be imported.
        SourceError: there is no camera, or it refuses the mode.
    """

    is_live = True

    def __init__(self, mode: CameraMode) -> None:
        camera_class = _import_picamera2()
        size = (mode.width or PICAMERA_SIZE[0], mode.height or PICAMERA_SIZE[1])
        controls = {"FrameRate": mode.fps} if mode.fps else {}
        try:
            self._camera = camera_class()
        except (RuntimeError, IndexError) as error:
            raise SourceError(
                f"cannot open 'picamera2': {error}; see `rpicam-hello --list-cameras`"
            ) from error
        try:
            self._camera.configure(
                self._camera.create_video_configuration(
                    main={"size": size, "format": "RGB888"}, controls=controls
                )
            )
            # picamera2 may have chosen another format without a word
            self._format = self._camera.camera_configuration()["main"]["format"]
            if self._format not in PICAMERA_FORMATS:
                raise SourceError(
                    f"'picamera2' delivers {self._format}. Known: {', '.join(PICAMERA_FORMATS)}"
                )
            self._camera.start()
        except RuntimeError as error:
            self._camera.close()
            raise SourceError(f"'picamera2' refuses {size[0]}x{size[1]}: {error}") from error
        except SourceError:
            self._camera.close()
            raise
        self._number = 0

    def read(self) -> Frame | None:
        try:
            array = self._camera.capture_array("main", wait=READ_TIMEOUT_S)
        except (TimeoutError, RuntimeError) as error:
            raise SourceError(
                f"'picamera2' stopped delivering frames after {self._number}: {error}"
            ) from error
        self._number += 1
        return _frame(PICAMERA_FORMATS[self._format](array), self._number - 1, "picamera2")

    def close(self) -> None:
        self._camera.stop()
        self._camera.close()


def open_source(
    spec: str, width: int | None = None, height: int | None = None, fps: float | None = None
) -> FrameSource:
    """Opens what ``spec`` names; close it after use.

    Args:
        spec: ``0`` (a camera's index), ``/dev/video0``, ``picamera2``, ``rtsp://…``, ``http://…``, a video,
            a picture, a folder of pictures, or ``demo``.
        width: in pixels, asked of a camera, as are ``height`` and ``fps``.

    Raises:
        SourceError: no such kind of source, or it cannot be opened.
        OptionError: a size or rate was given for a source that has its own.
        MissingExtra: picamera2 is not installed.
    """
    mode = CameraMode(width, height, fps)
    for matches, is_camera, factory in KINDS:
        if not matches(spec):
            continue
        if mode != CameraMode() and not is_camera:
            raise OptionError(
                f"--width, --height and --fps are for cameras; '{spec}' has its own size and rate"
            )
        return factory(spec, mode)
    if "://" not in spec and (Path(spec).suffix or "/" in spec):
        raise SourceError(f"there is no file or folder '{spec}'")
    raise SourceError(f"Unknown source '{spec}'. Known: {KNOWN}.")


def _frame(image_bgr: Any, number: int, name: str) -> Frame:
    """A frame that has arrived now; OpenCV's types know less of it than we do."""
    return Frame(image_bgr, number, time.monotonic(), name)


def _open_capture(target: int | str, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """A VideoCapture whose libraries keep quiet: what went wrong is said once, by us."""
    # OpenCV 5 moved the function
    set_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    set_level(0)
    return cv2.VideoCapture(target, backend, list(settings))


def _open_camera(spec: str, mode: CameraMode) -> FrameSource:
    index = re.sub(r"^/dev/video", "", spec)
    # CAP_ANY would try every back-end in turn and hold the last one's message
    return LiveCapture(spec, int(index), cv2.CAP_V4L2 if os.name == "posix" else cv2.CAP_ANY, (), mode)


def _open_stream(spec: str, mode: CameraMode) -> FrameSource:
    settings = (
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * OPEN_TIMEOUT_S),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * READ_TIMEOUT_S),
    )
    return LiveCapture(spec, spec, cv2.CAP_FFMPEG, settings, mode)


def _open_folder(spec: str, mode: CameraMode) -> FrameSource:
    paths = find_pictures(Path(spec))
    if not paths:
        raise SourceError(f"there is no picture in the folder '{spec}'")
    return Pictures(paths)


def _open_demo(spec: str, mode: CameraMode) -> FrameSource:
    from edge.demo import Demo  # pre-renders for a moment, and only the demo needs it

    return Demo()


def _import_picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingExtra(
            "picamera2 (on Raspberry Pi OS: `apt install python3-picamera2`, and a virtual environment made "
            "with --system-site-packages)",
            "pi",
        ) from error
    return Picamera2


# (does it match, is it a camera that takes a mode, factory), the first that matches wins.
KINDS: tuple[tuple[Callable[[str], bool], bool, Callable[[str, CameraMode], FrameSource]], ...] = (
    (lambda spec: spec == "demo", False, _open_demo),
    (lambda spec: spec == "picamera2", True, lambda spec, mode: PiCamera(mode)),
    (lambda spec: re.fullmatch(r"(/dev/video)?\d+", spec) is not None, True, _open_camera),
    (lambda spec: spec.startswith(("rtsp://", "rtsps://", "http://", "https://")), False, _open_stream),
    (lambda spec: Path(spec).is_dir(), False, _open_folder),
    (
        lambda spec: is_picture(Path(spec)) and Path(spec).is_file(),
        False,
        lambda spec, mode: Pictures([Path(spec)]),
    ),
    (lambda spec: Path(spec).is_file(), False, lambda spec, mode: VideoFile(Path(spec))),
)
