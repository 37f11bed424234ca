"""Logit adjustment: correct the class imbalance that training has left in the logits.

Training adds the logarithm of each class's share once (`dermedge.train.fit.training`), so that the logits are those
of equally frequent classes. But the few photos of a rare class are repeated most often and are overfitted, so that
the network predicts the class too rarely on held-out photos. Therefore a part of the logarithm is subtracted again:
Menon et al., "Long-Tail Learning via Logit Adjustment", 2021, equation 9.
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
        amounts: float32 [K], one per class, with mean 0.
        metrics: for the manifest: the strength, and the balanced accuracy of the float network on validation
            by the most probable class, with the adjustment and without it.
    """

    amounts: NDArray[np.float32]
    metrics: dict[str, Any]


def fit_adjustment(
    logits: NDArray[np.float32], truth: NDArray[np.int64], shares: NDArray[np.float32]
) -> LogitAdjustment:
    """Return the adjustment with the strength of `fit_strength`, which takes the same arguments."""
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
    """Return float32 [K]: minus the strength times the logarithm of each class's share, shifted to mean 0."""
    return (strength * (np.log(shares).mean() - np.log(shares))).astype(np.float32)


def fit_strength(
    logits: NDArray[np.floating], truth: NDArray[np.integer], shares: NDArray[np.floating]
) -> float:
    """Return the part of the logarithm of its share, 0 to 1, that is still to be subtracted from each logit.

    It is the strength with the least cross-entropy, with classes weighted equally, at the temperature that
    fits best with it.

    Args:
        logits: float [n, K], of held-out photos.
        truth: int [n].
        shares: float [K], share of each class in the photos sampled for training; equal shares give 0.
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
