"""Computes scores of a classifier, and their confidence intervals by a bootstrap over lesions.

A bootstrap interval needs the scores of a thousand resamples. The functions here compute all these scores in one step
from the array ``draws``, float64 [1 + B, N]. Row 0 stands for the N photos themselves, and has only ones. Each of the
other B rows stands for one resample, and contains how often each photo occurs in the resample.

A score that is undefined for the given photos is NaN.

If a score is exactly 0 or 1, its bootstrap interval has the width 0, which is misleading. Therefore, the module
`dermedge.train.evaluation.intervals` has formulas for the intervals of proportions, of areas under the ROC curve, and
of means of such scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NOT_MEASURED",
    "RESAMPLES",
    "Bin",
    "Bools",
    "Counts",
    "Floats",
    "Integers",
    "McNemar",
    "Score",
    "accuracy",
    "balanced_accuracy",
    "brier",
    "calibration_error",
    "calibration_errors",
    "class_balanced",
    "confusion_matrix",
    "count",
    "counts_of",
    "lesion_draws",
    "macro",
    "mcnemar",
    "mean",
    "operating_points",
    "reliability",
    "risk_coverage",
    "roc",
    "score_of",
    "sensitivities_at",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.integer]

RESAMPLES = 1000
_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Score:
    """A score and the ends of its 95 % confidence interval. All three numbers are NaN if the score is undefined."""

    value: float
    low: float
    high: float

    @property
    def measured(self) -> bool:
        return not np.isnan(self.value)

    def to_json(self) -> dict[str, float] | None:
        """Returns the score as a JSON object, or None (null in JSON) if the score is undefined."""
        ends = {"low": float(self.low), "high": float(self.high)}
        return {"value": float(self.value), **ends} if self.measured else None


NOT_MEASURED = Score(np.nan, np.nan, np.nan)


def lesion_draws(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Returns how often each photo occurs in each bootstrap resample, float64 [1 + B, N].

    Row 0 has only ones, and stands for the photos themselves. Each of the other B rows stands for one resample. To make
    a resample, lesions are sampled with replacement until their number equals the number of different lesions. The
    resample contains all photos of the sampled lesions.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; section 8 on clusters.

    Args:
        groups: group (lesion) of each of the N photos.
        resamples: the number B of resamples.
        seed: seed of the random numbers.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(names), (resamples, len(names)))
    drawn = np.stack([np.bincount(row, minlength=len(names)) for row in chosen])
    return np.concatenate([np.ones((1, len(group_of))), drawn[:, group_of]])


def score_of(values: Floats) -> Score:
    """Returns the score of row 0, with a 95 % confidence interval from the percentiles of the other rows.

    ``values`` has the score of each row of ``draws``. Resamples for which the score is NaN are left out.
    """
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(defined):
        return NOT_MEASURED
    low, high = np.percentile(defined, [2.5, 97.5])
    return Score(float(values[0]), float(low), float(high))


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """Returns part / whole. The result is NaN where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean_of_defined(values: Floats) -> Floats:
    """Returns the mean over the last axis. NaN values are left out; the mean is NaN if all values are NaN."""
    return _ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def confusion_matrix(truth: Integers, predicted: Integers, classes: int) -> NDArray[np.int64]:
    """Returns the confusion matrix, int64 [K, K]. Rows are true classes, and columns are predicted classes.

    Args:
        truth: int [N], the true classes.
        predicted: int [N], the predicted classes.
        classes: the number K of classes.
    """
    flat = np.bincount(np.asarray(truth) * classes + np.asarray(predicted), minlength=classes * classes)
    return flat.reshape(classes, classes)


@dataclass(frozen=True)
class Counts:
    """The numbers of photos from which the scores of a classifier are computed.

    Each array has the shape [..., K], with one number for each class.

    Attributes:
        hits: number of photos of the class that are answered with this class.
        truths: number of photos of the class.
        answers: number of photos for which the class is the answer.
    """

    hits: Floats
    truths: Floats
    answers: Floats

    @property
    def accuracy(self) -> Floats:
        """The share of the photos whose answer is the true class."""
        return _ratio(self.hits.sum(axis=-1), self.truths.sum(axis=-1))

    @property
    def recall(self) -> Floats:
        """The recall (sensitivity) of each class: TP / (TP + FN). It is NaN for a class without photos."""
        return _ratio(self.hits, self.truths)

    @property
    def precision(self) -> Floats:
        """The precision of each class: TP / (TP + FP). It is NaN for a class that is never the answer."""
        return _ratio(self.hits, self.answers)

    @property
    def f1(self) -> Floats:
        """The F1 score of each class: 2 TP / (2 TP + FP + FN).

        The score is NaN for a class that has no photos and is never the answer.
        """
        return _ratio(2 * self.hits, self.truths + self.answers)

    @property
    def balanced_accuracy(self) -> Floats:
        """The mean of the recalls of all classes that have photos."""
        return _mean_of_defined(self.recall)


