"""Moments for programs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from dermedge.edge.pipeline import Moment, Reading
from dermedge.edge.states import State


class JsonLinesView:
    """Prints each moment as one JSON object, flushed at once so that a pipe is live too.

    A lost camera is one line at first, and one each time that there is something new to say of it.
    """

    def __init__(self) -> None:
        self._said: tuple[str, str] | None = None

    def __enter__(self) -> JsonLinesView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, moment: Moment) -> bool:
        saying = (moment.state, moment.hint)
        if moment.state is not State.CAMERA_LOST or saying != self._said:
            print(json.dumps(to_json(moment), ensure_ascii=False), flush=True)
        self._said = saying
        return True

    def finish(self) -> None:
        pass


def to_json(moment: Moment) -> dict[str, Any]:
    """A moment as JSON values; times in milliseconds, those of the day as ISO 8601 in UTC.

    ``label``, ``probability`` and ``probabilities`` are smoothed over time, and null where the frame was not
    classified; they are an answer in the states answer, uncertain and none of these. ``set`` is the
    prediction set of these probabilities, and null where none was asked for.
    """
    frame = moment.frame
    return {
        "at": _iso(datetime.now(UTC)),
        "state": moment.state,
        "hint": moment.hint,
        "defect": moment.defect,
        "frame": frame.number if frame else None,
        "captured_at": _iso(wall_clock(frame.captured_at)) if frame else None,
        "source": frame.name if frame else None,
        **(_reading_to_json(moment.reading) if moment.reading else dict.fromkeys(READING_KEYS)),
        "dropped": moment.counts.dropped,
        "repeated": moment.counts.repeated,
        "fps": None if moment.fps is None else round(moment.fps, 2),
        "temperature_c": moment.temperature_c,
    }


READING_KEYS = (
    "frame_age_ms",
    "label",
    "uncertain",
    "alert",
    "probability",
    "probabilities",
    "set",
    "latency_ms",
)


def _reading_to_json(reading: Reading) -> dict[str, Any]:
    """The values of `READING_KEYS`."""
    timing = reading.prediction.timing
    return {
        "frame_age_ms": round(reading.frame_age_ms, 3),
        "label": reading.label,
        "uncertain": reading.is_uncertain,
        "alert": reading.prediction.alert,
        "probability": round(reading.prediction.probability, 6),
        "probabilities": {
            label: round(probability, 6)
            for label, probability in zip(reading.labels, reading.prediction.probabilities, strict=True)
        },
        "set": None if reading.chosen is None else list(reading.chosen),
        "latency_ms": {
            "capture": round(reading.capture_ms, 3),
            "preprocess": round(timing.preprocess_ms, 3),
            "invoke": round(timing.invoke_ms, 3),
            "postprocess": round(timing.postprocess_ms, 3),
            "end_to_end": round(reading.end_to_end_ms, 3),
        },
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def wall_clock(monotonic_s: float) -> datetime:
    """The time of day, in UTC, of a `time.monotonic` stamp of this process."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic_s)
