"""From frames to readings: what the classifier says of each, and what it took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from edge.capture import MS_PER_S, LatestFrame, Outage
from edge.classifier import Classifier, Prediction
from edge.preprocess import seen_square
from edge.sources import Frame, FrameSource

# The frame rate is that of so many decisions: a second of a camera with 30 frames a second.
RATE_WINDOW = 31
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Reading:
    """A decision on one frame.

    Attributes:
        labels: the model's classes, in the order of the prediction's probabilities.
        label: the class to show: the answered one, or ``uncertain`` below the asked confidence.
        seen: the square that the network sees: top, left and side in pixels of the frame.
        dropped: frames of a live source so far that were not classified.
        capture_ms: how long the source took for the frame: waiting, transfer, decoding.
        frame_age_ms: from the frame's arrival to the decision, the wait for the classifier included.
        fps: decisions a second over the last `RATE_WINDOW`, or None at the first.
    """

    frame: Frame
    prediction: Prediction
    labels: tuple[str, ...]
    label: str
    seen: tuple[int, int, int]
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


def classify_frames(
    source: FrameSource, classifier: Classifier, confidence: float = 0.0
) -> Generator[Reading, None, None]:
    """Classifies the frames of a source: the newest ones of a live source, each one of any other.

    Close the iterator (`contextlib.closing`) before the source, because its thread reads on until then.

    Args:
        confidence: the probability below which a reading's label is ``uncertain``, 0 to 1.

    Raises:
        SourceError, PictureError: what the source raised, after the readings before it.
    """
    stamps: deque[float] = deque(maxlen=RATE_WINDOW)
    with LatestFrame(source) as latest:
        while (arrival := latest.read()) is not None:
            if isinstance(arrival, Outage):
                continue
            image = arrival.frame.image_bgr
            prediction = classifier.predict(image)
            stamps.append(time.monotonic())
            yield Reading(
                frame=arrival.frame,
                prediction=prediction,
                labels=classifier.labels,
                label=prediction.label if prediction.probability >= confidence else UNCERTAIN,
                seen=seen_square(image.shape[0], image.shape[1], classifier.input_size),
                dropped=arrival.dropped,
                capture_ms=arrival.capture_ms,
                frame_age_ms=MS_PER_S * (stamps[-1] - arrival.frame.captured_at),
                fps=rate(stamps),
            )


def rate(stamps: Sequence[float]) -> float | None:
    """Events a second from their stamps in seconds, n stamps having n - 1 intervals; None for one."""
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return None
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])
