"""The results that the loop hands to the views, one for each frame."""

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
        label: the answered class, or `UNCERTAIN` below the confidence asked for.
        headline: what every view says of the answer.
        prediction_set: the classes that are not ruled out; None if the set was not asked for.
        crop: the region of the frame that the network sees.
        dropped: how many frames of a live source nobody saw so far.
        capture_ms: how long the source took for the frame: waiting, transfer, decoding.
        frame_age_ms: milliseconds from the frame's arrival to the decision, including the wait for the classifier.
        fps: frames a second over the last frames, or None at the first.
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
        """Whether the answered class cannot stand alone.

        Its probability is below the model's threshold or the asked confidence, or "none of these" is more probable.
        """
        decision = self.prediction.decision
        is_weak = decision.uncertain or self.label == UNCERTAIN
        return is_weak or not (decision.declined or self.prediction.is_most_probable)

    @property
    def end_to_end_ms(self) -> float:
        """From the start of the read that brought the frame to the decision."""
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
        """The words that views show for this answer: the headline, the alert if it is on, the view's note."""
        return "; ".join(filter(None, (self.headline.text, self.prediction.alert, self.view_note)))

    @property
    def view_note(self) -> str:
        """The note on an answer to a close-up; empty for other photos, and where the model tells no view."""
        return _CLOSE_UP_NOTE if self.prediction.view == CLOSE_UP else ""


@dataclass(frozen=True)
class FrameCounts:
    """Counts of the frames of a source so far.

    Attributes:
        classified: frames that the network classified.
        rejected: defect -> frames that the quality gate rejected for it.
        dropped: frames of a live source that a newer frame replaced.
        repeated: frames left out because they equalled the one before.
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
        crop: the region of it that the network sees; None without a frame.
        classification: classification of this frame; None if the quality gate rejected it, or the camera is lost.
        answer: the answer that stands, in the states of `ANSWERED`: of this frame, or of one just before it where this
            one was rejected or would change the answer too soon. None in the other states.
        defect: why the quality gate rejected the frame, or None.
        counts: what became of the frames so far.
        fps: frames a second over the last frames, or None at the first.
        temperature_c: temperature of the processor, in °C, or None if it cannot be read.
        drift: what became of the frames in the first hour and in the latest one.
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
        """Whether the frame is a photo of its own, as the files of a folder are."""
        return self.frame is not None and self.frame.is_photo

    @property
    def shown(self) -> Classification | None:
        """The classification whose figures are shown: the answer that stands, or this frame's before there is one."""
        return self.answer or self.classification
