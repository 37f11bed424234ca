"""The thresholds of the decision, fitted on the validation split, and what they do there.

`edge.model.decision` says what each is for. Named are all classes but "none of these". What is declined of them is
a share of their photos: with classes weighed alike, two photos of a rare one would decide it. Other shares of
the named weigh every class that occurs evenly, because a device meets other shares of nevi than a validation
split. The photos that fit a threshold also scored it: on new photos, expect somewhat less.
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

# At most 5 % on new photos is the aim; one point is the margin for their being others.
DECLINED_AT_MOST = 0.04
ALERT_SENSITIVITY = 0.90
UNCERTAIN_SHARE = 0.15
COVERAGE = 0.90

# Thresholds have six decimals, rounded to the side on which their promise holds.
STEPS = 10**6
# Of sums of weights, against the rounding of floats.
TOLERANCE = 1e-9

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Bools = NDArray[np.bool_]


def fit_thresholds(
    probabilities: Floats,
    truth: Integers,
    labels: Sequence[str],
    none_label: str | None,
    critical: str | None = "melanoma",
) -> dict[str, Any]:
    """The ``thresholds`` of a manifest; a key is absent where its class, or photos for it, are.

    - ``none``: the least at which at most `DECLINED_AT_MOST` of the photos of the named classes are declined,
      so that of the photos of anything else as many are as that allows.
    - ``alert``: the greatest with a sensitivity of at least `ALERT_SENSITIVITY` for the critical class.
    - ``uncertain``: the greatest that makes at most `UNCERTAIN_SHARE` of the photos of the named classes that
      are not declined uncertain.
    - ``conformal``: of each class the ceil((n + 1) * `COVERAGE`)-th greatest probability that its own n
      photos give it; 0, which is always reached, where n is too small for that (Sadinle, Lei and Wasserman,
      2019; Vovk, 2012).

    Args:
        probabilities: float [n, K], calibrated, by the device runtime.
        truth: int [n].
        labels: of the K classes.
        none_label: the one of them that stands for "none of these", or None.
        critical: the class to alert of, or None.
    """
    named = _named(truth, labels, none_label)
    fitted: dict[str, Any] = {}
    if none_label in labels and named.any():
        p_none = probabilities[:, labels.index(none_label)]
        # declined are p >= threshold: it must lie above the greatest p that too large a share reaches
        fitted["none"] = min(_above(-_reached(-p_none, named.astype(float), DECLINED_AT_MOST)), 1.0)
    if critical in labels and (truth == labels.index(critical)).any():
        of_critical = probabilities[truth == labels.index(critical), labels.index(critical)]
        least = _at_most(_reached(of_critical, np.ones(len(of_critical)), 1 - ALERT_SENSITIVITY))
        fitted["alert"] = {"label": critical, "threshold": least, "sensitivity": ALERT_SENSITIVITY}
    decisions = _decisions(probabilities, labels, none_label, fitted)
    answered = named & ~np.array([one.declined for one in decisions])
    if answered.any():
        of_answer = probabilities[np.arange(len(truth)), [one.index for one in decisions]]
        columns = [index for index, label in enumerate(labels) if label != none_label]
        share = of_answer[answered] / probabilities[:, columns].sum(axis=1)[answered]
        fitted["uncertain"] = _at_most(_reached(share, _evenly(truth, answered)[answered], UNCERTAIN_SHARE))
    of_classes = {
        label: _conformal_threshold(probabilities[truth == index, index])
        for index, label in enumerate(labels)
    }
    return {**fitted, "conformal": {"coverage": COVERAGE, "thresholds": of_classes}}


def decision_scores(
    probabilities: Floats,
    truth: Integers,
    labels: Sequence[str],
    none_label: str | None,
    thresholds: dict[str, Any],
) -> dict[str, float]:
    """What a file answers on validation photos, by the function that decides on the device.

    Returns:
        For the manifest ``val_accuracy`` and ``val_balanced_accuracy`` of the answers, and
        ``val_balanced_accuracy_argmax`` of the most probable classes. Each where its threshold is:
        ``val_declined``, the share of the photos of the named
        classes, and ``val_none_declined``, that of the photos of anything else; ``val_alert_sensitivity`` and
        ``val_alert_specificity``, among all photos of other classes; ``val_uncertain``, the share of the
        answered photos of the named classes, with ``val_risk``, their balanced error, and
        ``val_risk_certain``, that of those which are not uncertain; ``val_set_coverage`` and
        ``val_set_size``, of all photos with every class weighted evenly.
    """
    named = _named(truth, labels, none_label)
    decisions = _decisions(probabilities, labels, none_label, thresholds)
    declined = np.array([one.declined for one in decisions])
    answers = np.array([one.index for one in decisions])
    matrix = confusion_matrix(truth, answers, len(labels))
    argmax_matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    scores: dict[str, Any] = {
        "val_accuracy": accuracy(matrix),
        "val_balanced_accuracy": balanced_accuracy(matrix),
        "val_balanced_accuracy_argmax": balanced_accuracy(argmax_matrix),
    }
    if "none" in thresholds:
        scores["val_declined"] = declined[named].mean()
        if not named.all():
            scores["val_none_declined"] = declined[~named].mean()
    if "alert" in thresholds:
        is_critical = truth == labels.index(thresholds["alert"]["label"])
        alert = np.array([one.alert for one in decisions])
        scores["val_alert_sensitivity"] = alert[is_critical].mean()
        scores["val_alert_specificity"] = 1 - alert[~is_critical].mean()
    if "uncertain" in thresholds:
        answered = named & ~declined
        uncertain = np.array([one.uncertain for one in decisions])
        wrong = truth != answers
        scores["val_uncertain"] = _evenly(truth, answered) @ uncertain
        scores["val_risk"] = _evenly(truth, answered) @ wrong
        scores["val_risk_certain"] = _evenly(truth, answered & ~uncertain) @ wrong
    sets = [prediction_set(row, labels, thresholds) for row in probabilities.tolist()]
    weights = _evenly(truth, np.ones(len(truth), bool))
    scores["val_set_coverage"] = weights @ [true in one for true, one in zip(truth, sets, strict=True)]
    scores["val_set_size"] = weights @ [len(one) for one in sets]
    return {name: round(float(value), 4) for name, value in scores.items()}


def _named(truth: Integers, labels: Sequence[str], none_label: str | None) -> Bools:
    """Which photos are of another class than "none of these"."""
    return np.array([labels[index] != none_label for index in truth])


def _decisions(
    probabilities: Floats, labels: Sequence[str], none_label: str | None, thresholds: dict[str, Any]
) -> list[Decision]:
    return [decide(row, labels, none_label, thresholds) for row in probabilities.tolist()]


def _evenly(truth: Integers, among: Bools) -> Floats:
    """Weights [n] with the sum 1: each class among the chosen photos weighs the same, other photos 0."""
    photos_of = np.bincount(truth[among], minlength=int(truth.max()) + 1)
    weights = np.where(among, 1 / np.maximum(photos_of[truth], 1), 0)
    return weights / weights.sum()


def _reached(values: Floats, weights: Floats, share: float) -> float:
    """The greatest of the values that at most this share of the weight lies below."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(cumulative, share + TOLERANCE, side="right")])


def _at_most(value: float) -> float:
    """The greatest number of six decimals that is not above a probability."""
    return next(step / STEPS for step in count(int(value * STEPS) + 1, -1) if step / STEPS <= value)


def _above(value: float) -> float:
    """The least number of six decimals that is above a probability."""
    return next(step / STEPS for step in count(int(value * STEPS)) if step / STEPS > value)


def _conformal_threshold(of_own_class: Floats) -> float:
    """From the probabilities that the photos of a class give it."""
    rank = ceil((len(of_own_class) + 1) * COVERAGE - TOLERANCE)
    return _at_most(float(np.sort(of_own_class)[-rank])) if rank <= len(of_own_class) else 0.0
