"""Computes 95 % confidence intervals that are also valid for proportions near 0 or 1, and for few photos.

A bootstrap interval is not valid for a proportion near 0 or 1. For instance, if all of 6 answers are right, all answers
are also right in every resample, and the bootstrap interval has the width 0: it is [1, 1]. The formulas in this module
give intervals of a sensible width.

Lesions are the independent units, and the photos of one lesion are treated as identical. If the lesions have
m_1, m_2, ... photos, these photos count as n independent photos:

    n = (m_1 + m_2 + ...)^2 / (m_1^2 + m_2^2 + ...)

Source: Kish, "Survey Sampling", 1965, section 8.2. The intra-cluster correlation is assumed to be 1, which gives the
widest intervals. If all lesions have the same number of photos, the number n of independent photos equals the number of
lesions.
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
    "balanced_score",
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
    """Returns the effective number of independent photos. Without photos, the number is 0.

    Args:
        lesions: int [N], the lesion of each photo.
    """
    if not len(lesions):
        return 0.0
    _, sizes = np.unique(lesions, return_counts=True)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def wilson(share: float, size: float) -> tuple[float, float]:
    """Returns the ends of Wilson's score interval of a proportion.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    Args:
        share: the proportion, 0 to 1.
        size: number of independent photos, above 0. It need not be a whole number.
    """
    centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    # Floating-point rounding must not exclude the proportion itself from the interval.
    return min(float(max(centre - half, 0.0)), share), max(float(min(centre + half, 1.0)), share)


def share_score(part: Bools, among: Bools, lesions: Integers) -> Score:
    """Returns the share of the photos in ``among`` that are also in ``part``, with Wilson's interval.

    Args:
        part: bool [N], mask of the photos in the numerator of the share.
        among: bool [N], mask of the photos in the denominator of the share.
        lesions: int [N], the lesion of each photo.
    """
    if not among.any():
        return NOT_MEASURED
    value = float(part[among].mean())
    return Score(value, *wilson(value, effective_size(lesions[among])))


def mean_score(scores: Sequence[Score]) -> Score:
    """Returns the mean of independent scores, such as the recalls of all classes. Undefined scores are left out.

    Let d_i be the distance from the value of score i to the lower end of its interval. With k scores, the distance from
    the mean to the lower end of the interval of the mean is sqrt(d_1^2 + ... + d_k^2) / k. The upper end is computed in
    the same way. Source: Zou and Donner, "Construction of confidence limits about effect measures: a general approach",
    2008 (MOVER).
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


def balanced_score(truth: Integers, answers: Integers, groups: Sequence[str]) -> Score:
    """Returns the balanced accuracy, the mean of the recalls of the classes that have photos.

    Args:
        truth: int [N], the true class of each photo.
        answers: int [N], the most probable class of each photo.
        groups: the lesion of each photo.
    """
    lesions = np.unique(np.asarray(groups), return_inverse=True)[1]
    return mean_score([share_score(answers == truth, truth == one, lesions) for one in np.unique(truth)])


def f1_score(truths: Bools, answers: Bools, lesions: Integers) -> Score:
    """Returns the F1 score of a class.

    F1 = 2 J / (1 + J) grows with J, the Jaccard index of ``truths`` and ``answers``. The ends of the interval of F1
    are therefore computed from the ends of Wilson's interval of J.

    Args:
        truths: bool [N], whether the class is the true class of each photo.
        answers: bool [N], whether the class is the answer to each photo.
        lesions: int [N], the lesion of each photo.
    """
    overlap = share_score(truths & answers, truths | answers, lesions)
    return Score(*(2 * value / (1 + value) for value in (overlap.value, overlap.low, overlap.high)))


def area_score(positive: Bools, evidence: Floats, lesions: Integers) -> Score:
    """Returns the area under the ROC curve, or `NOT_MEASURED` if all photos are positive or all are negative.

    Args:
        positive: bool [N], whether each photo is positive.
        evidence: float64 [N], the score that ranks the photos; positive photos should have a higher score.
        lesions: int [N], the lesion of each photo.
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
    """Returns the highest sensitivity among the operating points whose specificity is at least ``specificity``.

    Operating points are not interpolated. The returned interval is the smallest one that contains the bootstrap
    interval and Wilson's interval. The bootstrap interval includes the uncertainty of the threshold. Wilson's interval
    has a width above 0 even if all positive photos are found. The score is `NOT_MEASURED` if all photos are positive or
    all are negative.

    Args:
        specificity: lowest allowed specificity, 0 to 1.
        positive: bool [N], whether each photo is positive.
        evidence: float64 [N], the score to which the threshold is applied.
        lesions: int [N], the lesion of each photo.
        draws: float64 [1 + B, N], the resamples of `lesion_draws`.
    """
    if positive.all() or not positive.any():
        return NOT_MEASURED
    resampled = score_of(sensitivities_at(specificity, positive, evidence, draws))
    low, high = wilson(resampled.value, effective_size(lesions[positive]))
    return Score(resampled.value, min(low, resampled.low), max(high, resampled.high))


def area_interval(area: float, positives: float, negatives: float) -> tuple[float, float]:
    """Returns the ends of the interval of an area under the ROC curve.

    Each end of the interval is an area that is Z standard errors away from the measured area. The standard error is
    computed for the area at this end, not for the measured area. Source: Newcombe, "Confidence intervals for an effect
    size measure based on the Mann-Whitney statistic, part 2", 2006, method 5.

    Args:
        area: measured area, 0 to 1.
        positives: effective number of positive photos.
        negatives: effective number of negative photos.
    """
    return _end(area, 0.0, positives, negatives), _end(area, 1.0, positives, negatives)


def _end(area: float, border: float, positives: float, negatives: float) -> float:
    """Returns an end of the confidence interval of ``area``: the lower end for ``border`` 0, the upper end for 1.

    The end is found by bisection between ``area`` and ``border``.
    """
    inside, outside = area, border
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if (middle - area) ** 2 < Z**2 * _area_variance(middle, positives, negatives):
            inside = middle
        else:
            outside = middle
    return inside


def _area_variance(area: float, positives: float, negatives: float) -> float:
    """Returns Hanley and McNeil's variance of an area under the ROC curve.

    One term of the original formula contains the number of positive photos, and another term contains the number of
    negative photos. Here, both terms contain the mean of the two numbers, as in Newcombe's method 5.
    """
    beyond = max((positives + negatives) / 2 - 1, 0.0)
    spread = 1 + beyond * (1 - area) / (2 - area) + beyond * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)
