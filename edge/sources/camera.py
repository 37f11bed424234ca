"""Reads cameras and network streams with OpenCV."""

from __future__ import annotations

import math
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.capture import (
    OPEN_TIMEOUT_S,
    READ_TIMEOUT_S,
    as_bgr,
    open_capture,
    text_of_fourcc,
)
from dermedge.edge.sources.frame import Delivery, Frame, FrameSource, live_frame
from dermedge.edge.sources.redact import without_secrets
from dermedge.edge.sources.repeats import equals_last
from dermedge.edge.sources.video_devices import (
    CameraIdentity,
    device_path,
    find_again,
    identified,
    identify,
    video_nodes,
)

__all__ = [
    "SETTLE_S",
    "CameraCapture",
    "CameraMode",
    "CameraOpener",
    "LiveCapture",
    "StreamCapture",
    "open_stream",
]

# After this time, automatic exposure and white balance have settled and can be locked.
SETTLE_S = 1.0
_V4L2_EXPOSURE_MANUAL = 1

# A stream that repeats its first frame for this long is reported as frozen.
_PROOF_S = 1.5

# A stream counts as lost if more than `_MOST_BAD_PARTS` parts in a row cannot be decoded, or if no part can be decoded
# for `_BAD_PARTS_S` seconds.
_MOST_BAD_PARTS, _BAD_PARTS_S = 5, 1.0

# The lower part of a frame counts as missing if at least this fraction of the rows is missing. Some intact streams
# have a few green rows at their lower edge.
_LEAST_MISSING = 1 / 32

# A stream is decoded by this many threads. With n threads, FFmpeg returns a frame when n - 1 further frames have
# arrived. By default, n is the number of processor cores, so the frames of a slow camera would be seconds old. A single
# thread of a Raspberry Pi would be too slow for large frames.
_DECODING_THREADS = 2

# The user gets one of these pieces of advice when a source does not open.
_CHECK_CAMERA = "check that the camera is connected, and that no other program uses it."
_CHECK_STREAM = "check the URL, and that the server is running"


