"""Opens OpenCV's VideoCapture with time limits, and without messages from its libraries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2

from dermedge.edge.errors import SourceError
from dermedge.edge.opencv_log import silence_opencv
from dermedge.edge.sources.redact import without_secrets

__all__ = ["OPEN_TIMEOUT_S", "READ_TIMEOUT_S", "as_bgr", "check_encoding", "open_capture", "text_of_fourcc"]

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

    Raises:
        SourceError: the target is not valid UTF-8.
    """
    if isinstance(target, str):
        check_encoding(target)
    silence_opencv()
    return cv2.VideoCapture(target, backend, list(settings))


def check_encoding(target: str) -> None:
    """Raises SourceError if OpenCV would crash on the name of a source, because it is not valid UTF-8."""
    try:
        target.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"OpenCV cannot open '{without_secrets(target)}', because it is not valid UTF-8; rename it"
        ) from error


def as_bgr(image: Any) -> Any:
    """Returns uint8 [height, width, 3], blue first, from an image with one, three or four channels."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if image.shape[2] == 4 else image


def text_of_fourcc(code: int) -> str:
    """Returns the four letters of a FOURCC; empty if the number is not one."""
    letters = max(code, 0).to_bytes(8, "little")[:4]
    return letters.decode("ascii").strip() if letters.isascii() and b"\0" not in letters else ""
