"""Where frames come from: one grammar for cameras, streams, videos, pictures, folders and the demo."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError, SourceError
from dermedge.edge.photos import find_pictures, is_picture, read_picture
from dermedge.edge.sources.framing import Flip, Framing, frame_image
from dermedge.edge.sources.reconnect import Reconnecting

KNOWN = (
    "0, /dev/video0, picamera2, rtsp://…, http://…, a GStreamer pipeline (… ! appsink), a video, "
    "a picture, a folder, demo"
)
# A camera or server that is silent for so long is lost.
OPEN_TIMEOUT_S = 5
READ_TIMEOUT_S = 3
# Attempts at a pipeline that hang: more are not made, lest memory fill up.
MOST_ABANDONED = 8
# The automatics of a camera have found exposure and white balance after so long, and can be locked.
SETTLE_S = 1.0
V4L2_EXPOSURE_MANUAL = 1
# Of a video that does not tell its own.
UNKNOWN_FPS = 25.0

# What to look at when a source does not open.
CHECK_CAMERA = "is it connected, and free of other programs?"
CHECK_STREAM = "is the address right, and its server running?"
CHECK_PIPELINE = (
    "does `gst-launch-1.0` run it, and does it end in `videoconvert ! video/x-raw,format=BGR ! appsink`?"
)

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
        at_s: seconds on the clock of its source: `captured_at` of a live one, the place in a video; None for
            a picture that stands alone.
        repeated: frames of its source so far that were left out because they were the one before again.
    """

    image_bgr: NDArray[np.uint8]
    number: int
    captured_at: float
    name: str
    at_s: float | None = None
    repeated: int = 0