@dataclass(frozen=True)
class CameraMode:
    """The settings that a camera is asked for. None and False leave a setting to the camera.

    Attributes:
        width: the width in pixels. The camera may deliver the nearest size that it supports.
        height: the height in pixels.
        fps: the number of frames a second.
        focus: ``auto``, or a number for a fixed lens position. For picamera2, the number is in dioptres: 0 is infinity,
            10 is 10 cm. For V4L2, the number is in the steps of the driver.
        lock_exposure: whether exposure and gain stay fixed from one second (`SETTLE_S`) after the start.
        lock_white_balance: whether the white balance stays fixed from one second after the start.
        pixel_format: the FOURCC of the format in which a V4L2 camera sends frames. Most USB cameras deliver large
            frames several times as fast with ``MJPG``.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    focus: str | float | None = None
    lock_exposure: bool = False
    lock_white_balance: bool = False
    pixel_format: str | None = None


class LiveCapture(FrameSource):
    """A camera, network stream or pipeline that OpenCV reads.

    Args:
        name: the name of the source, for errors and frames.
        capture: a ``cv2.VideoCapture``, or an object with the same methods.
        check: the advice for the user if the source does not open.

    Raises:
        SourceError: the source cannot be opened.
    """

    is_live = True

    def __init__(self, name: str, capture: Any, check: str) -> None:
        self._name = name
        self._number = 0
        self._capture = capture
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"cannot open '{name}': {check}")

    def read(self) -> Frame | None:
        image = self._image()
        if image is None:
            raise SourceError(
                f"'{self._name}' stopped delivering frames after {self._number} frames; check that the camera is on "
                "and connected"
            )
        self._number += 1
        return live_frame(as_bgr(image), self._number - 1, self._name)

    def close(self) -> None:
        self._capture.release()

    def _image(self) -> Any:
        """Returns the next image. Returns None if the source delivers no image."""
        delivered, image = self._capture.read()
        return image if delivered else None


class CameraCapture(LiveCapture):
    """A camera that OpenCV reads.

    Args:
        mode: the settings that the camera is asked for. The other arguments are those of `LiveCapture`.

    Raises:
        SourceError: the camera cannot be opened, or refuses a setting.
    """

    def __init__(self, name: str, capture: Any, check: str, mode: CameraMode) -> None:
        super().__init__(name, capture, check)
        try:
            self._apply(mode)
        except SourceError:
            self.close()
            raise
        # The settings are read now, because another thread may run `read` later.
        self._delivery = self._read_back()

    def delivery(self) -> Delivery | None:
        return self._delivery

    def _read_back(self) -> Delivery:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return Delivery(
            width=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=fps if math.isfinite(fps) and fps > 0 else None,
            pixel_format=text_of_fourcc(int(self._capture.get(cv2.CAP_PROP_FOURCC))),
        )

    def _apply(self, mode: CameraMode) -> None:
        if mode.pixel_format is not None:
            # the format is set first, because sizes and rates depend on it
            code = cv2.VideoWriter.fourcc(*mode.pixel_format.ljust(4))
            self._set(cv2.CAP_PROP_FOURCC, code, f"--pixel-format {mode.pixel_format}")
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
            # The present exposure is also set explicitly. Otherwise, some drivers would return to the exposure that
            # was last set manually.
            found = self._capture.get(cv2.CAP_PROP_EXPOSURE)
            self._set(cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_EXPOSURE_MANUAL, "--lock-exposure")
            self._set(cv2.CAP_PROP_EXPOSURE, found, "--lock-exposure")
        if mode.lock_white_balance:
            found = self._capture.get(cv2.CAP_PROP_WB_TEMPERATURE)
            self._set(cv2.CAP_PROP_AUTO_WB, 0, "--lock-white-balance")
            self._set(cv2.CAP_PROP_WB_TEMPERATURE, found, "--lock-white-balance")

    def _set(self, key: int, value: float, option: str) -> None:
        if not self._capture.set(key, value):
            raise SourceError(
                f"'{self._name}' refuses {option}: its driver has no such control; leave the option out "
                f"(`v4l2-ctl -d {self._name} --list-ctrls` lists the controls of this camera)"
            )

    def _settle(self) -> None:
        """Reads frames for `SETTLE_S`, until exposure and white balance have settled."""
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self.read()
        self._number = 0


class StreamCapture(LiveCapture):
    """A network stream that OpenCV reads with FFmpeg.

    If the video is interlaced, OpenCV returns the same image again and again: a black image or an old image. Therefore
    the first frames are skipped until a frame differs from the frame before it. Parts of the stream that cannot be
    decoded, and frames whose lower part is missing, are skipped too.
    """

    def read(self) -> Frame | None:
        if self._number == 0:
            return self._first()
        is_second = self._number == 1
        try:
            return super().read()
        except SourceError as error:
            if not is_second:
                raise
            raise SourceError(
                f"'{self._name}' sent one frame and stopped. Is it the URL of a photo? Give the URL of the camera's "
                "video stream"
            ) from error

    def _first(self) -> Frame | None:
        """Skips frames that equal the first frame, and returns the next frame.

        If the stream has only one frame, this method returns it.

        Raises:
            SourceError: no frame arrived, or all frames were the same for `_PROOF_S`.
        """
        first = super().read()
        if first is None:
            return None
        while True:
            try:
                frame = super().read()
            except SourceError:
                if self._number == 1:
                    return first  # the stream is a single photo
                raise
            if frame is None or not equals_last(frame.image_bgr, first.image_bgr):
                return frame
            if frame.captured_at - first.captured_at >= _PROOF_S:
                raise self._never_changes(frame)

    def _image(self) -> Any:
        """Returns the next image that can be decoded.

        Returns None if the stream has ended, stalls, or sends only damaged parts.
        """
        until = time.monotonic() + _BAD_PARTS_S
        for _ in range(1 + _MOST_BAD_PARTS):
            image = super()._image()
            if image is not None and not _is_cut_off(image):
                return image
            if time.monotonic() >= until:
                break
        return None

    def _never_changes(self, frame: Frame) -> SourceError:
        kind = "black frames only" if not frame.image_bgr.any() else "the same frame again and again"
        return SourceError(
            f"'{self._name}' is frozen: it sends {kind}. Either the lens is covered, or the video is interlaced, "
            f"which OpenCV {cv2.__version__} cannot read: switch the camera to progressive video, or convert the "
            "stream with: ffmpeg -i … -vf yadif …"
        )


def _is_cut_off(image: Any) -> bool:
    """Tells whether the lower part of a frame is missing.

    FFmpeg also returns a JPEG that was cut off. If the memory for the missing part is new, its brightness and its
    colours are 0, which is a pure green.
    """
    lowest = image[-math.ceil(image.shape[0] * _LEAST_MISSING) :]
    blue, green, red = lowest[0, 0]
    return bool(blue == red == 0 < green and (lowest == lowest[0, 0]).all())


class CameraOpener:
    """Opens a camera at each call. If the number of the camera has changed, this class finds the same camera again.

    Args:
        spec: the index of a camera, a path ``/dev/videoN``, or a link to such a path. A link is followed at each call.
        mode: the settings that the camera is asked for.
    """

    def __init__(self, spec: str, mode: CameraMode) -> None:
        self._spec = spec
        self._mode = mode
        self._identity: CameraIdentity | None = None
        self._others: frozenset[str] = frozenset()

    def __call__(self) -> FrameSource:
        """Opens the camera. Raises SourceError if the camera cannot be opened."""
        node = self._find()
        number = re.fullmatch(r"video(\d+)", node.name)
        # CAP_ANY would try each back-end in turn, and report only the message of the last back-end
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = open_capture(int(number[1]) if number else str(node), backend)
        camera = CameraCapture(self._spec, capture, f"{_CHECK_CAMERA} {_cameras()}", self._mode)
        self._remember(node)
        return camera

    def _find(self) -> Path:
        """Returns the present path of the camera. Raises SourceError if a camera that was open before is gone."""
        named = device_path(self._spec)
        if self._identity is None or Path(self._spec).is_symlink():
            return named
        node = find_again(self._identity, self._others)
        if node is None:
            raise SourceError(f"cannot open '{self._spec}': the camera is gone; plug it in again")
        return node

    def _remember(self, node: Path) -> None:
        self._identity = identify(node)
        if self._identity is not None:
            self._others = frozenset(one.bus for _, one in identified()) - {self._identity.bus}


def open_stream(spec: str, mode: CameraMode) -> FrameSource:
    """Opens the stream at a URL. Raises SourceError if the stream cannot be opened."""
    settings = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * OPEN_TIMEOUT_S),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * READ_TIMEOUT_S),
    ]
    if hasattr(cv2, "CAP_PROP_N_THREADS"):  # OpenCV 4.6, which Debian 12 has, lacks this property
        settings += [cv2.CAP_PROP_N_THREADS, _DECODING_THREADS]
    # FFmpeg accepts schemes such as rtsp only in lower case
    scheme, mark, rest = spec.partition("://")
    address = f"{scheme.lower()}{mark}{rest}"
    began_s = time.monotonic()
    capture = open_capture(address, cv2.CAP_FFMPEG, settings)
    check = _CHECK_STREAM
    is_silent = time.monotonic() - began_s >= OPEN_TIMEOUT_S
    if not capture.isOpened() and not is_silent and address.startswith("http"):
        # imported here, because the import takes a moment, and is needed only for a URL that does not open
        from dermedge.edge.sources.http_answer import http_advice

        check = http_advice(address) or check
    return StreamCapture(without_secrets(spec), capture, check)


def _cameras() -> str:
    """Returns a sentence about the cameras that exist, for the message about a camera that does not open."""
    found = [str(path) for path in video_nodes()]
    there = (
        f"There {'is' if len(found) == 1 else 'are'} {', '.join(found)}"
        if found
        else "There is no /dev/video*"
    )
    return f"{there}; `dermedge doctor` checks the cameras, and --source demo needs no camera"
