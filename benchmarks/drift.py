"""Tests whether a series of measurements rises or falls over time, and estimates by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_WINDOWS", "Drift", "drift_of"]

# The quantile of the normal distribution for a two-sided interval of 95 %.
_Z = 1.959964
LEAST_WINDOWS = 8
_MOST_CORRELATION = 0.95


@dataclass(frozen=True)
class Drift:
    """The trend of a series of measurements.

    Attributes:
        start: median of the first fifth of the values.
        change: Theil-Sen's slope times the duration of the run, in the unit of the series. It is 0 if most pairs of
            values are equal, even if the series rises or falls.
        low: lower end of the 95 % confidence interval of ``change``.
        high: upper end of the 95 % confidence interval of ``change``.
        rises: the number of pairs of values that rise minus the number of pairs that fall. It is above 0 if the series
            rises, and below 0 if the series falls.
        p_value: p-value of the two-sided Mann-Kendall test. The variance of the test is corrected for autocorrelation.
        windows: number of values.
    """

    start: float
    change: float
    low: float
    high: float
    rises: int
    p_value: float
    windows: int


def drift_of(at_s: Sequence[float], values: Sequence[float]) -> Drift | None:
    """Returns the trend of a series of measurements; None for fewer than LEAST_WINDOWS values.

    Sources: Mann, "Nonparametric tests against trend", 1945; Sen, "Estimates of the regression coefficient
    based on Kendall's tau", 1968; Yue and Wang, "The Mann-Kendall test modified by effective sample size",
    2004; Orcutt and Winokur, "First order autoregression", 1969, for the correction of the autocorrelation.

    Args:
        at_s: the time of each value in seconds, in increasing order.
        values: the measured values, one for each time.
    """
    n = len(values)
    if n < LEAST_WINDOWS:
        return None
    t, y = np.asarray(at_s, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(n, 1)
    rises, slopes = y[second] - y[first], np.sort((y[second] - y[first]) / (t[second] - t[first]))
    score = float(np.sign(rises).sum())
    slope = float(np.median(slopes))
    deviation = sqrt(_variance(y) * _autocorrelation(y - slope * t))
    z = 0.0 if deviation == 0 else (score - np.sign(score)) / deviation
    # Each end of Sen's confidence interval is one of the sorted slopes. The ranks of these two slopes lie ``reach / 2``
    # below and above the rank of the median.
    reach = _Z * deviation
    low_at = max(int((len(slopes) - reach) / 2), 0)
    high_at = min(int((len(slopes) + reach) / 2) + 1, len(slopes)) - 1
    span = float(t[-1] - t[0])
    return Drift(
        start=float(np.median(y[: max(1, n // 5)])),
        change=slope * span,
        low=float(slopes[low_at]) * span,
        high=float(slopes[high_at]) * span,
        rises=int(score),
        p_value=erfc(abs(z) / sqrt(2)),
        windows=n,
    )


def _variance(y: NDArray[np.float64]) -> float:
    """Returns the variance of the Mann-Kendall score for a series without a trend. Ties are corrected for."""
    n = len(y)
    ties = np.unique(y, return_counts=True)[1]
    return float((n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18)


def _autocorrelation(residuals: NDArray[np.float64]) -> float:
    """Returns the factor by which autocorrelation increases the variance of the Mann-Kendall score, 1 or more.

    The factor is (1 + r) / (1 - r), where r is the lag-1 autocorrelation of the residuals. Removing the trend of a
    short series makes the estimate of r too low, so the estimate is corrected.
    """
    n = len(residuals)
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if power == 0:
        return 1.0
    raw = float(centred[:-1] @ centred[1:]) / power
    r = min(max((n * raw + 2) / (n - 4), 0.0), _MOST_CORRELATION)
    return (1 + r) / (1 - r)
