"""Holds the content of the web page: the newest result and the last answers. All viewers share the encoded frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dermedge.edge.drift import SessionDrift
from dermedge.edge.model.decision import Headline
from dermedge.edge.photos import encode_image
from dermedge.edge.results import FrameResult
from dermedge.edge.states import State
from dermedge.edge.views.jsonlines import to_json
from dermedge.edge.views.paint import paint_frame, paint_result
from dermedge.edge.views.saves import Saves

__all__ = ["HISTORY", "INTERVAL_S", "Board", "EncodedFrame"]

# The largest number of answers in the history.
HISTORY = 50
_JPEG_QUALITY = 80
# If a headline was shown for less than this many seconds, the next headline replaces it in the history.
_STAND_S = 1.0
# The live video shows at most one new frame in this time, even if the camera is faster or there are many viewers.
INTERVAL_S = 0.1


@dataclass(frozen=True)
class EncodedFrame:
    """The frame of a result, encoded as a JPEG.

    Attributes:
        number: the number of the result. Later results have greater numbers.
        jpeg: the bytes of the JPEG file.
    """

    number: int
    jpeg: bytes


class _Encoder:
    """The last encoded frame, and the earliest time at which the next frame may be encoded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.frame: EncodedFrame | None = None
        self.due_s = 0.0


class Board:
    """Receives results from the loop without delaying the loop, and serves the results to any number of threads.

    Args:
        facts: the labels of the metric ``dermedge_info``, such as the name and the digest of the model.
        folder: the folder in which images are saved.
        has_heat_map: whether the model can compute a heat map.

    Attributes:
        saves: the saved images.
        is_closed: whether the loop has ended. Then the live video of each viewer ends too.
    """

    def __init__(self, facts: dict[str, str], folder: Path, has_heat_map: bool) -> None:
        self.facts = facts
        self._has_heat_map = has_heat_map
        self.saves = Saves(folder)
        self._lock = threading.Lock()
        self._number = 0
        self._result: FrameResult | None = None
        self._plain, self._hot = _Encoder(), _Encoder()
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._is_answering = False
        self._headline: Headline | None = None
        self._since_s = 0.0
        self._viewers = 0
        self.is_closed = False

    def put(self, result: FrameResult) -> None:
        """Stores the newest result. This is fast, because nothing is painted or encoded here."""
        with self._lock:
            self._number += 1
            self._result = result
            self._remember(result)

    def has_news(self, shown: int, heat: bool) -> bool:
        """Tells whether `frame` would return a frame that the viewer does not show yet.

        Args:
            shown: the number of the frame that the viewer shows.
            heat: whether the viewer shows the heat map.
        """
        encoder = self._encoder(heat)
        if encoder.frame is not None and encoder.frame.number != shown:
            return True
        return self._number != shown and time.monotonic() >= encoder.due_s

    def state(self) -> dict[str, Any]:
        """Returns the content of the page as JSON values.

        The values are the newest result in the format of the JSON lines, the last answers, the names of the saved
        images, and whether the model has a heat map. The answers and the names are sorted from new to old.
        """
        with self._lock:
            result, history = self._result, list(self._history)
        return {
            "result": to_json(result) if result else None,
            "history": history[::-1],
            "saved": self.saves.names,
            "heat_map": self._has_heat_map,
        }

    def frame(self, heat: bool) -> EncodedFrame | None:
        """Returns a recent frame as a JPEG, or None before the first frame.

        A circle on the frame shows where the user should place the lesion.

        A new frame is encoded at most once in `INTERVAL_S` seconds. In between, the last encoded frame is returned.
        If several threads call this method at the same time, one thread encodes the frame. The other threads wait, and
        return the same frame. No text is painted on the frame, because the page shows the answer beside the frame.

        Args:
            heat: whether to paint the heat map. It is not painted if the model has no heat map.
        """
        encoder = self._encoder(heat)
        with encoder.lock:
            now = time.monotonic()
            with self._lock:
                number, result = self._number, self._result
            is_new = encoder.frame is None or encoder.frame.number != number
            if result is not None and is_new and now >= encoder.due_s:
                encoder.due_s = now + INTERVAL_S
                encoder.frame = EncodedFrame(
                    number, encode_image(paint_frame(result, encoder is self._hot), ".jpg", _JPEG_QUALITY)
                )
            return encoder.frame

    def save(self, heat: bool) -> str | None:
        """Saves the newest result as an image on this device; returns the file name, or None before the first frame.

        Args:
            heat: whether to paint the heat map. It is not painted if the model has no heat map.

        Raises:
            StorageError: if the image cannot be saved. `Saves.add` lists the reasons.
        """
        result = self._result
        if result is None or result.frame is None:
            return None
        return self.saves.add(encode_image(paint_result(result, heat and self._has_heat_map), ".png"))

    def metrics(self) -> Iterator[str]:
        """Yields the lines of the metrics in the text format of Prometheus."""
        result = self._result
        yield from _metric("info", "gauge", [(self.facts, 1)])
        yield from _metric("viewers", "gauge", [({}, self._viewers)])
        if result is None:
            return
        counts = result.counts
        yield from _metric("state", "gauge", [({"state": one}, int(one is result.state)) for one in State])
        yield from _metric("frames_classified_total", "counter", [({}, counts.classified)])
        yield from _metric("frames_dropped_total", "counter", [({}, counts.dropped)])
        yield from _metric("frames_repeated_total", "counter", [({}, counts.repeated)])
        yield from _metric("outages_total", "counter", [({}, counts.outages)])
        yield from _drift_metrics(result.drift)
        rejected = [({"defect": str(defect)}, count) for defect, count in sorted(counts.rejected.items())]
        yield from _metric("frames_rejected_total", "counter", rejected)
        for name, value in (("fps", result.fps), ("temperature_celsius", result.temperature_c)):
            if value is not None:
                yield from _metric(name, "gauge", [({}, value)])
        if result.classification is not None:
            timing = result.classification.prediction.timing
            yield from _metric("invoke_seconds", "gauge", [({}, timing.invoke_ms / 1000)])
            yield from _metric(
                "frame_age_seconds", "gauge", [({}, result.classification.frame_age_ms / 1000)]
            )

    @property
    def viewers(self) -> int:
        """The number of viewers of the live video."""
        return self._viewers

    def count_viewer(self, more: int) -> None:
        """Adds ``more`` to the number of viewers: 1 if a viewer of the live video connects, -1 if one disconnects."""
        with self._lock:
            self._viewers += more

    def _encoder(self, heat: bool) -> _Encoder:
        return self._hot if heat and self._has_heat_map else self._plain

    def _remember(self, result: FrameResult) -> None:
        """Adds an answer to the history.

        If the previous result had no answer, the answer becomes a new entry. Otherwise, the answer replaces the last
        entry if the headline is still the same, or if the headline of the last entry was shown for less than `_STAND_S`
        seconds.
        """
        answer = result.answer
        if answer is None:
            self._is_answering = False
            return
        now = time.monotonic()
        if self._is_answering and (answer.headline == self._headline or now - self._since_s < _STAND_S):
            self._history.pop()
        if not self._is_answering or answer.headline != self._headline:
            self._since_s = now
        self._is_answering, self._headline = True, answer.headline
        self._history.append(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "state": result.state,
                "headline": answer.headline.text,
                "label": answer.label,
                "probability": round(answer.named_probability, 6),
                "alert": answer.prediction.alert,
                "view": answer.prediction.view,
            }
        )


