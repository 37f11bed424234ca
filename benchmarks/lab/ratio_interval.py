"""The ratio of two times that were measured in turn, with its interval and its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dermedge.benchmarks.latency import median_interval

__all__ = ["RatioInterval", "ratio_of"]


@dataclass(frozen=True)
class RatioInterval:
    """The median ratio of two times that were measured in turn, and its 95 % interval."""

    median: float
    low: float
    high: float
    n: int

    def verdict(self, least: float, most: float) -> str:
        """Returns whether the interval lies between two bounds (met), outside them (missed), or crosses one."""
        if least <= self.low and self.high <= most:
            return "met"
        return "missed" if self.high < least or self.low > most else "undecided: the interval crosses it"

    def against(self, most: float) -> str:
        """Returns the verdict on an upper bound, in words that name the bound."""
        return f"at most {most:g}: {self.verdict(0, most)}"


def ratio_of(ratios: Sequence[float]) -> RatioInterval:
    """Returns the interval of one or more ratios, in the order in which they were measured."""
    return RatioInterval(float(np.median(ratios)), *median_interval(ratios), len(ratios))