def count(truth: Integers, predicted: Integers, classes: int, draws: Floats) -> Counts:
    """Returns the counts for each row of ``draws``. Each array has the shape [1 + B, K].

    Args:
        truth: int [N], the true classes.
        predicted: int [N], the predicted classes.
        classes: the number K of classes.
        draws: float64 [1 + B, N], as explained at the top of this module.
    """
    true, named = np.eye(classes)[truth], np.eye(classes)[predicted]
    return Counts(draws @ (true * named), draws @ true, draws @ named)


def counts_of(matrix: NDArray[np.int64]) -> Counts:
    """Returns the counts [K] of an int64 [K, K] confusion matrix."""
    return Counts(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))  # type: ignore[arg-type]


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Returns the accuracy of a confusion matrix."""
    return float(counts_of(matrix).accuracy)


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """Returns the balanced accuracy of a confusion matrix."""
    return float(counts_of(matrix).balanced_accuracy)


def macro(values: Floats) -> Floats:
    """Returns the mean over the classes, which are the last axis. Undefined values count as 0, as in scikit-learn."""
    return np.nan_to_num(values).mean(axis=-1)


def mean(values: Floats, among: Bools, draws: Floats) -> Score:
    """Returns the mean of ``values``, float [N], over the photos for which ``among``, bool [N], is true."""
    return score_of(_ratio(draws @ np.where(among, values, 0.0), draws @ among))


def operating_points(positive: Bools, evidence: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """Returns the false positive rates and the true positive rates at each threshold, for each row of ``draws``.

    Both arrays are float64 [1 + B, T + 1], with one column for each threshold. The thresholds fall from column to
    column: no photo passes the first threshold, and all photos pass the last one. Row 0 is the curve that
    scikit-learn's `roc_curve(drop_intermediate=False)` returns.

    Args:
        positive: bool [N], whether each photo is positive.
        evidence: float64 [N], the score to which the thresholds are applied. It has T different values.
        draws: float64 [1 + B, N], as explained at the top of this module.
    """
    order = np.argsort(-evidence, kind="stable")
    sorted_evidence = evidence[order]
    last_of_ties = np.flatnonzero(np.append(sorted_evidence[1:] != sorted_evidence[:-1], True))

    def rate(chosen: Bools) -> Floats:
        passed = np.cumsum(draws[:, order] * chosen[order], axis=1)[:, last_of_ties]
        return _ratio(np.pad(passed, ((0, 0), (1, 0))), passed[:, -1:])

    return rate(~positive), rate(positive)


def roc(positive: Bools, evidence: Floats) -> tuple[Floats, Floats]:
    """Returns the false and the true positive rates of scikit-learn's ROC curve.

    Args:
        positive: bool [N], whether each photo is positive. There must be positive and negative photos.
        evidence: float64 [N], the score to which the thresholds are applied.
    """
    from sklearn.metrics import roc_curve

    false_positive_rate, true_positive_rate, _ = roc_curve(positive, evidence)
    return false_positive_rate, true_positive_rate


def sensitivities_at(specificity: float, positive: Bools, evidence: Floats, draws: Floats) -> Floats:
    """Returns the highest sensitivity among the operating points whose specificity is at least ``specificity``.

    The result is float64 [1 + B], with one value for each row of ``draws``. Operating points are not interpolated.
    `operating_points` explains the other arguments.
    """
    false_positive_rate, sensitivity = operating_points(positive, evidence, draws)
    # The margin of 1e-9 is for operating points with exactly this specificity. Without it, a rate of 0.1 would be too
    # high for a specificity of 0.9, because 1 - 0.9 is rounded to a little less than 0.1.
    allowed = false_positive_rate <= 1 - specificity + 1e-9
    best = np.where(allowed, sensitivity, 0.0).max(axis=1)
    return np.where(np.isnan(false_positive_rate[:, -1]), np.nan, best)


def class_balanced(truth: Integers, draws: Floats) -> Floats:
    """Returns ``draws`` with each row scaled so that the photos of each class have a total weight of 1."""
    of_class = np.eye(int(truth.max()) + 1)[truth]
    return np.nan_to_num(_ratio(draws, (draws @ of_class)[:, truth]))


def _bins(confidence: Floats) -> NDArray[np.int64]:
    """Returns the bin of each confidence. There are 15 bins of equal width; each bin includes its upper edge."""
    bins = np.ceil(confidence * _CALIBRATION_BINS).astype(np.int64) - 1
    return np.clip(bins, 0, _CALIBRATION_BINS - 1)


def calibration_error(confidence: Floats, right: Bools, draws: Floats) -> Score:
    """Returns the expected calibration error.

    The expected calibration error is computed from 15 bins of the confidence. It is the mean distance between the
    accuracy and the mean confidence of a bin, weighted by the number of photos in the bin. Source: Guo et al., "On
    Calibration of Modern Neural Networks", 2017, equation 3.

    Args:
        confidence: float [N], the highest probability of each photo, 0 to 1.
        right: bool [N], whether the most probable class is the true class.
        draws: float64 [1 + B, N], as explained at the top of this module, or as `class_balanced` returns them.
    """
    return score_of(calibration_errors(confidence, right, draws))


def calibration_errors(confidence: Floats, right: Bools, draws: Floats) -> Floats:
    """Returns the expected calibration error of each row of ``draws``, float64 [1 + B]."""
    excess = np.eye(_CALIBRATION_BINS)[_bins(confidence)] * (confidence - right)[:, None]
    return _ratio(np.abs(draws @ excess).sum(axis=1), draws.sum(axis=1))


def brier(probabilities: Floats, truth: Integers, draws: Floats) -> Score:
    """Returns the Brier score, 0 to 2: the mean squared distance between the probabilities and the truth.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.

    Args:
        probabilities: float [N, K].
        truth: int [N], the true classes.
        draws: float64 [1 + B, N], as explained at the top of this module.
    """
    off = probabilities - np.eye(probabilities.shape[1])[truth]
    return mean((off**2).sum(axis=1), np.ones(len(truth), bool), draws)


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: the number of photos, their mean confidence, and the share of right answers."""

    photos: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, right: Bools) -> list[Bin]:
    """Returns the bins of `calibration_error`. Bins without photos are left out."""
    bins = _bins(confidence)
    members = [bins == one for one in range(_CALIBRATION_BINS)]
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean()))
        for chosen in members
        if chosen.any()
    ]


