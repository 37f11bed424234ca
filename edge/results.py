"""The results that the device loop passes to the views. There is one result for each frame."""

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
        prediction: the prediction for the frame. Its probabilities are smoothed over time. Its label, decision and
            alert follow from the smoothed probabilities.
        labels: the model's classes, in the order of the prediction's probabilities.
        label: the answered class, or `UNCERTAIN` if the probability of that class is below the requested confidence.
        headline: the text that every view shows for the answer.
        prediction_set: the classes that are not ruled out. It is None if no prediction set was asked for.
        crop: the region of the frame that the network sees.
        dropped: the number of frames of a live source that newer frames have replaced so far.
        capture_ms: the time in milliseconds that the source took to deliver the frame, including waiting, transfer and
            decoding.
        frame_age_ms: the milliseconds from the frame's arrival to the decision, including the wait for the classifier.
        fps: the rate of the last frames, in frames a second. It is None for the first frame.
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
        """Whether the answer is uncertain.

        The answer is uncertain if `Decision.uncertain` is True, or if the probability of the answered class is below
        the requested confidence. The answer is also uncertain if "none of these" is the most probable class, but
        another class is the answer, because the probability of "none of these" is below its threshold.
        """
        decision = self.prediction.decision
        is_weak = decision.uncertain or self.label == UNCERTAIN
        return is_weak or not (decision.declined or self.prediction.is_most_probable)

    @property
    def end_to_end_ms(self) -> float:
        """The time from the moment when the source began to read the frame until the decision, in milliseconds."""
        return self.capture_ms + self.frame_age_ms

    @property
    def answer(self) -> State:
        """The state that the device shows when this answer has settled."""
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
        """The words that views show for this answer: the headline, the alert if it is on, and `view_note`."""
        return "; ".join(filter(None, (self.headline.text, self.prediction.alert, self.view_note)))

    @property
    def view_note(self) -> str:
        """The note "close-up: less certain", which is shown with the answer for a close-up.

        The note is empty for a frame that is not a close-up. If the model does not tell close-ups from dermoscopic
        photos, the note is always empty.
        """
        return _CLOSE_UP_NOTE if self.prediction.view == CLOSE_UP else ""


@dataclass(frozen=True)
class FrameCounts:
    """The counts of the frames of a source so far.

    Attributes:
        classified: the number of frames that the network classified.
        rejected: for each defect, the number of frames that the quality gate rejected for this defect.
        dropped: the number of frames of a live source that newer frames replaced.
        repeated: the number of frames that were skipped because they equalled the previous frame.
        outages: the number of times that a live source was lost.
    """

    classified: int = 0
    rejected: Mapping[Defect, int] = field(default_factory=dict)
    dropped: int = 0
    repeated: int = 0
    outages: int = 0


@dataclass(frozen=True)
class FrameResult:
    """What the device shows after one frame, or while the camera is lost.

    Attributes:
        state: the state of the state machine.
        hint: the advice for the user, or the reason why the camera is lost. It is empty if there is nothing to do.
        frame: the newest frame. While the camera is lost, it is the last frame before the outage. It is None until the
            first frame arrives.
        crop: the region of the frame that the network sees. It is None if ``frame`` is None.
        classification: the classification of this frame. It is None if the quality gate rejected the frame, or if the
            camera is lost.
        answer: the answer that is shown in the states of `ANSWERED`. Usually, it is the answer for this frame. It is
            the answer for an earlier frame if this frame was rejected, or if the answer for this frame would replace
            the shown answer too soon. In the other states, it is None.
        defect: the reason why the quality gate rejected the frame, or None.
        counts: the numbers of frames that were classified, rejected, dropped and repeated so far.
        fps: the rate of the last frames, in frames a second. It is None for the first frame.
        temperature_c: the temperature of the processor, in °C, or None if it cannot be read.
        drift: the shares of rejected frames and of answers, in the first hour and in the latest hour.
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
        """The classification whose numbers are shown.

        While an answer is shown, it is ``answer``. In all other states, it is ``classification``, which may be None.
        """
        return self.answer or self.classification

    @property
    def meaning(self) -> tuple[State, str]:
        """The state, and the words that views show for the answer. If there is no answer, the words are empty.

        If two results have the same meaning, nothing new is shown, although the numbers may differ.
        """
        return self.state, self.answer.meaning if self.answer else ""
