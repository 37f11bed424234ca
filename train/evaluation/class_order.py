"""Finds out whether the labels of a network are in another order than the outputs of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dermedge.edge.errors import OptionError
from dermedge.train.data.counts import some_of
from dermedge.train.evaluation.intervals import balanced_score
from dermedge.train.evaluation.metrics import (
    Floats,
    Integers,
    confusion_matrix,
    count,
    lesion_draws,
    score_of,
)

__all__ = ["BetterOrder", "check_other_orders", "find_better_order"]

# A small bonus for the given order of the classes. If another order explains the photos equally well, the given order
# wins.
_TIE = 1e-9
_SWAPS_SHOWN = 4


@dataclass(frozen=True)
class BetterOrder:
    """An order of the classes that explains labelled photos clearly better than the given order.

    Attributes:
        here: balanced accuracy with the given order.
        other: balanced accuracy with the better order.
        swaps: one text for each wrong label, such as ``'nevus' should be 'melanoma'``.
    """

    here: float
    other: float
    swaps: tuple[str, ...]

    def describe(self) -> str:
        """Returns one line with the balanced accuracies of both orders, and with the first wrong labels."""
        return (
            f"another order fits clearly better, with a balanced accuracy of {self.other:.3f} instead "
            f"of {self.here:.3f}: {some_of(self.swaps, _SWAPS_SHOWN)}"
        )


def find_better_order(
    truth: Integers, answers: Integers, labels: Sequence[str], draws: Floats
) -> BetterOrder | None:
    """Returns the best order of the classes, or None if it is not clearly better than the given order.

    The best order is the one with the highest balanced accuracy. It is computed from the confusion matrix with the
    Hungarian method. Source: Kuhn, "The Hungarian Method for the Assignment Problem", 1955.

    A paired bootstrap over lesions gives a 95 % confidence interval of the difference between the two balanced
    accuracies. The best order is clearly better if the whole interval is above 0.

    Args:
        truth: int [n], the true class of each photo.
        answers: int [n], the most probable class of each photo, as an index into ``labels``.
        labels: the K classes.
        draws: float64 [1 + B, n], the resamples of `lesion_draws`.
    """
    class_of_output = _best_order(truth, answers, len(labels))
    here, other = (
        count(truth, named, len(labels), draws).balanced_accuracy
        for named in (answers, class_of_output[answers])
    )
    if not score_of(other - here).low > 0:
        return None
    swaps = tuple(
        f"'{labels[output]}' should be '{labels[index]}'"
        for output, index in enumerate(class_of_output)
        if index != output and (answers == output).any()
    )
    return BetterOrder(float(here[0]), float(other[0]), swaps)


def check_other_orders(
    path: Path,
    truth: Integers,
    answers: Mapping[str, Integers],
    best: str,
    labels: Sequence[str],
    groups: Sequence[str],
) -> None:
    """Raises OptionError if the photos fit another normalization clearly better, with the labels in another order.

    With labels in a wrong order, a wrong normalization can have the highest score. So every other normalization is
    scored with the order of the labels that fits it best. If there are few photos, some order fits well by chance. For
    a fair comparison, ``best`` is therefore scored with the order that fits it best, too. If several normalizations
    have the same score, the error names the one that is best in the given order.

    Args:
        path: the path of the model.
        truth: int [n], the true class of each photo.
        answers: for the name of each normalization, the most probable class of each photo, int [n].
        best: the normalization with the highest balanced accuracy in the given order.
        labels: the K classes, in the given order.
        groups: the lesion of each photo.
    """
    draws = lesion_draws(groups)
    orders = {
        name: order
        for name, of_name in answers.items()
        if name != best and (order := find_better_order(truth, of_name, labels, draws))
    }
    if not orders:
        return
    name = max(orders, key=lambda one: (orders[one].other, orders[one].here))
    reordered = _best_order(truth, answers[best], len(labels))[answers[best]]
    if orders[name].other > balanced_score(truth, reordered, groups).high:
        here = balanced_score(truth, answers[best], groups).value
        raise OptionError(
            f"the labels of '{path}' seem to be in a wrong order: with the normalization {name}, "
            f"{orders[name].describe()}; in the given order, {best} is best, with {here:.3f}; give the labels in "
            "the order of the outputs with --labels FILE, or choose the normalization with --normalization"
        )


def _best_order(truth: Integers, answers: Integers, classes: int) -> NDArray[np.int64]:
    """Returns the class of each output in the order with the highest balanced accuracy, int64 [K]."""
    matrix = confusion_matrix(truth, answers, classes)
    recalls = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    true, outputs = linear_sum_assignment(recalls + _TIE * np.eye(classes), maximize=True)
    return true[np.argsort(outputs)]
