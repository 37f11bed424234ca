"""Reads video files, as fast as possible or at their own speed."""

from __future__ import annotations

import math
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError, SourceLost
from dermedge.edge.sources.capture import open_capture, text_of_fourcc
from dermedge.edge.sources.edit_list import presented_s
from dermedge.edge.sources.frame import Frame, FrameSource, live_frame
from dermedge.edge.sources.mp4_index import is_hdr
from dermedge.edge.sources.repeats import equals_last

__all__ = ["PacedVideo", "VideoFile"]

# This frame rate is assumed for a video that does not state any.
_UNKNOWN_FPS = 25.0
# OpenCV reports a damaged stretch as the end of the video. This many reads are tried to get past the damage.
_MOST_ATTEMPTS = 50
# An intact video may end earlier than the container states, because some containers only estimate the number of frames,
# and because the sound may last longer than the images. The tolerance is the fraction _MISSING_SHARE of the duration,
# but at most _MISSING_S seconds, and at least 1.5 frame intervals. If more is missing, the video counts as truncated.
_MISSING_SHARE, _MISSING_S = 0.1, 1.0
# A gap lies between two frames that were read one after the other. A video that lacks many frames counts as damaged if
# its longest gap contains at least this fraction of the missing frames.
_GAP_SHARE = 0.8
# If a video plays at its own speed, a pause of up to _LONGEST_SLEEP_S between two frames is one wait in `read`. In a
# longer pause, each call of `read` ends after _PAUSE_TICK_S, so that the reading thread can be stopped.
_LONGEST_SLEEP_S, _PAUSE_TICK_S = 10.0, 1.0
# Reading ends with an error if this many frames in a row equal the first frame.
_MOST_SAME_AT_START = 500
# Some programs state pixels that are not quite square, because they rounded the size of the frame.
_SQUARE_TOLERANCE = 0.02


