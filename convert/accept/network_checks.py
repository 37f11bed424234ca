"""Check that a file classifies better than chance, because a float network at chance level cannot lose accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.class_order import find_better_order
from dermedge.train.evaluation.intervals import mean_score, share_score
from dermedge.train.evaluation.metrics import Floats, Integers, Score

__all__ = ["NetworkCheck", "chance_check", "check_network", "missed_class", "order_check"]


@dataclass(frozen=True)
class NetworkCheck:
    """One condition on a file.

    Attributes:
        name: name of the condition.
        passed: whether the file meets it.
        line: the condition with its figures, in one line for people.
        cure: advice for a file that does not meet it.
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
    """Check that no other order of the classes explains the photos clearly better; arguments of `find_better_order`."""
    found, name = find_better_order(truth, answers, labels, draws), "order of the classes"
    if found is None:
        return NetworkCheck(name, True, f"{name}: no other fits clearly better", "")
    cure = "give the labels in the order of the outputs, or correct the labels of the photos"
    return NetworkCheck(name, False, f"{name}: {found.describe()}", cure)


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
    """Warn if the file recognizes no photo of the critical class; None if it recognizes one, or there is none."""
    if proof.critical is None:
        return None
    index = proof.labels.index(proof.critical)
    photos = device[proof.truth == index]
    if not len(photos) or (photos.argmax(axis=1) == index).any():
        return None
    return f"the file recognizes none of the {len(photos)} photos of {proof.critical}, the critical class"


def _with_interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