@dataclass(frozen=True)
class CameraMode:
    """What is asked of a camera; None and False leave the choice to it.

    Attributes:
        width: in pixels, as is ``height``; the camera may deliver its nearest size and rate.
        fps: frames a second.
        focus: ``auto``, or where it stays: dioptres for picamera2 (0 is far away, 10 is 10 cm), the
            driver's steps for V4L2.
        lock_exposure: whether exposure and gain stay as they are `SETTLE_S` after the start.
        lock_white_balance: the same of the white balance.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    focus: str | float | None = None
    lock_exposure: bool = False
    lock_white_balance: bool = False


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
            SourceLost: the same, of a source that tries to get it back: read again.
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
        return Frame(read_picture(path), number, time.monotonic(), str(path))

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
        self._fps = self._capture.get(cv2.CAP_PROP_FPS) or UNKNOWN_FPS

    def read(self) -> Frame | None:
        delivered, image = self._capture.read()
        if not delivered and self._number == 0:
            raise SourceError(f"'{self._name}' holds no frame that can be decoded")
        if not delivered:
            return None
        self._number += 1
        frame = live_frame(image, self._number - 1, self._name)
        return replace(frame, at_s=frame.number / self._fps)

    def close(self) -> None:
        self._capture.release()


class AbandonableCapture:
    """A capture that may hang as it opens or reads: a thread does both, and is left behind where it hangs.

    Where it comes back later, the thread releases the capture, so that its camera is free again.

    Raises:
        SourceError: `MOST_ABANDONED` threads hang.
    """

    _abandoned = 0

    def __init__(self, open_capture: Callable[[], cv2.VideoCapture]) -> None:
        if AbandonableCapture._abandoned >= MOST_ABANDONED:
            raise SourceError(f"{MOST_ABANDONED} earlier attempts still hang; start dermedge again")
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._hangs = False
        self._thread = threading.Thread(target=self._serve, args=[open_capture], name="pipeline", daemon=True)
        self._thread.start()
        self._is_open, _ = self._answer(OPEN_TIMEOUT_S)

    def isOpened(self) -> bool:  # noqa: N802
        return self._is_open

    def read(self) -> tuple[bool, Any]:
        self._asked.put(True)
        return self._answer(READ_TIMEOUT_S)

    def release(self) -> None:
        self._asked.put(False)
        if not self._hangs:
            # A thread that comes back from OpenCV after Python has ended aborts the process.
            self._thread.join(READ_TIMEOUT_S)

    def _answer(self, timeout_s: float) -> tuple[bool, Any]:
        try:
            return self._answers.get(timeout=timeout_s)
        except Empty:
            self._hangs = True
            AbandonableCapture._abandoned += 1
            return False, None

    def _serve(self, open_capture: Callable[[], cv2.VideoCapture]) -> None:
        """Opens, and reads when it is asked to, until it is told to stop or was left behind."""
        capture = open_capture()
        self._answers.put((capture.isOpened(), None))
        while not self._hangs and self._asked.get():
            self._answers.put(capture.read())
        capture.release()
        AbandonableCapture._abandoned -= self._hangs


class LiveCapture:
    """A camera or network stream that OpenCV reads.

    Args:
        name: how errors call it.
        capture: a ``cv2.VideoCapture``, or what stands for one.
        check: what to look at where it has not opened.
        mode: asked of it.

    Raises:
        SourceError: it cannot be opened, or refuses the mode.
    """

    is_live = True

    def __init__(self, name: str, capture: Any, check: str, mode: CameraMode = CameraMode()) -> None:
        self._name = name
        self._number = 0
        self._capture = capture
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"cannot open '{name}': {check}")
        try:
            self._ask(mode)
        except SourceError:
            self._capture.release()
            raise

    def read(self) -> Frame | None:
        delivered, image = self._capture.read()
        if not delivered or image is None:
            raise SourceError(f"'{self._name}' stopped delivering frames after {self._number}")
        self._number += 1
        return live_frame(as_bgr(image), self._number - 1, self._name)

    def close(self) -> None:
        self._capture.release()

    def _ask(self, mode: CameraMode) -> None:
        for key, value, option in (
            (cv2.CAP_PROP_FRAME_WIDTH, mode.width, "--width"),
            (cv2.CAP_PROP_FRAME_HEIGHT, mode.height, "--height"),
            (cv2.CAP_PROP_FPS, mode.fps, "--fps"),
        ):
            if value is not None:
                self._set(key, value, option)
        if mode.focus == "auto":
            self._set(cv2.CAP_PROP_AUTOFOCUS, 1, "--focus auto")
        elif mode.focus is not None:
            self._set(cv2.CAP_PROP_AUTOFOCUS, 0, f"--focus {mode.focus:g}")
            self._set(cv2.CAP_PROP_FOCUS, float(mode.focus), f"--focus {mode.focus:g}")
        if mode.lock_exposure or mode.lock_white_balance:
            self._settle()
        if mode.lock_exposure:
            # some drivers would fall back to the last value that was set by hand
            found = self._capture.get(cv2.CAP_PROP_EXPOSURE)
            self._set(cv2.CAP_PROP_AUTO_EXPOSURE, V4L2_EXPOSURE_MANUAL, "--lock-exposure")
            self._set(cv2.CAP_PROP_EXPOSURE, found, "--lock-exposure")
        if mode.lock_white_balance:
            found = self._capture.get(cv2.CAP_PROP_WB_TEMPERATURE)
            self._set(cv2.CAP_PROP_AUTO_WB, 0, "--lock-white-balance")
            self._set(cv2.CAP_PROP_WB_TEMPERATURE, found, "--lock-white-balance")

    def _set(self, key: int, value: float, option: str) -> None:
        if not self._capture.set(key, value):
            raise SourceError(
                f"'{self._name}' refuses {option}: its driver has no such control; "
                "`v4l2-ctl --list-ctrls` lists what it has"
            )

    def _settle(self) -> None:
        """Reads frames until the automatics have found their values."""
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self.read()
        self._number = 0


class Paced:
    """A video at its own speed, as a camera would show it: what is not read in time is lost."""

    is_live = True

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._began_s: float | None = None

    def read(self) -> Frame | None:
        frame = self._video.read()
        if frame is None or frame.at_s is None:
            return frame
        if self._began_s is None:
            self._began_s = time.monotonic()
        time.sleep(max(self._began_s + frame.at_s - time.monotonic(), 0.0))
        return replace(frame, captured_at=time.monotonic())

    def close(self) -> None:
        self._video.close()


class Framed:
    """A source whose frames are flipped and cut as `dermedge.edge.sources.framing` does it."""

    def __init__(self, source: FrameSource, framing: Framing) -> None:
        self.is_live = source.is_live
        self._source = source
        self._framing = framing

    def read(self) -> Frame | None:
        frame = self._source.read()
        return frame and replace(frame, image_bgr=frame_image(frame.image_bgr, self._framing))

    def close(self) -> None:
        self._source.close()


def open_source(
    spec: str,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    *,
    focus: str | float | None = None,
    lock_exposure: bool = False,
    lock_white_balance: bool = False,
    realtime: bool = False,
    flip: Flip | None = None,
    zoom: float = 1.0,
) -> FrameSource:
    """Opens what ``spec`` names; close it after use. What is live opens itself again where it is lost.

    Args:
        spec: ``0`` (a camera's index), ``/dev/video0``, ``picamera2``, ``rtsp://…``, ``http://…``, a
            GStreamer pipeline, a video, a picture, a folder of pictures, or ``demo``.
        width: asked of a camera, as are the others down to ``lock_white_balance``; see `CameraMode`.
        realtime: whether a video comes at its own speed and not as fast as it can be read.
        flip: ``horizontal``, ``vertical`` or ``both``, of any source.
        zoom: 1 or more; 2 keeps the middle half of each side, of any source.

    Raises:
        SourceError: no such kind of source, or it cannot be opened, or refuses what was asked.
        OptionError: what only a camera, or only a video, can do was asked of another source.
        MissingExtra: picamera2 is not installed.
    """
    if not spec:
        # an empty path would be the folder that the command runs in
        raise SourceError(f"the source is empty. Known: {KNOWN}.")
    mode = CameraMode(width, height, fps, focus, lock_exposure, lock_white_balance)
    framing = Framing(flip, zoom)
    for matches, is_camera, factory in KINDS:
        if not matches(spec):
            continue
        if mode != CameraMode() and not is_camera:
            raise OptionError(
                "--width, --height, --fps, --focus, --lock-exposure and --lock-white-balance are for "
                f"cameras; '{spec}' has its own size and rate"
            )
        open_again = partial(factory, spec, mode)
        source = open_again()
        if source.is_live:
            source = Reconnecting(source, open_again)
        if realtime:
            source = _paced(source, spec)
        return source if framing == Framing() else Framed(source, framing)
    if "://" not in spec and (Path(spec).suffix or "/" in spec):
        raise SourceError(f"there is no file or folder '{spec}'")
    raise SourceError(f"Unknown source '{spec}'. Known: {KNOWN}.")


def _paced(source: FrameSource, spec: str) -> FrameSource:
    if not isinstance(source, VideoFile):
        source.close()
        raise OptionError(f"--realtime is for videos, and '{spec}' is none")
    return Paced(source)


def without_password(spec: str) -> str:
    """An address as it may be shown: without the user and password that may be in it."""
    return re.sub(r"://[^/@\s]*@", "://", spec)


def as_bgr(image: Any) -> Any:
    """uint8 [height, width, 3], blue first, of a picture that may be grey or have a fourth channel."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if image.shape[2] == 4 else image


def live_frame(image_bgr: Any, number: int, name: str) -> Frame:
    """A frame that has arrived now, by the clock of a live source; OpenCV's types know less than we do."""
    now = time.monotonic()
    return Frame(image_bgr, number, now, name, at_s=now)


def _open_capture(target: int | str, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """A VideoCapture whose libraries keep quiet: what went wrong is said once, by us."""
    # OpenCV 5 moved the function
    set_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    set_level(0)
    return cv2.VideoCapture(target, backend, list(settings))


def _open_camera(spec: str, mode: CameraMode) -> FrameSource:
    index = re.sub(r"^/dev/video", "", spec)
    # CAP_ANY would try every back-end in turn and hold the last one's message
    backend = cv2.CAP_V4L2 if os.name == "posix" else cv2.CAP_ANY
    return LiveCapture(spec, _open_capture(int(index), backend), f"{CHECK_CAMERA} {_cameras()}", mode)


def _cameras() -> str:
    """What a person can try in place of a camera that does not open."""
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    there = (
        f"There {'is' if len(found) == 1 else 'are'} {', '.join(found)}"
        if found
        else "There is no /dev/video*"
    )
    return f"{there}; `dermedge doctor` tells more, and --source demo needs no camera"


def _open_stream(spec: str, mode: CameraMode) -> FrameSource:
    settings = (
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * OPEN_TIMEOUT_S),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * READ_TIMEOUT_S),
    )
    capture = _open_capture(spec, cv2.CAP_FFMPEG, settings)
    return LiveCapture(without_password(spec), capture, CHECK_STREAM)