def _drift_metrics(drift: SessionDrift) -> Iterator[str]:
    """Yields the metrics with which a user can compare the latest hour of a run with the first hour.

    There are three metrics, each with values from 0 to 1. ``rejected_share`` states for each defect which share of the
    frames was rejected because of the defect. ``answers_share`` states for each class which share of the classified
    frames had the class as their answer. ``mean_probability`` is the mean probability of the answered class.
    """
    periods = [
        (name, one) for name, one in (("first_hour", drift.first), ("latest_hour", drift.latest)) if one
    ]
    rejected = [
        ({"period": name, "defect": str(defect)}, share)
        for name, one in periods
        for defect, share in one.rejected.items()
    ]
    yield from _metric("rejected_share", "gauge", rejected)
    answers = [
        ({"period": name, "label": label}, share)
        for name, one in periods
        for label, share in one.answers.items()
    ]
    yield from _metric("answers_share", "gauge", answers)
    means = [({"period": name}, one.probability) for name, one in periods if one.probability is not None]
    yield from _metric("mean_probability", "gauge", means)


def _metric(name: str, kind: str, values: Sequence[tuple[dict[str, str], float]]) -> Iterator[str]:
    yield f"# TYPE dermedge_{name} {kind}"
    for labels, value in values:
        # the format g rounds to six digits, so a counter above a million would seldom change
        number = str(value) if isinstance(value, int) else f"{value:g}"
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"dermedge_{name}{f'{{{pairs}}}' if pairs else ''} {number}"


def _escaped(text: str) -> str:
    # the name of a file may contain bytes that are not valid UTF-8
    valid = text.encode(errors="backslashreplace").decode()
    return valid.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
