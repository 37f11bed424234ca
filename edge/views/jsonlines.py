"""Readings for programs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from edge.loop import Reading


class JsonLinesView:
    """Prints each reading as one JSON object, flushed at once so that a pipe is live too."""

    def __enter__(self) -> JsonLinesView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, reading: Reading) -> bool:
        print(json.dumps(to_json(reading), ensure_ascii=False), flush=True)
        return True

    def finish(self) -> None:
        pass


def to_json(reading: Reading) -> dict[str, Any]:
    """A reading as JSON values; times in milliseconds, the capture time as ISO 8601 in UTC."""
    timing = reading.prediction.timing
    return {
        "frame": reading.frame.number,
        "captured_at": wall_clock(reading.frame.captured_at).isoformat(timespec="milliseconds"),
        "frame_age_ms": round(reading.frame_age_ms, 3),
        "dropped": reading.dropped,
        "source": reading.frame.name,
        "label": reading.label,
        "uncertain": reading.is_uncertain,
        "alert": reading.prediction.alert,
        "probability": round(reading.prediction.probability, 6),
        "probabilities": {
            label: round(probability, 6)
            for label, probability in zip(reading.labels, reading.prediction.probabilities, strict=True)
        },
        "latency_ms": {
            "capture": round(reading.capture_ms, 3),
            "preprocess": round(timing.preprocess_ms, 3),
            "invoke": round(timing.invoke_ms, 3),
            "postprocess": round(timing.postprocess_ms, 3),
            "end_to_end": round(reading.end_to_end_ms, 3),
        },
        "fps": None if reading.fps is None else round(reading.fps, 2),
    }


def wall_clock(monotonic_s: float) -> datetime:
    """The time of day, in UTC, of a `time.monotonic` stamp of this process."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic_s)
