"""Fit the thresholds of the decision on validation photos, and score their effect there.

`dermedge.edge.model.decision` defines what each threshold does. "Named" classes are all but "none of these".
The share of named photos that are declined counts every photo equally. With equally weighted classes, two photos of a
rare class would decide it. All other shares weight every class that occurs equally, because a device sees another
class distribution than validation. The photos that fit a threshold also score it, so expect slightly worse figures on
new photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.decision import Decision, decide, prediction_set
from dermedge.train.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix

__all__ = ["decision_scores", "fit_thresholds", "scores_of_each", "uncertain_threshold"]

# The aim is at most 5 % on new photos; one point is kept as a margin.
_DECLINED_AT_MOST = 0.04
_ALERT_SENSITIVITY = 0.90
_UNCERTAIN_SHARE = 0.15
_COVERAGE = 0.90

# Thresholds have six decimals. They are rounded to the side on which they still hold their target.
_STEPS = 10**6
# Tolerance for float rounding in sums of weights.
_TOLERANCE = 1e-9

_Floats = NDArray[np.floating]
_Integers = NDArray[np.integer]
_Bools = NDArray[np.bool_]


def fit_thresholds(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    critical: str | None = "melanoma",
) -> dict[str, Any]:
    """Return the ``thresholds`` of a manifest. A key is absent if its class or the photos for it are missing.

    - ``none``: the lowest threshold at which at most 4 % of the named photos are declined.
    - ``alert``: the highest threshold with a sensitivity of at least 90 % for the critical class.
    - ``uncertain``: the highest threshold that makes at most 15 % of the answered named photos uncertain.
    - ``conformal``: for each class with n photos, the ceil((n + 1) * 0.9)-th highest of the probabilities of the
      class on these photos; 0, which is always reached, if n is too small (Sadinle, Lei and Wasserman, 2019; Vovk,
      2012).

    Args:
        probabilities: float [n, K], calibrated, by the device runtime.
        truth: int [n].
        labels: the K classes.
        none_label: the class that stands for "none of these", or None.
        critical: the class that the alert is for, or None.
    """
    named = _named(truth, labels, none_label)
    fitted: dict[str, Any] = {}
    if none_label in labels and named.any():
        fitted["none"] = _none_threshold(probabilities[named, labels.index(none_label)])
    if critical in labels and (truth == labels.index(critical)).any():
        index = labels.index(critical)
        threshold = _alert_threshold(probabilities[truth == index, index])
        fitted["alert"] = {"label": critical, "threshold": threshold, "sensitivity": _ALERT_SENSITIVITY}
    uncertain = uncertain_threshold(probabilities, truth, labels, none_label, fitted)
    if uncertain is not None:
        fitted["uncertain"] = uncertain
    of_classes = {
        label: _conformal_threshold(probabilities[truth == index, index])
        for index, label in enumerate(labels)
    }
    return {**fitted, "conformal": {"coverage": _COVERAGE, "thresholds": of_classes}}


def _none_threshold(p_none: _Floats) -> float:
    """Return the threshold ``none`` from the probabilities of "none of these" for the named photos.

    They are declined at p >= threshold.
    """
    # The threshold must lie above the highest p that too large a share reaches.
    return min(_above(-_reached(-p_none, np.ones(len(p_none)), _DECLINED_AT_MOST)), 1.0)


def _alert_threshold(p_critical: _Floats) -> float:
    """Return the threshold of the alert from the probabilities of the critical class for its own photos."""
    return _at_most(_reached(p_critical, np.ones(len(p_critical)), 1 - _ALERT_SENSITIVITY))


def uncertain_threshold(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> float | None:
    """Return the threshold ``uncertain`` of `fit_thresholds`, given the other thresholds; None if no photo is
    answered.
    """
    decisions = _decisions(probabilities, labels, none_label, thresholds)
    answered = _named(truth, labels, none_label) & ~np.array([one.declined for one in decisions])
    if not answered.any():
        return None
    of_answer = probabilities[np.arange(len(truth)), [one.index for one in decisions]]
    columns = [index for index, label in enumerate(labels) if label != none_label]
    share = of_answer[answered] / probabilities[:, columns].sum(axis=1)[answered]
    return _at_most(_reached(share, _evenly(truth, answered)[answered], _UNCERTAIN_SHARE))


def decision_scores(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> dict[str, float]:
    """Score the decisions on validation photos, by the same function that decides on the device.

    Args:
        probabilities: as in `fit_thresholds`; so are ``truth``, ``labels`` and ``none_label``.
        thresholds: as `fit_thresholds` returns them.

    Returns:
        ``val_accuracy`` and ``val_balanced_accuracy`` of the answers, and ``val_balanced_accuracy_argmax`` of
        the most probable classes. Where the threshold exists: ``val_declined``, the share of named photos that
        are declined, and ``val_none_declined``, that of other photos; ``val_alert_sensitivity`` and
        ``val_alert_specificity``; ``val_uncertain``, the share of the answered named photos, with
        ``val_risk``, their balanced error, and ``val_risk_certain``, that of the certain ones;
        ``val_set_coverage`` and ``val_set_size`` of the prediction sets.
    """
    return scores_of_each(probabilities, truth, labels, none_label, [thresholds] * len(truth))


def scores_of_each(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    each: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """Return the same as `decision_scores`, with separate thresholds for each photo.

    A threshold exists if one of them has it.
    """
    named = _named(truth, labels, none_label)
    decisions = [
        decide(row, labels, none_label, thresholds)
        for row, thresholds in zip(probabilities.tolist(), each, strict=True)
    ]
    known = {key: value for thresholds in each for key, value in thresholds.items()}
    declined = np.array([one.declined for one in decisions])
    scores = _answer_scores(probabilities, truth, np.array([one.index for one in decisions]))
    if "none" in known:
        scores["val_declined"] = declined[named].mean()
        if not named.all():
            scores["val_none_declined"] = declined[~named].mean()
    if "alert" in known:
        is_critical = truth == labels.index(known["alert"]["label"])
        alert = np.array([one.alert for one in decisions])
        scores["val_alert_sensitivity"] = alert[is_critical].mean()
        scores["val_alert_specificity"] = 1 - alert[~is_critical].mean()
    if "uncertain" in known:
        uncertain = np.array([one.uncertain for one in decisions])
        wrong = truth != np.array([one.index for one in decisions])
        scores |= _uncertain_scores(truth, named & ~declined, uncertain, wrong)
    scores |= _set_scores(probabilities, truth, labels, each)
    return {name: round(float(value), 4) for name, value in scores.items()}


def _answer_scores(probabilities: _Floats, truth: _Integers, answers: _Integers) -> dict[str, Any]:
    classes = probabilities.shape[1]
    matrix = confusion_matrix(truth, answers, classes)
    argmax_matrix = confusion_matrix(truth, probabilities.argmax(axis=1), classes)
    return {
        "val_accuracy": accuracy(matrix),
        "val_balanced_accuracy": balanced_accuracy(matrix),
        "val_balanced_accuracy_argmax": balanced_accuracy(argmax_matrix),
    }


def _uncertain_scores(truth: _Integers, answered: _Bools, uncertain: _Bools, wrong: _Bools) -> dict[str, Any]:
    return {
        "val_uncertain": _evenly(truth, answered) @ uncertain,
        "val_risk": _evenly(truth, answered) @ wrong,
        "val_risk_certain": _evenly(truth, answered & ~uncertain) @ wrong,
    }


def _set_scores(
    probabilities: _Floats, truth: _Integers, labels: Sequence[str], each: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    sets = [
        prediction_set(row, labels, thresholds)
        for row, thresholds in zip(probabilities.tolist(), each, strict=True)
    ]
    weights = _evenly(truth, np.ones(len(truth), bool))
    return {
        "val_set_coverage": weights @ [true in one for true, one in zip(truth, sets, strict=True)],
        "val_set_size": weights @ [len(one) for one in sets],
    }


def _named(truth: _Integers, labels: Sequence[str], none_label: str | None) -> _Bools:
    """Return bool [n]: whether a photo is of a named class."""
    return np.array([labels[index] != none_label for index in truth])


def _decisions(
    probabilities: _Floats, labels: Sequence[str], none_label: str | None, thresholds: dict[str, Any]
) -> list[Decision]:
    return [decide(row, labels, none_label, thresholds) for row in probabilities.tolist()]


def _evenly(truth: _Integers, among: _Bools) -> _Floats:
    """Return weights [n] with the sum 1: all classes among these photos have equal weight, and other photos have
    weight 0.
    """
    photos_of = np.bincount(truth[among], minlength=int(truth.max()) + 1)
    weights = np.where(among, 1 / np.maximum(photos_of[truth], 1), 0)
    return weights / weights.sum()


def _reached(values: _Floats, weights: _Floats, share: float) -> float:
    """Return the highest value below which there is at most this share of the weight."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(cumulative, share + _TOLERANCE, side="right")])


def _at_most(value: float) -> float:
    """Return the highest number of six decimals that is not above a probability."""
    return next(step / _STEPS for step in count(int(value * _STEPS) + 1, -1) if step / _STEPS <= value)


def _above(value: float) -> float:
    """Return the lowest number of six decimals that is above a probability."""
    return next(step / _STEPS for step in count(int(value * _STEPS)) if step / _STEPS > value)


def _conformal_threshold(of_own_class: _Floats) -> float:
    """Return the conformal threshold from the probabilities of a class for its own photos."""
    rank = ceil((len(of_own_class) + 1) * _COVERAGE - _TOLERANCE)
    return _at_most(float(np.sort(of_own_class)[-rank])) if rank <= len(of_own_class) else 0.0
