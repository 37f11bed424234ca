"""Opens OpenCV's VideoCapture with time limits, and keeps OpenCV's libraries from printing messages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2

from dermedge.edge.errors import SourceError
from dermedge.edge.opencv_log import silence_opencv
from dermedge.edge.sources.redact import without_secrets

__all__ = ["OPEN_TIMEOUT_S", "READ_TIMEOUT_S", "as_bgr", "check_encoding", "open_capture", "text_of_fourcc"]

# Opening a camera or stream may take OPEN_TIMEOUT_S seconds. Reading a frame may take READ_TIMEOUT_S seconds. If one of
# these steps takes longer, the source counts as lost.
OPEN_TIMEOUT_S = 5
READ_TIMEOUT_S = 3

# OpenCV reads these environment variables once, when it opens its first video or camera.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # -8 is AV_LOG_QUIET
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_TIMEOUT_S))


def open_capture(target: int | str, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """Returns a VideoCapture whose libraries print nothing, so that only dermedge reports an error.

    Args:
        target: the index of a camera, a path, a URL or a GStreamer pipeline.
        backend: one of OpenCV's ``CAP_*`` constants.
        settings: the numbers of OpenCV properties, each followed by its value.

    Raises:
        SourceError: the target is not valid UTF-8.
    """
    if isinstance(target, str):
        check_encoding(target)
    silence_opencv()
    return cv2.VideoCapture(target, backend, list(settings))


def check_encoding(target: str) -> None:
    """Raises SourceError if the name of a source is not valid UTF-8, because OpenCV would crash on such a name."""
    try:
        target.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"OpenCV cannot open '{without_secrets(target)}', because this name is not valid UTF-8; rename the file"
        ) from error


def as_bgr(image: Any) -> Any:
    """Returns uint8 [height, width, 3], blue first, from an image with one, three or four channels."""
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR) if image.shape[2] == 4 else image


def text_of_fourcc(code: int) -> str:
    """Returns the four letters of a FOURCC. Returns an empty text if the number is not a FOURCC."""
    letters = max(code, 0).to_bytes(8, "little")[:4]
    return letters.decode("ascii").strip() if letters.isascii() and b"\0" not in letters else ""
