"""Detects changes over a long run: compares rejected frames, answers and probabilities of the latest hour with those
of the first hour.

Such changes reveal a camera that loses its focus, a lamp that ages, or lesions of another kind than at the start.
Frames are counted by the minute. Only the minutes of the latest hour are kept, so that memory does not grow with the
run.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dermedge.edge.quality import Defect

__all__ = ["NO_DRIFT", "DriftMeter", "SessionDrift", "Shares", "drift_line", "drift_to_json"]

_PERIOD_S, _SLICE_S = 3600.0, 60.0
# Changes of a share below this are not mentioned.
_TOLD = 0.05


@dataclass(frozen=True)
class Shares:
    """The results of the frames of a period.

    Attributes:
        frames: how many were classified or rejected.
        rejected: for each defect that occurred, the share of the frames, 0 to 1, that the quality gate rejected for
            it.
        answers: for each class that occurred, the share of the classified frames, 0 to 1, that got this answer.
        probability: the mean probability, 0 to 1, of the answered class; None if no frame was classified.
    """

    frames: int
    rejected: Mapping[Defect, float]
    answers: Mapping[str, float]
    probability: float | None


@dataclass(frozen=True)
class SessionDrift:
    """Two periods of a run to compare.

    Attributes:
        first: counts of the first hour, or of its minutes so far; None before the first minute is over.
        latest: counts of the latest hour, or of the minutes since the first hour; None before there are any.
    """

    first: Shares | None = None
    latest: Shares | None = None


# The drift of a run before its first minute is over.
NO_DRIFT = SessionDrift()


@dataclass
class _Tally:
    """Counts of some minutes: the rejected frames for each defect, and the answers for each class."""

    rejected: Counter[Defect] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    probability: float = 0.0

    def shares(self) -> Shares | None:
        """Returns the shares; None if there was no frame."""
        classified = self.answers.total()
        frames = classified + self.rejected.total()
        if not frames:
            return None
        return Shares(
            frames,
            {defect: count / frames for defect, count in sorted(self.rejected.items())},
            {label: count / classified for label, count in sorted(self.answers.items())},
            self.probability / classified if classified else None,
        )


class DriftMeter:
    """Counts the frames of a run.

    Attributes:
        drift: the periods as they were at the end of the last whole minute.
    """

    def __init__(self) -> None:
        self.drift = NO_DRIFT
        self._first_s: float | None = None
        self._slice_s = 0.0
        self._slice = _Tally()
        self._first = _Tally()
        self._latest: deque[_Tally] = deque(maxlen=round(_PERIOD_S / _SLICE_S))

    def classified(self, label: str, probability: float, now_s: float) -> None:
        """Counts a frame that was answered with a class of this probability, at this time in seconds."""
        self._start_slice(now_s)
        self._slice.answers[label] += 1
        self._slice.probability += probability

    def rejected(self, defect: Defect, now_s: float) -> None:
        """Counts a frame that the quality gate rejected, at this time in seconds."""
        self._start_slice(now_s)
        self._slice.rejected[defect] += 1

    def _start_slice(self, now_s: float) -> None:
        """Closes the minute that is over, if one is."""
        if self._first_s is None:
            self._first_s = self._slice_s = now_s
        if now_s - self._slice_s < _SLICE_S:
            return
        if self._slice_s - self._first_s < _PERIOD_S:
            self._first = _sum([self._first, self._slice])
        else:
            self._latest.append(self._slice)
        self._slice, self._slice_s = _Tally(), now_s
        self.drift = SessionDrift(self._first.shares(), _sum(self._latest).shares())


def _sum(tallies: Iterable[_Tally]) -> _Tally:
    total = _Tally()
    for one in tallies:
        total.rejected.update(one.rejected)
        total.answers.update(one.answers)
        total.probability += one.probability
    return total


def drift_line(drift: SessionDrift) -> str:
    """Returns the changes of 5 percentage points or more, in words; empty before there are two periods to compare."""
    if drift.first is None or drift.latest is None:
        return ""
    told = [
        f"{name} {before:.0%} -> {after:.0%}"
        for name, before, after in _pairs(drift.first, drift.latest)
        if abs(after - before) >= _TOLD
    ]
    return f"latest hour against the first: {', '.join(told) or 'no share changed by 5 points or more'}"


def _pairs(first: Shares, latest: Shares) -> Iterator[tuple[str, float, float]]:
    """Yields each quantity that is compared: its name, and its values in the two periods."""
    yield "rejected", sum(first.rejected.values()), sum(latest.rejected.values())
    for defect in sorted({*first.rejected, *latest.rejected}):
        yield str(defect), first.rejected.get(defect, 0.0), latest.rejected.get(defect, 0.0)
    for label in sorted({*first.answers, *latest.answers}):
        yield f"answered {label}", first.answers.get(label, 0.0), latest.answers.get(label, 0.0)
    if first.probability is not None and latest.probability is not None:
        yield "mean probability", first.probability, latest.probability


def drift_to_json(drift: SessionDrift) -> dict[str, Any]:
    """Returns the two periods as JSON values: ``first_hour`` and ``latest_hour``, null where there is none."""
    return {"first_hour": _shares_to_json(drift.first), "latest_hour": _shares_to_json(drift.latest)}


def _shares_to_json(shares: Shares | None) -> dict[str, Any] | None:
    if shares is None:
        return None
    return {
        "frames": shares.frames,
        "rejected": {str(defect): round(share, 4) for defect, share in shares.rejected.items()},
        "answers": {label: round(share, 4) for label, share in shares.answers.items()},
        "probability": None if shares.probability is None else round(shares.probability, 4),
    }
