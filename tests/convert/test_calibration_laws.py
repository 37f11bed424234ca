"""Temperature and logit adjustment equal values computed by hand, or found by trying all values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from dermedge.convert.calibrate.logit_adjustment import adjustment_amounts, fit_adjustment, fit_strength
from dermedge.convert.calibrate.temperature import calibrated, cross_entropy, fit_temperature
from dermedge.convert.calibrate.usefulness import useful_temperature

# Class 0 has nine times as many photos as class 1. Classes of lesions are as unequal.
UNEQUAL = (0.9, 0.1)


def two_classes(margin: float, right: int, wrong: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that prefer class 0 by a margin, and true classes, ``right`` of which are 0."""
    count = right + wrong
    return np.tile([margin, 0.0], (count, 1)), np.repeat([0, 1], [right, wrong])


def drawn(
    count: int, shares: NDArray[np.float64], bias: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Right logits for classes of these shares, plus ``bias`` times the logarithm of the shares."""
    rng = np.random.default_rng(3)
    truth = rng.choice(len(shares), count, p=shares)
    evidence = rng.normal(0, 1, (count, len(shares))) + 1.5 * np.eye(len(shares))[truth]
    return 1.5 * evidence + bias * np.log(shares), truth


def test_the_cross_entropy_is_the_mean_of_minus_the_log_probability_of_the_truth() -> None:
    rng = np.random.default_rng(0)
    logits, truth, weights = rng.normal(0, 3, (50, 4)), rng.integers(0, 4, 50), rng.random(50)
    losses = -log_softmax(logits, axis=1)[np.arange(50), truth]
    assert cross_entropy(logits, truth) == pytest.approx(losses.mean())
    assert cross_entropy(logits, truth, weights) == pytest.approx((losses * weights).sum() / weights.sum())
    # large logits do not overflow
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([1])) == pytest.approx(1000)


def test_the_temperature_makes_the_probability_the_share_of_right_answers() -> None:
    # Eight of ten answers are right, so the temperature T must give sigmoid(6 / T) = 0.8. This holds for T =
    # 6 / ln 4.
    logits, truth = two_classes(6.0, 8, 2)
    assert fit_temperature(logits, truth) == pytest.approx(6 / math.log(4), rel=1e-3)
    assert calibrated(logits[:1], 6 / math.log(4))[0] == pytest.approx([0.8, 0.2])
    # The confidence of a margin of 0.5 is too low. A temperature T below 1 raises it to sigmoid(0.5 / T) = 0.8.
    logits, truth = two_classes(0.5, 8, 2)
    assert fit_temperature(logits, truth) == pytest.approx(0.5 / math.log(4), rel=1e-3)


def test_weights_of_photos_count_in_the_temperature() -> None:
    logits, truth = two_classes(6.0, 8, 2)
    weights = np.where(truth == 1, 2.0, 1.0)
    # The two wrong photos count twice, so 8 of 12 answers are right.
    assert fit_temperature(logits, truth, weights) == pytest.approx(6 / math.log(2), rel=1e-3)


def test_the_temperature_is_from_a_tenth_to_ten() -> None:
    assert fit_temperature(*two_classes(0.05, 10, 0)) == pytest.approx(0.1, rel=0.02)
    assert fit_temperature(*two_classes(0.05, 0, 10)) == pytest.approx(10, rel=0.02)


def test_rare_classes_are_raised_by_the_logarithm_of_their_share() -> None:
    amounts = adjustment_amounts(1.0, np.array(UNEQUAL, np.float32))
    # Class 1 has a ninth of the photos of class 0, so the difference is ln 9. The mean of the amounts is 0.
    assert amounts[1] - amounts[0] == pytest.approx(math.log(9))
    assert amounts.sum() == pytest.approx(0, abs=1e-6)
    assert amounts.dtype == np.float32
    assert adjustment_amounts(0.25, np.array(UNEQUAL, np.float32)) == pytest.approx(amounts / 4)
    assert not adjustment_amounts(0.0, np.array(UNEQUAL, np.float32)).any()


def least_loss(
    logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    """The strength with the least weighted loss among all pairs of a strength and a temperature."""

    def loss(strength: float) -> float:
        adjusted = logits - strength * np.log(shares)
        return min(
            np.average(-log_softmax(adjusted / t, axis=1)[np.arange(len(truth)), truth], weights=weights)
            for t in np.geomspace(0.3, 4, 60)
        )

    return float(min(np.linspace(0, 1, 51), key=loss))


def test_the_strength_is_the_best_with_all_classes_alike_and_the_temperature_free() -> None:
    shares = np.array([0.75, 0.2, 0.05])
    logits, truth = drawn(1500, shares, bias=0.5)
    alike = 1 / np.bincount(truth)[truth]
    expected = least_loss(logits, truth, shares, alike)
    assert fit_strength(logits, truth, shares) == pytest.approx(expected, abs=0.03)
    # If all photos had the same weight, the best strength would be another one.
    assert abs(least_loss(logits, truth, shares, np.ones(len(truth))) - expected) > 0.1


def test_what_is_added_is_what_helps_and_the_figures_say_so() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    shares = np.array([0.75, 0.2, 0.05], np.float32)
    logits, truth = drawn(1500, shares / shares.sum(dtype=np.float64), bias=0.6)
    found = fit_adjustment(logits.astype(np.float32), truth, shares)
    strength = found.metrics["logit_adjustment"]
    assert 0.3 < strength < 0.9
    assert found.amounts == pytest.approx(adjustment_amounts(strength, shares))
    before = metrics.balanced_accuracy_score(truth, logits.argmax(axis=1))
    after = metrics.balanced_accuracy_score(truth, (logits - strength * np.log(shares)).argmax(axis=1))
    assert after > before
    assert found.metrics["val_float_balanced_accuracy"] == pytest.approx(after, abs=6e-5)
    assert found.metrics["val_float_balanced_accuracy_unadjusted"] == pytest.approx(before, abs=6e-5)


def test_equal_shares_leave_the_logits_as_they_are() -> None:
    logits, truth = drawn(300, np.array([0.6, 0.4]), bias=1.0)
    found = fit_adjustment(logits.astype(np.float32), truth, np.array([0.5, 0.5], np.float32))
    assert found.metrics["logit_adjustment"] == 0
    assert not found.amounts.any()


def test_a_temperature_that_changes_nothing_is_kept_without_a_word() -> None:
    # A margin of ln 4 means a probability of 0.8, and eight of ten answers are right.
    logits, truth = two_classes(math.log(4), 8, 2)
    temperature, lines = useful_temperature(logits, truth)
    assert temperature == pytest.approx(1, abs=1e-3)
    assert lines == []
