"""Check that a file classifies at all: a float network at chance level has nothing to lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.intervals import mean_score, share_score
from dermedge.train.evaluation.metrics import Floats, Integers, Score, confusion_matrix, count, score_of

__all__ = ["NetworkCheck", "chance_check", "check_network", "missed_class", "order_check"]

# Decides between orders of the classes that explain the photos equally well, for the order at hand.
_TIE = 1e-9
_SWAPS_SHOWN = 4


@dataclass(frozen=True)
class NetworkCheck:
    """One condition that a file meets or not.

    Attributes:
        name: name of the condition.
        passed: whether the file meets it.
        line: the condition with its figures, in one line for people.
        cure: what helps if the file does not meet it.
    """

    name: str
    passed: bool
    line: str
    cure: str

    @property
    def status(self) -> str:
        """``passed`` or ``refused``."""
        return "passed" if self.passed else "refused"


def check_network(proof: ProofSet, device: NDArray[np.floating], draws: Floats) -> tuple[NetworkCheck, ...]:
    """Return the checks that need no float network, on float [n, K] logits by the device runtime.

    Args:
        proof: the photos.
        device: the logits.
        draws: float [1 + B, n], the resamples of `lesion_draws`.
    """
    answers = device.argmax(axis=1)
    return (
        order_check(proof.truth, answers, proof.labels, draws),
        chance_check(proof.truth, answers, proof.groups),
    )


def order_check(truth: Integers, answers: Integers, labels: Sequence[str], draws: Floats) -> NetworkCheck:
    """Check that no other order of the classes explains the photos clearly better than the one at hand.

    The order with the highest balanced accuracy is found on the confusion matrix (Kuhn, "The Hungarian Method for
    the Assignment Problem", 1955). It is clearly better if the interval of the difference, by the paired bootstrap
    over lesions, lies above 0.

    Args:
        truth: int [n], the true class of each photo.
        answers: int [n], the most probable class, an index into ``labels``.
        labels: the K classes.
        draws: float [1 + B, n], the resamples of `lesion_draws`.
    """
    class_of_output = _best_order(truth, answers, len(labels))
    here, other = (
        count(truth, named, len(labels), draws).balanced_accuracy
        for named in (answers, class_of_output[answers])
    )
    gain = score_of(other - here)
    if not gain.low > 0:
        return NetworkCheck(
            "order of the classes", True, "order of the classes: no other fits clearly better", ""
        )
    swaps = [
        f"'{labels[output]}' is '{labels[index]}'"
        for output, index in enumerate(class_of_output)
        if index != output and (answers == output).any()
    ]
    more = ", …" if len(swaps) > _SWAPS_SHOWN else ""
    line = (
        f"order of the classes: another one fits clearly better, with a balanced accuracy of {other[0]:.3f} in place "
        f"of {here[0]:.3f}: {', '.join(swaps[:_SWAPS_SHOWN])}{more}"
    )
    cure = "give the labels in the order of the outputs, or correct the labels of the photos"
    return NetworkCheck("order of the classes", False, line, cure)


def _best_order(truth: Integers, answers: Integers, classes: int) -> NDArray[np.int64]:
    """Return int64 [K]: for each output, the class that it should stand for to make the balanced accuracy highest."""
    matrix = confusion_matrix(truth, answers, classes)
    recalls = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    true, outputs = linear_sum_assignment(recalls + _TIE * np.eye(classes), maximize=True)
    return true[np.argsort(outputs)]


def chance_check(truth: Integers, answers: Integers, groups: Sequence[str]) -> NetworkCheck:
    """Check that the 95 % interval of the balanced accuracy lies above 1/K, for the K classes that occur.

    A network that always gives the same answer has a balanced accuracy of 1/K, however frequent each class is.

    Args:
        truth: int [n], the true class of each photo.
        answers: int [n], the most probable class.
        groups: the lesion of each photo; photos of one lesion count as alike.
    """
    lesions = np.unique(np.asarray(groups), return_inverse=True)[1]
    classes = np.unique(truth)
    found = mean_score([share_score(answers == truth, truth == one, lesions) for one in classes])
    chance = 1 / len(classes)
    passed = found.low > chance
    comparison = "above" if passed else "not above"
    line = (
        f"better than chance: balanced accuracy {_with_interval(found)} is {comparison} "
        f"{chance:.3f}, which guessing among {len(classes)} classes gives"
    )
    return NetworkCheck(
        "better than chance", passed, line, "prove the file on more photos, or train the network further"
    )


def missed_class(proof: ProofSet, device: NDArray[np.floating]) -> str | None:
    """Return a warning if the file recognizes no photo of the critical class; None if it recognizes one, or has none."""
    if proof.critical is None:
        return None
    index = proof.labels.index(proof.critical)
    photos = device[proof.truth == index]
    if not len(photos) or (photos.argmax(axis=1) == index).any():
        return None
    return f"the file recognizes none of the {len(photos)} photos of {proof.critical}, the critical class"


def _with_interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
