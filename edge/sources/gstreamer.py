"""Reads GStreamer pipelines with an OpenCV that was built with GStreamer, such as Debian's OpenCV."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.camera import CameraMode, LiveCapture
from dermedge.edge.sources.capture import OPEN_TIMEOUT_S, READ_TIMEOUT_S, check_encoding, open_capture
from dermedge.edge.sources.frame import FrameSource
from dermedge.edge.sources.redact import without_secrets

__all__ = ["AbandonableCapture", "PipelineCapture", "open_gstreamer"]

# If this many attempts hang, no further attempt is made, because an attempt that hangs does not free its memory.
_MOST_ABANDONED = 8
_END = "`videoconvert ! video/x-raw,format=BGR ! appsink`"
_CHECK_PIPELINE = f"check that `gst-launch-1.0` runs the pipeline, and that the pipeline ends in {_END}"
# OpenCV delivers frames of four channels in the formats BGRA, BGRx, RGBA and RGBx, and does not tell which of them.
_BLUE_FIRST = ("BGRA", "BGRx")


class AbandonableCapture:
    """A capture whose opening or reading may hang.

    A thread opens and reads the capture. If the thread hangs, it is abandoned. If an abandoned thread returns later, it
    releases the capture, so that the camera is free again.

    Attributes:
        frame_height: the height of the frames as the pipeline states it. It is 0 before the first frame.

    Raises:
        SourceError: `_MOST_ABANDONED` abandoned threads still hang.
    """

    _abandoned = 0

    def __init__(self, open_capture: Callable[[], cv2.VideoCapture]) -> None:
        if AbandonableCapture._abandoned >= _MOST_ABANDONED:
            raise SourceError(
                f"{_MOST_ABANDONED} earlier attempts to open or read a pipeline still hang; start dermedge again"
            )
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        self._hangs = False
        self.frame_height = 0
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
            # This method waits until the thread has ended. If the thread returned from OpenCV after the interpreter has
            # shut down, the process would abort.
            self._thread.join(READ_TIMEOUT_S)

    def _answer(self, timeout_s: float) -> tuple[bool, Any]:
        try:
            return self._answers.get(timeout=timeout_s)
        except Empty:
            self._hangs = True
            AbandonableCapture._abandoned += 1
            return False, None

    def _serve(self, open_capture: Callable[[], cv2.VideoCapture]) -> None:
        """Opens the capture, and reads on request until the capture is released or this thread is abandoned."""
        capture = open_capture()
        self._answers.put((capture.isOpened(), None))
        while not self._hangs and self._asked.get():
            answer = capture.read()
            self.frame_height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            self._answers.put(answer)
        capture.release()
        AbandonableCapture._abandoned -= self._hangs


class PipelineCapture(LiveCapture):
    """A GStreamer pipeline. `read` raises SourceError for frames whose colours would be read wrongly.

    OpenCV delivers the frames of a pipeline in many formats, without a conversion. For example, it returns a frame in
    NV12 as a gray image that is one and a half times as high as the frame.

    Args:
        spec: the pipeline.
        capture: the capture that reads the pipeline.

    Raises:
        SourceError: the pipeline cannot be opened.
    """

    def __init__(self, spec: str, capture: AbandonableCapture) -> None:
        super().__init__(without_secrets(spec), capture, _CHECK_PIPELINE)
        formats = re.findall(r"format\s*=\s*(?:\(string\)\s*)?(\w+)", spec)
        self._is_blue_first = bool(formats) and formats[-1] in _BLUE_FIRST

    def _image(self) -> Any:
        image = super()._image()
        if image is not None and not self._is_readable(image):
            raise SourceError(
                f"'{self._name}' delivers frames in a format that cannot be read; end the pipeline in {_END}"
            )
        return image

    def _is_readable(self, image: NDArray[Any]) -> bool:
        """Tells whether `as_bgr` converts the image to the right colours."""
        channels = 1 if image.ndim == 2 else image.shape[2]
        return image.dtype == np.uint8 and (
            channels == 3
            or (channels == 4 and self._is_blue_first)
            or (channels == 1 and image.shape[0] == self._capture.frame_height)
        )


def open_gstreamer(spec: str, mode: CameraMode) -> FrameSource:
    """Opens a GStreamer pipeline that ends in an appsink. Raises SourceError if the pipeline cannot be opened."""
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            "the installed OpenCV cannot run GStreamer pipelines, but Debian's OpenCV can: run `sudo apt install "
            "python3-opencv`, make the virtual environment with --system-site-packages, and uninstall "
            "opencv-python-headless from it"
        )
    check_encoding(spec)
    # no time limit is set, because OpenCV 4.6, which Debian 12 has, cannot open a pipeline with a time limit
    capture = AbandonableCapture(lambda: open_capture(spec, cv2.CAP_GSTREAMER))
    return PipelineCapture(spec, capture)
