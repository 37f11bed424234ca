"""Scores of a classifier, all from the confusion matrix, and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """int64 [K, K]: row the true class, column the predicted one."""
    flat = np.bincount(np.asarray(truth) * classes + np.asarray(predicted), minlength=classes * classes)
    return flat.reshape(classes, classes)


def _ratio(part: NDArray[np.integer], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    """part / whole, NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def accuracy(matrix: NDArray[np.int64]) -> float:
    """The share of the photos whose class was named."""
    return float(matrix.trace() / matrix.sum())


def recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sensitivity of each class: TP / (TP + FN); NaN for a class without photos."""
    return _ratio(matrix.diagonal(), matrix.sum(axis=1))


def precision(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TP / (TP + FP) of each class; NaN for a class that was never named."""
    return _ratio(matrix.diagonal(), matrix.sum(axis=0))


def f1(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) of each class; NaN for one that neither occurs nor was named."""
    return _ratio(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """The mean recall of the classes that occur."""
    return float(np.nanmean(recall(matrix)))


def macro(values: NDArray[np.float64]) -> float:
    """The mean over the classes; an undefined precision counts as 0, as scikit-learn has it."""
    return float(np.nan_to_num(values).mean())


def bootstrap_interval(
    groups: Sequence[str],
    score: Callable[[NDArray[np.intp]], float],
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of a score, by drawing whole groups (lesions) with replacement.

    Args:
        groups: the lesion of each photo.
        score: of the photos at the given indices.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    rng = np.random.default_rng(seed)
    scores = [
        score(np.concatenate([members[index] for index in rng.integers(0, len(names), len(names))]))
        for _ in range(resamples)
    ]
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Report:
    """Every score of one classifier on one set of photos.

    Attributes:
        labels: of the classes.
        matrix: int64 [K, K], row truth, column prediction.
        intervals: score -> its 95 % interval by bootstrap over lesions.
        lesions: how many distinct ones.
    """

    labels: tuple[str, ...]
    matrix: NDArray[np.int64]
    intervals: dict[str, tuple[float, float]]
    lesions: int

    def to_json(self) -> dict[str, object]:
        """Plain values for JSON."""
        per_class = zip(
            self.labels,
            precision(self.matrix),
            recall(self.matrix),
            f1(self.matrix),
            self.matrix.sum(axis=1),
            strict=True,
        )
        return {
            "photos": int(self.matrix.sum()),
            "lesions": self.lesions,
            "accuracy": accuracy(self.matrix),
            "balanced_accuracy": balanced_accuracy(self.matrix),
            "macro_precision": macro(precision(self.matrix)),
            "macro_recall": macro(recall(self.matrix)),
            "macro_f1": macro(f1(self.matrix)),
            "intervals_95": {name: list(ends) for name, ends in self.intervals.items()},
            "classes": {
                label: {"precision": _none(p), "recall": _none(r), "f1": _none(f), "photos": int(n)}
                for label, p, r, f, n in per_class
            },
            "confusion_matrix": self.matrix.tolist(),
        }


def _none(value: float) -> float | None:
    """JSON has no NaN: what is undefined is null."""
    return None if np.isnan(value) else float(value)


SCORES: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": lambda matrix: macro(f1(matrix)),
}


def make_report(
    labels: Sequence[str], truth: NDArray[np.integer], predicted: NDArray[np.integer], groups: Sequence[str]
) -> Report:
    """Scores int [n] predicted classes against int [n] true ones, with intervals over the groups."""
    count = len(labels)

    def scored(score: Callable[[NDArray[np.int64]], float]) -> Callable[[NDArray[np.intp]], float]:
        return lambda chosen: score(confusion_matrix(truth[chosen], predicted[chosen], count))

    intervals = {name: bootstrap_interval(groups, scored(score)) for name, score in SCORES.items()}
    return Report(tuple(labels), confusion_matrix(truth, predicted, count), intervals, len(set(groups)))
