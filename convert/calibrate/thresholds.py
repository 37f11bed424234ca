"""Fit the thresholds of the decision on validation photos, and measure their effect on the same photos.

`dermedge.edge.model.decision` defines what each threshold does. A named class is any class other than "none of these".
A photo is declined if its answer is "none of these".

Most fractions that are computed here give every class the same total weight, because the frequency of a class on a
device differs from its frequency in the validation photos. There is one exception: the fraction of the photos of named
classes that are declined. In this fraction, every photo has the same weight. Otherwise, the fraction would depend too
much on the few photos of a rare class.

The effect of a threshold is measured on the photos that it was fitted on. So expect slightly worse metrics on new
photos.
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

# The largest fraction of the validation photos of named classes that may be declined. The target for new photos is 5 %,
# so one percentage point is left as a margin.
_DECLINED_AT_MOST = 0.04
_ALERT_SENSITIVITY = 0.90
_UNCERTAIN_SHARE = 0.15
_COVERAGE = 0.90

# Thresholds have six decimals. Each threshold is rounded up or down so that its target is still met.
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
    """Return the ``thresholds`` of a manifest.

    A threshold is absent if the class that it needs does not exist, or if there are no photos to fit the threshold on.

    - ``none``: the lowest threshold at which at most 4 % of the photos of named classes are declined, which means that
      the answer is "none of these".
    - ``alert``: the highest threshold with a sensitivity of at least 90 % for the critical class. It is absent if all
      photos, or no photos, are of this class.
    - ``uncertain``: the highest threshold at which at most 15 % of the answers are uncertain. Only photos of named
      classes that are not declined count.
    - ``conformal``: one threshold for each class (Sadinle, Lei and Wasserman, 2019; Vovk, 2012). Take the n photos of
      the class, and the probability of the class for each of these photos. The threshold is the r-th highest of the n
      probabilities, r = ceil((n + 1) * 0.9). If n < r, the threshold is 0, so that every prediction set holds the
      class.

    Args:
        probabilities: the calibrated probabilities of the file in the device runtime, float [n, K].
        truth: the classes of the photos, int [n].
        labels: the K classes.
        none_label: the class that stands for "none of these", or None.
        critical: the class that the alert is for, or None.
    """
    named = _named(truth, labels, none_label)
    fitted: dict[str, Any] = {}
    if none_label in labels and named.any():
        fitted["none"] = _none_threshold(probabilities[named, labels.index(none_label)])
    index = labels.index(critical) if critical in labels else -1
    if 0 < (truth == index).sum() < len(truth):
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
    """Return the threshold ``none``. A photo is declined if its probability of "none of these" reaches the threshold.

    ``p_none`` holds the probability of "none of these" for each photo of a named class.
    """
    # `_reached` finds a probability that at most 4 % of the photos exceed. Other photos may have exactly this
    # probability. They must not be declined, so the threshold is the next greater number with six decimals.
    return min(_above(-_reached(-p_none, np.ones(len(p_none)), _DECLINED_AT_MOST)), 1.0)


def _alert_threshold(p_critical: _Floats) -> float:
    """Return the alert threshold.

    ``p_critical`` holds the probability of the critical class for each photo of this class.
    """
    return _at_most(_reached(p_critical, np.ones(len(p_critical)), 1 - _ALERT_SENSITIVITY))


def uncertain_threshold(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> float | None:
    """Return the threshold ``uncertain`` of `fit_thresholds`. This threshold depends on the other thresholds.

    The result is None if the model answers "none of these" to each photo of a named class.
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
    """Return the metrics of the decisions on validation photos. The decisions are made as on the device.

    Each threshold has metrics of its own. If a threshold is absent, its metrics are absent, too. The metrics are:

    - all thresholds together: ``val_accuracy`` and ``val_balanced_accuracy`` are the accuracy and the balanced accuracy
      of the answers. For comparison, ``val_balanced_accuracy_argmax`` is the balanced accuracy of the most probable
      classes.
    - ``none``: ``val_none_declined`` is the fraction of the photos of the class "none of these" that get the answer
      "none of these". ``val_declined`` is the fraction of the photos of all other classes that get this answer.
    - ``alert``: ``val_alert_sensitivity`` and ``val_alert_specificity`` are the sensitivity and the specificity of the
      alert for the class that it is for.
    - ``uncertain``: A photo counts only if neither its class nor its answer is "none of these". ``val_uncertain`` is
      the fraction of the answers that are uncertain. ``val_risk`` is the balanced error of all answers, and
      ``val_risk_certain`` is the balanced error of the certain answers.
    - ``conformal``: ``val_set_coverage`` is the fraction of the prediction sets that hold the true class, and
      ``val_set_size`` is the mean number of classes in a prediction set.

    Args:
        probabilities: as in `fit_thresholds`, which also explains ``truth``, ``labels`` and ``none_label``.
        thresholds: the thresholds, as `fit_thresholds` returns them.
    """
    return scores_of_each(probabilities, truth, labels, none_label, [thresholds] * len(truth))


def scores_of_each(
    probabilities: _Floats,
    truth: _Integers,
    labels: Sequence[str],
    none_label: str | None,
    each: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """Return the same metrics as `decision_scores`, but with separate thresholds for each photo.

    ``each`` holds one dict of thresholds per photo. If a threshold is absent from all of these dicts, the metrics of
    this threshold are absent from the result.
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
    """Return whether each photo belongs to a named class, bool [n]."""
    return np.array([labels[index] != none_label for index in truth])


def _decisions(
    probabilities: _Floats, labels: Sequence[str], none_label: str | None, thresholds: dict[str, Any]
) -> list[Decision]:
    return [decide(row, labels, none_label, thresholds) for row in probabilities.tolist()]


def _evenly(truth: _Integers, among: _Bools) -> _Floats:
    """Return a weight for each photo, float [n]. The weights sum to 1.

    Photos outside the mask ``among`` have the weight 0. All classes that occur inside the mask have the same total
    weight.
    """
    photos_of = np.bincount(truth[among], minlength=int(truth.max()) + 1)
    weights = np.where(among, 1 / np.maximum(photos_of[truth], 1), 0)
    return weights / weights.sum()


def _reached(values: _Floats, weights: _Floats, share: float) -> float:
    """Return a weighted quantile: the highest value below which at most the fraction ``share`` of the weight lies."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(cumulative, share + _TOLERANCE, side="right")])


def _at_most(value: float) -> float:
    """Round a probability down to six decimals."""
    return next(step / _STEPS for step in count(int(value * _STEPS) + 1, -1) if step / _STEPS <= value)


def _above(value: float) -> float:
    """Return the lowest number with six decimals that is above a probability."""
    return next(step / _STEPS for step in count(int(value * _STEPS)) if step / _STEPS > value)


def _conformal_threshold(of_own_class: _Floats) -> float:
    """Return the conformal threshold of a class.

    ``of_own_class`` holds one value for each photo that belongs to the class: the probability of the class for this
    photo.
    """
    rank = ceil((len(of_own_class) + 1) * _COVERAGE - _TOLERANCE)
    return _at_most(float(np.sort(of_own_class)[-rank])) if rank <= len(of_own_class) else 0.0
