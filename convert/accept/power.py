"""Estimate the smallest loss that a proof set can reveal. With few photos, only very large losses can be refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from dermedge.train.evaluation.intervals import Z
from dermedge.train.evaluation.metrics import Score

__all__ = ["POWER", "detectable_loss"]

# The share of proof sets of this size in which the loss must be found (the power of the test).
POWER = 0.80
_Z_POWER = float(norm.ppf(POWER))
_BISECTIONS = 40


def detectable_loss(drop: Score, sizes: Sequence[float], limit: float) -> float:
    """Return the smallest true loss that is found on 80 % of the proof sets of this size; at most 1.

    A loss d is refused if it is above the limit and its interval lies above 0. With a standard error s and a normal
    distribution, that happens in 80 % of all samples if d = max(limit, 1.96 s) + 0.84 s (Cohen, "Statistical Power
    Analysis for the Behavioral Sciences", 1988). s is the larger one of two: that of the bootstrap, and sqrt(d (1 -
    d) / n), that of a file which loses d in each share and wins nothing. The second one is needed because the
    bootstrap interval of a file that changes no answer has no width.

    Args:
        drop: the loss with its interval.
        sizes: the effective numbers of photos of the shares that are averaged in the figure.
        limit: the loss that is accepted, as a share.
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
    """Return the standard error of the mean of shares, each with this loss, on ``sizes`` independent photos."""
    variances = loss * (1 - loss) / np.asarray(sizes, float)
    return float(np.sqrt(variances.sum()) / len(sizes))
