"""Estimate the smallest loss that a proof set can reveal. A small proof set only reveals very large losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from dermedge.train.evaluation.intervals import Z
from dermedge.train.evaluation.metrics import Score

__all__ = ["POWER", "detectable_loss"]

# The probability with which a detectable loss is found on a random proof set (the power of the test).
POWER = 0.80
_Z_POWER = float(norm.ppf(POWER))
_BISECTIONS = 40


def detectable_loss(drop: Score, sizes: Sequence[float], limit: float) -> float:
    """Return the smallest true loss, up to 1, that would be found on 80 % of all proof sets of this size.

    A loss is found if the measured loss is above the limit and its confidence interval lies above 0. Suppose that the
    measured loss is normally distributed around the true loss with the standard error s. Then a true loss of
    max(limit, 1.96 s) + 0.84 s is found on 80 % of all proof sets (Cohen, "Statistical Power Analysis for the
    Behavioral Sciences", 1988).

    The standard error s is the larger of two estimates. The first estimate is computed from the bootstrap interval of
    the loss. If the file changes no answer, this interval has no width, so a second estimate is needed: for the loss d
    of a single fraction of n photos, sqrt(d (1 - d) / n). The second estimate assumes that answers change only from
    right to wrong.

    Args:
        drop: the loss with its confidence interval.
        sizes: the effective number of photos behind each fraction. A metric is the mean of one or more fractions. For
            the balanced accuracy, the fractions are the recalls of the classes. Most other metrics are a single
            fraction.
        limit: the largest loss that is accepted, where 0.01 is one percentage point.
    """
    seen = (drop.high - drop.low) / (2 * Z)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        error = max(seen, _error_of_mean(middle, sizes))
        is_shown = middle >= max(limit, Z * error) + _Z_POWER * error
        low, high = (low, middle) if is_shown else (middle, high)
    return high


def _error_of_mean(loss: float, sizes: Sequence[float]) -> float:
    """Return the standard error of the mean of several fractions, such as the recalls of all classes.

    ``loss`` is the loss that is assumed for every fraction. ``sizes`` holds one number for each fraction: the number of
    independent photos from which the fraction is computed.
    """
    variances = loss * (1 - loss) / np.asarray(sizes, float)
    return float(np.sqrt(variances.sum()) / len(sizes))