class VideoFile(FrameSource):
    """The frames of a video file, in order.

    If the video is interlaced, OpenCV returns the same image again and again, and reports success. Therefore a frame
    that equals the previous frame, byte for byte, is skipped and counted. The first frame is delivered only if the
    second frame differs from it, or if it is the only frame.

    Raises:
        SourceError: the file cannot be opened as a video. `read` raises this error if no frame can be decoded, or if
            all frames of the video, or of its second half, are the same. If a part of the video is damaged or missing,
            `read` raises the error after the last frame that can be decoded.
    """

    is_live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = str(path)
        # The path must be absolute: in a relative path, FFmpeg treats the text before a colon as the name of a
        # protocol.
        self._capture = open_capture(os.path.abspath(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(
                f"'{path}' is not a video that can be decoded ({path.stat().st_size} bytes); copy the file again, or "
                "give another video"
            )
        self._fps = self._capture.get(cv2.CAP_PROP_FPS) or _UNKNOWN_FPS
        self._last: NDArray[np.uint8] | None = None
        self._at_s = 0.0
        self._longest_s = 0.0
        # _number counts the decoded frames, _repeated the skipped frames, and _gaps the damaged stretches. _same counts
        # the frames that were skipped since the last delivered frame.
        self._number = self._repeated = self._same = self._gaps = 0
        self._waiting: Frame | None = None

    def read(self) -> Frame | None:
        if self._number == 0:
            return self._first()
        waiting, self._waiting = self._waiting, None
        return waiting or self._next()

    def notice(self) -> str:
        notices = []
        if is_hdr(self._path):
            notices.append(
                f"'{self._name}' is an HDR video: it is read with duller colours than it was recorded with, so that "
                "answers can differ; record without HDR, or convert the video to SDR"
            )
        if not math.isclose(self._pixel_aspect(), 1, rel_tol=_SQUARE_TOLERANCE):
            command = self._conversion("-vf 'scale=trunc(iw*sar/2)*2:ih,setsar=1'", "square")
            notices.append(
                f"'{self._name}' has pixels that are not square: lesions look squashed, so that answers can differ; "
                f"convert the video with: {command}"
            )
        return "; ".join(notices)

    def _pixel_aspect(self) -> float:
        """Returns the width of a pixel divided by its height, or 1 if the video does not state this ratio."""
        width, height = map(self._capture.get, (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
        return width / height if width > 0 and height > 0 else 1.0

    def repeated(self) -> int:
        return self._repeated

    def close(self) -> None:
        self._capture.release()

    def _first(self) -> Frame | None:
        """Returns the first frame if the second frame differs from it, or if there is no second frame.

        If the second frame equals the first frame, this method skips both frames and all further frames that equal
        them. It then returns the next frame.
        """
        first = self._decode()
        if first is None:
            raise self._not_decoded()
        second = self._next() if self._has_more() else None
        if second is None:
            return first
        if self._repeated:
            self._repeated += 1  # the first frame is skipped too
            return replace(second, repeated=self._repeated)
        self._waiting = second
        return first

    def _has_more(self) -> bool:
        """Tells whether the video may have a second frame. It may, unless the container states exactly one frame."""
        return self._capture.get(cv2.CAP_PROP_FRAME_COUNT) != 1

    def _next(self) -> Frame | None:
        """Returns the next frame that differs from the previous frame, or None after the last frame."""
        while (frame := self._decode()) is not None:
            if self._same == 0:
                return frame
            if self._same == _MOST_SAME_AT_START and self._same == self._number - 1:
                raise self._frozen(f"the first {self._number}")
        if self._same and self._same == self._number - 1:
            raise self._frozen(f"all {self._number}")
        if self._same and 2 * self._same >= self._number:
            raise self._frozen(f"the last {self._same + 1} of {self._number}")
        self._check_end()
        return None

    def _decode(self) -> Frame | None:
        """Returns the next frame that can be decoded, or None after the last frame."""
        image = self._image()
        if image is None:
            return None
        is_same = self._last is not None and equals_last(image, self._last)
        self._same = self._same + 1 if is_same else 0
        self._repeated += is_same
        self._last = image
        self._number += 1
        self._advance()
        frame = live_frame(image, self._number - 1, self._name)
        return replace(frame, at_s=self._at_s, repeated=self._repeated)

    def _image(self) -> NDArray[np.uint8] | None:
        """Returns the next image, or None at the end of the video.

        A failed read is repeated, because OpenCV can go on after some damaged stretches.
        """
        for attempt in range(_MOST_ATTEMPTS):
            delivered, image = self._capture.read()
            if delivered:
                self._gaps += attempt > 0
                return image  # type: ignore[return-value]
        return None

    def _advance(self) -> None:
        """Sets the time of the newest frame.

        The time of the newest frame is the time that the stream states. If this time is not later than the time of the
        previous frame, the time is computed from the frame rate instead.
        """
        position_s, before_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, self._at_s
        if self._number == 1:
            self._at_s = position_s
            return
        self._at_s = position_s if position_s > before_s else before_s + 1 / self._fps
        self._longest_s = max(self._longest_s, self._at_s - before_s)

    def _check_end(self) -> None:
        """Raises SourceError if a stretch was damaged, or if too few frames could be decoded."""
        expected = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self._gaps or (expected > 0 and (self._lacks_end(expected) or self._lacks_stretch(expected))):
            of = f" of about {expected}" if expected > 0 else ""
            raise SourceError(
                f"'{self._name}' is damaged or truncated: {self._number}{of} frames could be decoded, the "
                f"last one at {self._at_s:.1f} s; copy or record the video again"
            )

    def _lacks_end(self, expected: int) -> bool:
        """Tells whether frames are missing at the end of a video that should have ``expected`` frames."""
        # the container of a trimmed video also counts the frames that the edit list hides
        whole_s = min(expected / self._fps, presented_s(self._path) or math.inf)
        tolerance_s = max(min(_MISSING_SHARE * whole_s, _MISSING_S), 1.5 / self._fps)
        return whole_s - self._at_s - 1 / self._fps > tolerance_s

    def _lacks_stretch(self, expected: int) -> bool:
        """Tells whether one long gap between two frames explains most of the missing frames.

        If the true frame rate of a video is lower than the stated frame rate, frames seem to be missing too. Such a
        video has many short gaps instead of one long gap.
        """
        missing = expected - self._number
        in_gap = self._longest_s * self._fps - 1
        return missing > max(_MISSING_SHARE * expected, 2) and in_gap >= _GAP_SHARE * missing

    def _not_decoded(self) -> SourceError:
        """Returns the error for a video without a frame that can be decoded."""
        codec = text_of_fourcc(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        return SourceError(
            f"'{self._name}' holds no frame that can be decoded{codec and f' (its codec is {codec})'}. If another "
            f"program plays the video, convert it with: {self._conversion('-c:v libx264', 'h264')}"
        )

    def _frozen(self, which: str) -> SourceError:
        """Returns the error for a video in which too many frames are the same.

        ``which`` is a text that says which frames are the same, such as "all 60" or "the last 31 of 60".
        """
        kind = "black" if self._last is not None and not self._last.any() else "the same"
        return SourceError(
            f"'{self._name}': {which} frames are {kind}. The video is either interlaced, which OpenCV "
            f"{cv2.__version__} cannot read, or a still image. Convert it with: "
            f"{self._conversion('-vf yadif', 'progressive')}"
        )

    def _conversion(self, options: str, ending: str) -> str:
        """Returns the command that converts the video into a file whose name has ``ending`` added."""
        target = self._path.with_name(f"{self._path.stem}-{ending}.mp4")
        return f"ffmpeg -i {shlex.quote(self._name)} {options} {shlex.quote(str(target))}"


class PacedVideo(FrameSource):
    """A video that plays at its own speed, as a live source: a frame is lost if it is not read in time.

    In a long pause between two frames, `read` raises SourceLost once a second.
    """

    is_live = True

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self._began_s: float | None = None
        self._early: Frame | None = None

    def read(self) -> Frame | None:
        frame = self._early or self._video.read()
        self._early = None
        if frame is None or frame.at_s is None:
            return frame
        if self._began_s is None:
            self._began_s = time.monotonic() - frame.at_s
        wait_s = self._began_s + frame.at_s - time.monotonic()
        if wait_s > _LONGEST_SLEEP_S:
            self._early = frame
            time.sleep(_PAUSE_TICK_S)
            raise SourceLost(f"'{frame.name}' pauses; its next frame follows at {frame.at_s:.1f} s")
        time.sleep(max(wait_s, 0.0))
        return replace(frame, captured_at=time.monotonic())

    def notice(self) -> str:
        return self._video.notice()

    def repeated(self) -> int:
        return self._video.repeated()

    def close(self) -> None:
        self._video.close()
