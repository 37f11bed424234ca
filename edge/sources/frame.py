"""Defines frames, and the protocol of all sources that deliver frames."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Delivery", "Frame", "FrameSource", "live_frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source. A frame equals only itself, because ``image_bgr`` is an array.

    Attributes:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        number: the number of the frame in its source, from 0. Dropped frames are counted too.
        captured_at: the time when the frame arrived, in seconds of `time.monotonic`.
        name: the path of the file, or the name that the user gave to the source.
        at_s: the time of the frame in seconds, on the clock of its source. For a camera and a stream, it is
            `captured_at`. For a video, it is the position in the video, and for the demo, the time since the start of
            the scene. For a photo, it is None, because a photo follows no other frame.
        repeated: the number of frames that were skipped so far because they equalled the previous frame.
        is_photo: whether the frame is a single photo, such as a file of a folder.
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
        width: the width of the frames, in pixels.
        height: the height of the frames, in pixels.
        fps: the number of frames a second, or None if the camera does not report the number.
        pixel_format: the format in which the camera sends frames: a FOURCC such as ``MJPG``, or a format of picamera2.
            The text is empty if the camera does not report its format.
    """

    width: int
    height: int
    fps: float | None
    pixel_format: str

    def __str__(self) -> str:
        rate = f"{self.fps:g} frames a second" if self.fps else ""
        return ", ".join(filter(None, (f"{self.width}x{self.height}", rate, self.pixel_format)))


class FrameSource(Protocol):
    """Delivers one frame at each call of `read`. At the end of a ``with`` statement, the source closes itself.

    Attributes:
        is_live: whether frames arrive at their own pace, so that a frame is lost if it is not read in time.
    """

    is_live: bool

    def read(self) -> Frame | None:
        """Returns the next frame, or None after the last frame.

        Even if no frame arrives, this method returns or raises an error within seconds. Therefore a thread that calls
        this method can be stopped.

        Raises:
            SourceError: a camera or stream stopped delivering frames. The message names the source.
            SourceLost: a source stopped delivering frames, and reconnects by itself. The caller can call `read` again.
            PictureError: a photo cannot be decoded.
        """

    def delivery(self) -> Delivery | None:
        """Returns the size, rate and format that the camera reports, or None if the source is not a camera."""
        return None

    def notice(self) -> str:
        """Returns one line that the user should know about the source, or an empty text."""
        return ""

    def repeated(self) -> int:
        """Returns the number of frames that were skipped so far because they equalled the previous frame.

        `Frame.repeated` does not count the frames that were skipped after the last delivered frame.
        """
        return 0

    def close(self) -> None:
        """Releases the device or file. Do not call this method while another thread runs `read`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def live_frame(image_bgr: Any, number: int, name: str) -> Frame:
    """Returns a frame that has arrived at this moment.

    The image is uint8 [height, width, 3], but OpenCV's type hints do not state the type.
    """
    now = time.monotonic()
    return Frame(image_bgr, number, now, name, at_s=now)
