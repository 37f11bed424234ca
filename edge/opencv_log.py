"""Turns off OpenCV's own messages, so that an error is reported once, by us."""

from __future__ import annotations

import cv2

__all__ = ["silence_opencv"]


def silence_opencv() -> None:
    """Turns off the messages that OpenCV prints to standard error. Libraries inside it may still print theirs."""
    # OpenCV 5 has the function in another place
    set_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    set_level(0)