def risk_coverage(confidence: Floats, wrong: Bools) -> tuple[Floats, Floats]:
    """Returns the coverage and the risk at each threshold on the confidence.

    At a threshold, the coverage is the share of photos whose confidence is at least the threshold. The risk is the
    share of wrong answers among these photos. Source: Geifman and El-Yaniv, "Selective Classification for Deep Neural
    Networks", 2017.

    Args:
        confidence: float [N], the confidence of the answer to each photo.
        wrong: bool [N], whether the answer to each photo is wrong.
    """
    order = np.argsort(-confidence, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    answered = np.arange(1, len(order) + 1)
    return (answered / len(order))[last_of_ties], (np.cumsum(wrong[order]) / answered)[last_of_ties]


@dataclass(frozen=True)
class McNemar:
    """The result of McNemar's test.

    Attributes:
        first_only: number of photos on which only the first classifier is right.
        other_only: number of photos on which only the other classifier is right.
        p_value: p-value for the difference between ``first_only`` and ``other_only``.
    """

    first_only: int
    other_only: int
    p_value: float


def mcnemar(first_right: Bools, other_right: Bools) -> McNemar:
    """Returns the result of McNemar's exact two-sided test.

    The null hypothesis is: on the photos on which only one classifier is right, both classifiers are equally likely to
    be the right one.
    The test treats all photos as independent, even photos of the same lesion.

    Source: McNemar, 1947; Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning
    Algorithms", 1998.

    Args:
        first_right: bool [N], whether the first classifier is right on each photo.
        other_right: bool [N], whether the other classifier is right on each photo.
    """
    from scipy.stats import binomtest

    first_only, other_only = int((first_right & ~other_right).sum()), int((other_right & ~first_right).sum())
    discordant = first_only + other_only
    p_value = float(binomtest(other_only, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(first_only, other_only, p_value)
