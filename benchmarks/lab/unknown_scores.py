"""Computes scores that should detect photos of unknown content, from features and logits.

A higher score means that the photo is more probably unknown. The named classes are all classes except "none of these".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCORES", "Answered", "Reference"]

_Floats = NDArray[np.float64]
_NEIGHBOURS = 10
# This fraction of the mean variance is added to each variance, so that the covariance matrix can be inverted.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Answered:
    """The outputs of a network for n photos.

    Attributes:
        features: the input of the last layer, averaged over all positions of the feature map, float64 [n, F].
        logits: the outputs before the softmax, float64 [n, K].
        none_index: the column of the class "none of these" in ``logits``.
    """

    features: _Floats
    logits: _Floats
    none_index: int

    @property
    def probabilities(self) -> _Floats:
        """The probabilities of the classes, softmax(logits), float64 [n, K]."""
        return np.exp(self.logits - _log_sum(self.logits)[:, None])

    @property
    def named_logits(self) -> _Floats:
        """The logits of all classes except "none of these", float64 [n, K - 1]."""
        return np.delete(self.logits, self.none_index, axis=1)


@dataclass(frozen=True)
class Reference:
    """The features of training photos of the named classes, with which the features of other photos are compared.

    Attributes:
        features: the features of m photos, float64 [m, F].
        labels: the class of each photo, int64 [m].
    """

    features: _Floats
    labels: NDArray[np.int64]

    @property
    def means(self) -> _Floats:
        """The mean features of each class, float64 [C, F]."""
        return np.stack(
            [self.features[self.labels == label].mean(axis=0) for label in np.unique(self.labels)]
        )


def _log_sum(logits: _Floats) -> _Floats:
    return np.asarray(np.logaddexp.reduce(logits, axis=1))


def none_probability(photos: Answered, known: Reference) -> _Floats:
    """Returns p(none of these), the score that the device uses."""
    return np.asarray(photos.probabilities[:, photos.none_index])


def named_doubt(photos: Answered, known: Reference) -> _Floats:
    """Returns 1 minus the probability of the most probable named class (Hendrycks and Gimpel, 2017)."""
    return np.asarray(1 - np.delete(photos.probabilities, photos.none_index, axis=1).max(axis=1))


def energy(photos: Answered, known: Reference) -> _Floats:
    """Returns -log(sum(exp(z))) over the named classes (Liu et al., "Energy-based Out-of-distribution Detection",
    2020).
    """
    return -_log_sum(photos.named_logits)


def mahalanobis(photos: Answered, known: Reference) -> _Floats:
    """Returns the squared Mahalanobis distance to the nearest class mean (Lee et al., 2018).

    The distance uses the covariance within the classes.
    """
    centres = np.searchsorted(np.unique(known.labels), known.labels)
    precision = _precision(known.features - known.means[centres])
    return np.min([_distances(photos.features - mean, precision) for mean in known.means], axis=0)


def relative_mahalanobis(photos: Answered, known: Reference) -> _Floats:
    """Returns the difference of two squared Mahalanobis distances (Ren et al., 2021).

    The first distance is `mahalanobis`. The second distance is subtracted from it: the distance to the mean of all
    photos in ``known``. The second distance uses the covariance of all these photos, without regard to their classes.
    """
    centre = known.features.mean(axis=0)
    precision = _precision(known.features - centre)
    return mahalanobis(photos, known) - _distances(photos.features - centre, precision)


def prototype(photos: Answered, known: Reference) -> _Floats:
    """Returns the negative cosine of the angle between the features and the nearest class mean."""
    return -(_unit(photos.features) @ _unit(known.means).T).max(axis=1)


def neighbours(photos: Answered, known: Reference) -> _Floats:
    """Returns the negative mean cosine of the angles to the ten nearest training photos (after Sun et al., 2022)."""
    cosines = _unit(photos.features) @ _unit(known.features).T
    nearest = np.partition(cosines, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
    return np.asarray(-nearest.mean(axis=1))


def _precision(deviations: _Floats) -> _Floats:
    covariance = deviations.T @ deviations / len(deviations)
    return np.linalg.inv(covariance + _RIDGE * np.diag(covariance).mean() * np.eye(len(covariance)))


def _distances(deviations: _Floats, precision: _Floats) -> _Floats:
    return np.asarray((deviations @ precision * deviations).sum(axis=1))


def _unit(vectors: _Floats) -> _Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


SCORES: dict[str, Callable[[Answered, Reference], _Floats]] = {
    "p(none of these)": none_probability,
    "1 - p(most probable named class)": named_doubt,
    "energy of the named classes": energy,
    "Mahalanobis distance": mahalanobis,
    "relative Mahalanobis distance": relative_mahalanobis,
    "nearest class mean, by cosine": prototype,
    "ten nearest photos, by cosine": neighbours,
}
