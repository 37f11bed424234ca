"""Results for programs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import select
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State

__all__ = ["JsonLinesView", "to_json"]

# Some 20 lines.
_PIPE_BYTES = 16384


class JsonLinesView:
    """Prints each result as one JSON object, flushed at once so that a pipe is live too.

    A lost camera is one line at first, and one each time that there is something new to say of it.

    Args:
        may_drop: whether a result is left out while the reader of a pipe has not read those before, so that the loop
            does not wait and the reader gets new results; a pipe then holds some 16 kB.
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
            print(json.dumps(to_json(result), ensure_ascii=False), flush=True)
        self._printed = update
        return True

    def finish(self) -> None:
        pass


def _shorten_pipe() -> None:
    """Lets a pipe at standard output hold little; where that is not one, nothing happens."""
    with suppress(ImportError, AttributeError, OSError):  # the first two: a system other than Linux
        import fcntl

        fcntl.fcntl(sys.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _can_take_a_line() -> bool:
    """Whether standard output takes a line without waiting for its reader."""
    try:
        return bool(select.select([], [sys.stdout.fileno()], [], 0)[1])
    except (OSError, ValueError):  # not a file of the system
        return True


def to_json(result: FrameResult) -> dict[str, Any]:
    """A result as JSON values; times in milliseconds, those of the day as ISO 8601 in UTC.

    ``label``, ``probability`` and ``probabilities`` are smoothed over time, and null where the frame was not
    classified; they are an answer in the states answer, uncertain and none of these. ``set`` is the
    prediction set of these probabilities, and null where none was asked for.
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
        **(
            _classification_to_json(result.classification)
            if result.classification
            else dict.fromkeys(_CLASSIFICATION_KEYS)
        ),
        "dropped": result.counts.dropped,
        "repeated": result.counts.repeated,
        "fps": None if result.fps is None else round(result.fps, 2),
        "temperature_c": result.temperature_c,
    }


_CLASSIFICATION_KEYS = (
    "frame_age_ms",
    "label",
    "uncertain",
    "alert",
    "probability",
    "probabilities",
    "set",
    "latency_ms",
)


def _classification_to_json(classification: Classification) -> dict[str, Any]:
    """The values of `_CLASSIFICATION_KEYS`."""
    timing = classification.prediction.timing
    return {
        "frame_age_ms": round(classification.frame_age_ms, 3),
        "label": classification.label,
        "uncertain": classification.is_uncertain,
        "alert": classification.prediction.alert,
        "probability": round(classification.prediction.probability, 6),
        "probabilities": {
            label: round(probability, 6)
            for label, probability in zip(
                classification.labels, classification.prediction.probabilities, strict=True
            )
        },
        "set": None if classification.prediction_set is None else list(classification.prediction_set),
        "latency_ms": {
            "capture": round(classification.capture_ms, 3),
            "preprocess": round(timing.preprocess_ms, 3),
            "invoke": round(timing.invoke_ms, 3),
            "postprocess": round(timing.postprocess_ms, 3),
            "end_to_end": round(classification.end_to_end_ms, 3),
        },
    }


def _iso(result: datetime) -> str:
    return result.isoformat(timespec="milliseconds")


def _wall_clock(monotonic_s: float) -> datetime:
    """The time of day, in UTC, of a `time.monotonic` stamp of this process."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic_s)
