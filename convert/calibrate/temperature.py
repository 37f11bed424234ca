"""Temperature scaling: make the probabilities of a file match its accuracy.

The temperature never changes which class is the most probable one.

Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dermedge.edge.model.decision import softmax
from dermedge.train.evaluation.metrics import calibration_error

__all__ = ["calibrated", "calibration_scores", "cross_entropy", "expected_error", "fit_temperature"]

_TEMPERATURES = (0.1, 10.0)


def fit_temperature(
    logits: NDArray[np.floating],
    truth: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Return the temperature between 0.1 and 10 with the lowest cross-entropy.

    Args:
        logits: the logits for the photos, float [n, K].
        truth: the classes of the photos, int [n].
        weights: the weight of each photo, float [n]. By default, all photos have the same weight.
    """
    low, high = (float(np.log(end)) for end in _TEMPERATURES)
    best = minimize_scalar(
        lambda log_temperature: cross_entropy(logits / np.exp(log_temperature), truth, weights),
        bounds=(low, high),
        method="bounded",
    )
    return round(float(np.exp(best.x)), 4)


def cross_entropy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], weights: NDArray[np.floating] | None = None
) -> float:
    """Return the mean cross-entropy in nats. `fit_temperature` explains the arguments."""
    centred = logits - logits.max(axis=1, keepdims=True)
    true = centred[np.arange(len(truth)), truth]
    return float(np.average(np.log(np.exp(centred).sum(axis=1)) - true, weights=weights))


def calibrated(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return softmax(logits / temperature), float64 [n, K], for float [n, K] logits, computed as on the device."""
    return np.array([softmax(row, temperature) for row in logits.tolist()])


def calibration_scores(
    logits: NDArray[np.floating], truth: NDArray[np.integer], temperature: float
) -> dict[str, float]:
    """Return the expected calibration error on validation photos.

    ``val_ece`` is the error with the temperature, and ``val_ece_unscaled`` is the error without it.
    """
    return {
        "val_ece_unscaled": expected_error(calibrated(logits, 1.0), truth),
        "val_ece": expected_error(calibrated(logits, temperature), truth),
    }


def expected_error(probabilities: NDArray[np.float64], truth: NDArray[np.integer]) -> float:
    """Return the expected calibration error, 0 to 1 with four decimals, of probabilities, float64 [n, K]."""
    # `calibration_error` expects a row of ones for the error, and at least one more row for the confidence interval.
    # The interval is not used here, so the second row is a placeholder.
    each_photo_once = np.ones((2, len(truth)))
    right = probabilities.argmax(axis=1) == truth
    return round(calibration_error(probabilities.max(axis=1), right, each_photo_once).value, 4)
