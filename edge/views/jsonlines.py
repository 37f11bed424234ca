"""Prints results for programs: one JSON object per line on standard output."""

from __future__ import annotations

import select
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

# Room for about 20 lines.
_PIPE_BYTES = 16384


class JsonLinesView:
    """Prints each result as one JSON object, flushed at once so that a pipe is live too.

    When the camera is lost, one line is printed at once, and another one each time that the reason changes.

    Args:
        may_drop: whether a result is skipped while the reader of a pipe is behind. The loop then never waits, and the
            reader gets new results; the pipe is shortened to about 16 kB.
    """

    def __init__(self, may_drop: bool = False) -> None:
        self._may_drop = may_drop
        self._printed: tuple[str, str] | None = None

    def __enter__(self) -> JsonLinesView:
        if self._may_drop:
            _shorten_pipe()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, result: FrameResult) -> bool:
        update = (result.state, result.hint)
        if self._may_drop and not _can_take_a_line():
            return True
        if result.state is not State.CAMERA_LOST or update != self._printed:
            print(printable_json(to_json(result)), flush=True)
        self._printed = update
        return True

    def finish(self) -> None:
        pass


def _shorten_pipe() -> None:
    """Makes the buffer of a pipe at standard output small; does nothing if standard output is not a pipe."""
    # the first two are raised on systems other than Linux
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(sys.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _can_take_a_line() -> bool:
    """Tells whether standard output takes a line without waiting for its reader."""
    try:
        return bool(select.select([], [sys.stdout.fileno()], [], 0)[1])
    except (OSError, ValueError):  # standard output has no file descriptor
        return True


def to_json(result: FrameResult) -> dict[str, Any]:
    """Returns a result as JSON values; times in milliseconds, those of the day as ISO 8601 in UTC.

    In the states answer, uncertain and none of these, ``headline``, ``label``, ``probability``, ``probabilities``,
    ``alert`` and ``view`` are those of the shown answer. It is the answer of this frame, smoothed over time. If this
    frame was rejected or would change the answer too soon, it is that of a frame less than 0.4 s before. In the state
    reading, the values are those of this frame, and no answer yet; in the other states they are null. ``nearest`` is
    the class that the headline adds if its title does not name a class. ``view`` is ``dermoscopic`` or ``close-up``,
    and null if the model does not tell the view. ``set`` is the prediction set of these probabilities, and null if
    none was asked for. ``frame_age_ms`` and ``latency_ms`` belong to this frame, and are null if it was not
    classified.
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
    """Returns the values of `_ANSWER_KEYS`."""
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


def _iso(result: datetime) -> str:
    return result.isoformat(timespec="milliseconds")


def _wall_clock(monotonic_s: float) -> datetime:
    """Returns the time of day, in UTC, of a `time.monotonic` stamp of this process."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic_s)
