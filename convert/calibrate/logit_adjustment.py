"""Logit adjustment: correct the class imbalance that training has left in the logits.

The share of a class is the fraction of the sampled training photos that belong to it. During training, the logarithm of
each class's share is added to the logits (`dermedge.train.fit.training`). So the trained network gives logits as if all
classes were equally frequent. But the network overfits the few photos of a rare class, which are repeated most often,
and predicts this class too rarely on held-out photos. Therefore, a part of the logarithm is subtracted from the logits,
which makes rare classes more probable.

Source: Menon et al., "Long-Tail Learning via Logit Adjustment", 2021, equation 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dermedge.convert.calibrate.temperature import cross_entropy, fit_temperature
from dermedge.train.evaluation.metrics import balanced_accuracy, confusion_matrix

__all__ = ["LogitAdjustment", "adjustment_amounts", "fit_adjustment", "fit_strength"]


@dataclass(frozen=True)
class LogitAdjustment:
    """The amounts that are added to the logits of a run.

    Attributes:
        amounts: the amount that is added to the logit of each class, float32 [K]. The mean of the amounts is 0.
        metrics: the entries for the manifest: the strength of the adjustment, and the balanced accuracy of the float
            network on the validation photos with the adjustment and without it.
    """

    amounts: NDArray[np.float32]
    metrics: dict[str, Any]


def fit_adjustment(
    logits: NDArray[np.float32], truth: NDArray[np.int64], shares: NDArray[np.float32]
) -> LogitAdjustment:
    """Return the adjustment with the strength that `fit_strength` finds. `fit_strength` explains the arguments."""
    strength = fit_strength(logits, truth, shares)
    amounts = adjustment_amounts(strength, shares)
    return LogitAdjustment(
        amounts,
        {
            "logit_adjustment": strength,
            "val_float_balanced_accuracy": _score(logits + amounts, truth),
            "val_float_balanced_accuracy_unadjusted": _score(logits, truth),
        },
    )


def adjustment_amounts(strength: float, shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return -strength * log(share) for each class, float32 [K], shifted so that the mean over the classes is 0."""
    return (strength * (np.log(shares).mean() - np.log(shares))).astype(np.float32)


def fit_strength(
    logits: NDArray[np.floating], truth: NDArray[np.integer], shares: NDArray[np.floating]
) -> float:
    """Return the strength s of the adjustment, 0 to 1: s * log(share) is subtracted from the logit of each class.

    The strength with the lowest cross-entropy on the photos is chosen. For each strength, the temperature is fitted
    again. All classes have the same total weight in the cross-entropy.

    Args:
        logits: the logits for held-out photos, float [n, K].
        truth: the classes of these photos, int [n].
        shares: the share of each class in the photos that were sampled for training, float [K]. If all shares are
            equal, the strength is 0.
    """
    if np.allclose(shares, shares[0]):
        return 0.0
    weights = 1 / np.bincount(truth, minlength=len(shares))[truth]

    def loss(strength: float) -> float:
        adjusted = logits - strength * np.log(shares)
        return cross_entropy(adjusted / fit_temperature(adjusted, truth, weights), truth, weights)

    return round(float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x), 2)


def _score(logits: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    matrix = confusion_matrix(truth, logits.argmax(axis=1), logits.shape[1])
    return round(balanced_accuracy(matrix), 4)
