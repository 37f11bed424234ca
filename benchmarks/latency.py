"""Measures the latency of predictions and of the steps of a prediction, with percentiles and confidence intervals.

All models are loaded before the measurement, and are then measured alternately, frame by frame. A disturbance of the
machine, such as another process or a clock rate that falls because of heat, then affects all models alike. Therefore
the ratio of the latencies of two models stays correct.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, floor
from time import perf_counter, process_time_ns
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.conditions import Conditions, OtherProcesses, read_conditions
from dermedge.benchmarks.status_line import ShowStatus
from dermedge.edge.model.prediction import Prediction, Timing

__all__ = [
    "LOOK_EVERY_S",
    "NS_PER_MS",
    "STEADY_ROUNDS",
    "STEADY_WITHIN",
    "Latency",
    "MeasuredRounds",
    "Measurement",
    "Predictor",
    "RunLength",
    "Spread",
    "latency",
    "measure",
    "median_interval",
    "one_opencv_thread",
    "spread",
    "take_rounds",
    "warm_up",
]

_REPORT_EVERY_ROUNDS = 10
# A model is steady if the median latencies of two successive windows of STEADY_ROUNDS rounds differ by at most the
# fraction STEADY_WITHIN. The warm-up ends when all models are steady.
STEADY_ROUNDS = 32
STEADY_WITHIN = 0.02
_MAX_WARMUP_S = 30.0
# Seconds between two readings of the state of the machine. The round after a reading is not counted, because it only
# loads the models into the processor caches again.
LOOK_EVERY_S = 2.0
# Successive latencies are autocorrelated, so the bootstrap samples blocks of this many consecutive measurements.
_BLOCK_ROUNDS = 32
_SAMPLES = 1000
_SAMPLED_AT_ONCE = 1 << 20
_INTERVAL = (2.5, 97.5)
_Z_95 = 1.96
# To detect slow changes of the machine, a run is divided into 2, 4, 8 and 16 windows. Divisions into windows of less
# than _LEAST_WINDOW rounds are not used.
_WINDOWS = (2, 4, 8, 16)
_LEAST_WINDOW = 8
# The 99.9th percentile is computed only from at least this many measurements. From fewer, it would be about equal to
# the maximum.
_LEAST_FOR_P999 = 1000
_MS_PER_S = 1e3
NS_PER_MS = 1e6

_Look = Callable[[], Conditions]


class Predictor(Protocol):
    """An object that can be timed, such as `dermedge.edge.model.classifier.Classifier`."""

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        """Classifies one uint8 [h, w, 3] BGR frame, and times the steps of the prediction."""


@dataclass(frozen=True)
class RunLength:
    """The duration of a measurement. The fields have the names and meanings of the options of LiteRT's benchmark tool.

    Attributes:
        warmup_runs: minimum number of warm-up rounds. After these rounds, the warm-up continues until the models are
            steady.
        num_runs: minimum number of measured rounds, 1 or more.
        min_secs: minimum duration of the measurement in seconds.
        max_secs: maximum duration of the warm-up in seconds. This is also the maximum duration of the measurement. No
            round starts after this time, but a started round is finished.
    """

    warmup_runs: int = 50
    num_runs: int = 1024
    min_secs: float = 10.0
    max_secs: float = 150.0


@dataclass(frozen=True)
class Spread:
    """Percentiles of repeated measurements, in milliseconds.

    Attributes:
        low: lower end of the 95 % confidence interval of the median.
        high: upper end of the 95 % confidence interval of the median.
        p999: the 99.9th percentile; None for fewer than 1000 measurements.
        n: number of measurements.
    """

    median: float
    low: float
    high: float
    p90: float
    p99: float
    p999: float | None
    n: int


@dataclass(frozen=True)
class Latency:
    """The latency of one model after the warm-up.

    Attributes:
        preprocess: time from the frame to the input tensor.
        invoke: time of the interpreter.
        postprocess: time from the output tensors to calibrated probabilities.
        total: sum of ``preprocess``, ``invoke`` and ``postprocess`` for each frame. The median of the sums is not the
            sum of the medians.
        cpu_ms: mean processor time of one frame, summed over all threads.
        drift: median of ``total`` in the second half of the measurement divided by the median in the first half, minus
            1.
    """

    preprocess: Spread
    invoke: Spread
    postprocess: Spread
    total: Spread
    cpu_ms: float
    drift: float

    @property
    def overhead(self) -> float:
        """The sum of the median times outside the interpreter, divided by the median time of the interpreter."""
        return (self.preprocess.median + self.postprocess.median) / self.invoke.median


@dataclass(frozen=True)
class Measurement:
    """The latencies of models that were measured alternately.

    Attributes:
        latencies: the latency of each model.
        warmup_runs: number of warm-up rounds.
        is_steady: whether the models had become steady when the warm-up ended.
        secs: seconds from the start of the first measured round to the end of the last one.
        harness: time of a round outside its predictions, as a fraction of the time of the predictions; median over all
            rounds. The benchmark itself spends this time and, on a busy machine, other programs. The latencies do not
            include this time.
        others_cores: mean number of cores that other processes kept busy; None if the system does not report it.
        conditions: state of the machine before the warm-up, during the measurement and after the measurement.
    """

    latencies: tuple[Latency, ...]
    warmup_runs: int
    is_steady: bool
    secs: float
    harness: float
    others_cores: float | None
    conditions: tuple[Conditions, ...]


@dataclass(frozen=True)
class MeasuredRounds:
    """The measured durations of all rounds, and the state of the machine during the measurement.

    Attributes:
        timings: for each round, the timing of each model.
        cpu_ms: for each model, the mean processor time of a frame.
        secs: seconds from the start of the first round to the end of the last one.
        harness: time of a round outside its predictions, as a fraction of the time of the predictions; median over all
            rounds.
        others_cores: mean number of cores that other processes kept busy; None if the system does not report it.
        conditions: state of the machine during the rounds.
    """

    timings: list[list[Timing]]
    cpu_ms: list[float]
    secs: float
    harness: float
    others_cores: float | None
    conditions: list[Conditions]


def spread(times_ms: Sequence[float]) -> Spread:
    """Returns linearly interpolated percentiles, and the confidence interval of the median.

    Args:
        times_ms: one or more latencies in milliseconds, in the order of the measurement.
    """
    median, p90, p99, p999 = np.percentile(times_ms, (50, 90, 99, 99.9)).tolist()
    low, high = median_interval(times_ms)
    return Spread(
        median, low, high, p90, p99, p999 if len(times_ms) >= _LEAST_FOR_P999 else None, len(times_ms)
    )


def median_interval(times_ms: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the median. The median of a repeated run should lie in this interval too.

    The interval covers two kinds of variation. The random variation from frame to frame is estimated by the circular
    block bootstrap (Politis and Romano, "A circular block-resampling procedure for stationary data", 1992). The slow
    changes of the machine do not average out, even in a longer run. To estimate them, the run is divided into windows.
    `_wander` computes the standard deviation of the medians of the windows without the random variation. 1.96 times
    this value is added in quadrature to each half of the bootstrap's interval. Changes that are slower than a run
    cannot be detected in the run; `python -m dermedge.benchmarks.lab repeat` measures such changes.

    Args:
        times_ms: one or more latencies in milliseconds, in the order of the measurement.
    """
    times = np.asarray(times_ms, np.float64)
    middle, (low, high) = float(np.median(times)), _bootstrap(times)
    wander = _Z_95 * max((_wander(times, count) for count in _WINDOWS), default=0.0)
    low, high = (
        middle - float(np.hypot(middle - low, wander)),
        middle + float(np.hypot(high - middle, wander)),
    )
    return max(low, float(times.min())), min(high, float(times.max()))


