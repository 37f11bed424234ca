"""Turns, percentiles and frames of the latency measurement; no test looks at how fast this machine is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.latency import camera_frame, generated_frames, latency, measure, spread
from edge.classifier import Prediction, Timing
from edge.decision import Decision


class FakePredictor:
    """Takes a time that it is told, and writes down who was asked and what it was shown."""

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


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=60))
def test_median_and_percentiles_are_numpys(times_ms: list[float]) -> None:
    found = spread(times_ms)
    assert found.median == pytest.approx(np.median(times_ms))
    assert found.p90 == pytest.approx(np.quantile(times_ms, 0.9))
    assert found.p99 == pytest.approx(np.quantile(times_ms, 0.99))
    assert found.n == len(times_ms)


def test_percentiles_of_a_known_row_of_numbers() -> None:
    found = spread(list(range(101)))
    assert (found.median, found.p90, found.p99) == (50, 90, 99)


def test_end_to_end_is_the_spread_of_sums_and_not_the_sum_of_medians() -> None:
    found = latency([Timing(1, 5, 1), Timing(5, 1, 1), Timing(1, 1, 5)])
    assert found.total.median == 7
    assert found.preprocess.median == found.invoke.median == found.postprocess.median == 1


def test_overhead_is_the_work_outside_the_interpreter_relative_to_that_inside() -> None:
    assert latency([Timing(0.3, 4.0, 0.1)]).overhead == pytest.approx(0.1)


def test_models_take_turns_in_the_warm_up_and_when_measured() -> None:
    calls: list[tuple[str, int]] = []
    predictors = [FakePredictor(name, calls) for name in "ABC"]
    measure(predictors, numbered_frames(4), warmup_runs=2, num_runs=3, max_secs=60)
    assert [name for name, _ in calls] == list("ABC") * 5


def test_every_model_sees_every_frame_and_never_the_one_just_read() -> None:
    calls: list[tuple[str, int]] = []
    measure([FakePredictor(name, calls) for name in "AB"], numbered_frames(4), 0, 8, max_secs=60)
    for name in "AB":
        seen = [frame for caller, frame in calls if caller == name]
        assert sorted(seen) == sorted([0, 1, 2, 3] * 2)
    assert all(one[1] != next_one[1] for one, next_one in zip(calls[::2], calls[1::2], strict=True))


def test_the_times_of_a_model_are_its_own_and_without_the_warm_up() -> None:
    slow, fast = FakePredictor("slow", [], 8.0), FakePredictor("fast", [], 2.0)
    of_slow, of_fast = measure([slow, fast], numbered_frames(1), 5, 10, max_secs=60)
    assert (of_slow.invoke.median, of_fast.invoke.median) == (8.0, 2.0)
    assert of_slow.total.n == of_fast.total.n == 10


def test_a_spent_time_limit_still_measures_one_round_of_all() -> None:
    calls: list[tuple[str, int]] = []
    found = measure([FakePredictor(name, calls) for name in "AB"], numbered_frames(1), 0, 1000, max_secs=0)
    assert [one.total.n for one in found] == [1, 1]


def test_opencv_has_one_thread_while_measuring_and_its_own_number_afterwards() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        predictor = FakePredictor("A", [])
        measure([predictor], numbered_frames(1), 1, 1, max_secs=60)
        assert predictor.opencv_threads == {1}
        assert cv2.getNumThreads() == 2
        with pytest.raises(RuntimeError, match="gone"):
            measure([FailingPredictor()], numbered_frames(1), 1, 1, max_secs=60)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 900))
def test_a_picture_of_any_size_fills_a_camera_frame(height: int, width: int) -> None:
    frame = camera_frame(np.full((height, width, 3), 77, np.uint8))
    assert (frame.shape, frame.dtype, frame.flags.c_contiguous) == ((480, 640, 3), np.uint8, True)
    assert np.all(frame == 77)


def test_a_square_picture_keeps_its_proportions_and_its_middle() -> None:
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[50:70, 50:70] = 255
    rows, columns = np.nonzero(camera_frame(picture)[..., 0] > 127)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    assert (rows.mean(), columns.mean()) == (pytest.approx(239.5, abs=1), pytest.approx(319.5, abs=1))


def test_generated_frames_are_the_same_each_time_and_differ_among_each_other() -> None:
    once, again = generated_frames(), generated_frames()
    assert all(np.array_equal(one, other) for one, other in zip(once, again, strict=True))
    assert not np.array_equal(once[0], once[1])
    assert once[0].shape == (480, 640, 3)
