"""The test for drift finds what there is, and errs as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.benchmarks.drift import LEAST_WINDOWS, drift_of


def alike_neighbours(random: np.random.Generator, count: int, correlation: float) -> NDArray[np.float64]:
    """A series without trend in which each value keeps a share of the one before."""
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
    assert drift_of(range(LEAST_WINDOWS - 1), range(LEAST_WINDOWS - 1)) is None
