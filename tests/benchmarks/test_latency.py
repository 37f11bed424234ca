"""Turns, percentiles and rules of the latency measurement; no test looks at how fast this machine is."""

from __future__ import annotations

from itertools import combinations
from time import process_time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.latency import (
    STEADY_ROUNDS,
    RunLength,
    latency,
    measure,
    median_interval,
    spread,
    take_rounds,
    warm_up,
)
from dermedge.benchmarks.verdict import faults_of_model
from dermedge.edge.model.decision import Decision
from dermedge.edge.model.prediction import Prediction, Timing

NOTHING_TOLD = Conditions(None, None, None, None, None)


def rounds(number: int) -> RunLength:
    """Returns a run length with the shortest warm-up and this number of measured rounds."""
    return RunLength(warmup_runs=0, num_runs=number, min_secs=0, max_secs=60)


class FakePredictor:
    """A predictor that states a given latency. It records its calls and their frames."""

    def __init__(self, name: str, calls: list[tuple[str, int]], invoke_ms: float = 1.0) -> None:
        self.name, self.calls, self.invoke_ms = name, calls, invoke_ms
        self.opencv_threads: set[int] = set()

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        self.calls.append((self.name, int(frame_bgr[0, 0, 0])))
        self.opencv_threads.add(cv2.getNumThreads())
        timing = Timing(0.25, self.invoke_ms, 0.25)
        return Prediction("x", Decision(0, False, False, False), None, (1.0,), (0.0,), timing, None)


class FailingPredictor:
    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        raise RuntimeError("gone")


def numbered_frames(count: int) -> list[NDArray[np.uint8]]:
    return [np.full((2, 2, 3), number, np.uint8) for number in range(count)]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=60))
def test_median_and_percentiles_are_numpys(times_ms: list[float]) -> None:
    found = spread(times_ms)
    assert found.median == pytest.approx(np.median(times_ms))
    assert found.p90 == pytest.approx(np.quantile(times_ms, 0.9))
    assert found.p99 == pytest.approx(np.quantile(times_ms, 0.99))
    assert found.low <= found.high
    assert min(times_ms) <= found.low
    assert found.high <= max(times_ms)
    assert found.n == len(times_ms)


def test_percentiles_of_a_known_row_of_numbers() -> None:
    found = spread(list(range(101)))
    assert (found.median, found.p90, found.p99) == (50, 90, 99)
    assert found.p999 is None
    assert spread(list(range(1001))).p999 == pytest.approx(999)


def test_the_interval_of_the_median_holds_it_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        low, high = median_interval((2 + random.exponential(1, 256)).tolist())
        held += low <= 2 + np.log(2) <= high
    assert 0.88 < held / 100 <= 1


def test_the_interval_is_wider_where_neighbours_resemble_each_other() -> None:
    random = np.random.default_rng(1)
    level = np.repeat(random.normal(0, 1, 16), 64) + 0.1 * random.normal(size=1024)
    low, high = median_interval(level.tolist())
    mixed_low, mixed_high = median_interval(random.permutation(level).tolist())
    assert high - low > 3 * (mixed_high - mixed_low)