def latency(timings: Sequence[Timing], cpu_ms: float) -> Latency:
    """Returns the latency from one or more timings, which are in the order of the measurement."""
    totals = [one.total_ms for one in timings]
    half = max(1, len(totals) // 2)
    return Latency(
        preprocess=spread([one.preprocess_ms for one in timings]),
        invoke=spread([one.invoke_ms for one in timings]),
        postprocess=spread([one.postprocess_ms for one in timings]),
        total=spread(totals),
        cpu_ms=cpu_ms,
        drift=float(np.median(totals[-half:]) / np.median(totals[:half])) - 1,
    )


def measure(
    predictors: Sequence[Predictor],
    frames: Sequence[NDArray[np.uint8]],
    run_length: RunLength,
    progress: ShowStatus = lambda text: None,
    look: _Look = read_conditions,
) -> Measurement:
    """Measures the latencies of the predictors alternately (A B A B …) on the frames.

    Args:
        predictors: loaded predictors.
        frames: uint8 [h, w, 3] BGR frames, which are used in rotation. In a round, each predictor gets a different
            frame. If all predictors got the same frame, the first predictor would load it into the caches for the
            others.
        run_length: duration of the warm-up and of the measurement.
        progress: a function that shows a text as the current status.
        look: a function that reads the state of the machine.
    """
    before = look()
    with one_opencv_thread():
        warmup_runs, is_steady = warm_up(predictors, frames, run_length)
        taken = take_rounds(predictors, frames, run_length, progress, look)
    return Measurement(
        latencies=tuple(
            latency(*one) for one in zip(zip(*taken.timings, strict=True), taken.cpu_ms, strict=True)
        ),
        warmup_runs=warmup_runs,
        is_steady=is_steady,
        secs=taken.secs,
        harness=taken.harness,
        others_cores=taken.others_cores,
        conditions=(before, *taken.conditions, look()),
    )


def take_rounds(
    predictors: Sequence[Predictor],
    frames: Sequence[NDArray[np.uint8]],
    run_length: RunLength,
    progress: ShowStatus = lambda text: None,
    look: _Look = read_conditions,
) -> MeasuredRounds:
    """Measures the rounds without a warm-up. The arguments are those of `measure`."""
    rounds: list[list[Timing]] = []
    conditions: list[Conditions] = []
    # NumPy is not used between the rounds, because it would evict the models from the processor caches
    stamps_ns: list[list[int]] = []
    walls_s: list[float] = []
    company, began = OtherProcesses(), perf_counter()
    looked = began
    while _goes_on(len(rounds), (started := perf_counter()) - began, run_length):
        timings, stamps = _round(predictors, frames, len(rounds))
        rounds.append(timings)
        stamps_ns.append(stamps)
        walls_s.append((now := perf_counter()) - started)
        if now - looked > LOOK_EVERY_S:
            conditions.append(look())
            # this round only loads the models into the processor caches again, and is not counted
            _round(predictors, frames, len(rounds))
            looked = perf_counter()
        if len(rounds) % _REPORT_EVERY_ROUNDS == 0:
            progress(f"latency: run {len(rounds)} of {run_length.num_runs} or more")
    secs = perf_counter() - began
    predicting_s = np.array([sum(one.total_ms for one in timings) for timings in rounds]) / _MS_PER_S
    return MeasuredRounds(
        timings=rounds,
        cpu_ms=(np.diff(stamps_ns).mean(axis=0) / NS_PER_MS).tolist(),
        secs=secs,
        harness=float(np.median(walls_s / predicting_s)) - 1,
        others_cores=company.busy_cores(),
        conditions=conditions,
    )


def warm_up(
    predictors: Sequence[Predictor], frames: Sequence[NDArray[np.uint8]], run_length: RunLength
) -> tuple[int, bool]:
    """Runs rounds until all predictors are steady.

    A predictor is steady when two median latencies differ by at most the fraction STEADY_WITHIN: the median of the last
    STEADY_ROUNDS rounds, and the median of the STEADY_ROUNDS rounds before. If a predictor does not become steady, the
    warm-up ends after 30 s or ``max_secs``, whichever is shorter.

    Returns:
        The number of warm-up rounds; and whether all predictors were steady when the warm-up ended.
    """
    totals: list[list[float]] = []
    ends = perf_counter() + min(_MAX_WARMUP_S, run_length.max_secs)
    while True:
        totals.append([one.total_ms for one in _round(predictors, frames, len(totals))[0]])
        if len(totals) >= run_length.warmup_runs and len(totals) % STEADY_ROUNDS == 0 and _is_steady(totals):
            return len(totals), True
        if perf_counter() >= ends:
            return len(totals), False


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Limits OpenCV to one thread.

    If OpenCV used several threads, the preprocessing would use all cores, and the threads would sleep and wake for each
    frame.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _bootstrap(times: NDArray[np.float64]) -> tuple[float, float]:
    block = min(_BLOCK_ROUNDS, max(1, len(times) // 4))
    blocks = -(-len(times) // block)
    random = np.random.default_rng(0)
    # the bootstrap samples are computed in groups that are small enough for arrays of a few megabytes
    samples = max(1, min(_SAMPLES, _SAMPLED_AT_ONCE // (blocks * block)))
    medians = np.concatenate(
        [
            _medians_of_blocks(times, random.integers(0, len(times), (count, blocks, 1)), block)
            for count in _parts(_SAMPLES, samples)
        ]
    )
    low, high = np.percentile(medians, _INTERVAL).tolist()
    return low, high


def _medians_of_blocks(
    times: NDArray[np.float64], starts: NDArray[np.int64], block: int
) -> NDArray[np.float64]:
    """Returns the median of each bootstrap sample, float64 [samples].

    Args:
        times: float64 [n], latencies in the order of the measurement.
        starts: int64 [samples, blocks, 1], for each block of each sample, the index of the first measurement.
        block: number of measurements in a block.
    """
    places = (starts + np.arange(block)).reshape(len(starts), -1) % len(times)
    medians: NDArray[np.float64] = np.median(times[places], axis=1)
    return medians


def _parts(total: int, size: int) -> list[int]:
    """Splits ``total`` into parts of ``size``, and returns the sizes of the parts. The last part may be smaller."""
    return [min(size, total - begun) for begun in range(0, total, size)]


def _wander(times: NDArray[np.float64], count: int) -> float:
    """Returns how much the medians of ``count`` windows differ because the machine changes slowly, in milliseconds.

    The variance of the medians has two parts. One part comes from the slow changes, and the other part from the random
    variation from frame to frame. The second part is estimated and subtracted. The result is the square root of the
    first part. The estimate uses two of the sorted latencies in each window. Their ranks lie one standard deviation of
    the binomial distribution below and above the rank of the median.
    """
    length = len(times) // count
    if length < _LEAST_WINDOW:
        return 0.0
    windows = np.sort(times[: count * length].reshape(count, length), axis=1)
    middle, step = (length - 1) / 2, length**0.5 / 2
    below, above = windows[:, floor(middle - step)], windows[:, ceil(middle + step)]
    chance = np.mean(((above - below) / 2) ** 2)
    return max(0.0, float(np.var(np.median(windows, axis=1), ddof=1) - chance)) ** 0.5


def _is_steady(totals: Sequence[Sequence[float]]) -> bool:
    if len(totals) < 2 * STEADY_ROUNDS:
        return False
    earlier, later = np.median(np.reshape(totals[-2 * STEADY_ROUNDS :], (2, STEADY_ROUNDS, -1)), axis=1)
    return bool(np.all(np.abs(later - earlier) <= STEADY_WITHIN * earlier))


def _goes_on(rounds: int, secs: float, run_length: RunLength) -> bool:
    if rounds == 0:
        return True
    return secs < run_length.max_secs and (rounds < run_length.num_runs or secs < run_length.min_secs)


def _round(
    predictors: Sequence[Predictor], frames: Sequence[NDArray[np.uint8]], number: int
) -> tuple[list[Timing], list[int]]:
    """Lets each predictor predict once.

    Returns:
        The timing of each prediction; and the processor time of this process in nanoseconds, read before the first
        prediction and after each prediction.
    """
    timings, stamps = [], [process_time_ns()]
    for place, predictor in enumerate(predictors):
        timings.append(predictor.predict(frames[(number + place) % len(frames)]).timing)
        stamps.append(process_time_ns())
    return timings, stamps
