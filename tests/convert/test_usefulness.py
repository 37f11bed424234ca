"""A calibration step that makes its own figure worse is left out of the manifest. A warning names a useless one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.calibrate.temperature import calibrated, calibration_scores, fit_temperature
from dermedge.convert.calibrate.thresholds import fit_thresholds
from dermedge.convert.calibrate.usefulness import threshold_warnings, useful_temperature, useful_thresholds
from dermedge.convert.load.conversion_input import ProofSet

LABELS = ("melanoma", "nevus", "none of these")
NONE = 2


def sampled(count: int, temperature: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits and classes, sampled by their softmax at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (count, 3))
    truth = (calibrated(logits, temperature).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits, truth.clip(0, 2)


def test_a_temperature_that_helps_is_kept() -> None:
    logits, truth = sampled(2000, 2.5)
    assert useful_temperature(logits, truth) == (fit_temperature(logits, truth), [])


def test_a_temperature_that_raises_the_calibration_error_is_1() -> None:
    # Of the answers with a probability of 0.8, 80 % are right. One photo has a sure and wrong answer, and
    # because of it the cross-entropy asks for less confidence in all answers.
    logits = np.log(np.repeat([[0.8, 0.2, 1e-9]], 100, axis=0))
    truth = np.repeat([0, 1], [80, 20])
    logits = np.concatenate([logits, [[30.0, 0.0, -30.0]]])
    truth = np.append(truth, 2)
    fitted = fit_temperature(logits, truth)
    scores = calibration_scores(logits, truth, fitted)
    assert scores["val_ece"] > scores["val_ece_unscaled"]
    kept, lines = useful_temperature(logits, truth)
    assert kept == 1.0
    assert lines == [
        f"the temperature stays 1, because the fitted temperature {fitted:.2f} raises the calibration error from "
        f"{scores['val_ece_unscaled']:.3f} to {scores['val_ece']:.3f}"
    ]


def test_useful_thresholds_are_all_kept() -> None:
    logits, truth = sampled(600, 1.0)
    probabilities = calibrated(logits, 1.0)
    thresholds = fit_thresholds(probabilities, truth, LABELS, "none of these")
    assert useful_thresholds(probabilities, truth, LABELS, "none of these", thresholds) == (thresholds, [])


def test_a_threshold_that_declines_only_named_photos_is_left_out() -> None:
    # All photos of "none of these" look like a nevus. One of the 50 named photos looks like none of these.
    truth = np.repeat([0, 1, 2], [25, 25, 50])
    probabilities = np.tile([0.1, 0.8, 0.1], (100, 1))
    probabilities[:25] = [0.8, 0.1, 0.1]
    probabilities[:1] = [0.05, 0.05, 0.9]
    thresholds = {**fit_thresholds(probabilities, truth, LABELS, "none of these"), "none": 0.5}
    kept, lines = useful_thresholds(probabilities, truth, LABELS, "none of these", thresholds)
    assert "none" not in kept
    assert kept.keys() == thresholds.keys() - {"none"}
    assert lines == [
        "there is no threshold for 'none of these', because the fitted threshold declines 2.0% of the photos of named "
        "classes and only 0.0% of the other photos"
    ]


def test_an_alert_that_is_on_for_other_classes_more_often_is_left_out() -> None:
    truth = np.repeat([0, 1], 50)
    probabilities = np.tile([0.3, 0.7, 0.0], (100, 1))
    probabilities[[0, 1, 2, 3]] = [0.1, 0.9, 0.0]
    thresholds = fit_thresholds(probabilities, truth, LABELS, None)
    kept, lines = useful_thresholds(probabilities, truth, LABELS, None, thresholds)
    assert "alert" not in kept
    assert (
        "the fitted alert is on for 92.0% of the photos of its own class and for 100.0% of the other"
        in lines[0]
    )


def test_marks_of_uncertainty_on_right_answers_are_left_out() -> None:
    truth = np.array([0] * 40 + [1] * 40)
    probabilities = np.tile([0.4, 0.6, 0.0], (80, 1))
    probabilities[:4] = [0.51, 0.49, 0.0]
    thresholds = {**fit_thresholds(probabilities, truth, LABELS, None), "uncertain": 0.55}
    kept, lines = useful_thresholds(probabilities, truth, LABELS, None, thresholds)
    assert "uncertain" not in kept
    assert lines[-1] == (
        "no answer is marked as uncertain, because with the fitted threshold, the balanced error of the certain "
        "answers would be 0.500, and that of all answers is only 0.450"
    )


def test_an_alert_that_is_always_on_or_off_is_warned_of() -> None:
    probabilities = np.array([[0.3, 0.6, 0.1], [0.4, 0.5, 0.1]])
    sets = {"conformal": {"thresholds": {"melanoma": 0.0, "nevus": 0.0, "none of these": 0.2}}}

    def warned(threshold: float) -> list[str]:
        alert = {"label": "melanoma", "threshold": threshold, "sensitivity": 0.9}
        return threshold_warnings(probabilities, LABELS, {"alert": alert, **sets})

    assert warned(0.3) == ["the alert for melanoma is on for all 2 photos, so it tells nothing"]
    assert warned(0.35) == []
    assert warned(0.41) == ["the alert for melanoma is off for all 2 photos, so it tells nothing"]


def test_sets_that_hold_all_classes_for_most_photos_are_warned_of() -> None:
    probabilities = np.array([[0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05]])
    few = dict.fromkeys(LABELS, 0.1)
    assert threshold_warnings(probabilities, LABELS, {"conformal": {"thresholds": few}}) == []
    all_of = dict.fromkeys(LABELS, 0.0)
    assert threshold_warnings(probabilities, LABELS, {"conformal": {"thresholds": all_of}}) == [
        "the prediction sets hold all 3 classes for 100% of the photos, so they tell little"
    ]


def test_a_manifest_gets_what_is_kept_and_the_figures_of_it() -> None:
    truth = np.repeat([0, 1], 50)
    logits = np.log(np.tile([0.3, 0.7], (100, 1)))
    logits[:4] = np.log([0.1, 0.9])
    pixels = np.zeros((100, 1, 1, 3), np.uint8)
    groups = [str(index) for index in range(100)]
    proof = ProofSet(pixels, truth, groups, ("melanoma", "nevus"), None, logits, "melanoma")
    calibration = calibrate(proof, logits)
    assert "alert" not in calibration.thresholds
    assert "val_alert_sensitivity" not in calibration.metrics
    assert any(line.startswith("there is no alert") for line in calibration.warnings)
