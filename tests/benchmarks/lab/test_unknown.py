"""Scores of how unknown a photo is equal their formulas, and are compared on photos of the right kind."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from dermedge.benchmarks.lab.unknown import NO_CLASS, NO_LESION, compare_scores
from dermedge.benchmarks.lab.unknown_scores import SCORES, Answered, Reference
from dermedge.train.data.catalogue import NONE_OF_THESE, Photo

# The features of class 0 are (1, 10) and (-1, 10), those of class 1 are (10, 1) and (10, -1).
KNOWN = Reference(
    np.array([[1.0, 10.0], [-1.0, 10.0], [10.0, 1.0], [10.0, -1.0]] * 5), np.array([0, 0, 1, 1] * 5)
)
LOGITS = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def score(name: str, features: list[list[float]]) -> list[float]:
    logits = np.resize(LOGITS, (len(features), 3))
    return SCORES[name](Answered(np.array(features), logits, 2), KNOWN).tolist()


def test_scores_of_logits_are_those_worked_out_by_hand() -> None:
    photos = [[0.0, 1.0], [1.0, 0.0]]
    assert score("p(none of these)", photos) == pytest.approx([0.2, 0.8])
    assert score("1 - p(most probable named class)", photos) == pytest.approx([0.5, 0.9])
    assert score("energy of the named classes", photos) == pytest.approx([-np.log(0.8), -np.log(0.2)])


def test_a_distance_counts_in_units_of_the_spread_within_the_classes() -> None:
    # (0, 10) is the mean of class 0. Within the classes, each feature has the variance 1/2, to which 1/2000 is added,
    # and the covariance is 0.
    at_mean, beside, far = score("Mahalanobis distance", [[0, 10], [3, 10], [0, 14]])
    assert at_mean == pytest.approx(0)
    assert beside == pytest.approx(9 / (0.5 * 1.001))
    assert far == pytest.approx(16 / (0.5 * 1.001))


def test_the_relative_distance_takes_off_that_of_all_photos() -> None:
    centre = KNOWN.features.mean(axis=0)
    covariance = np.cov(KNOWN.features.T, bias=True)
    covariance += 1e-3 * np.diag(covariance).mean() * np.eye(2)
    away = np.array([3.0, 10.0]) - centre
    expected = 9 / (0.5 * 1.001) - away @ np.linalg.solve(covariance, away)
    assert score("relative Mahalanobis distance", [[3, 10]]) == pytest.approx([expected])


def test_cosines_ignore_the_length_of_features() -> None:
    near, diagonal = score("nearest class mean, by cosine", [[0, 99], [2, 2]])
    assert (near, diagonal) == pytest.approx((-1, -np.sqrt(0.5)))
    # the ten nearest of the twenty photos are those of class 0, at (1, 10) and (-1, 10)
    assert score("ten nearest photos, by cosine", [[0, 7]]) == pytest.approx([-10 / np.sqrt(101)])


def test_each_kind_is_compared_with_the_named_classes_alone() -> None:
    diagnoses = ["melanoma", "nevus", "clothing", "trichoblastoma"]
    photos = [
        Photo("", "", "", str(number), name, name if number < 2 else NONE_OF_THESE, "")
        for number, name in enumerate(diagnoses)
    ]
    none = np.array([0.1, 0.3, 0.2, 0.9])
    logits = np.log(np.stack([(1 - none) / 2, (1 - none) / 2, none], axis=1))
    found = compare_scores(photos, Answered(np.ones((4, 2)), logits, 2), KNOWN)
    assert set(found) == set(SCORES)
    assert found["p(none of these)"][NO_LESION].value == 0.5
    assert found["p(none of these)"][NO_CLASS].value == 1
