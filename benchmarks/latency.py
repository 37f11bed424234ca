"""How long one frame takes, where the time goes, and how far single frames stray from it.

All models are open at once and take turns, frame by frame, so that what the machine does meanwhile (another
process, a clock that falls with the heat) falls on all of them and a ratio of two models holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.classifier import Prediction, Timing

# What a Raspberry Pi camera or webcam is usually asked for.
FRAME_WIDTH, FRAME_HEIGHT = 640, 480
# Shown in turn: enough that a frame has left the first caches when it comes again, as a camera's has.
FRAMES = 16
REPORT_EVERY_ROUNDS = 10

Progress = Callable[[str], None]


class Predictor(Protocol):
    """What is measured; `edge.Classifier` is one."""

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        """Classifies one uint8 [h, w, 3] BGR frame and says how long each part took."""


@dataclass(frozen=True)
class Spread:
    """The middle and the tail of repeated times, in milliseconds."""

    median: float
    p90: float
    p99: float
    n: int


@dataclass(frozen=True)
class Latency:
    """Warm times of one model.

    Attributes:
        preprocess: frame to input tensor.
        invoke: the interpreter.
        postprocess: output tensors to calibrated probabilities.
        total: the three of one frame together; not the sum of their medians.
    """

    preprocess: Spread
    invoke: Spread
    postprocess: Spread
    total: Spread

    @property
    def overhead(self) -> float:
        """What is done outside the interpreter, as a share of what is done in it, by the medians."""
        return (self.preprocess.median + self.postprocess.median) / self.invoke.median


def spread(times_ms: Sequence[float]) -> Spread:
    """Median, 90th and 99th percentile of at least one time, linear between neighbours."""
    median, p90, p99 = np.percentile(times_ms, (50, 90, 99)).tolist()
    return Spread(median, p90, p99, len(times_ms))


def latency(timings: Sequence[Timing]) -> Latency:
    """The spreads of at least one prediction's timings."""
    return Latency(
        preprocess=spread([one.preprocess_ms for one in timings]),
        invoke=spread([one.invoke_ms for one in timings]),
        postprocess=spread([one.postprocess_ms for one in timings]),
        total=spread([one.total_ms for one in timings]),
    )


def measure(
    predictors: Sequence[Predictor],
    frames: Sequence[NDArray[np.uint8]],
    warmup_runs: int,
    num_runs: int,
    max_secs: float,
    progress: Progress | None = None,
) -> list[Latency]:
    """Times the predictors in turn (A B A B …), each on every frame.

    OpenCV is held to one thread meanwhile: its pool would take all cores for the preprocessing, whatever
    the interpreter was given, and be asleep or awake by turns.

    Args:
        predictors: all loaded.
        frames: uint8 BGR, shown in turn; at any moment each predictor sees another one, so that
            none finds its frame in a cache because its predecessor has just read it.
        warmup_runs: rounds before the measured ones.
        num_runs: measured rounds, at least 1.
        max_secs: no new round is begun after this many seconds; the first always is.
        progress: is told how far it is.
    """
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for number in range(warmup_runs):
            _round(predictors, frames, number)
        rounds: list[list[Timing]] = []
        ends = perf_counter() + max_secs
        while len(rounds) < num_runs and (not rounds or perf_counter() < ends):
            rounds.append(_round(predictors, frames, len(rounds)))
            if progress and len(rounds) % REPORT_EVERY_ROUNDS == 0:
                progress(f"latency: run {len(rounds)} of {num_runs}")
    finally:
        cv2.setNumThreads(opencv_threads)
    return [latency(timings) for timings in zip(*rounds, strict=True)]


def generated_frames() -> list[NDArray[np.uint8]]:
    """FRAMES skin-coloured frames with a darker blot and noise, uint8 [480, 640, 3] BGR, the same always."""
    y, x = np.mgrid[:FRAME_HEIGHT, :FRAME_WIDTH]
    distance = np.hypot(y - FRAME_HEIGHT / 2, x - FRAME_WIDTH / 2)[..., None]
    picture = np.where(distance < FRAME_HEIGHT / 5, (60, 70, 110), (150, 175, 215))
    random = np.random.default_rng(0)
    shape = (FRAME_HEIGHT, FRAME_WIDTH, 3)
    return [(picture + random.integers(-20, 21, shape)).astype(np.uint8) for _ in range(FRAMES)]


def camera_frame(picture_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as a camera of 640x480 pixels would deliver it.

    The largest centred part of the frame's shape, 4:3, is cut out and enlarged or reduced to fill the
    frame; no border is added. Only times are taken on it, never accuracy.

    Args:
        picture_bgr: uint8 [h, w, 3] of any size.

    Returns:
        uint8 [480, 640, 3], contiguous.
    """
    height, width = picture_bgr.shape[:2]
    cut_width = max(1, min(width, height * FRAME_WIDTH // FRAME_HEIGHT))
    cut_height = max(1, min(height, width * FRAME_HEIGHT // FRAME_WIDTH))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = picture_bgr[top : top + cut_height, left : left + cut_width]
    way = cv2.INTER_AREA if cut_width > FRAME_WIDTH else cv2.INTER_LINEAR
    return cv2.resize(cut, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=way)  # type: ignore[return-value]


def _round(predictors: Sequence[Predictor], frames: Sequence[NDArray[np.uint8]], number: int) -> list[Timing]:
    return [
        predictor.predict(frames[(number + place) % len(frames)]).timing
        for place, predictor in enumerate(predictors)
    ]
