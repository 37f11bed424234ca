"""From frames to results: what each frame is worth, what the classifier says of it, and what it took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier, Prediction
from dermedge.edge.preprocess import Preprocessor, crop_square
from dermedge.edge.quality import GRID, Defect, QualityGate
from dermedge.edge.sources.frame import Frame, FrameSource
from dermedge.edge.sources.latest import MS_PER_S, Arrival, LatestFrame
from dermedge.edge.states import State, StateMachine, StateUpdate
from dermedge.edge.thermal import Thermometer

# The frame rate is that of so many frames: a second of a camera with 30 frames a second.
RATE_WINDOW = 31
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Classification:
    """A decision on one frame, and on those just before it.

    Attributes:
        prediction: of the frame; its probabilities, label, decision and alert are those smoothed over time.
        labels: the model's classes, in the order of the prediction's probabilities.
        label: the class to show: the answered one, or ``uncertain`` below the asked confidence.
        prediction_set: the prediction set: the classes that are not ruled out; None where it was not asked for.
        crop: the square that the network sees: top, left and side in pixels of the frame.
        dropped: frames of a live source so far that no one saw.
        capture_ms: how long the source took for the frame: waiting, transfer, decoding.
        frame_age_ms: from the frame's arrival to the decision, the wait for the classifier included.
        fps: frames a second over the last `RATE_WINDOW`, or None at the first.
    """

    frame: Frame
    prediction: Prediction
    labels: tuple[str, ...]
    label: str
    prediction_set: tuple[str, ...] | None
    crop: tuple[int, int, int]
    dropped: int
    capture_ms: float
    frame_age_ms: float
    fps: float | None

    @property
    def is_uncertain(self) -> bool:
        """Whether the answer is below the model's own threshold, or below the asked confidence."""
        return self.prediction.decision.uncertain or self.label == UNCERTAIN

    @property
    def end_to_end_ms(self) -> float:
        """From the start of the read that brought the frame to the decision."""
        return self.capture_ms + self.frame_age_ms


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of a source so far.

    Attributes:
        classified: by the network.
        rejected: by the quality gate, for each defect that there was.
        dropped: of a live source, because a newer one was there.
        repeated: left out, because they were the one before again.
        outages: how often a live source was lost.
    """

    classified: int = 0
    rejected: Mapping[Defect, int] = field(default_factory=dict)
    dropped: int = 0
    repeated: int = 0
    outages: int = 0


@dataclass(frozen=True)
class FrameResult:
    """What the device sees, and says of it.

    Attributes:
        hint: what a person can do, or why the camera is lost; empty where nothing is to be done.
        frame: the newest, also where the camera is lost; None before the first.
        crop: the square of it that the network sees: top, left and side in pixels; None without a frame.
        classification: of this frame; None where it is not worth an answer, or the camera is lost.
        defect: why it is not worth one, or None.
        fps: frames a second over the last `RATE_WINDOW`, or None at the first.
        temperature_c: of the processor, in °C, or None where it does not tell.
    """

    state: State
    hint: str
    frame: Frame | None
    crop: tuple[int, int, int] | None
    classification: Classification | None
    defect: Defect | None
    counts: FrameCounts
    fps: float | None
    temperature_c: float | None


class Pipeline:
    """Moments of a source, one an iteration: of the newest frames of a live one, of each frame of any other.

    From entry to exit a live source is read in a thread; close the source after. An iteration takes as long
    as the network, or `dermedge.edge.sources.latest.SILENT_S` where no frame comes.

    Args:
        confidence: the probability below which a reading's label is ``uncertain``, 0 to 1.
        max_fps: at most so many frames a second, to stay cool; None is as fast as it can.
        gated: whether frames that are not worth an answer (`dermedge.edge.quality`) are left out, and named.
        sets: whether classifications have their prediction set.

    Raises:
        OptionError: sets are asked for, and the model has none.
        SourceError, PictureError: from an iteration: what the source raised, after the results before it.
    """

    def __init__(
        self,
        source: FrameSource,
        classifier: Classifier,
        confidence: float = 0.0,
        max_fps: float | None = None,
        gated: bool = True,
        sets: bool = False,
    ) -> None:
        if sets:
            classifier.require_prediction_sets()
        self._sets = sets
        self._latest = LatestFrame(source)
        self._classifier = classifier
        self._confidence = confidence
        self._interval_s = 1 / max_fps if max_fps else 0.0
        self._due_s = time.monotonic()
        self._gate = QualityGate() if gated else None
        # smaller pictures than the gate can judge are made anew
        self._picture = Preprocessor(GRID) if classifier.input_size < GRID else None
        self._machine = StateMachine()
        self._stamps: deque[float] = deque(maxlen=RATE_WINDOW)
        self._thermometer = Thermometer()
        self._frame: Frame | None = None
        self._state = State.SEARCHING
        self._classified = self._dropped = self._repeated = self._outages = 0
        self._rejected: dict[Defect, int] = {}

    def __enter__(self) -> Pipeline:
        self._latest.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._latest.__exit__(kind, error, trace)

    def __iter__(self) -> Pipeline:
        return self

    def __next__(self) -> FrameResult:
        self._wait()
        arrival = self._latest.read()
        if arrival is None:
            raise StopIteration
        if not isinstance(arrival, Arrival):
            return self._moment(self._machine.lost(arrival.reason))
        preprocess_ms, defect = self._prepare(arrival)
        newer = self._latest.newer() if defect is None else None
        if newer is not None:
            # it came while this one was made ready, which would be an interval old when its inference starts
            arrival = newer
            preprocess_ms, defect = self._prepare(arrival)
        if defect is not None:
            self._stamps.append(time.monotonic())
            return self._moment(self._machine.defective(defect, arrival.frame.at_s), defect=defect)
        classification = self._read(arrival, preprocess_ms)
        return self._moment(self._machine.good(answer_of(classification), arrival.frame.at_s), classification)

    def _prepare(self, arrival: Arrival) -> tuple[float, Defect | None]:
        """Makes the frame the network's input: the milliseconds that took, and the frame's defect or None."""
        if self._frame is not None and self._frame.name != arrival.frame.name:
            self._machine = StateMachine()  # another picture of a folder
        frame = self._frame = arrival.frame
        self._dropped, self._repeated = arrival.dropped, frame.repeated
        started = time.perf_counter()
        picture = self._classifier.preprocess(frame.image_bgr)
        preprocess_ms = MS_PER_S * (time.perf_counter() - started)
        return preprocess_ms, self._defect(frame, picture)

    def _wait(self) -> None:
        """Keeps the asked distance between frames; a late one sets the beat anew."""
        now = time.monotonic()
        if self._due_s > now:
            time.sleep(self._due_s - now)
        self._due_s = max(self._due_s, now) + self._interval_s

    def _defect(self, frame: Frame, picture_rgb: NDArray[np.uint8]) -> Defect | None:
        if self._gate is None:
            return None
        if self._picture is not None:
            picture_rgb = self._picture(frame.image_bgr)
        return self._gate.check(picture_rgb, frame.at_s)

    def _read(self, arrival: Arrival, preprocess_ms: float) -> Classification:
        frame = arrival.frame
        smoother = self._machine.smoother
        prediction = self._classifier.predict_preprocessed(
            preprocess_ms, lambda probabilities: smoother.add(probabilities, frame.at_s)
        )
        now = time.monotonic()
        self._stamps.append(now)
        return Classification(
            frame=frame,
            prediction=prediction,
            labels=self._classifier.labels,
            label=prediction.label if prediction.probability >= self._confidence else UNCERTAIN,
            prediction_set=self._classifier.prediction_set(prediction) if self._sets else None,
            crop=self._crop(frame),
            dropped=arrival.dropped,
            capture_ms=arrival.capture_ms,
            frame_age_ms=MS_PER_S * (now - frame.captured_at),
            fps=rate(self._stamps),
        )

    def _crop(self, frame: Frame) -> tuple[int, int, int]:
        height, width = frame.image_bgr.shape[:2]
        return crop_square(height, width, self._classifier.input_size)

    def _moment(
        self, saying: StateUpdate, classification: Classification | None = None, defect: Defect | None = None
    ) -> FrameResult:
        was_lost, self._state = self._state is State.CAMERA_LOST, saying.state
        if classification is not None:
            self._classified += 1
        elif defect is not None:
            self._rejected[defect] = self._rejected.get(defect, 0) + 1
        elif not was_lost:
            self._stamps.clear()
            self._outages += 1
        counts = FrameCounts(
            self._classified, dict(self._rejected), self._dropped, self._repeated, self._outages
        )
        return FrameResult(
            state=saying.state,
            hint=saying.hint,
            frame=self._frame,
            crop=self._crop(self._frame) if self._frame else None,
            classification=classification,
            defect=defect,
            counts=counts,
            fps=rate(self._stamps),
            temperature_c=self._thermometer.read(),
        )


def answer_of(classification: Classification) -> State:
    """What a classification says where its pictures have settled."""
    if classification.is_uncertain:
        return State.UNCERTAIN
    return State.NONE if classification.prediction.decision.declined else State.ANSWER


def classify_frames(
    source: FrameSource, classifier: Classifier, confidence: float = 0.0, sets: bool = False
) -> Generator[Classification, None, None]:
    """Classifies each frame of a source, whatever it is worth; arguments and errors as those of `Pipeline`.

    Close the iterator (`contextlib.closing`) before the source, because its thread reads on until then.
    """
    with Pipeline(source, classifier, confidence, gated=False, sets=sets) as pipeline:
        for result in pipeline:
            if result.classification is not None:
                yield result.classification


def rate(stamps: Sequence[float]) -> float | None:
    """Events a second from their stamps in seconds, n stamps having n - 1 intervals; None for one."""
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return None
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])
