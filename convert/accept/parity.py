"""Parity: how close the answers of a converted file are to those of its Keras model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parity", "compare"]


@dataclass(frozen=True)
class Parity:
    """The difference between a file and its Keras model on the same photos.

    Attributes:
        photos: number of photos.
        agreement: share of the photos with the same answer of both.
        max_logit_difference: largest absolute difference over photos and classes.
        mean_logit_difference: mean of the absolute differences.
    """

    photos: int
    agreement: float
    max_logit_difference: float
    mean_logit_difference: float

    def to_json(self) -> dict[str, float]:
        """Return the values for manifest and report, under the keys that manifest version 1 has."""
        return {
            "pictures": self.photos,
            "agreement": round(self.agreement, 5),
            "max_logit_difference": round(self.max_logit_difference, 5),
            "mean_logit_difference": round(self.mean_logit_difference, 5),
        }


def compare(reference: NDArray[np.floating], device: NDArray[np.floating]) -> Parity:
    """Return the parity of two float [n, K] arrays of logits. A constant that is added to a whole row has no effect."""
    difference = np.abs(_centred(reference) - _centred(device))
    same = reference.argmax(axis=1) == device.argmax(axis=1)
    return Parity(len(same), float(same.mean()), float(difference.max()), float(difference.mean()))


def _centred(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return logits - logits.mean(axis=1, keepdims=True)
