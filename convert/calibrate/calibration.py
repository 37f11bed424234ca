"""Fit the temperature and the thresholds of a file to its own answers on the proof set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.calibrate.temperature import calibrated, calibration_scores, fit_temperature
from dermedge.convert.calibrate.thresholds import decision_scores, fit_thresholds
from dermedge.convert.load.conversion_input import ProofSet

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """The part of a manifest that is fitted on validation photos.

    Attributes:
        temperature: temperature of the softmax.
        thresholds: thresholds of the decision, as `fit_thresholds` returns them.
        metrics: what both achieve on these photos, as `calibration_scores` and `decision_scores` return it.
    """

    temperature: float
    thresholds: dict[str, Any]
    metrics: dict[str, Any]


def calibrate(proof: ProofSet, logits: NDArray[np.floating]) -> Calibration:
    """Fit the temperature, then the thresholds.

    Args:
        proof: the photos.
        logits: float [n, K], the answers of the converted file on these photos.
    """
    temperature = fit_temperature(logits, proof.truth)
    probabilities = calibrated(logits, temperature)
    classes = (proof.labels, proof.none_label)
    thresholds = fit_thresholds(probabilities, proof.truth, *classes, proof.critical)
    metrics = {
        "val_photos": len(proof.truth),
        **calibration_scores(logits, proof.truth, temperature),
        **decision_scores(probabilities, proof.truth, *classes, thresholds),
    }
    return Calibration(temperature, thresholds, metrics)