def pink(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Returns 1/f noise with a standard deviation of 1. It drifts by the same amount over any length of time."""
    frequency = np.fft.rfftfreq(length)
    frequency[0] = np.inf
    parts = random.normal(size=(2, len(frequency))) / np.sqrt(frequency)
    noise = np.fft.irfft(parts[0] + 1j * parts[1], length)
    return noise / noise.std()


def share_of_pairs_that_agree(times_ms: NDArray[np.float64], runs: int) -> float:
    """Returns the share of pairs of runs whose intervals overlap.

    The runs are cut out of one series. After each run, there is a pause that is half as long as the run.
    """
    steps = len(times_ms) // runs
    found = [median_interval(part[: 2 * steps // 3].tolist()) for part in np.split(times_ms, runs)]
    pairs = list(combinations(found, 2))
    return sum(one[0] <= other[1] and other[0] <= one[1] for one, other in pairs) / len(pairs)


def test_runs_of_a_machine_that_wanders_agree_within_their_intervals_19_times_of_20() -> None:
    random = np.random.default_rng(5)
    shares = {"chance alone": [], "wandering": [], "slow waves": []}
    for _ in range(4):
        chance = 4 + 0.1 * random.exponential(size=8 * 768)
        wave = 0.04 * np.sin(np.arange(len(chance)) / 60 + random.uniform(0, 7))
        shares["chance alone"].append(share_of_pairs_that_agree(chance, 8))
        shares["wandering"].append(share_of_pairs_that_agree(chance + 0.08 * pink(random, len(chance)), 8))
        shares["slow waves"].append(share_of_pairs_that_agree(chance + wave, 8))
    assert {name: np.mean(found) >= 0.95 for name, found in shares.items()} == dict.fromkeys(shares, True)


def test_a_machine_that_wanders_far_is_noisy_and_one_that_does_not_is_good() -> None:
    random = np.random.default_rng(5)
    chance = 4 + 0.1 * random.exponential(size=1024)
    far = chance + 0.2 * pink(random, len(chance))
    good, noisy = (
        faults_of_model(latency([Timing(0, one, 0) for one in times.tolist()], cpu_ms=1))
        for times in (chance, far)
    )
    assert good == []
    assert any("half the 95 % interval of the median is" in fault for fault in noisy)


def test_chance_alone_hardly_widens_the_interval() -> None:
    random = np.random.default_rng(5)
    widths = [
        float(np.diff(median_interval((4 + 0.1 * random.normal(size=1024)).tolist()))[0]) for _ in range(20)
    ]
    ideal = 2 * 1.96 * 0.1 * np.sqrt(np.pi / 2 / 1024)
    assert ideal * 0.9 < np.mean(widths) < 2 * ideal


def test_a_drift_is_the_second_half_against_the_first() -> None:
    times = [Timing(0, 10, 0)] * 8 + [Timing(0, 11, 0)] * 8
    assert latency(times, cpu_ms=1).drift == pytest.approx(0.1)


def test_end_to_end_is_the_spread_of_sums_and_not_the_sum_of_medians() -> None:
    found = latency([Timing(1, 5, 1), Timing(5, 1, 1), Timing(1, 1, 5)], cpu_ms=1)
    assert found.total.median == 7
    assert found.preprocess.median == found.invoke.median == found.postprocess.median == 1


def test_overhead_is_the_work_outside_the_interpreter_relative_to_that_inside() -> None:
    assert latency([Timing(0.3, 4.0, 0.1)], cpu_ms=1).overhead == pytest.approx(0.1)


def test_models_take_turns_in_the_warm_up_and_when_measured() -> None:
    calls: list[tuple[str, int]] = []
    predictors = [FakePredictor(name, calls) for name in "ABC"]
    found = measure(predictors, numbered_frames(4), rounds(3))
    assert [name for name, _ in calls] == list("ABC") * (found.warmup_runs + 3)


def test_every_model_sees_every_frame_and_never_the_one_just_read() -> None:
    calls: list[tuple[str, int]] = []
    measure([FakePredictor(name, calls) for name in "AB"], numbered_frames(4), rounds(8))
    for name in "AB":
        seen = [frame for caller, frame in calls if caller == name][-8:]
        assert sorted(seen) == sorted([0, 1, 2, 3] * 2)
    assert all(one[1] != next_one[1] for one, next_one in zip(calls[::2], calls[1::2], strict=True))


def test_the_times_of_a_model_are_its_own_and_without_the_warm_up() -> None:
    slow, fast = FakePredictor("slow", [], 8.0), FakePredictor("fast", [], 2.0)
    of_slow, of_fast = measure([slow, fast], numbered_frames(1), rounds(10)).latencies
    assert (of_slow.invoke.median, of_fast.invoke.median) == (8.0, 2.0)
    assert of_slow.total.n == of_fast.total.n == 10


def test_a_spent_time_limit_still_measures_one_round_of_all() -> None:
    calls: list[tuple[str, int]] = []
    run_length = RunLength(max_secs=0)
    found = measure([FakePredictor(name, calls) for name in "AB"], numbered_frames(1), run_length)
    assert [one.total.n for one in found.latencies] == [1, 1]
    assert (found.warmup_runs, found.is_steady) == (1, False)


def test_it_goes_on_for_the_least_time_when_the_runs_are_done() -> None:
    run_length = RunLength(warmup_runs=0, num_runs=1, min_secs=0.05, max_secs=60)
    found = measure([FakePredictor("A", [])], numbered_frames(1), run_length)
    assert found.secs >= 0.05
    assert found.latencies[0].total.n > 1


def test_the_warm_up_ends_when_all_models_are_steady() -> None:
    class Settling(FakePredictor):
        """Gets faster over three windows."""

        def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
            self.invoke_ms = max(2.0, 5.0 - len(self.calls) // STEADY_ROUNDS)
            return super().predict(frame_bgr)

    models = [FakePredictor("A", []), Settling("B", [])]
    assert warm_up(models, numbered_frames(1), rounds(1)) == (5 * STEADY_ROUNDS, True)
    models = [FakePredictor("A", [])]
    assert warm_up(models, numbered_frames(1), RunLength(warmup_runs=200)) == (7 * STEADY_ROUNDS, True)


def test_the_machine_is_looked_at_before_during_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dermedge.benchmarks.latency.LOOK_EVERY_S", 0)
    calls: list[tuple[str, int]] = []
    found = measure([FakePredictor("A", calls)], numbered_frames(1), rounds(4), look=lambda: NOTHING_TOLD)
    assert found.conditions == (NOTHING_TOLD,) * 6
    assert found.latencies[0].total.n == 4
    # each of the 4 counted rounds is followed by a look, and by a round that is not counted
    assert len(calls) == found.warmup_runs + 2 * 4


def test_the_processor_time_of_each_model_is_its_own() -> None:
    class Busy(FakePredictor):
        """Works for some milliseconds."""

        def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
            ends = process_time() + 0.004
            while process_time() < ends:
                pass
            return super().predict(frame_bgr)

    busy_ms, idle_ms = take_rounds(
        [Busy("A", []), FakePredictor("B", [])], numbered_frames(1), rounds(3)
    ).cpu_ms
    assert busy_ms >= 4
    assert idle_ms < 4


def test_opencv_has_one_thread_while_measuring_and_its_own_number_afterwards() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        predictor = FakePredictor("A", [])
        measure([predictor], numbered_frames(1), rounds(1))
        assert predictor.opencv_threads == {1}
        assert cv2.getNumThreads() == 2
        with pytest.raises(RuntimeError, match="gone"):
            measure([FailingPredictor()], numbered_frames(1), rounds(1))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_a_warm_up_is_steady_at_a_difference_of_two_per_cent() -> None:
    class Slowing(FakePredictor):
        """Takes 100 ms in each of the first 32 rounds, and ``later`` ms in all further rounds."""

        def __init__(self, later: float) -> None:
            super().__init__("slowing", [])
            self.later = later

        def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
            # each prediction takes 0.5 ms outside the network
            self.invoke_ms = 99.5 if len(self.calls) < 32 else self.later - 0.5
            return super().predict(frame_bgr)

    for later, needed in ((102.0, 64), (98.0, 64), (102.1, 96), (97.9, 96)):
        assert warm_up([Slowing(later)], numbered_frames(1), rounds(1)) == (needed, True), later


def test_the_interval_of_the_median_is_that_of_its_method() -> None:
    """If only chance varies, the interval is that of the block bootstrap. If the machine drifts, it is wider."""
    numbers = np.arange(600)
    chance = 5 + 0.05 * np.random.default_rng(7).normal(size=600)
    wandering = chance + 0.3 * np.sin(numbers / 40)
    assert median_interval(chance.tolist()) == pytest.approx((4.9912035, 4.9975497), abs=1e-6)
    # The bootstrap interval reaches 0.185 below and 0.135 above the median. The deviation of the medians of 16 windows
    # is 0.2185. With 1.96 times this value added in quadrature, both ends would lie outside the measured latencies. So
    # the ends are the shortest and the longest latency.
    assert median_interval(wandering.tolist()) == pytest.approx((4.6238429, 5.3822626), abs=1e-6)
    assert median_interval(chance[:20].tolist()) == pytest.approx((4.9753897, 5.0030355), abs=1e-6)


def test_the_99_9th_percentile_needs_a_thousand_times() -> None:
    assert spread([1.0] * 999).p999 is None
    assert spread([1.0] * 1000).p999 == 1.0


@pytest.mark.parametrize(("max_secs", "expected"), [(150.0, 30), (12.0, 12)])
def test_a_warm_up_that_never_becomes_steady_ends_after_30_s_or_the_limit(
    max_secs: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]

    class OneSecond(FakePredictor):
        """Takes one second of a simulated clock."""

        def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
            clock[0] += 1
            return super().predict(frame_bgr)

    monkeypatch.setattr("dermedge.benchmarks.latency.perf_counter", lambda: clock[0])
    found = warm_up([OneSecond("A", [])], numbered_frames(1), RunLength(warmup_runs=1000, max_secs=max_secs))
    assert found == (expected, False)


class OnAClock(FakePredictor):
    """Takes ``secs`` seconds of a simulated clock, and states 1.5 ms as the total time of its steps."""

    def __init__(self, clock: list[float], secs: float) -> None:
        super().__init__("A", [])
        self.clock, self.secs = clock, secs

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        self.clock[0] += self.secs
        return super().predict(frame_bgr)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("dermedge.benchmarks.latency.perf_counter", lambda: now[0])
    return now


def test_what_the_measuring_adds_is_a_share_of_the_predictions(clock: list[float]) -> None:
    found = take_rounds([OnAClock(clock, 0.001), OnAClock(clock, 0.003)], numbered_frames(2), rounds(5))
    # A round takes 4 ms. The two predictors state 3 ms, so that the measuring adds 1 ms, which is a third of 3 ms.
    assert found.harness == pytest.approx(1 / 3)
    assert found.secs == pytest.approx(0.02)
    assert len(found.timings) == 5


def test_the_machine_is_looked_at_every_two_seconds_and_each_look_is_kept_in_order(
    clock: list[float],
) -> None:
    looks = iter(range(100))
    predictor = OnAClock(clock, 1.0)

    def look() -> Conditions:
        return Conditions(float(next(looks)), None, None, None, None)

    length = RunLength(warmup_runs=0, num_runs=7, min_secs=0, max_secs=60)
    found = measure([predictor], numbered_frames(1), length, look=look)
    assert found.latencies[0].total.n == 7
    # The first and the last look are before and after the rounds. A round takes one second, and a look follows when
    # more than two seconds have passed, which is after three rounds. The round after a look is not counted, and the
    # time to the next look begins after it. So there are two looks during the 7 counted rounds.
    assert [one.temperature_c for one in found.conditions] == [0, 1, 2, 3]


def test_a_measurement_without_options_is_as_long_as_the_documents_say() -> None:
    assert RunLength() == RunLength(warmup_runs=50, num_runs=1024, min_secs=10, max_secs=150)


def test_the_progress_is_told_every_ten_rounds() -> None:
    said: list[str] = []
    take_rounds([FakePredictor("A", [])], numbered_frames(1), rounds(25), said.append)
    assert said == ["latency: run 10 of 25 or more", "latency: run 20 of 25 or more"]
