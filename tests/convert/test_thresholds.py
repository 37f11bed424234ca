"""Thresholds reach their targets on the photos that they were fitted on. Prediction sets also do so on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermedge.convert.calibrate.thresholds import decision_scores, fit_thresholds
from dermedge.edge.model.decision import decide, prediction_set

LABELS = ("melanoma", "nevus", "squamous cell carcinoma", "none of these")
NONE = 3
STEP = 1e-6  # rounding to the six decimals of the thresholds


def drawn(count: int, seed: int, sharpness: float = 1.5) -> tuple[NDArray[Any], NDArray[Any]]:
    """Calibrated probabilities [count, 4] and classes drawn from them, each of the four at least once."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (count, 4)) + np.array([0, 1.5, -1, 0.5])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(0, NONE)
    truth[:4] = range(4)
    return probabilities, truth


def fitted(probabilities: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    return fit_thresholds(probabilities, truth, LABELS, "none of these")


def mean_of_classes(of_photos: NDArray[Any], truth: NDArray[Any], among: NDArray[Any]) -> float:
    """The mean over the chosen photos of each class, averaged over these classes."""
    return float(np.mean([of_photos[among & (truth == one)].mean() for one in np.unique(truth[among])]))


def answered(probabilities: NDArray[Any], thresholds: dict[str, Any], what: str) -> NDArray[Any]:
    rows = probabilities.tolist()
    return np.array([getattr(decide(row, LABELS, "none of these", thresholds), what) for row in rows])


samples = st.builds(drawn, st.integers(20, 300), st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=50)
@given(samples)
def test_none_declines_at_most_4_percent_of_the_named_and_one_step_less_declines_more(sample: Any) -> None:
    probabilities, truth = sample
    least = fitted(probabilities, truth)["none"]

    def share(threshold: float) -> float:
        return float(answered(probabilities, {"none": threshold}, "declined")[truth != NONE].mean())

    assert share(least) <= 0.04 + 1e-9
    assert share(least - STEP) > 0.04


@settings(deadline=None, max_examples=50)
@given(samples)
def test_the_alert_finds_90_percent_of_the_melanomas_and_one_step_more_does_not(sample: Any) -> None:
    probabilities, truth = sample
    alert = fitted(probabilities, truth)["alert"]
    assert (alert["label"], alert["sensitivity"]) == ("melanoma", 0.9)

    def sensitivity(threshold: float) -> float:
        on = answered(probabilities, {"alert": {**alert, "threshold": threshold}}, "alert")
        return float(on[truth == 0].mean())

    assert sensitivity(alert["threshold"]) >= 0.9 - 1e-9
    assert sensitivity(alert["threshold"] + STEP) < 0.9


@settings(deadline=None, max_examples=50)
@given(samples)
def test_at_most_15_percent_of_the_answered_are_uncertain_and_one_step_more_makes_more(sample: Any) -> None:
    probabilities, truth = sample
    thresholds = fitted(probabilities, truth)
    among = (truth != NONE) & ~answered(probabilities, thresholds, "declined")

    def share(threshold: float) -> float:
        made = answered(probabilities, {**thresholds, "uncertain": threshold}, "uncertain")
        return mean_of_classes(made, truth, among)

    assert share(thresholds["uncertain"]) <= 0.15 + 1e-9
    assert share(thresholds["uncertain"] + STEP) > 0.15


@pytest.mark.parametrize("count", [9, 19, 60])
def test_sets_hold_the_class_of_new_photos_as_often_as_promised_in_each_class(count: int) -> None:
    """Sets that are fitted on n exchangeable photos cover ceil((n+1) 0.9)/(n+1) of new photos on average."""
    probabilities, truth = drawn(20_000, seed=count)
    rng = np.random.default_rng(1)
    held: list[list[float]] = []
    for _ in range(150):
        chosen = np.concatenate(
            [rng.permutation(np.flatnonzero(truth == one))[: 2 * count] for one in range(4)]
        )
        fit, new = chosen.reshape(4, 2, count)[:, 0].ravel(), chosen.reshape(4, 2, count)[:, 1].ravel()
        thresholds = fitted(probabilities[fit], truth[fit])
        sets = [prediction_set(row, LABELS, thresholds) for row in probabilities[new].tolist()]
        hits = np.array([true in one for true, one in zip(truth[new], sets, strict=True)])
        held.append([hits[truth[new] == one].mean() for one in range(4)])
    expected = np.ceil((count + 1) * 0.9 - 1e-9) / (count + 1)
    # The mean is over 150 shares of ``count`` photos each. The thresholds of each share vary as much as the
    # share itself, which doubles the variance.
    deviation = np.sqrt(2 * 0.9 * 0.1 / (150 * count))
    assert expected >= 0.9
    assert (np.abs(np.mean(held, axis=0) - expected) < 4 * deviation).all()


def test_a_class_with_too_few_photos_is_always_in_the_set() -> None:
    probabilities, truth = drawn(400, seed=0)
    for photos, least in ((8, 0.0), (9, probabilities[truth == 2][:9, 2].min())):
        chosen = np.concatenate([np.flatnonzero(truth != 2), np.flatnonzero(truth == 2)[:photos]])
        of_classes = fitted(probabilities[chosen], truth[chosen])["conformal"]["thresholds"]
        assert of_classes["squamous cell carcinoma"] == pytest.approx(least, abs=STEP)
    of_others = fitted(probabilities[truth != 2], truth[truth != 2])["conformal"]["thresholds"]
    assert of_others["squamous cell carcinoma"] == 0


def test_keys_are_absent_where_their_class_is() -> None:
    probabilities, truth = drawn(200, seed=3)
    assert fitted(probabilities, truth).keys() == {"none", "alert", "uncertain", "conformal"}
    others = fit_thresholds(probabilities, truth, ("a", "b", "c", "d"), None)
    assert others.keys() == {"uncertain", "conformal"}
    without_melanoma = fitted(probabilities[truth != 0], truth[truth != 0])
    assert "alert" not in without_melanoma
    only_melanoma = fitted(probabilities[truth == 0], truth[truth == 0])
    assert "alert" not in only_melanoma, "the specificity would be a mean of no photos"
    only_none = fitted(probabilities[truth == NONE], truth[truth == NONE])
    assert only_none.keys() == {"conformal"}


def test_probabilities_of_exactly_0_and_1_fit_thresholds_that_are_probabilities() -> None:
    truth = np.repeat(range(4), 25)
    for probabilities in (np.eye(4)[truth], np.eye(4)[(truth + 1) % 4], np.eye(4)[np.full(100, NONE)]):
        thresholds = fitted(probabilities, truth)
        assert 0 <= thresholds["none"] <= 1
        assert 0 <= thresholds["alert"]["threshold"] <= 1
        assert 0 <= thresholds.get("uncertain", 0) <= 1
        scores = decision_scores(probabilities, truth, LABELS, "none of these", thresholds)
        assert all(0 <= value <= 4 for value in scores.values())


def test_the_scores_are_the_shares_that_their_names_say() -> None:
    probabilities, truth = drawn(500, seed=7)
    thresholds = fitted(probabilities, truth)
    scores = decision_scores(probabilities, truth, LABELS, "none of these", thresholds)
    said = {
        what: answered(probabilities, thresholds, what)
        for what in ("index", "declined", "uncertain", "alert")
    }
    named = truth != NONE
    kept = named & ~said["declined"]
    wrong = said["index"] != truth
    everything = np.ones(len(truth), bool)
    sets = [prediction_set(row, LABELS, thresholds) for row in probabilities.tolist()]
    expected = {
        "val_accuracy": 1 - wrong.mean(),
        "val_balanced_accuracy": 1 - mean_of_classes(wrong, truth, everything),
        "val_balanced_accuracy_argmax": mean_of_classes(
            probabilities.argmax(axis=1) == truth, truth, everything
        ),
        "val_declined": said["declined"][named].mean(),
        "val_none_declined": said["declined"][~named].mean(),
        "val_alert_sensitivity": said["alert"][truth == 0].mean(),
        "val_alert_specificity": 1 - said["alert"][truth != 0].mean(),
        "val_uncertain": mean_of_classes(said["uncertain"], truth, kept),
        "val_risk": mean_of_classes(wrong, truth, kept),
        "val_risk_certain": mean_of_classes(wrong, truth, kept & ~said["uncertain"]),
        "val_set_coverage": mean_of_classes(
            np.array([true in one for true, one in zip(truth, sets, strict=True)]), truth, everything
        ),
        "val_set_size": mean_of_classes(np.array([len(one) for one in sets]), truth, everything),
    }
    assert scores == pytest.approx(expected, abs=1e-4)
    assert scores["val_risk_certain"] < scores["val_risk"]
