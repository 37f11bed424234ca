"""Check that a file classifies better than chance, and that its labels are in the right order.

The comparison of a file with its float network is not enough. If the float network itself is no better than chance, the
file cannot lose accuracy, so a useless file would pass the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.data.counts import plural, some_of
from dermedge.train.evaluation.class_order import find_better_order
from dermedge.train.evaluation.intervals import balanced_score
from dermedge.train.evaluation.metrics import Floats, Integers

__all__ = [
    "NetworkCheck",
    "chance_check",
    "check_network",
    "compare_with_chance",
    "missed_class",
    "order_check",
    "untested_classes",
]

_LABELS_SHOWN = 6


@dataclass(frozen=True)
class NetworkCheck:
    """A condition that a file must meet.

    Attributes:
        name: the name of the condition.
        passed: whether the file meets the condition.
        line: one line for the user, with the condition and the measured values.
        cure: advice for a file that does not meet the condition.
    """

    name: str
    passed: bool
    line: str
    cure: str

    @property
    def status(self) -> str:
        """The result: ``passed`` or ``refused``."""
        return "passed" if self.passed else "refused"


def check_network(proof: ProofSet, device: NDArray[np.floating], draws: Floats) -> tuple[NetworkCheck, ...]:
    """Return the checks of the file alone, which need no float network.

    Args:
        proof: the proof set.
        device: the logits of the file in the device runtime, float [n, K].
        draws: the bootstrap resamples, float [1 + B, n], as `lesion_draws` returns them.
    """
    answers = device.argmax(axis=1)
    return (
        order_check(proof.truth, answers, proof.labels, draws),
        chance_check(proof.truth, answers, proof.groups),
    )


def order_check(truth: Integers, answers: Integers, labels: Sequence[str], draws: Floats) -> NetworkCheck:
    """Check that no other order of the labels fits the photos clearly better than the given order.

    `find_better_order` explains the arguments.
    """
    found, name = find_better_order(truth, answers, labels, draws), "order of the classes"
    if found is None:
        return NetworkCheck(name, True, f"{name}: no other order fits clearly better", "")
    cure = "give the labels in the order of the outputs, or correct the labels of the photos"
    return NetworkCheck(name, False, f"{name}: {found.describe()}", cure)


def chance_check(truth: Integers, answers: Integers, groups: Sequence[str]) -> NetworkCheck:
    """Check that a file classifies better than chance; `compare_with_chance` explains the arguments."""
    passed, found = compare_with_chance(truth, answers, groups)
    cure = "give more labelled photos, or train the network further"
    return NetworkCheck("better than chance", passed, f"better than chance: {found}", cure)


def compare_with_chance(truth: Integers, answers: Integers, groups: Sequence[str]) -> tuple[bool, str]:
    """Tell whether the 95 % confidence interval of the balanced accuracy lies above 1/K.

    K is the number of classes that occur in ``truth``. A network that always gives the same answer has a balanced
    accuracy of 1/K, however frequent each class is.

    Args:
        truth: the true class of each photo, int [n].
        answers: the most probable class of each photo, int [n].
        groups: the lesion of each photo. Photos of one lesion are not independent of each other, so they make the
            confidence interval wider than the same number of independent photos would.

    Returns:
        The result, and a sentence for the user with the measured values.
    """
    found, classes = balanced_score(truth, answers, groups), np.unique(truth)
    chance = 1 / len(classes)
    passed = found.low > chance
    comparison = "lies above" if passed else "does not lie above"
    return passed, (
        f"the balanced accuracy is {found.value:.3f}; its 95 % confidence interval, {found.low:.3f} to "
        f"{found.high:.3f}, {comparison} {chance:.3f}, the result of guessing among {len(classes)} classes"
    )


def missed_class(proof: ProofSet, device: NDArray[np.floating]) -> str | None:
    """Return a warning if the file recognizes no photo of the critical class.

    The result is None in three cases: the file recognizes at least one photo of the critical class; there are no photos
    of this class; or there is no critical class.
    """
    if proof.critical is None:
        return None
    index = proof.labels.index(proof.critical)
    photos = device[proof.truth == index]
    if not len(photos) or (photos.argmax(axis=1) == index).any():
        return None
    return f"the file recognizes none of the {len(photos)} photos of {proof.critical}, the critical class"


def untested_classes(proof: ProofSet) -> str | None:
    """Return a warning if some classes have no photos in the proof set. Otherwise, return None.

    If a class has no photos, no check can tell whether the file recognizes the class.
    """
    absent = [label for index, label in enumerate(proof.labels) if not (proof.truth == index).any()]
    if not absent:
        return None
    return (
        f"the proof set has no photos of {plural(len(absent), 'class')} ({some_of(absent, _LABELS_SHOWN)}), so nothing "
        "is known about how well the file recognizes them"
    )
