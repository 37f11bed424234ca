"""A frame, and the protocol of all sources of frames."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Delivery", "Frame", "FrameSource", "live_frame"]


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    Attributes:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        number: counts the frames of its source from 0; dropped frames are counted too.
        captured_at: `time.monotonic` seconds at which the frame arrived.
        name: the file's path, or the source as the user named it.
        at_s: seconds on the clock of its source: `captured_at` for a live source, the position in a video, and None
            for a photo, which follows no other frame.
        repeated: how many frames of the source were skipped so far because they equalled the previous one.
        is_photo: whether it is a single photo, such as a file of a folder.
    """

    image_bgr: NDArray[np.uint8]
    number: int
    captured_at: float
    name: str
    at_s: float | None = None
    repeated: int = 0
    is_photo: bool = False


@dataclass(frozen=True)
class Delivery:
    """The size, rate and format that a camera reports, which may differ from the requested ones.

    Attributes:
        width: width of its frames, in pixels.
        height: height of its frames, in pixels.
        fps: frames a second; None if it is not reported.
        pixel_format: the format in which the camera sends frames, such as ``MJPG`` (a FOURCC), or the format of
            picamera2; empty if it is not reported.
    """

    width: int
    height: int
    fps: float | None
    pixel_format: str

    def __str__(self) -> str:
        rate = f"{self.fps:g} frames a second" if self.fps else ""
        return ", ".join(filter(None, (f"{self.width}x{self.height}", rate, self.pixel_format)))


class FrameSource(Protocol):
    """Delivers one frame for each call of `read`. As a context manager, it closes itself at the exit.

    Attributes:
        is_live: whether frames arrive at their own pace, so that a frame not read in time is lost.
    """

    is_live: bool

    def read(self) -> Frame | None:
        """Returns the next frame, or None after the last.

        It returns or raises within seconds, even when nothing arrives, so that a thread can be joined.

        Raises:
            SourceError: a camera or stream stopped delivering frames; the message names it.
            SourceLost: the same, for a source that reconnects by itself: call `read` again.
            PictureError: a photo cannot be decoded.
        """

    def delivery(self) -> Delivery | None:
        """Returns the size, rate and format that the camera reports; None for a source that is not a camera."""
        return None

    def notice(self) -> str:
        """Returns what the user should know about the source, in one line; empty if there is nothing."""
        return ""

    def close(self) -> None:
        """Releases the device or file. Never call it while another thread is in `read`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def live_frame(image_bgr: Any, number: int, name: str) -> Frame:
    """Returns a frame that has arrived now. OpenCV's type hints do not state that the image is uint8."""
    now = time.monotonic()
    return Frame(image_bgr, number, now, name, at_s=now)
