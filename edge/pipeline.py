"""The device loop crops each frame, checks its quality, runs the network, smooths the answers, and sets the state."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from dermedge.edge.drift import DriftMeter
from dermedge.edge.errors import OptionError, SourceError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.prediction import Crop, Prediction
from dermedge.edge.preprocess import Preprocessor, Region
from dermedge.edge.quality import GRID, Defect, QualityGate
from dermedge.edge.results import UNCERTAIN, Classification, FrameCounts, FrameResult
from dermedge.edge.sources.frame import Frame, FrameSource
from dermedge.edge.sources.latest import MS_PER_S, Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source
from dermedge.edge.states import ANSWERED, StateMachine, StateUpdate
from dermedge.edge.thermal import Thermometer

__all__ = ["Pipeline", "classify_frames", "rate"]

# The frame rate is measured over this many frames. A camera with 30 frames a second delivers them in one second.
_RATE_WINDOW = 31


class Pipeline:
    """Iterates over the frame results of a source. For a live source, frames that come too fast are skipped.

    Use it in a ``with`` statement:

        with Pipeline("demo") as results:
            for result in results:
                print(result.state)

    At the end of the block, the pipeline closes a source and a model that were given by name. An open source or
    classifier that you passed stays open; close it yourself. While the block runs, a thread reads a live source.

    Each iteration waits for the next frame and returns the result for it. If a live source delivers no frame for
    `dermedge.edge.sources.latest.SILENT_S`, the iteration returns a result with the state "camera lost". For a
    source with a low frame rate, this limit is longer, but at most 10 s.

    Args:
        source: a name, path or number that `dermedge.open_source` accepts, or an open source.
        classifier: a name or path that `dermedge.Classifier` accepts, or an open classifier. None means the default
            model.
        confidence: the probability, 0 to 1, below which the label of a classification is ``uncertain``.
        max_fps: the largest number of frames to classify in one second. A limit keeps the device cool. None sets no
            limit.
        gated: whether the quality gate (`dermedge.edge.quality`) rejects frames that are too bad for an answer.
        sets: whether each classification has a prediction set.

    Raises:
        OptionError: ``confidence`` is not from 0 to 1, or ``sets`` is True, but the model has no thresholds for
            prediction sets.
        SourceError: the source cannot be opened, or stopped delivering frames during the iteration, or the pipeline is
            used in a second ``with`` block.
        PictureError: a photo cannot be decoded during the iteration.
        ModelError: the model cannot be run.
    """

    def __init__(
        self,
        source: FrameSource | Path | str | int,
        classifier: Classifier | Path | str | None = None,
        confidence: float = 0.0,
        max_fps: float | None = None,
        gated: bool = True,
        sets: bool = False,
    ) -> None:
        if not 0 <= confidence <= 1:
            raise OptionError(f"the confidence is {confidence}; it must be a probability from 0 to 1")
        self._opened = ExitStack()
        with ExitStack() as opening:
            if classifier is None or isinstance(classifier, Path | str):
                classifier = opening.enter_context(Classifier(classifier) if classifier else Classifier())
            if sets:
                classifier.require_prediction_sets()
            if isinstance(source, Path | str | int):
                source = opening.enter_context(open_source(source))
            self._opened = opening.pop_all()
        self._latest = LatestFrame(source)
        self._classifier = classifier
        self._confidence = confidence
        self._interval_s = 1 / max_fps if max_fps else 0.0
        self._due_s = time.monotonic()
        self._gate = QualityGate() if gated else None
        # the quality gate needs a square crop with a side of at least GRID pixels
        is_square = classifier.layout.height == classifier.layout.width
        fits_gate = is_square and classifier.input_size >= GRID
        self._larger = None if fits_gate else Preprocessor(max(GRID, classifier.input_size))
        self._sets = sets
        self._machine = StateMachine()
        self._answer: Classification | None = None
        self._stamps: deque[float] = deque(maxlen=_RATE_WINDOW)
        self._thermometer = Thermometer()
        self._frame: Frame | None = None
        self._region: Region | None = None
        self._is_lost = self._is_entered = False
        self._classified = self._dropped = self._repeated = self._outages = 0
        self._rejected: dict[Defect, int] = {}
        self._meter = DriftMeter()

    def __enter__(self) -> Self:
        if self._is_entered:
            raise SourceError(
                "a pipeline can be used in one `with` block only; make a new Pipeline for each block"
            )
        self._is_entered = True
        self._opened.enter_context(self._latest)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        self._wait()
        arrival = self._latest.read()
        if arrival is None:
            raise StopIteration
        if isinstance(arrival, Outage):
            return self._result(self._machine.lost(arrival.reason))
        crop, defect = self._crop_and_gate(arrival)
        newer = self._latest.newer() if defect is None else None
        if newer is not None:
            # the newer frame is classified, because the older one is a whole frame interval old by now
            arrival = newer
            crop, defect = self._crop_and_gate(newer)
        at_s = arrival.frame.at_s
        if defect is not None:
            return self._result(self._machine.defective(defect, at_s), defect=defect)
        outputs = self._classifier.infer(crop)
        view = self._machine.view_tracker.add(outputs.close_up, at_s)
        if view != outputs.view:
            outputs = self._classifier.in_view(outputs, view)
        probabilities = self._machine.smoother.add(outputs.probabilities, at_s)
        prediction = self._classifier.decide(outputs, probabilities)
        classification = self._classification(arrival, crop, prediction)
        update = self._machine.good(classification.answer, at_s, classification.meaning)
        if update.agrees:
            self._answer = classification
        return self._result(update, classification)

    def _crop_and_gate(self, arrival: Arrival) -> tuple[Crop, Defect | None]:
        """Returns the network's input for a frame, and the defect that the quality gate found, or None."""
        frame = arrival.frame
        if self._frame is not None and self._frame.name != frame.name:
            self._machine = StateMachine()  # each photo of a folder starts anew
        crop = self._classifier.crop(frame.image_bgr)
        self._frame, self._region = frame, crop.region
        self._dropped, self._repeated = arrival.dropped, frame.repeated
        if self._gate is None:
            return crop, None
        image = crop.image_rgb if self._larger is None else self._larger(frame.image_bgr)
        return crop, self._gate.check(image, frame.at_s)

    def _classification(self, arrival: Arrival, crop: Crop, prediction: Prediction) -> Classification:
        now = time.monotonic()
        self._stamps.append(now)
        return Classification(
            frame=arrival.frame,
            prediction=prediction,
            labels=self._classifier.labels,
            label=prediction.label if prediction.probability >= self._confidence else UNCERTAIN,
            headline=self._classifier.headline(prediction, self._confidence),
            prediction_set=self._classifier.prediction_set(prediction) if self._sets else None,
            crop=crop.region,
            dropped=arrival.dropped,
            capture_ms=arrival.capture_ms,
            frame_age_ms=MS_PER_S * (now - arrival.frame.captured_at),
            fps=rate(self._stamps),
        )

    def _result(
        self, update: StateUpdate, classification: Classification | None = None, defect: Defect | None = None
    ) -> FrameResult:
        self._count(classification, defect)
        return FrameResult(
            state=update.state,
            hint=update.hint,
            frame=self._frame,
            crop=self._region,
            classification=classification,
            answer=self._answer if update.state in ANSWERED else None,
            defect=defect,
            counts=FrameCounts(
                self._classified, dict(self._rejected), self._dropped, self._repeated, self._outages
            ),
            fps=rate(self._stamps),
            temperature_c=self._thermometer.read(),
            drift=self._meter.drift,
        )

    def _count(self, classification: Classification | None, defect: Defect | None) -> None:
        was_lost, self._is_lost = self._is_lost, classification is None and defect is None
        if classification is not None:
            self._classified += 1
            prediction = classification.prediction
            self._meter.classified(prediction.label, prediction.probability, time.monotonic())
        elif defect is not None:
            now_s = time.monotonic()
            self._stamps.append(now_s)
            self._rejected[defect] = self._rejected.get(defect, 0) + 1
            self._meter.rejected(defect, now_s)
        elif not was_lost:
            self._stamps.clear()
            self._outages += 1

    def _wait(self) -> None:
        """Waits until the next frame is due. After a late frame, a full interval passes before the next one is due."""
        now = time.monotonic()
        if self._due_s > now:
            time.sleep(self._due_s - now)
        self._due_s = max(self._due_s, now) + self._interval_s


def classify_frames(
    source: FrameSource, classifier: Classifier, confidence: float = 0.0, sets: bool = False
) -> Generator[Classification, None, None]:
    """Classifies each frame of an open source without the quality gate.

    Close the generator (with `contextlib.closing`) before you close the source, because a thread of the generator
    reads the source until then. The arguments and errors are those of `Pipeline`.
    """
    with Pipeline(source, classifier, confidence, gated=False, sets=sets) as results:
        for result in results:
            if result.classification is not None:
                yield result.classification


def rate(stamps: Sequence[float]) -> float | None:
    """Returns the number of events per second, given the times of the events in seconds.

    Between n events there are n - 1 intervals. Returns None if there are fewer than two events, or if no time passed
    between the first event and the last event.
    """
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return None
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])
