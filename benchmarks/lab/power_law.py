"""Fits a power law to costs, as a line through the logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PowerLaw", "fit"]

# Two points always lie on a line, so at least three points are needed to estimate the error.
_LEAST_POINTS = 3


@dataclass(frozen=True)
class PowerLaw:
    """The power law cost = factor * x ** exponent.

    Attributes:
        factor: the cost at x = 1.
        exponent: the exponent of x.
        low: lower end of the 95 % confidence interval of the exponent, by Student's t distribution of the residuals.
        high: upper end of the 95 % confidence interval of the exponent.
        r_squared: coefficient of determination of the fit to the logarithms, 0 to 1.
        points: number of points that the law was fitted to.
    """

    factor: float
    exponent: float
    low: float
    high: float
    r_squared: float
    points: int

    def __call__(self, x: float) -> float:
        """Returns the cost at ``x``."""
        return self.factor * x**self.exponent

    def __str__(self) -> str:
        # adding 0.0 turns -0.0 into 0.0; a rounded -0.001 is -0.0
        exponent, low, high = (round(one, 2) + 0.0 for one in (self.exponent, self.low, self.high))
        return f"exponent {exponent:.2f} [{low:.2f}, {high:.2f}], R² {self.r_squared:.3f}"


def fit(x: Sequence[float], costs: Sequence[float]) -> PowerLaw | None:
    """Fits a power law to positive costs at different positive ``x``; returns None for fewer than three points."""
    if len(x) < _LEAST_POINTS:
        return None
    from scipy.stats import linregress, t

    line = linregress(np.log(x), np.log(costs))
    reach = float(t.ppf(0.975, len(x) - 2) * line.stderr)
    return PowerLaw(
        factor=float(np.exp(line.intercept)),
        exponent=float(line.slope),
        low=float(line.slope) - reach,
        high=float(line.slope) + reach,
        r_squared=float(line.rvalue) ** 2,
        points=len(x),
    )
