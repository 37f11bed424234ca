"""Leave out a temperature or a threshold that does harm, and warn of thresholds that are useless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.calibrate.temperature import (
    calibration_scores,
    cross_entropy,
    fit_temperature,
)
from dermedge.convert.calibrate.thresholds import decision_scores, uncertain_threshold
from dermedge.edge.model.decision import prediction_set

__all__ = ["threshold_warnings", "useful_temperature", "useful_thresholds"]

# The user is warned if more than this fraction of the prediction sets hold all classes. Such a set says nothing.
_MOST_WHOLE_SETS = 0.5

_Floats = NDArray[np.floating]
_Integers = NDArray[np.integer]


def useful_temperature(logits: _Floats, truth: _Integers) -> tuple[float, list[str]]:
    """Fit the temperature. Return the temperature, and a list of the reasons why the fitted temperature is not used.

    The fitted temperature is not used if it raises the calibration error or the cross-entropy. The temperature is then
    1, and the list has one reason. Otherwise, the list is empty.

    Args:
        logits: the logits for the photos, float [n, K].
        truth: the classes of the photos, int [n].
    """
    fitted = fit_temperature(logits, truth)
    scores = calibration_scores(logits, truth, fitted)
    before, after = scores["val_ece_unscaled"], scores["val_ece"]
    if after > before:
        return 1.0, [_kept(fitted, "calibration error", before, after)]
    before, after = cross_entropy(logits, truth), cross_entropy(logits / fitted, truth)
    if after > before:
        return 1.0, [_kept(fitted, "cross-entropy", before, after)]
    return fitted, []


def _kept(fitted: float, figure: str, before: float, after: float) -> str:
    return (
        f"the temperature stays 1, because the fitted temperature {fitted:.2f} raises the {figure} from {before:.3f} "
        f"to {after:.3f}"
    )


def useful_thresholds(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Return the thresholds without those that do harm, and a line for each threshold that is left out.

    - ``none`` is left out if it gives the answer "none of these" to photos of other classes at least as often as to
      photos of the class "none of these". There is one exception: ``none`` is kept if the most probable class alone
      would separate these two groups of photos even worse.
    - ``alert`` is left out if the alert is on more often for photos of other classes than for photos of the class that
      the alert is for.
    - ``uncertain`` is left out if the certain answers are wrong more often than all answers.

    Args:
        probabilities: the calibrated probabilities of the file in the device runtime, float [n, K].
        truth: the classes of the photos, int [n].
        labels: the K classes.
        none_label: the class that stands for "none of these", or None.
        thresholds: the thresholds, as `fit_thresholds` returns them.
    """
    photos = (probabilities, truth, labels, none_label)
    notes = []
    reason = _harm_of_none(*photos, thresholds)
    if reason:
        notes.append(reason)
        # The threshold ``uncertain`` depends on which photos are declined, so it is fitted again.
        kept = {key: thresholds[key] for key in thresholds if key not in ("none", "uncertain")}
        uncertain = uncertain_threshold(*photos, kept)
        thresholds = kept if uncertain is None else {**kept, "uncertain": uncertain}
    scores = decision_scores(*photos, thresholds)
    for key, reason in (("alert", _harm_of_alert(scores)), ("uncertain", _harm_of_uncertain(scores))):
        if reason:
            notes.append(reason)
            thresholds = {name: value for name, value in thresholds.items() if name != key}
    return thresholds, notes


def _harm_of_none(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> str:
    """Return the reason why the threshold ``none`` is left out. The text is empty if there is no reason."""
    scores = decision_scores(probabilities, truth, labels, none_label, thresholds)
    if "none" not in thresholds or "val_none_declined" not in scores:
        return ""
    index = labels.index(str(none_label))
    declined, is_none = probabilities.argmax(axis=1) == index, truth == index
    without = declined[is_none].mean() - declined[~is_none].mean()
    named, others = scores["val_declined"], scores["val_none_declined"]
    if others > named or without < others - named:
        return ""
    return (
        f"there is no threshold for '{none_label}', because the fitted threshold declines {named:.1%} of the photos of "
        f"named classes and only {others:.1%} of the other photos"
    )


def _harm_of_alert(scores: dict[str, float]) -> str:
    sensitivity, specificity = (
        scores.get(f"val_alert_{name}", 1.0) for name in ("sensitivity", "specificity")
    )
    if sensitivity >= 1 - specificity:
        return ""
    return (
        f"there is no alert, because the fitted alert is on for {sensitivity:.1%} of the photos of its own class and "
        f"for {1 - specificity:.1%} of the other photos"
    )


def _harm_of_uncertain(scores: dict[str, float]) -> str:
    risk, certain = scores.get("val_risk", 0.0), scores.get("val_risk_certain", 0.0)
    if certain <= risk:
        return ""
    return (
        f"no answer is marked as uncertain, because with the fitted threshold, the balanced error of the certain "
        f"answers would be {certain:.3f}, and that of all answers is only {risk:.3f}"
    )


def threshold_warnings(
    probabilities: _Floats, labels: Sequence[str], thresholds: dict[str, Any]
) -> list[str]:
    """Return a warning for an alert that is always or never on, and for prediction sets that mostly hold all classes.

    Args:
        probabilities: the probabilities for the validation photos, float [n, K].
        labels: the K classes.
        thresholds: the thresholds that were not left out.
    """
    lines = []
    if "alert" in thresholds:
        label, least = thresholds["alert"]["label"], thresholds["alert"]["threshold"]
        is_on = probabilities[:, labels.index(label)] >= least
        if is_on.all() or not is_on.any():
            state = "on" if is_on.all() else "off"
            lines.append(f"the alert for {label} is {state} for all {len(is_on)} photos, so it tells nothing")
    rows = probabilities.tolist()
    whole = float(np.mean([len(prediction_set(row, labels, thresholds)) == len(labels) for row in rows]))
    if whole > _MOST_WHOLE_SETS:
        lines.append(
            f"the prediction sets hold all {len(labels)} classes for {whole:.0%} of the photos, so they tell little"
        )
    return lines
