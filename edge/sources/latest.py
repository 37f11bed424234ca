"""Live capture that never waits: a thread reads the source, and the newest frame wins."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from types import TracebackType

from dermedge.edge.errors import SourceLost
from dermedge.edge.sources.frame import Frame, FrameSource

__all__ = ["MS_PER_S", "SILENT_S", "Arrival", "LatestFrame", "Outage"]

MS_PER_S = 1000.0
# A live source counts as lost if it delivers no frame for SILENT_S seconds, even if it reports no error. A source with
# a low frame rate has more time: `_SILENT_INTERVALS` times its frame interval, but at most `_LONGEST_SILENT_S` seconds.
SILENT_S = 2.0
_SILENT_INTERVALS, _LONGEST_SILENT_S = 3, 10.0
# The frame interval of a source is the shortest of this many recent intervals, so that a pause does not make the source
# seem slow.
_INTERVALS = 4
# A source counts as stalled if it delivers no frame for `_STALL_S` seconds, or for `_STALL_INTERVALS` times the usual
# frame interval if this is longer. After a stall, old frames may arrive that waited in a buffer. They follow each other
# quickly: the interval between two old frames is less than `_HASTE` times the usual frame interval.
_STALL_S, _STALL_INTERVALS = 0.3, 3
_HASTE = 0.75
# After a stall, a buffer holds at most the frames that the source has made since the stall began. If the number of
# arriving frames exceeds this number by more than _SURPLUS, the frames do not come from a buffer: the frame rate of the
# source has risen.
_SURPLUS = 3
# At the exit, the program waits in steps of this many seconds. On Windows, it can handle a signal only between steps.
_SIGNAL_S = 0.5


@dataclass(frozen=True)
class Arrival:
    """A frame that is delivered to the consumer, with data about its capture.

    Attributes:
        capture_ms: the time in milliseconds that the source took to deliver the frame, including waiting, transfer and
            decoding.
        dropped: the number of frames of the source that were dropped so far.
    """

    frame: Frame
    capture_ms: float
    dropped: int


@dataclass(frozen=True)
class Outage:
    """A live source delivers nothing at the moment.

    Attributes:
        reason: one line that states why the camera is lost. If the source will be opened again, the line also states in
            how many seconds.
    """

    reason: str


def _capture(source: FrameSource) -> Arrival | None:
    """Reads one frame, and measures how long the read took. Returns None after the last frame."""
    started = time.monotonic()
    frame = source.read()
    if frame is None:
        return None
    return Arrival(frame, MS_PER_S * (time.monotonic() - started), dropped=0)


class LatestFrame:
    """Delivers the newest frame of a live source, or each frame of any other source in order.

    Use a LatestFrame in a ``with`` statement. While the block runs, a thread reads a live source, so that a slow
    consumer gets a fresh frame and not a queue of old frames. At most one frame is kept. Frames that newer frames
    replace are counted as dropped. The caller closes the source after the block.

    After a stall, frames that waited in a buffer of the source arrive quickly one after the other, the oldest first.
    These frames are dropped too: a frame is delivered only if no other frame follows within three quarters (`_HASTE`)
    of the usual frame interval.

    A signal may end the consumer at any moment, even while the consumer takes the lock. A `threading.Condition` could
    then stay locked for ever, because it is written in Python. Therefore this class uses a `threading.Lock` and a
    `SimpleQueue`, which are safe.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._news: SimpleQueue[None] = SimpleQueue()  # an item wakes the consumer
        self._slot: Arrival | None = None
        self._outage: Outage | None = None
        self._error: Exception | None = None
        self._dropped = 0
        self._ended = False
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._arrived_s: float | None = None
        self._is_catching_up = False
        # the time of the last frame before the stall, and the number of frames that have arrived since
        self._stalled_s = 0.0
        self._since_stall = 0
        self._ready_s = 0.0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._read_on, name="capture", daemon=True)

    def __enter__(self) -> LatestFrame:
        if self._source.is_live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        if self._thread.ident is not None:
            self._wait_for_thread()

    def _wait_for_thread(self) -> None:
        """Waits until the thread has left the source, which happens within seconds.

        A signal does not end the wait, because closing a source that another thread reads crashes the process. The
        exception that the signal raises is raised after the wait. `Thread.join` alone is not enough: in Python 3.11,
        an interrupted `join` marks the thread as stopped.
        """
        interruption: BaseException | None = None
        while not self._ended:
            try:
                with suppress(Empty):
                    self._news.get(timeout=_SIGNAL_S)
            except BaseException as error:
                interruption = error
        self._thread.join()
        if interruption is not None:
            raise interruption

    def read(self) -> Arrival | Outage | None:
        """Waits until there is a frame that was not read before, and returns the newest one.

        Returns None after the last frame. An outage is returned before the frames that follow the outage. While no
        frame arrives, an outage is returned every `SILENT_S` seconds, or less often if the source has a low frame rate.

        Raises:
            SourceError, PictureError: the source raised this error. A frame that arrived before the error is delivered
                first. The next call after the error returns None.
        """
        if not self._source.is_live:
            return _capture(self._source)
        with self._lock:
            silent_s = self._silent_s()
        until_s = time.monotonic() + silent_s
        while True:
            with self._lock:
                now = time.monotonic()
                if self._outage or self._ended or (self._slot and now >= self._ready_s):
                    return self._take()
                wake_s = min(self._ready_s, until_s) if self._slot else until_s
            if now >= until_s:
                return Outage(f"the source has sent no frame for {silent_s:.1f} s")
            with suppress(Empty):
                self._news.get(timeout=wake_s - now)

    def _take(self) -> Arrival | Outage | None:
        """Returns the waiting outage or, if there is none, the waiting frame. Returns None if nothing is waiting.

        If an error has ended the capture, this method raises the error after the last outage and the last frame.
        """
        if self._outage is not None:
            outage, self._outage = self._outage, None
            return outage
        if self._slot is None and self._error is not None:
            error, self._error = self._error, None
            raise error
        arrival, self._slot = self._slot, None
        return arrival

    def newer(self) -> Arrival | None:
        """Returns a frame that arrived after the frame that was read last, or None.

        If there is a newer frame, the frame that was read last counts as dropped.
        """
        with self._lock:
            if self._slot is None or time.monotonic() < self._ready_s:
                return None
            self._dropped += 1
            arrival, self._slot = replace(self._slot, dropped=self._dropped), None
        return arrival

    def _silent_s(self) -> float:
        """Returns after how many seconds without a frame the source counts as lost."""
        interval_s = min(self._intervals, default=0.0)
        return min(max(SILENT_S, _SILENT_INTERVALS * interval_s), _LONGEST_SILENT_S)

    def _read_on(self) -> None:
        try:
            while not self._is_stopping:
                try:
                    arrival = _capture(self._source)
                except SourceLost as error:
                    self._report(Outage(str(error)))
                    continue
                if arrival is None:
                    break
                self._deliver(arrival)
        except Exception as error:  # `read` raises the error in the consumer's thread
            self._error = error
        finally:
            with self._lock:
                self._ended = True
            self._wake()

    def _deliver(self, arrival: Arrival) -> None:
        now = time.monotonic()
        with self._lock:
            self._ready_s = now + self._hold_back_s(now)
            self._arrived_s = now
            self._drop()
            self._slot = Arrival(arrival.frame, arrival.capture_ms, self._dropped)
        self._wake()

    def _hold_back_s(self, now: float) -> float:
        """Returns how many seconds a frame waits for a newer frame.

        Usually, the result is 0. After a stall, the result is `_HASTE` times the usual interval between frames, until
        frames arrive at the usual interval again, or until more frames have arrived than the stall can have held back.
        In that case, the camera has become faster.
        """
        if self._arrived_s is None:
            return 0.0
        interval_s, usual_s = now - self._arrived_s, min(self._intervals, default=0.0)
        self._since_stall += 1
        if self._is_catching_up and interval_s < _HASTE * usual_s:
            if self._since_stall <= (now - self._stalled_s) / usual_s + _SURPLUS:
                return _HASTE * usual_s
            self._intervals.clear()
        self._intervals.append(interval_s)
        self._is_catching_up = interval_s > max(_STALL_S, _STALL_INTERVALS * usual_s) and usual_s > 0
        if self._is_catching_up:
            self._stalled_s, self._since_stall = self._arrived_s, 1
        return _HASTE * usual_s if self._is_catching_up else 0.0

    def _report(self, outage: Outage) -> None:
        with self._lock:
            self._drop()
            self._arrived_s = None
            self._is_catching_up = False
            self._outage = outage
        self._wake()

    def _wake(self) -> None:
        """Wakes the consumer.

        One item in the queue is enough, because the consumer first takes the item, and then looks for everything that
        is new.
        """
        if self._news.empty():
            self._news.put(None)

    def _drop(self) -> None:
        """Counts the waiting frame as dropped, because a newer frame or an outage replaces this frame."""
        if self._slot is not None:
            self._dropped += 1
            self._slot = None
