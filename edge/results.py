"""The results that the device loop passes to the views, one for each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dermedge.edge.drift import NO_DRIFT, SessionDrift
from dermedge.edge.model.decision import UNCERTAIN, Headline
from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.prediction import Prediction
from dermedge.edge.preprocess import Region
from dermedge.edge.quality import Defect
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import State

__all__ = ["UNCERTAIN", "Classification", "FrameCounts", "FrameResult"]

_CLOSE_UP_NOTE = "close-up: less certain"


@dataclass(frozen=True)
class Classification:
    """The answer for one frame, smoothed over the frames just before it.

    Attributes:
        frame: the classified frame.
        prediction: prediction for the frame; its probabilities, label, decision and alert are smoothed over time.
        labels: the model's classes, in the order of the prediction's probabilities.
        label: the answered class, or `UNCERTAIN` if its probability is below the requested confidence.
        headline: the text that every view shows for the answer.
        prediction_set: the classes that are not ruled out; None if the set was not asked for.
        crop: the region of the frame that the network sees.
        dropped: how many frames of a live source were replaced by newer ones so far.
        capture_ms: milliseconds that the source took for the frame: waiting, transfer, decoding.
        frame_age_ms: milliseconds from the frame's arrival to the decision, including the wait for the classifier.
        fps: frames a second over the last frames; None for the first one.
    """

    frame: Frame
    prediction: Prediction
    labels: tuple[str, ...]
    label: str
    headline: Headline
    prediction_set: tuple[str, ...] | None
    crop: Region
    dropped: int
    capture_ms: float
    frame_age_ms: float
    fps: float | None

    @property
    def is_uncertain(self) -> bool:
        """Whether the answer is too weak to be shown without a reserve.

        That is so if its probability is below the model's threshold or the requested confidence, or if "none of
        these" is more probable.
        """
        decision = self.prediction.decision
        is_weak = decision.uncertain or self.label == UNCERTAIN
        return is_weak or not (decision.declined or self.prediction.is_most_probable)

    @property
    def end_to_end_ms(self) -> float:
        """Milliseconds from the start of the read that delivered the frame to the decision."""
        return self.capture_ms + self.frame_age_ms

    @property
    def answer(self) -> State:
        """The state that this answer leads to once it has settled."""
        if self.is_uncertain:
            return State.UNCERTAIN
        return State.NONE if self.prediction.decision.declined else State.ANSWER

    @property
    def named_probability(self) -> float:
        """The probability of the class that the headline names."""
        nearest = self.headline.nearest
        if nearest is None:
            return self.prediction.probability
        return self.prediction.probabilities[self.labels.index(nearest)]

    @property
    def meaning(self) -> str:
        """The words that views show for this answer: the headline, the alert if it is on, the note on a close-up."""
        return "; ".join(filter(None, (self.headline.text, self.prediction.alert, self.view_note)))

    @property
    def view_note(self) -> str:
        """The note that is shown with an answer for a close-up; empty for other photos, and without a view."""
        return _CLOSE_UP_NOTE if self.prediction.view == CLOSE_UP else ""


@dataclass(frozen=True)
class FrameCounts:
    """Counts of the frames of a source so far.

    Attributes:
        classified: frames that the network classified.
        rejected: defect -> frames that the quality gate rejected for it.
        dropped: frames of a live source that a newer frame replaced.
        repeated: frames that were skipped because they equalled the previous one.
        outages: how often a live source was lost.
    """

    classified: int = 0
    rejected: Mapping[Defect, int] = field(default_factory=dict)
    dropped: int = 0
    repeated: int = 0
    outages: int = 0


@dataclass(frozen=True)
class FrameResult:
    """What the device shows after one frame, or while its camera is lost.

    Attributes:
        state: state of the state machine.
        hint: what the user can do, or why the camera is lost; empty if there is nothing to do.
        frame: the newest frame, even while the camera is lost; None before the first.
        crop: the region of the frame that the network sees; None without a frame.
        classification: classification of this frame; None if the quality gate rejected it, or the camera is lost.
        answer: in the states of `ANSWERED`, the answer that is shown: that of this frame, or of a frame just before
            it, if this frame was rejected or would change the answer too soon. None in the other states.
        defect: why the quality gate rejected the frame, or None.
        counts: numbers of frames that were classified, rejected, dropped and repeated so far.
        fps: frames a second over the last frames; None for the first one.
        temperature_c: temperature of the processor, in °C, or None if it cannot be read.
        drift: shares of rejected frames and of answers, in the first hour and in the latest one.
    """

    state: State
    hint: str
    frame: Frame | None
    crop: Region | None
    classification: Classification | None
    answer: Classification | None
    defect: Defect | None
    counts: FrameCounts
    fps: float | None
    temperature_c: float | None
    drift: SessionDrift = NO_DRIFT

    @property
    def is_of_photo(self) -> bool:
        """Whether the frame is a single photo, such as a file of a folder, and not part of a stream."""
        return self.frame is not None and self.frame.is_photo

    @property
    def shown(self) -> Classification | None:
        """The classification whose figures are shown: the settled answer, or that of this frame before one has
        settled.
        """
        return self.answer or self.classification
