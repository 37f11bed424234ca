"""Reconnects a live source: a lost source is opened again, and a frozen source counts as lost.

A frame that equals the previous frame, byte for byte, is skipped and counted. Such a frame is the old frame again,
because the noise of a sensor makes every new frame different. If only such frames arrive for `FROZEN_S`, the source
counts as frozen and is opened again. Frames with a single grey level are always delivered, because a sensor that is
covered or in glare does deliver equal frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError, SourceLost
from dermedge.edge.sources.frame import Delivery, Frame, FrameSource
from dermedge.edge.sources.repeats import equals_last, is_flat

__all__ = ["FIRST_WAIT_S", "FROZEN_S", "LONGEST_WAIT_S", "TICK_S", "Reconnecting"]

# A source counts as frozen if it sends no new frame for FROZEN_S seconds, but repeats the last frame at least
# `_FROZEN_REPEATS` times. The number of repeats alone is not enough: some streams repeat each frame of a slow camera,
# for example 30 times if the camera delivers one frame a second. FROZEN_S alone is not enough either: a source may be
# so slow that this time has passed when the first repeated frame arrives.
FROZEN_S = 1.5
_FROZEN_REPEATS = 3
# Before the first attempt to open a lost source, the wait is FIRST_WAIT_S seconds. It doubles after each attempt, up to
# LONGEST_WAIT_S seconds.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# While a source is lost, a call of `read` ends after about this many seconds, so that the caller can go on.
TICK_S = 0.25


class Reconnecting(FrameSource):
    """A live source that `read` opens again after an outage. The numbers of the frames continue after the outage.

    While the source is lost, `read` raises SourceLost. The caller calls `read` again after this error.

    Args:
        source: an open source. It is closed when the source is lost, or when `close` is called.
        reopen: a function that opens the same source, or raises SourceError.
    """

    is_live = True

    def __init__(self, source: FrameSource, reopen: Callable[[], FrameSource]) -> None:
        self._source: FrameSource | None = source
        self._reopen = reopen
        self._delivery: Delivery | None = None
        self._before: NDArray[np.uint8] | None = None
        self._fresh_s = time.monotonic()
        self._number = 0
        self._repeated = 0
        self._in_a_row = 0
        self._reason = ""
        self._attempts = 0
        self._wait_s = FIRST_WAIT_S
        self._due_s = 0.0

    def read(self) -> Frame | None:
        source = self._source or self._try_again()
        try:
            frame = self._fresh_frame(source)
        except SourceError as error:
            self._source = None
            source.close()
            self._reason = str(error)
            raise self._lost() from error
        self._attempts, self._wait_s = 0, FIRST_WAIT_S
        return frame

    def delivery(self) -> Delivery | None:
        """Returns the delivery that the source reports, or the last reported delivery while the source is lost."""
        source = self._source
        if source is not None:
            self._delivery = source.delivery()
        return self._delivery

    def repeated(self) -> int:
        return self._repeated

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _fresh_frame(self, source: FrameSource) -> Frame | None:
        """Returns the next frame that differs from the previous frame.

        Raises:
            SourceError: the source cannot deliver a frame, or is frozen.
        """
        while (frame := source.read()) is not None:
            self._number += 1
            if not self._is_repeated(frame.image_bgr):
                self._fresh_s = frame.captured_at
                self._in_a_row = 0
                return replace(frame, number=self._number - 1, repeated=self._repeated)
            self._repeated += 1
            self._in_a_row += 1
            if self._in_a_row >= _FROZEN_REPEATS and frame.captured_at - self._fresh_s >= FROZEN_S:
                raise SourceError(
                    f"'{frame.name}' is frozen: it sends the same frame again and again; restart the camera"
                )
        return None

    def _is_repeated(self, image: NDArray[np.uint8]) -> bool:
        before, self._before = self._before, image
        return before is not None and not is_flat(image) and equals_last(image, before)

    def _try_again(self) -> FrameSource:
        """Opens the source again if an attempt is due, and returns the open source.

        Raises:
            SourceLost: no attempt is due yet, or the source cannot be opened.
        """
        wait_s = self._due_s - time.monotonic()
        time.sleep(min(max(wait_s, 0), TICK_S))
        if wait_s > TICK_S:
            raise SourceLost(self._reason)
        try:
            self._source = self._reopen()
        except SourceError as error:
            self._reason = str(error)
            raise self._lost() from error
        self._fresh_s = time.monotonic()
        return self._source

    def _lost(self) -> SourceLost:
        """Returns the error for a source that was lost or did not open, and sets the time of the next attempt."""
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S)
        self._due_s = time.monotonic() + wait_s
        self._attempts += 1
        self._reason = f"{self._reason}; attempt {self._attempts} to open it again follows in {wait_s:g} s"
        return SourceLost(self._reason)
