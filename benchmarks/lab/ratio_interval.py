"""Computes ratios of times that were measured alternately, and compares confidence intervals of ratios with limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dermedge.benchmarks.latency import median_interval

__all__ = ["RatioInterval", "ratio_of"]


@dataclass(frozen=True)
class RatioInterval:
    """The median ratio of two times that were measured alternately.

    Attributes:
        median: the median ratio.
        low: lower end of the 95 % confidence interval of the median.
        high: upper end of the 95 % confidence interval of the median.
        n: number of ratios.
    """

    median: float
    low: float
    high: float
    n: int

    def verdict(self, least: float, most: float) -> str:
        """Tells whether the whole confidence interval lies between the bounds ``least`` and ``most``.

        Returns:
            ``met`` if the whole interval is between the bounds; ``missed`` if the whole interval is outside the bounds;
            otherwise ``undecided`` with the reason.
        """
        if least <= self.low and self.high <= most:
            return "met"
        if self.high < least or self.low > most:
            return "missed"
        return "undecided: the interval contains the limit"

    def against(self, most: float) -> str:
        """Returns a text that states the upper bound ``most``, and the `verdict` for this bound."""
        return f"at most {most:g}: {self.verdict(0, most)}"


def ratio_of(ratios: Sequence[float]) -> RatioInterval:
    """Returns the median of the ratios and the 95 % confidence interval of the median.

    The ratios must be in the order in which they were measured.
    """
    return RatioInterval(float(np.median(ratios)), *median_interval(ratios), len(ratios))
