"""Prints results for other programs: one JSON object per line on standard output."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from dermedge.edge.printable import printable_json
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State

__all__ = ["JsonLinesView", "to_json"]


class JsonLinesView:
    """Prints each result as one JSON object. Each line is flushed, so that the reader of a pipe gets it immediately.

    When the camera is lost, one line is printed. Until the camera returns, another line is printed only if the reason
    changes.

    Args:
        may_drop: whether to skip results while the reader is too slow. If true, the loop does not wait for the reader.
            On Linux, a result is skipped if the pipe still holds a line that the reader has not taken, so that the
            reader gets recent results. If the last result of a run is skipped, it is printed at the exit, unless its
            line is longer than 4 kB. The loop waits only if a line is longer than the pipe, which usually holds 64 kB.
            If false, every result is printed, and the loop waits for the reader.
    """

    def __init__(self, may_drop: bool = False) -> None:
        self._may_drop = may_drop
        self._printed: tuple[str, str] | None = None
        self._skipped: FrameResult | None = None

    def __enter__(self) -> JsonLinesView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._skipped is not None and _can_take_a_line():
            line = _line(self._skipped)
            if len(line.encode()) <= select.PIPE_BUF:  # printing a longer line might block
                print(line, end="", flush=True)

    def show(self, result: FrameResult) -> bool:
        update = (result.state, result.hint)
        self._skipped = None
        if result.state is State.CAMERA_LOST and update == self._printed:
            return True
        if self._may_drop and (_is_unread() or not _can_take_a_line()):
            self._skipped = result
        else:
            print(_line(result), end="", flush=True)
            self._printed = update
        return True

    def finish(self) -> None:
        pass


def _line(result: FrameResult) -> str:
    return f"{printable_json(to_json(result))}\n"


def _is_unread() -> bool:
    """Tells whether standard output is a pipe that holds bytes which the reader has not taken.

    Only on Linux, the writer can find this out. On other systems, the result is False. It is also False if the reader
    has closed the pipe.
    """
    # ImportError: Windows has no module fcntl. ValueError: standard output has no file descriptor
    with suppress(ImportError, OSError, ValueError):
        import fcntl
        import termios

        output = sys.stdout.fileno()
        if stat.S_ISFIFO(os.fstat(output).st_mode) and any(fcntl.ioctl(output, termios.FIONREAD, bytes(4))):
            poller = select.poll()
            poller.register(output, 0)  # 0 selects no event; a closed pipe is reported in any case
            return not poller.poll(0)
    return False


def _can_take_a_line() -> bool:
    """Tells whether a line can be written to standard output without waiting for the reader."""
    try:
        return bool(select.select([], [sys.stdout.fileno()], [], 0)[1])
    except (OSError, ValueError):
        # standard output has no file descriptor, or select does not support it; print the line in any case
        return True


def to_json(result: FrameResult) -> dict[str, Any]:
    """Returns a result as JSON values. Durations are in milliseconds. Times of day are in UTC, in ISO 8601 format.

    ``headline``, ``nearest``, ``label``, ``uncertain``, ``alert``, ``view``, ``probability``, ``probabilities`` and
    ``set`` depend on the state:

    - answer, uncertain, none of these: the values describe the shown answer. The probabilities are smoothed over time.
      Usually, the shown answer is the answer for this frame. The shown answer is the answer for an earlier frame, which
      is less than 0.4 s old, in two cases: this frame was rejected, or the answer for this frame would replace the
      shown answer too soon.
    - reading: there is no answer yet. The values describe this frame, or are null if this frame was rejected.
    - searching, hold still, camera lost: the values are null.

    ``nearest`` is the class that the headline names after "nearest:", or null if the headline has no such part.
    ``view`` is ``dermoscopic`` or ``close-up``, or null if the model does not predict the view. ``set`` is the
    prediction set, or null if prediction sets were not requested. ``frame_age_ms`` and ``latency_ms`` always describe
    this frame. They are null if this frame was not classified.
    """
    frame = result.frame
    return {
        "at": _iso(datetime.now(UTC)),
        "state": result.state,
        "hint": result.hint,
        "defect": result.defect,
        "frame": frame.number if frame else None,
        "captured_at": _iso(_wall_clock(frame.captured_at)) if frame else None,
        "source": frame.name if frame else None,
        "frame_age_ms": round(result.classification.frame_age_ms, 3) if result.classification else None,
        **(_answer_to_json(result.shown) if result.shown else dict.fromkeys(_ANSWER_KEYS)),
        "latency_ms": _latency_to_json(result.classification) if result.classification else None,
        "dropped": result.counts.dropped,
        "repeated": result.counts.repeated,
        "fps": None if result.fps is None else round(result.fps, 2),
        "temperature_c": result.temperature_c,
    }


_ANSWER_KEYS = (
    "headline",
    "nearest",
    "label",
    "uncertain",
    "alert",
    "view",
    "probability",
    "probabilities",
    "set",
)


def _answer_to_json(classification: Classification) -> dict[str, Any]:
    """Returns the values of an answer for the keys in `_ANSWER_KEYS`."""
    return {
        "headline": classification.headline.text,
        "nearest": classification.headline.nearest,
        "label": classification.label,
        "uncertain": classification.is_uncertain,
        "alert": classification.prediction.alert,
        "view": classification.prediction.view,
        "probability": round(classification.prediction.probability, 6),
        "probabilities": {
            label: round(probability, 6)
            for label, probability in zip(
                classification.labels, classification.prediction.probabilities, strict=True
            )
        },
        "set": None if classification.prediction_set is None else list(classification.prediction_set),
    }


def _latency_to_json(classification: Classification) -> dict[str, float]:
    timing = classification.prediction.timing
    return {
        "capture": round(classification.capture_ms, 3),
        "preprocess": round(timing.preprocess_ms, 3),
        "invoke": round(timing.invoke_ms, 3),
        "postprocess": round(timing.postprocess_ms, 3),
        "end_to_end": round(classification.end_to_end_ms, 3),
    }


def _iso(time_of_day: datetime) -> str:
    return time_of_day.isoformat(timespec="milliseconds")


def _wall_clock(monotonic_s: float) -> datetime:
    """Converts a value of `time.monotonic` in this process to the time of day in UTC."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic_s)
