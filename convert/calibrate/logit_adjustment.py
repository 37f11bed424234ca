"""What a network that has learned rare classes by heart denies unseen photos of them, given back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dermedge.convert.accept.parity import cross_entropy, fit_temperature
from dermedge.train.evaluation.metrics import balanced_accuracy, confusion_matrix


@dataclass(frozen=True)
class Adjustment:
    """What is added to the logits of a run.

    Attributes:
        amounts: float32 [K], one a class; their mean is 0.
        metrics: for the manifest: how strong it is, and the balanced accuracy of the float network on
            validation by the most probable class, with it and without.
    """

    amounts: NDArray[np.float32]
    metrics: dict[str, float]


def adjustment_of(
    logits: NDArray[np.float32], truth: NDArray[np.int64], shares: NDArray[np.float32]
) -> Adjustment:
    """The adjustment that float32 [n, K] logits ask for; arguments as those of `fit_adjustment`."""
    strength = fit_adjustment(logits, truth, shares)
    amounts = adjustment_amounts(strength, shares)

    def score(of: NDArray[np.float32]) -> float:
        return round(balanced_accuracy(confusion_matrix(truth, of.argmax(axis=1), len(shares))), 4)

    return Adjustment(
        amounts,
        {
            "logit_adjustment": strength,
            "val_float_balanced_accuracy": score(logits + amounts),
            "val_float_balanced_accuracy_unadjusted": score(logits),
        },
    )


def adjustment_amounts(strength: float, shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [K], of mean 0: what takes this much of the logarithm of its share from each logit."""
    return (strength * (np.log(shares).mean() - np.log(shares))).astype(np.float32)


def fit_adjustment(
    logits: NDArray[np.floating], truth: NDArray[np.integer], shares: NDArray[np.floating]
) -> float:
    """How much of the logarithm of its share each logit is still to lose: 0 to 1.

    Training adds that logarithm once (`train.fit.training.adjusted_loss`), so that logits speak as if classes were
    alike often. But the few photos of a rare class are seen most often, and learned by heart: of photos that
    were not seen, too few are given to it. This is the strength of least cross-entropy with classes weighed
    alike, at the temperature that is best with it; more of Menon et al., "Long-Tail Learning via Logit
    Adjustment", 2021, equation 9.

    Args:
        logits: float [n, K], of photos that were not trained on.
        truth: int [n].
        shares: float [K], of what was drawn in training; alike, they leave nothing to adjust.
    """
    if np.allclose(shares, shares[0]):
        return 0.0
    weights = 1 / np.bincount(truth, minlength=len(shares))[truth]

    def loss(strength: float) -> float:
        adjusted = logits - strength * np.log(shares)
        return cross_entropy(adjusted / fit_temperature(adjusted, truth, weights), truth, weights)

    return round(float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x), 2)
