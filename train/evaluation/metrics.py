"""Computes scores of a classifier, and intervals by bootstrap over lesions.

A bootstrap interval needs the score of a thousand resamples, so scores are computed for all of them at once:
``draws`` is float64 [1 + B, N], how often each of N photos occurs in each of B resamples, and row 0 counts every
photo once. A score that is undefined for the given photos is NaN. Shares, areas and their means have intervals by
formula instead (`dermedge.train.evaluation.intervals`), because a bootstrap collapses at 0 and 1.
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
    """A score and its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    @property
    def measured(self) -> bool:
        return not np.isnan(self.value)

    def to_json(self) -> dict[str, float] | None:
        """Returns JSON values; an undefined one is null, because JSON has no NaN."""
        ends = {"low": float(self.low), "high": float(self.high)}
        return {"value": float(self.value), **ends} if self.measured else None


NOT_MEASURED = Score(np.nan, np.nan, np.nan)


def lesion_draws(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Returns the counts of resamples: row 0 has only ones; the others tell how often each photo occurs when whole
    groups (lesions) are sampled with replacement.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; of clusters, section 8.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(names), (resamples, len(names)))
    drawn = np.stack([np.bincount(row, minlength=len(names)) for row in chosen])
    return np.concatenate([np.ones((1, len(group_of))), drawn[:, group_of]])


def score_of(values: Floats) -> Score:
    """Returns the score of row 0 with the 95 % percentile interval of the other rows where it is defined."""
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(defined):
        return NOT_MEASURED
    low, high = np.percentile(defined, [2.5, 97.5])
    return Score(float(values[0]), float(low), float(high))


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> Floats:
    """Returns part / whole, or NaN if whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean_of_defined(values: Floats) -> Floats:
    """Returns the mean over the last axis without NaN values; NaN if all values are."""
    return _ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def confusion_matrix(truth: Integers, predicted: Integers, classes: int) -> NDArray[np.int64]:
    """Returns int64 [K, K]: row the true class, column the predicted one."""
    flat = np.bincount(np.asarray(truth) * classes + np.asarray(predicted), minlength=classes * classes)
    return flat.reshape(classes, classes)


@dataclass(frozen=True)
class Counts:
    """The counts that the scores of a confusion matrix need; [..., K], one for each class.

    Attributes:
        hits: photos of the class that were answered with it.
        truths: photos of the class.
        answers: photos that were answered with the class.
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
        """Sensitivity of each class: TP / (TP + FN); NaN for a class without photos."""
        return _ratio(self.hits, self.truths)

    @property
    def precision(self) -> Floats:
        """TP / (TP + FP) of each class; NaN for a class that was never answered."""
        return _ratio(self.hits, self.answers)

    @property
    def f1(self) -> Floats:
        """2 TP / (2 TP + FP + FN) of each class; NaN for a class that neither occurs nor was answered."""
        return _ratio(2 * self.hits, self.truths + self.answers)

    @property
    def balanced_accuracy(self) -> Floats:
        """The mean recall of the classes that occur."""
        return _mean_of_defined(self.recall)


def count(truth: Integers, predicted: Integers, classes: int, draws: Floats) -> Counts:
    """Returns the counts [1 + B, K] for int [N] predicted and int [N] true classes."""
    true, named = np.eye(classes)[truth], np.eye(classes)[predicted]
    return Counts(draws @ (true * named), draws @ true, draws @ named)


def counts_of(matrix: NDArray[np.int64]) -> Counts:
    """Returns the counts [K] of a confusion matrix."""
    return Counts(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))  # type: ignore[arg-type]


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Returns the accuracy of a confusion matrix."""
    return float(counts_of(matrix).accuracy)


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """Returns the balanced accuracy of a confusion matrix."""
    return float(counts_of(matrix).balanced_accuracy)


def macro(values: Floats) -> Floats:
    """Returns the mean over the classes; an undefined precision counts as 0, as in scikit-learn."""
    return np.nan_to_num(values).mean(axis=-1)


def mean(values: Floats, among: Bools, draws: Floats) -> Score:
    """Returns the mean of [N] values over the photos ``among``."""
    return score_of(_ratio(draws @ np.where(among, values, 0.0), draws @ among))


def operating_points(positive: Bools, evidence: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """Returns the false and true positive rates [1 + B, T + 1] at every threshold, from none positive to all.

    The points of scikit-learn's `roc_curve(drop_intermediate=False)`, of every resample at once.
    """
    order = np.argsort(-evidence, kind="stable")
    sorted_evidence = evidence[order]
    last_of_ties = np.flatnonzero(np.append(sorted_evidence[1:] != sorted_evidence[:-1], True))

    def rate(chosen: Bools) -> Floats:
        passed = np.cumsum(draws[:, order] * chosen[order], axis=1)[:, last_of_ties]
        return _ratio(np.pad(passed, ((0, 0), (1, 0))), passed[:, -1:])

    return rate(~positive), rate(positive)


def roc(positive: Bools, evidence: Floats) -> tuple[Floats, Floats]:
    """Returns the false and true positive rates of scikit-learn's ROC curve; both classes must occur."""
    from sklearn.metrics import roc_curve

    false_positive_rate, true_positive_rate, _ = roc_curve(positive, evidence)
    return false_positive_rate, true_positive_rate


