"""95 % intervals that keep their coverage at 0 and 1 and with few photos, with lesions as independent units.

A bootstrap cannot do this: if all of 6 photos are right, every resample is right too, and the interval collapses to
[1, 1]. The intervals here come from formulas that keep their width there.

Photos of one lesion are treated as identical. N photos in lesions with m_1, m_2, ... photos then count as

    n = (m_1 + m_2 + ...)^2 / (m_1^2 + m_2^2 + ...)

independent ones: Kish, "Survey Sampling", 1965, section 8.2, with an intra-cluster correlation of 1, which is the
most cautious choice. n equals the number of lesions if all have equally many photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dermedge.train.evaluation.metrics import (
    NOT_MEASURED,
    Bools,
    Floats,
    Integers,
    Score,
    score_of,
    sensitivities_at,
)

__all__ = [
    "Z",
    "area_interval",
    "area_score",
    "effective_size",
    "f1_score",
    "mean_score",
    "sensitivity_score",
    "share_score",
    "wilson",
]

# The 97.5 % quantile of the standard normal distribution.
Z = 1.959963984540054
BISECTIONS = 60


def effective_size(lesions: Integers) -> float:
    """Returns the effective number of independent photos among N photos of int [N] lesions; 0 without photos."""
    if not len(lesions):
        return 0.0
    _, sizes = np.unique(lesions, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def wilson(share: float, size: float) -> tuple[float, float]:
    """Returns the score interval of a share of ``size`` independent photos, which need not be a whole number.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    # rounding must not exclude the share itself from the interval
    return min(float(max(centre - half, 0.0)), share), max(float(min(centre + half, 1.0)), share)


def share_score(part: Bools, among: Bools, lesions: Integers) -> Score:
    """Returns the share of the photos in ``among`` that are also in ``part``: bool [N] each, and int [N] lesions."""
    if not among.any():
        return NOT_MEASURED
    value = float(part[among].mean())
    return Score(value, *wilson(value, effective_size(lesions[among])))


def mean_score(scores: Sequence[Score]) -> Score:
    """Returns the mean of independent scores, such as the recalls of all classes, without those that were not
    measured.

    Source: Zou and Donner, "Construction of confidence limits about effect measures: a general approach", 2008
    (MOVER): the distance from the mean to an end of its interval is the square root of the sum of the squared
    distances of the parts.
    """
    measured = [one for one in scores if one.measured]
    if not measured:
        return NOT_MEASURED
    values, lows, highs = (
        np.array([getattr(one, end) for one in measured]) for end in ("value", "low", "high")
    )
    mean = values.mean()
    below = np.sqrt(((values - lows) ** 2).sum()) / len(measured)
    above = np.sqrt(((highs - values) ** 2).sum()) / len(measured)
    return Score(float(mean), float(max(mean - below, 0.0)), float(min(mean + above, 1.0)))


def f1_score(truths: Bools, answers: Bools, lesions: Integers) -> Score:
    """Returns the F1 of a class, from bool [N] photos of the class and bool [N] photos that were answered with it.

    F1 = 2 J / (1 + J) grows with J, the Jaccard index of both sets of photos. The interval of F1 follows from that of
    J.
    """
    overlap = share_score(truths & answers, truths | answers, lesions)
    return Score(*(2 * value / (1 + value) for value in (overlap.value, overlap.low, overlap.high)))


def area_score(positive: Bools, evidence: Floats, lesions: Integers) -> Score:
    """Returns the area below the ROC curve for bool [N] truths and float [N] scores; not measured if all truths are
    equal.
    """
    if positive.all() or not positive.any():
        return NOT_MEASURED
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(positive, evidence))
    sizes = effective_size(lesions[positive]), effective_size(lesions[~positive])
    return Score(area, *area_interval(area, *sizes))


def sensitivity_score(
    specificity: float, positive: Bools, evidence: Floats, lesions: Integers, draws: Floats
) -> Score:
    """Returns the greatest sensitivity of an operating point of at least this specificity; not interpolated.

    Its interval contains two intervals: that of the resamples ``draws`` [1 + B, N], which move the threshold, and
    Wilson's, which does not collapse if all positive photos pass.
    """
    if positive.all() or not positive.any():
        return NOT_MEASURED
    resampled = score_of(sensitivities_at(specificity, positive, evidence, draws))
    low, high = wilson(resampled.value, effective_size(lesions[positive]))
    return Score(resampled.value, min(low, resampled.low), max(high, resampled.high))


def area_interval(area: float, positives: float, negatives: float) -> tuple[float, float]:
    """Returns the interval of an area below the ROC curve, from the effective numbers of positive and negative
    photos.

    The ends are the areas A whose distance to the measured one is Z standard errors of A itself.
    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic,
    part 2", 2006, method 5.
    """
    return _end(area, 0.0, positives, negatives), _end(area, 1.0, positives, negatives)


def _end(area: float, border: float, positives: float, negatives: float) -> float:
    """Returns the end of the interval between the area and 0 or 1, by bisection."""
    inside, outside = area, border
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if (middle - area) ** 2 < Z**2 * _area_variance(middle, positives, negatives):
            inside = middle
        else:
            outside = middle
    return inside


def _area_variance(area: float, positives: float, negatives: float) -> float:
    """Returns Hanley and McNeil's variance of an area, with the mean of both numbers of photos in place of each."""
    beyond = max((positives + negatives) / 2 - 1, 0.0)
    spread = 1 + beyond * (1 - area) / (2 - area) + beyond * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)
