"""A live source that reconnects: it opens a lost source again, and treats a frozen one as lost.

A frame that equals the previous one, byte for byte, is skipped and counted. It must be the old frame, because a
sensor's noise makes every new frame different. If only such frames arrive for `FROZEN_S`, the source counts as frozen
and is opened again. A frame of a single grey level is delivered, because a sensor that is covered or in glare does
deliver equal frames.
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

# Some streams repeat each frame of a slow camera: 30 times, for example, if the camera has one frame a second. For an
# even slower camera, the limit is `_FROZEN_REPEATS` of its frame intervals.
FROZEN_S = 1.5
_FROZEN_REPEATS = 3
# The wait between two attempts to open a lost source. It doubles each time.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# A read of a lost source returns after this time, so that the loop goes on.
TICK_S = 0.25


class Reconnecting(FrameSource):
    """A live source that `read` opens again after it was lost. The numbers of the frames continue after an outage.

    While it is lost, `read` raises SourceLost; call it again.

    Args:
        source: an open source; it is closed when it is lost, and by `close`.
        reopen: opens the same source, or raises SourceError.
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
        self._attempts = 0
        return frame

    def delivery(self) -> Delivery | None:
        """Returns the delivery of the source; while it is lost, the last one that it reported."""
        source = self._source
        if source is not None:
            self._delivery = source.delivery()
        return self._delivery

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _fresh_frame(self, source: FrameSource) -> Frame | None:
        """Returns the next frame that differs from the previous one.

        Raises:
            SourceError: the source raised it, or the source is frozen.
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
                raise SourceError(f"'{frame.name}' is frozen: it sends the same frame again and again")
        return None

    def _is_repeated(self, image: NDArray[np.uint8]) -> bool:
        before, self._before = self._before, image
        return before is not None and not is_flat(image) and equals_last(image, before)

    def _try_again(self) -> FrameSource:
        """Returns the source, opened again if an attempt is due.

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
        """Returns the error for a failed attempt, and makes the next attempt wait longer."""
        wait_s = min(FIRST_WAIT_S * 2**self._attempts, LONGEST_WAIT_S)
        self._due_s = time.monotonic() + wait_s
        self._attempts += 1
        self._reason = f"{self._reason}; attempt {self._attempts} to open it again after {wait_s:g} s"
        return SourceLost(self._reason)
