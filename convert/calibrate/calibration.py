"""Fit the temperature and the thresholds of a file to its own answers on the proof set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.calibrate.temperature import calibrated, calibration_scores
from dermedge.convert.calibrate.thresholds import decision_scores, fit_thresholds
from dermedge.convert.calibrate.usefulness import threshold_warnings, useful_temperature, useful_thresholds
from dermedge.convert.load.conversion_input import ProofSet

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True)
class Calibration:
    """The part of a manifest that is fitted on validation photos.

    Attributes:
        temperature: temperature of the softmax.
        thresholds: thresholds of the decision, as `fit_thresholds` returns them.
        metrics: what both achieve on these photos, as `calibration_scores` and `decision_scores` return it.
        warnings: one line for each part that was left out because it does harm, or that tells nothing.
    """

    temperature: float
    thresholds: dict[str, Any]
    metrics: dict[str, Any]
    warnings: tuple[str, ...]


def calibrate(proof: ProofSet, logits: NDArray[np.floating]) -> Calibration:
    """Fit the temperature, then the thresholds; leave out what does harm on these photos.

    Args:
        proof: the photos.
        logits: float [n, K], the answers of the converted file on these photos.
    """
    temperature, of_temperature = useful_temperature(logits, proof.truth)
    probabilities = calibrated(logits, temperature)
    photos = (probabilities, proof.truth, proof.labels, proof.none_label)
    thresholds, of_thresholds = useful_thresholds(*photos, fit_thresholds(*photos, proof.critical))
    metrics = {
        "val_photos": len(proof.truth),
        **calibration_scores(logits, proof.truth, temperature),
        **decision_scores(*photos, thresholds),
    }
    warnings = (*of_temperature, *of_thresholds, *threshold_warnings(probabilities, proof.labels, thresholds))
    return Calibration(temperature, thresholds, metrics, warnings)
