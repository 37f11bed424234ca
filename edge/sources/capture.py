"""Opens OpenCV's VideoCapture with time limits, and without messages from its libraries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2

from dermedge.edge.opencv_log import silence_opencv

__all__ = ["OPEN_TIMEOUT_S", "READ_TIMEOUT_S", "as_bgr", "open_capture"]

# A camera or server that stays silent for this long counts as lost.
OPEN_TIMEOUT_S = 5
READ_TIMEOUT_S = 3

# OpenCV reads these environment variables once, when it opens its first video or camera.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_TIMEOUT_S))


def open_capture(target: int | str, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """Returns a VideoCapture whose libraries print nothing, so that an error is reported once, by us.

    Args:
        target: a camera's index, a path, an address or a GStreamer pipeline.
        backend: one of OpenCV's ``CAP_*`` constants.
        settings: alternating property numbers and values.
    """
    silence_opencv()
    return cv2.VideoCapture(target, backend, list(settings))


def as_bgr(image: Any) -> Any:
    """Returns uint8 [height, width, 3], blue first, from an image with one, three or four channels."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if image.shape[2] == 4 else image
