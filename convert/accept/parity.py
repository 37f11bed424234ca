"""Parity: the differences between the logits of a converted file and the logits of the network it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parity", "compare"]


@dataclass(frozen=True)
class Parity:
    """The difference between a file and the network that it was made from, on the same photos.

    The mean logit of each photo is subtracted before logits are compared.

    Attributes:
        photos: the number of photos.
        agreement: the fraction of the photos for which the file and the network have the same most probable class.
        max_logit_difference: the largest absolute difference of a logit over all photos and classes.
        mean_logit_difference: the mean absolute difference of a logit over all photos and classes.
    """

    photos: int
    agreement: float
    max_logit_difference: float
    mean_logit_difference: float

    def to_json(self) -> dict[str, float]:
        """Return the values for the manifest and the report, under the keys of manifest version 1."""
        return {
            "pictures": self.photos,
            "agreement": round(self.agreement, 5),
            "max_logit_difference": round(self.max_logit_difference, 5),
            "mean_logit_difference": round(self.mean_logit_difference, 5),
        }


def compare(reference: NDArray[np.floating], device: NDArray[np.floating]) -> Parity:
    """Return the parity of two float [n, K] arrays of logits.

    A constant that is added to all logits of a photo does not change the result.
    """
    difference = np.abs(_centred(reference) - _centred(device))
    same = reference.argmax(axis=1) == device.argmax(axis=1)
    return Parity(len(same), float(same.mean()), float(difference.max()), float(difference.mean()))


def _centred(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return logits - logits.mean(axis=1, keepdims=True)