def sensitivities_at(specificity: float, positive: Bools, evidence: Floats, draws: Floats) -> Floats:
    """Returns the greatest sensitivity of an operating point of at least this specificity, of every draw, [1 + B].

    Operating points are not interpolated.
    """
    false_positive_rate, sensitivity = operating_points(positive, evidence, draws)
    # 1 - 0.9 is a little less than 0.1, and the point of exactly that specificity is allowed
    allowed = false_positive_rate <= 1 - specificity + 1e-9
    best = np.where(allowed, sensitivity, 0.0).max(axis=1)
    return np.where(np.isnan(false_positive_rate[:, -1]), np.nan, best)


def class_balanced(truth: Integers, draws: Floats) -> Floats:
    """Returns the draws, scaled so that the photos of each occurring class have a total weight of 1."""
    of_class = np.eye(int(truth.max()) + 1)[truth]
    return np.nan_to_num(_ratio(draws, (draws @ of_class)[:, truth]))


def _bins(confidence: Floats) -> NDArray[np.int64]:
    """Returns the bin of each confidence: 15 bins of equal width, each of which includes its upper edge."""
    bins = np.ceil(confidence * _CALIBRATION_BINS).astype(np.int64) - 1
    return np.clip(bins, 0, _CALIBRATION_BINS - 1)


def calibration_error(confidence: Floats, right: Bools, draws: Floats) -> Score:
    """Returns the expected calibration error: the mean distance between accuracy and confidence over 15 bins.

    Args:
        confidence: float [N], the top probability.
        right: bool [N], whether the most probable class is the true one.
        draws: draws as above, or class-balanced ones. Source: Guo et al., "On Calibration of Modern Neural Networks",
            2017, equation 3.
    """
    return score_of(calibration_errors(confidence, right, draws))


def calibration_errors(confidence: Floats, right: Bools, draws: Floats) -> Floats:
    """Returns the `calibration_error` of every draw, [1 + B]."""
    excess = np.eye(_CALIBRATION_BINS)[_bins(confidence)] * (confidence - right)[:, None]
    return _ratio(np.abs(draws @ excess).sum(axis=1), draws.sum(axis=1))


def brier(probabilities: Floats, truth: Integers, draws: Floats) -> Score:
    """Returns the mean over photos of the squared distance of [N, K] probabilities from the truth, 0 to 2.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    off = probabilities - np.eye(probabilities.shape[1])[truth]
    return mean((off**2).sum(axis=1), np.ones(len(truth), bool), draws)


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: its photos, their mean confidence and how many of them are right."""

    photos: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, right: Bools) -> list[Bin]:
    """Returns the bins of `calibration_error` that hold any photos."""
    bins = _bins(confidence)
    members = [bins == one for one in range(_CALIBRATION_BINS)]
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean()))
        for chosen in members
        if chosen.any()
    ]


def risk_coverage(confidence: Floats, wrong: Bools) -> tuple[Floats, Floats]:
    """Returns coverage and risk at each threshold: the share of photos that are answered, and the share of these that
    are wrong.

    Photos of equal confidence are answered together. Source: Geifman and El-Yaniv, "Selective
    Classification for Deep Neural Networks", 2017.
    """
    order = np.argsort(-confidence, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    answered = np.arange(1, len(order) + 1)
    return (answered / len(order))[last_of_ties], (np.cumsum(wrong[order]) / answered)[last_of_ties]


@dataclass(frozen=True)
class McNemar:
    """The numbers of photos on which only one of two classifiers is right, and the p-value for their difference."""

    first_only: int
    other_only: int
    p_value: float


def mcnemar(first_right: Bools, other_right: Bools) -> McNemar:
    """Returns McNemar's exact two-sided test.

    Its null hypothesis: each classifier is equally often the only one that is right.

    Source: McNemar, 1947; Dietterich, "Approximate Statistical Tests for Comparing Supervised
    Classification Learning Algorithms", 1998. It treats all photos as independent, even those of one lesion.
    """
    from scipy.stats import binomtest

    first_only, other_only = int((first_right & ~other_right).sum()), int((other_right & ~first_right).sum())
    discordant = first_only + other_only
    p_value = float(binomtest(other_only, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(first_only, other_only, p_value)
