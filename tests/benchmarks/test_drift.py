"""The test for drift finds a trend, and its rate of false alarms is the stated one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="the device's environment has no SciPy")
from scipy.stats import norm, theilslopes

from dermedge.benchmarks.drift import LEAST_WINDOWS, drift_of


def alike_neighbours(random: np.random.Generator, count: int, correlation: float) -> NDArray[np.float64]:
    """Returns a series without a trend. To each value, ``correlation`` times the value before is added."""
    values = random.normal(size=count + 50)
    for index in range(1, len(values)):
        values[index] += correlation * values[index - 1]
    return values[50:]


def test_a_steady_rise_is_found_with_its_size() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 40)
    found = drift_of(range(40), (5 + 0.1 * np.arange(40) + noise).tolist())
    assert found is not None
    assert found.change == pytest.approx(3.9, abs=0.1)
    assert found.low < 3.9 < found.high
    assert found.p_value < 1e-6
    assert found.start == pytest.approx(5.35, abs=0.1)


def test_a_fall_is_found_as_a_rise_is() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 40)
    rise, fall = (
        drift_of(range(40), (5 + sign * (0.1 * np.arange(40) + noise)).tolist()) for sign in (1, -1)
    )
    assert rise is not None
    assert fall is not None
    assert (fall.change, fall.low, fall.high) == pytest.approx((-rise.change, -rise.high, -rise.low))
    assert fall.rises == -rise.rises < 0
    assert fall.p_value == pytest.approx(rise.p_value)


def test_the_p_value_is_that_of_mann_and_kendall() -> None:
    # 8 values have 28 pairs, and all of them rise, so z = (28 - 1) / sqrt(8 * 7 * 21 / 18)
    found = drift_of(range(8), range(8))
    assert found is not None
    assert found.p_value == pytest.approx(2 * norm.sf(27 / np.sqrt(8 * 7 * 21 / 18)))
    # Four pairs have equal values, and 24 pairs rise. Each tie of two values reduces the variance by 2 * 1 * 9 / 18.
    tied = drift_of(range(8), [0, 0, 1, 1, 2, 2, 3, 3])
    assert tied is not None
    assert tied.p_value == pytest.approx(2 * norm.sf(23 / np.sqrt((8 * 7 * 21 - 4 * 18) / 18)))


def test_the_slope_and_its_interval_are_those_of_theil_and_sen() -> None:
    # The values alternate, so their autocorrelation is negative. A negative autocorrelation is not corrected.
    times = np.cumsum(np.random.default_rng(2).uniform(1, 3, 30))
    values = 0.2 * times + np.tile([0.5, -0.5], 15) + np.random.default_rng(3).normal(0, 0.3, 30)
    found, expected = drift_of(times.tolist(), values.tolist()), theilslopes(values, times, 0.95)
    assert found is not None
    span = times[-1] - times[0]
    assert found.change == pytest.approx(expected.slope * span)
    # scipy may round the rank of an end in the other direction
    assert found.low == pytest.approx(expected.low_slope * span, rel=0.02)
    assert found.high == pytest.approx(expected.high_slope * span, rel=0.02)
    assert found.start == pytest.approx(np.median(values[:6]))
    assert found.windows == 30


def test_neighbours_that_are_alike_make_a_trend_less_sure() -> None:
    rng = np.random.default_rng(4)
    alone = drift_of(range(60), (0.02 * np.arange(60) + alike_neighbours(rng, 60, 0.0)).tolist())
    alike = drift_of(range(60), (0.02 * np.arange(60) + alike_neighbours(rng, 60, 0.8)).tolist())
    assert alone is not None
    assert alike is not None
    assert alike.high - alike.low > 1.5 * (alone.high - alone.low)


def test_what_does_not_move_has_no_drift() -> None:
    found = drift_of(range(20), [70.0] * 20)
    assert found is not None
    assert (found.change, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_false_alarms_are_as_rare_as_the_p_value_says(correlation: float) -> None:
    random = np.random.default_rng(1)
    found = [drift_of(range(40), alike_neighbours(random, 40, correlation).tolist()) for _ in range(300)]
    alarms = sum(one.p_value < 0.05 for one in found if one)
    assert alarms / 300 < 0.09
    assert sum(one.low <= 0 <= one.high for one in found if one) / 300 > 0.91


def test_a_few_windows_are_no_series() -> None:
    assert drift_of(range(7), range(7)) is None
    assert drift_of(range(8), range(8)) is not None
    assert LEAST_WINDOWS == 8


@pytest.mark.parametrize("is_smooth", [False, True])
def test_the_p_value_of_alike_neighbours_is_that_of_yue_and_wang(is_smooth: bool) -> None:
    times = np.arange(30.0)
    values = (times - 5) ** 2 if is_smooth else alike_neighbours(np.random.default_rng(8), 30, 0.5)
    found = drift_of(times.tolist(), values.tolist())
    assert found is not None
    pairs = [(one, other) for one in range(30) for other in range(one + 1, 30)]
    score = sum(np.sign(values[other] - values[one]) for one, other in pairs)
    slope = np.median([(values[other] - values[one]) / (other - one) for one, other in pairs])
    rest = values - slope * times - np.mean(values - slope * times)
    lag = (30 * sum(rest[:-1] * rest[1:]) / sum(rest * rest) + 2) / 26
    # With a correlation of 1, the variance would be infinite. So the correlation is limited to 0.95.
    assert lag > 0.95 if is_smooth else 0.2 < lag < 0.9
    share = min(lag, 0.95)
    ties = np.unique(values, return_counts=True)[1]
    untied = 30 * 29 * 65 - sum(one * (one - 1) * (2 * one + 5) for one in ties)
    variance = untied / 18 * (1 + share) / (1 - share)
    assert found.p_value == pytest.approx(2 * norm.sf((abs(score) - 1) / np.sqrt(variance)))
    assert found.start == np.median(values[:6])
