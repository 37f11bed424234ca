"""Counts frames and collects latencies during `dermedge run`, and prints a summary at the end."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from statistics import median

from dermedge.edge.drift import NO_DRIFT, SessionDrift, drift_line
from dermedge.edge.printable import printable
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.sources.frame import Delivery, FrameSource
from dermedge.edge.views.text import answer_line, notes_line, set_line

__all__ = ["Session", "counts_line", "frames_of", "rejected_line", "summary"]

# The summary computes the median latencies of this many classifications, the newest ones. At 30 classifications a
# second, they cover the last five minutes.
_WINDOW = 9000


@dataclass
class Session:
    """The frame counts and latencies of one call of `dermedge run`. The summary is computed from them.

    A run may last for weeks. Therefore the memory that a session uses is bounded.

    Attributes:
        none_label: the label of "none of these", which is not a lesion; None if the model has no such class.
        counts: the numbers of classified, rejected, dropped and repeated frames, and how often the camera was lost.
        first_s: `time.monotonic` seconds of the first classification.
        last_s: `time.monotonic` seconds of the newest classification.
        best: the classification in which a lesion had the highest probability.
        last: the newest classification.
        delivery: the size, rate and format that the camera reports; None if the source is not a camera.
        drift: how often frames were rejected, and how often each answer was given, in the first hour and in the latest
            hour of the run.
        splits: one tuple for each of the newest classifications. Each tuple holds five durations in milliseconds:
            capture, preprocess, invoke, postprocess, and end to end.
    """

    none_label: str | None
    counts: FrameCounts = field(default_factory=FrameCounts)
    first_s: float = 0.0
    last_s: float = 0.0
    best: Classification | None = None
    last: Classification | None = None
    delivery: Delivery | None = None
    drift: SessionDrift = NO_DRIFT
    splits: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def add(self, result: FrameResult) -> None:
        """Adds the result of one frame to the frame counts and latencies."""
        self.counts, self.drift = result.counts, result.drift
        if result.classification is not None:
            self._add(result.classification)

    def finish(self, source: FrameSource) -> None:
        """Adds what the source reports at the end: size, rate and format of the frames, and how many were skipped."""
        self.delivery = source.delivery()
        if self.counts != FrameCounts():
            self.counts = replace(self.counts, repeated=source.repeated())

    def _add(self, classification: Classification) -> None:
        timing = classification.prediction.timing
        self.last_s = time.monotonic()
        if self.last is None:
            self.first_s = self.last_s
        self.last = classification
        self.splits.append(
            (
                classification.capture_ms,
                timing.preprocess_ms,
                timing.invoke_ms,
                timing.postprocess_ms,
                classification.end_to_end_ms,
            )
        )
        if self.best is None or self._lesion(classification) > self._lesion(self.best):
            self.best = classification

    def _lesion(self, classification: Classification) -> float:
        """Returns the probability of the most probable class other than "none of these"."""
        pairs = zip(classification.labels, classification.prediction.probabilities, strict=True)
        return max((one for label, one in pairs if label != self.none_label), default=0.0)


def summary(session: Session) -> str:
    """Returns a few lines: the numbers of classified and rejected frames, the median time of each step, and the last
    answer.

    If the source is a camera, one more line describes the camera. If the run was longer than an hour, another line
    compares the latest hour with the first hour. If no frame was classified, the summary only counts frames. If there
    was no frame, the summary is empty.
    """
    last, counts = session.last, session.counts
    if last is None:
        told = (f"no frame classified, {counts_line(counts)}", rejected_line(counts))
        return "" if counts == FrameCounts() else "\n".join(filter(None, told))
    elapsed_s = session.last_s - session.first_s
    count = counts.classified
    rate = f", {(count - 1) / elapsed_s:.1f} a second" if elapsed_s else ""
    capture, preprocess, invoke, postprocess, whole = map(median, zip(*session.splits, strict=True))
    height, width = last.frame.image_bgr.shape[:2]
    frames = "1 frame" if count == 1 else f"{count} frames"
    notes = notes_line(last)
    chosen = "" if last.prediction_set is None else f", set {set_line(last.prediction_set)}"
    lines = [
        f"{frames} of {width}x{height} classified{rate}, {counts_line(counts)}",
        rejected_line(counts),
        f"median ms: capture {capture:.1f}, preprocess {preprocess:.1f}, invoke {invoke:.1f}, "
        f"postprocess {postprocess:.1f}, end to end {whole:.1f}",
        f"last: {answer_line(last)}{notes and f', {notes}'}{chosen}",
        f"camera: {session.delivery}" if session.delivery else "",
        printable(drift_line(session.drift)),
    ]
    return "\n".join(filter(None, lines))


def counts_line(counts: FrameCounts) -> str:
    """Returns the numbers of dropped and repeated frames, and how often the camera was lost."""
    parts = [f"{counts.dropped} dropped"]
    if counts.repeated:
        parts.append(f"{counts.repeated} repeated")
    if counts.outages:
        parts.append(f"camera lost {'once' if counts.outages == 1 else f'{counts.outages} times'}")
    return ", ".join(parts)


def rejected_line(counts: FrameCounts) -> str:
    """Returns how many frames the quality gate rejected for each defect. The most frequent defect comes first.

    The line is empty if no frame was rejected.
    """
    total = sum(counts.rejected.values())
    if not total:
        return ""
    parts = [f"{count} {defect}" for defect, count in Counter(counts.rejected).most_common()]
    return f"{total} {'frame' if total == 1 else 'frames'} rejected: {', '.join(parts)}"


def frames_of(counts: FrameCounts) -> int:
    """Returns how many frames were classified or rejected."""
    return counts.classified + sum(counts.rejected.values())
