"""Detects changes over a long run by comparing the latest hour with the first hour.

This module compares the share of rejected frames, the share of each answer and the mean probability. A change can mean
that the camera loses its focus, that a lamp ages, or that the lesions are of a different kind than at the start.

Frames are counted by the minute. The counts of the first hour are added up. After that, only the counts of the last 60
minutes with frames are kept, so that memory does not grow during the run. So after a pause, the latest hour also holds
minutes from before the pause.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dermedge.edge.quality import Defect

__all__ = ["NO_DRIFT", "DriftMeter", "SessionDrift", "Shares", "drift_line", "drift_to_json"]

_PERIOD_S, _SLICE_S = 3600.0, 60.0
# A share of the frames is reported only if it differs by at least this much between the first and the latest hour. The
# same rule applies to the mean probability.
_TOLD = 0.05


@dataclass(frozen=True)
class Shares:
    """The results of one period of a run, as shares of the frames in this period.

    Attributes:
        frames: the number of frames that were classified or rejected.
        rejected: for each defect that occurred, the share of frames that the quality gate rejected for this defect,
            0 to 1.
        answers: for each answer that occurred, the share of the classified frames with this answer, 0 to 1.
        probability: the mean probability of the answered class, 0 to 1. It is None if no frame was classified.
    """

    frames: int
    rejected: Mapping[Defect, float]
    answers: Mapping[str, float]
    probability: float | None


@dataclass(frozen=True)
class SessionDrift:
    """The results of the two periods of a run that are compared.

    Attributes:
        first: the results of the first hour. While the first hour lasts, these are the results of the full minutes so
            far. The value is None until the first minute is over.
        latest: the results of the latest hour. Minutes of the first hour are left out. Therefore the value is None
            during the first hour and during the minute that follows it.
    """

    first: Shares | None = None
    latest: Shares | None = None


# The value of `DriftMeter.drift` until the first minute of a run is over.
NO_DRIFT = SessionDrift()


@dataclass
class _Tally:
    """The counts of one or more minutes.

    Attributes:
        rejected: the number of rejected frames for each defect.
        answers: the number of classified frames for each answered class.
        probability: the sum of the probabilities of the answered classes.
    """

    rejected: Counter[Defect] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    probability: float = 0.0

    def shares(self) -> Shares | None:
        """Returns the counts as shares of the frames. Returns None if there was no frame."""
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
    """Counts the frames of a run, and summarizes the first hour and the latest hour.

    Attributes:
        drift: the results of the first hour and of the latest hour, as they were when the last full minute ended.
    """

    def __init__(self) -> None:
        self.drift = NO_DRIFT
        self._first_s: float | None = None
        self._slice_s = 0.0
        self._slice = _Tally()
        self._first = _Tally()
        self._latest: deque[_Tally] = deque(maxlen=round(_PERIOD_S / _SLICE_S))

    def classified(self, label: str, probability: float, now_s: float) -> None:
        """Counts a classified frame.

        Args:
            label: the answered class.
            probability: the probability of the answered class, 0 to 1.
            now_s: the time in seconds, on a clock that never goes back.
        """
        self._start_slice(now_s)
        self._slice.answers[label] += 1
        self._slice.probability += probability

    def rejected(self, defect: Defect, now_s: float) -> None:
        """Counts a frame that the quality gate rejected for ``defect`` at the time ``now_s``, in seconds."""
        self._start_slice(now_s)
        self._slice.rejected[defect] += 1

    def _start_slice(self, now_s: float) -> None:
        """Updates `drift` and starts a new minute, if the present minute is over."""
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
    """Returns one line that names each change of 5 percentage points or more.

    The line is empty until the first hour and the latest hour both have results.
    """
    if drift.first is None or drift.latest is None:
        return ""
    told = [
        f"{name} from {before:.0%} to {after:.0%}"
        for name, before, after in _pairs(drift.first, drift.latest)
        if abs(after - before) >= _TOLD
    ]
    changes = ", ".join(told) or "no share changed by 5 percentage points or more"
    return f"latest hour compared with the first hour: {changes}"


def _pairs(first: Shares, latest: Shares) -> Iterator[tuple[str, float, float]]:
    """Yields the name of each compared quantity, its value in the first period, and its value in the latest period."""
    yield "rejected", sum(first.rejected.values()), sum(latest.rejected.values())
    for defect in sorted({*first.rejected, *latest.rejected}):
        yield str(defect), first.rejected.get(defect, 0.0), latest.rejected.get(defect, 0.0)
    for label in sorted({*first.answers, *latest.answers}):
        yield f"answered {label}", first.answers.get(label, 0.0), latest.answers.get(label, 0.0)
    if first.probability is not None and latest.probability is not None:
        yield "mean probability", first.probability, latest.probability


def drift_to_json(drift: SessionDrift) -> dict[str, Any]:
    """Returns a JSON-serializable dict with the keys ``first_hour`` and ``latest_hour``.

    The value of a key is None if there are no results yet for this hour.
    """
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
