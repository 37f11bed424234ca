"""Intervals equal published examples, keep their width at 0 and 1, and count lesions, not photos."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from dermedge.train.evaluation import intervals
from dermedge.train.evaluation.metrics import NOT_MEASURED, Score, lesion_draws


def alone(photos: int) -> np.ndarray:
    """A lesion for each photo."""
    return np.arange(photos)


@pytest.mark.parametrize(
    ("part", "size", "low", "high"),
    # These examples are from Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(part: int, size: int, low: float, high: float) -> None:
    assert intervals.wilson(part / size, size) == pytest.approx((low, high), abs=6e-5)


def test_the_level_is_95_percent() -> None:
    assert pytest.approx(norm.ppf(0.975)) == intervals.Z


def test_six_of_six_is_not_certain() -> None:
    right = np.ones(6, bool)
    found = intervals.share_score(right, right, alone(6))
    # The lower bound of 6 of 6 is 6 / (6 + 1.96^2).
    assert (found.value, found.low, found.high) == pytest.approx((1, 0.6097, 1), abs=1e-4)
    none = intervals.share_score(~right, right, alone(6))
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 1 - 0.6097), abs=1e-4)


def test_photos_of_one_lesion_count_once() -> None:
    assert intervals.effective_size(np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(2)
    # Two lesions have 3 photos and 1 photo. Their effective number is 4^2 / (3^2 + 1^2).
    assert intervals.effective_size(np.array([0, 0, 0, 1])) == pytest.approx(1.6)
    assert intervals.effective_size(np.array([], int)) == 0
    right = np.array([True, False] * 10)
    one = intervals.share_score(right, np.ones(20, bool), alone(20))
    many = intervals.share_score(np.repeat(right, 20), np.ones(400, bool), np.repeat(alone(20), 20))
    assert many == one


def test_only_the_lesions_among_count() -> None:
    among = np.array([True, True, False, False])
    found = intervals.share_score(np.array([True, False, True, True]), among, np.array([0, 1, 2, 2]))
    assert found == Score(0.5, *intervals.wilson(0.5, 2))
    assert intervals.share_score(among, ~among & among, alone(4)) is NOT_MEASURED


def test_the_mean_of_recalls_is_worked_out_by_hand() -> None:
    # The lower bounds are 0.3 and 0.4 below the values, so that of the mean is sqrt(0.3^2 + 0.4^2) / 2 = 0.25
    # below it. The upper bounds are 0.1 and 0.2 above the values, so that of the mean is sqrt(0.05) / 2 above
    # it.
    found = intervals.mean_score([Score(0.9, 0.6, 1.0), Score(0.7, 0.3, 0.9), NOT_MEASURED])
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8 - 0.25, 0.8 + np.sqrt(0.05) / 2))
    assert intervals.mean_score([NOT_MEASURED]) is NOT_MEASURED
    sure = intervals.mean_score([Score(1.0, 0.6, 1.0)] * 4)
    assert (sure.value, sure.low, sure.high) == pytest.approx((1, 0.8, 1))


def test_f1_carries_the_interval_of_the_overlap_over() -> None:
    truths = np.array([True, True, True, False, False])
    answers = np.array([True, True, False, True, False])
    found = intervals.f1_score(truths, answers, alone(5))
    # Four photos are of the class or are answered so, and two of these are both. So F1 is 2 * 2 / (3 + 3).
    low, high = intervals.wilson(0.5, 4)
    assert found.value == pytest.approx(2 / 3)
    assert (found.low, found.high) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


def test_an_area_of_one_has_a_lower_end_and_a_half_is_symmetric() -> None:
    low, high = intervals.area_interval(1.0, 6, 30)
    assert 0.75 < low < 0.85
    assert high == 1
    low, high = intervals.area_interval(0.5, 50, 50)
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize(("distance", "positives", "negatives"), [(1.2, 40, 100), (2.5, 8, 60)])
def test_the_interval_of_an_area_holds_the_true_one_as_often_as_it_says(
    distance: float, positives: int, negatives: int
) -> None:
    rng = np.random.default_rng(0)
    true_area = norm.cdf(distance / np.sqrt(2))
    above, below = rng.normal(distance, 1, (3000, positives, 1)), rng.normal(0, 1, (3000, 1, negatives))
    areas = (above > below).mean(axis=(1, 2))
    held = [
        low <= true_area <= high
        for low, high in (intervals.area_interval(a, positives, negatives) for a in areas)
    ]
    assert 0.93 <= np.mean(held) <= 0.99


def test_the_area_is_of_lesions_and_missing_without_both_kinds() -> None:
    positive, evidence = np.array([True, False, True, False]), np.array([0.9, 0.1, 0.4, 0.6])
    found = intervals.area_score(positive, evidence, alone(4))
    assert found.value == pytest.approx(3 / 4)
    doubled = intervals.area_score(np.repeat(positive, 9), np.repeat(evidence, 9), np.repeat(alone(4), 9))
    assert (doubled.low, doubled.high) == pytest.approx((found.low, found.high))
    assert intervals.area_score(np.ones(4, bool), evidence, alone(4)) is NOT_MEASURED
    few = intervals.area_score(np.arange(10) < 2, np.linspace(1, 0, 10), alone(10))
    assert (few.low, few.high) == pytest.approx(intervals.area_interval(1.0, 2, 8))
    assert (few.low, few.high) != pytest.approx(intervals.area_interval(1.0, 2, 2))


def test_a_sensitivity_of_one_is_not_certain() -> None:
    evidence = np.concatenate([np.linspace(0, 0.5, 20), np.linspace(0.6, 1, 6)])
    positive = np.arange(26) >= 20
    draws = lesion_draws([str(number) for number in range(26)])
    found = intervals.sensitivity_score(0.9, positive, evidence, alone(26), draws)
    assert found.value == 1
    assert found.low == pytest.approx(0.6097, abs=1e-4)
    assert intervals.sensitivity_score(0.9, ~positive & positive, evidence, alone(26), draws) is NOT_MEASURED
