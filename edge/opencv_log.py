"""Turns off OpenCV's own messages, so that only dermedge reports an error, and only once."""

from __future__ import annotations

import cv2

__all__ = ["silence_opencv"]


def silence_opencv() -> None:
    """Turns off the messages that OpenCV itself prints to standard error.

    The libraries that OpenCV uses, such as FFmpeg, may still print messages.
    """
    # OpenCV 5 has this function in cv2.utils.logging
    set_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    set_level(0)
