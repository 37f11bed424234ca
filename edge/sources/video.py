"""Video files, as fast as they can be read or at their own speed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.capture import open_capture
from dermedge.edge.sources.frame import Frame, FrameSource, live_frame

__all__ = ["PacedVideo", "VideoFile"]

# The frame rate of a video that does not state its own.
_UNKNOWN_FPS = 25.0


class VideoFile(FrameSource):
    """Every frame of a video file, in order.

    Raises:
        SourceError: it cannot be decoded.
    """

    is_live = False

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._capture = open_capture(self._name, cv2.CAP_FFMPEG)
        self._number = 0
        if not self._capture.isOpened():
            raise SourceError(f"'{path}' is not a video that can be decoded ({path.stat().st_size} bytes)")
        self._fps = self._capture.get(cv2.CAP_PROP_FPS) or _UNKNOWN_FPS

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


class PacedVideo(FrameSource):
    """A video at its own speed, as a camera would show it: a frame that is not read in time is lost."""

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