def _open_pipeline(spec: str, mode: CameraMode) -> FrameSource:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            "this OpenCV runs no GStreamer pipelines; Debian's does: apt install python3-opencv, and a "
            "virtual environment made with --system-site-packages, without opencv-python-headless"
        )
    # OpenCV 4.6, which Debian 12 has, opens no pipeline that is to keep a time limit
    capture = AbandonableCapture(lambda: _open_capture(spec, cv2.CAP_GSTREAMER))
    return LiveCapture(without_password(spec), capture, CHECK_PIPELINE)


def _open_folder(spec: str, mode: CameraMode) -> FrameSource:
    paths = find_pictures(Path(spec))
    if not paths:
        raise SourceError(f"there is no picture in the folder '{spec}'")
    return Pictures(paths)


def _open_demo(spec: str, mode: CameraMode) -> FrameSource:
    from dermedge.edge.sources.demo import Demo  # pre-renders for a moment, and only the demo needs it

    return Demo()


def _open_picamera2(spec: str, mode: CameraMode) -> FrameSource:
    from dermedge.edge.sources.picamera import PiCamera  # its package exists on a Raspberry Pi alone

    return PiCamera(mode)


# (does it match, is it a camera that takes a mode, factory), the first that matches wins.
KINDS: tuple[tuple[Callable[[str], bool], bool, Callable[[str, CameraMode], FrameSource]], ...] = (
    (lambda spec: spec == "demo", False, _open_demo),
    (lambda spec: spec == "picamera2", True, _open_picamera2),
    (lambda spec: re.fullmatch(r"(/dev/video)?\d+", spec) is not None, True, _open_camera),
    (lambda spec: " ! " in spec, False, _open_pipeline),
    (lambda spec: spec.startswith(("rtsp://", "rtsps://", "http://", "https://")), False, _open_stream),
    (lambda spec: Path(spec).is_dir(), False, _open_folder),
    (
        lambda spec: is_picture(Path(spec)) and Path(spec).is_file(),
        False,
        lambda spec, mode: Pictures([Path(spec)]),
    ),
    (lambda spec: Path(spec).is_file(), False, lambda spec, mode: VideoFile(Path(spec))),
)
