"""Computes the metrics of one model on labelled photos.

In the code and in the JSON, metrics are called figures. A card holds all metrics of a model, of a class, or of a group
of photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError
from dermedge.edge.model.decision import Decision, decide, prediction_set, softmax
from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC, ViewCalibration
from dermedge.train.data.catalogue import NONE_OF_THESE
from dermedge.train.data.diagnoses import LESION_DIAGNOSES
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation import intervals, metrics
from dermedge.train.evaluation.figures import (
    ALERT,
    CONFORMAL,
    CRITICAL,
    FIGURES,
    NONE_CLASS,
    SLICE_FIGURES,
    TEMPERATURE,
    UNCERTAIN,
)
from dermedge.train.evaluation.metrics import NOT_MEASURED, Bin, Bools, Floats, Score
from dermedge.train.evaluation.slices import slice_values

__all__ = [
    "MELANOMA",
    "NAMED",
    "NOT_TOLD",
    "NO_LESION",
    "OTHER_LESION",
    "SPECIFICITY",
    "Answers",
    "Card",
    "ClassCard",
    "Comparison",
    "ModelOutputs",
    "SliceCard",
    "Truth",
    "compare",
    "critical_class",
    "figures",
    "gain",
    "kind_of",
    "make_card",
    "needs_met",
]

# The critical class if neither the option --critical nor the alert of a model names a critical class.
MELANOMA = "melanoma"
SPECIFICITY = 0.90
NAMED, OTHER_LESION, NO_LESION, NOT_TOLD = "named class", "other lesion", "no lesion", "not told"


def kind_of(photo: LabelledPhoto, labels: Sequence[str], none_label: str | None) -> str:
    """Returns what a photo shows: a named class of the model, another lesion, no lesion, or something unknown.

    Args:
        photo: photo with its label and diagnosis.
        labels: classes of the model.
        none_label: the label that stands for "none of these", or None.

    Returns:
        `NAMED`, `OTHER_LESION`, `NO_LESION` or `NOT_TOLD`.
    """
    if labels[photo.label_index] != none_label:
        return NAMED
    if photo.entry.diagnosis in (NONE_OF_THESE, none_label):
        return NOT_TOLD
    return OTHER_LESION if photo.entry.diagnosis in LESION_DIAGNOSES else NO_LESION


@dataclass(frozen=True)
class Truth:
    """The true classes and further properties of N photos.

    Attributes:
        labels: classes of the models.
        none_label: the label that stands for "none of these", or None.
        critical: the class that must not be missed, or None.
        index: int64 [N], the true class of each photo as an index into ``labels``.
        groups: [N], the name of the lesion of each photo.
        slices: name of a property by which photos are grouped, such as "age" -> the value of the property for each
            photo, [N].
        kinds: [N], the result of `kind_of` for each photo.
    """

    labels: tuple[str, ...]
    none_label: str | None
    critical: str | None
    index: NDArray[np.int64]
    groups: NDArray[np.str_]
    slices: dict[str, NDArray[np.str_]]
    kinds: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        photos: Sequence[LabelledPhoto],
        labels: Sequence[str],
        none_label: str | None,
        critical: str | None = None,
    ) -> Truth:
        return cls(
            tuple(labels),
            none_label,
            critical,
            np.array([photo.label_index for photo in photos]),
            np.array([photo.entry.group for photo in photos]),
            slice_values(photos),
            np.array([kind_of(photo, labels, none_label) for photo in photos]),
        )

    def where(self, chosen: Bools | NDArray[np.intp]) -> Truth:
        """Returns the properties of the chosen photos. ``chosen`` is a bool [N] mask, or indices of photos."""
        return replace(
            self,
            index=self.index[chosen],
            groups=self.groups[chosen],
            slices={name: values[chosen] for name, values in self.slices.items()},
            kinds=self.kinds[chosen],
        )

    @cached_property
    def lesions(self) -> NDArray[np.int64]:
        """The lesion of each photo as a number, int64 [N]. Photos of the same lesion have the same number."""
        return np.unique(self.groups, return_inverse=True)[1]

    @property
    def none_index(self) -> int | None:
        return self.labels.index(self.none_label) if self.none_label in self.labels else None

    @property
    def named_indices(self) -> list[int]:
        """The indices of the named classes: all classes except "none of these"."""
        return [index for index in range(len(self.labels)) if index != self.none_index]


@dataclass(frozen=True)
class ModelOutputs:
    """The outputs of a model for N photos.

    Attributes:
        logits: float64 [N, K].
        close_up: bool [N], whether the model predicts that each photo is a close-up; None if the model does not predict
            the view.
        uncalibrated: float64 [N, K], the logits for a softmax with temperature 1; None if they equal ``logits``.
    """

    logits: Floats
    close_up: Bools | None = None
    uncalibrated: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence[ModelOutputs]) -> ModelOutputs:
        """Joins the outputs of one model for consecutive groups of photos into the outputs for all photos."""
        close_ups = [one.close_up for one in parts if one.close_up is not None]
        uncalibrated = [one.uncalibrated for one in parts if one.uncalibrated is not None]
        return cls(
            np.concatenate([one.logits for one in parts]),
            np.concatenate(close_ups) if close_ups else None,
            np.concatenate(uncalibrated) if uncalibrated else None,
        )


@dataclass(frozen=True)
class Answers:
    """The answers of one model to N photos. The device decides its answers by the same rules as this class.

    Attributes:
        logits: float64 [N, K].
        labels: labels of the K classes.
        none_label: the label that stands for "none of these", or None.
        temperature: temperature that divides the logits. If the model predicts the view of a photo, this is the
            temperature for dermoscopic photos.
        thresholds: thresholds of the decision, as `dermedge.edge.model.decision` describes them. If the model predicts
            the view of a photo, these thresholds are for dermoscopic photos.
        independent: whether the logits are the logarithms of independent probabilities. Such probabilities need not sum
            to 1.
        close_up: bool [N], whether the model predicts that each photo is a close-up; None if the model does not predict
            the view.
        of_close_ups: temperature and thresholds for close-ups; None if the model does not predict the view.
        uncalibrated: float64 [N, K], the logits for a softmax with temperature 1; None if they equal ``logits``.
    """

    logits: Floats
    labels: tuple[str, ...]
    none_label: str | None
    temperature: float
    thresholds: Mapping[str, Any]
    independent: bool = False
    close_up: Bools | None = None
    of_close_ups: ViewCalibration | None = None
    uncalibrated: Floats | None = None

    def where(self, chosen: Bools | NDArray[np.intp]) -> Answers:
        """Returns the answers to the chosen photos. ``chosen`` is a bool [N] mask, or indices of photos."""
        close_up = None if self.close_up is None else self.close_up[chosen]
        uncalibrated = None if self.uncalibrated is None else self.uncalibrated[chosen]
        return replace(self, logits=self.logits[chosen], close_up=close_up, uncalibrated=uncalibrated)

    @property
    def by_view(self) -> dict[str, ViewCalibration]:
        """The temperature and the thresholds for each view of a photo: dermoscopic or close-up.

        If the model does not predict the view, the dict has the single key "all".
        """
        usual = ViewCalibration(self.temperature, self.thresholds)
        if self.of_close_ups is None:
            return {"all": usual}
        return {DERMOSCOPIC: usual, CLOSE_UP: self.of_close_ups}

    @property
    def threshold_names(self) -> set[str]:
        """The names of the thresholds that exist for at least one view, such as "none" and "alert"."""
        return {name for one in self.by_view.values() for name in one.thresholds}

    @property
    def is_calibrated(self) -> bool:
        """Whether the temperature of at least one view differs from 1."""
        return any(one.temperature != 1 for one in self.by_view.values())

    @property
    def alert_label(self) -> str | None:
        """The class of the alert; None if the model has no alert."""
        alerts = (one.thresholds.get("alert") for one in self.by_view.values())
        return next((str(alert["label"]) for alert in alerts if alert), None)

    @cached_property
    def calibrations(self) -> list[ViewCalibration]:
        """The temperature and thresholds that apply to each of the N photos."""
        usual = ViewCalibration(self.temperature, self.thresholds)
        if self.of_close_ups is None or self.close_up is None:
            return [usual] * len(self.logits)
        return [self.of_close_ups if told else usual for told in self.close_up]

    @cached_property
    def raw_probabilities(self) -> Floats:
        """The probabilities at temperature 1, float64 [N, K]."""
        logits = self.logits if self.uncalibrated is None else self.uncalibrated
        return self._probabilities_of(logits, [1.0] * len(logits))

    @cached_property
    def probabilities(self) -> Floats:
        """The probability of each class for each photo, float64 [N, K].

        The probabilities are softmax(logits / T), where T is the temperature that `calibrations` has for the photo. If
        ``independent`` is true, the probabilities are exp(logits) instead, and no temperature is used.
        """
        return self._probabilities_of(self.logits, [one.temperature for one in self.calibrations])

    def _probabilities_of(self, logits: Floats, temperatures: Sequence[float]) -> Floats:
        if self.independent:
            return np.exp(logits)
        rows = zip(logits.tolist(), temperatures, strict=True)
        return np.array([softmax(row, temperature) for row, temperature in rows])

    @cached_property
    def decisions(self) -> list[Decision]:
        return [
            decide(row, self.labels, self.none_label, one.thresholds)
            for row, one in zip(self.probabilities.tolist(), self.calibrations, strict=True)
        ]

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """The class that is the answer to each photo, int64 [N]."""
        return np.array([one.index for one in self.decisions])

    @cached_property
    def sets(self) -> Bools | None:
        """The classes in the prediction set of each photo, bool [N, K].

        The result is None if the model has no thresholds for prediction sets. If such thresholds exist only for one
        view, the prediction sets of photos of the other view contain all classes, as on the device.
        """
        if "conformal" not in self.threshold_names:
            return None
        held = np.zeros(self.logits.shape, bool)
        for row, (values, one) in enumerate(zip(self.probabilities.tolist(), self.calibrations, strict=True)):
            if "conformal" in one.thresholds:
                held[row, list(prediction_set(values, self.labels, one.thresholds))] = True
            else:
                held[row] = True
        return held


@dataclass(frozen=True)
class ClassCard:
    """The metrics of one class.

    Attributes:
        photos: number of photos of the class.
        lesions: number of lesions of the class.
        precision: fraction of the photos with this answer that belong to the class.
        recall: fraction of the photos of the class that have this answer.
        f1: F1 score of the class.
        auroc: area under the ROC curve that separates the photos of the class from all other photos by the probability
            of the class.
        coverage: share of the photos of the class whose prediction set contains the class.
        set_size: mean number of classes in the prediction sets of the photos of the class.
    """

    photos: int
    lesions: int
    precision: Score
    recall: Score
    f1: Score
    auroc: Score
    coverage: Score
    set_size: Score


@dataclass(frozen=True)
class SliceCard:
    """The metrics on one group of photos (slice), such as all photos of one source.

    Attributes:
        photos: number of photos.
        lesions: number of lesions.
        figures: name of a metric in `SLICE_FIGURES` -> its value.
    """

    photos: int
    lesions: int
    figures: dict[str, Score]


@dataclass(frozen=True)
class Card:
    """All metrics of one model.

    Attributes:
        figures: name of a metric in `FIGURES` -> its value.
        classes: label of a class -> the metrics of this class.
        slices: metrics of groups of photos. For instance, ``slices["age"]["under 30"]`` has the metrics on the photos
            of people under 30.
        matrix: confusion matrix, int64 [K, K]. Rows are true classes, columns are answers.
        bins_before: bins of the reliability diagram at temperature 1.
        bins: bins of the reliability diagram at the temperature of the manifest.
    """

    figures: dict[str, Score]
    classes: dict[str, ClassCard]
    slices: dict[str, dict[str, SliceCard]]
    matrix: NDArray[np.int64]
    bins_before: list[Bin]
    bins: list[Bin]


def make_card(truth: Truth, answers: Answers) -> Card:
    """Returns all metrics of one model. Their confidence intervals treat lesions, not photos, as independent."""
    draws = metrics.lesion_draws(truth.groups.tolist())
    slices = {
        name: {
            value: _slice_card(truth.where(values == value), answers.where(values == value))
            for value in np.unique(values).tolist()
        }
        for name, values in truth.slices.items()
    }
    return Card(
        figures(truth, answers, draws),
        _class_cards(truth, answers, draws),
        slices,
        metrics.confusion_matrix(truth.index, answers.index, len(truth.labels)),
        metrics.reliability(*_top(answers.raw_probabilities, truth)),
        metrics.reliability(*_top(answers.probabilities, truth)),
    )


def _slice_card(truth: Truth, answers: Answers) -> SliceCard:
    draws = metrics.lesion_draws(truth.groups.tolist())
    found = {
        **_accuracies(truth, answers),
        **_critical_areas(truth, answers),
        **_declined(truth, answers),
        **_calibration(truth, answers, draws),
    }
    shown = {name: found.get(name, NOT_MEASURED) for name in SLICE_FIGURES}
    return SliceCard(len(truth.index), len(set(truth.groups)), shown)


def needs_met(truth: Truth, models: Sequence[Answers]) -> set[str]:
    """Returns the needs of metrics (`Figure.needs`) that are met by the photos or by at least one model."""
    found = set()
    if truth.none_index is not None:
        found.add(NONE_CLASS)
    if truth.critical is not None:
        found.add(CRITICAL)
    if any(one.is_calibrated for one in models):
        found.add(TEMPERATURE)
    for need, threshold in ((ALERT, "alert"), (UNCERTAIN, "uncertain"), (CONFORMAL, "conformal")):
        if any(threshold in one.threshold_names for one in models):
            found.add(need)
    return found


def critical_class(labels: Sequence[str], asked: str | None, models: Sequence[Answers]) -> str | None:
    """Returns the class that must not be missed, or None if there is none.

    If ``asked`` is given, ``asked`` is returned. Otherwise, the class of the first model's alert is returned. If the
    first model has no alert, melanoma is returned, provided that melanoma is one of ``labels``.

    Raises:
        OptionError: ``asked`` is not one of ``labels``.
    """
    if asked is not None:
        if asked not in labels:
            raise OptionError(f"--critical is '{asked}', which is not a class. Known: {', '.join(labels)}")
        return asked
    if models and models[0].alert_label is not None:
        return models[0].alert_label
    return MELANOMA if MELANOMA in labels else None


def figures(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    """Returns the value of each metric in `FIGURES`.

    The value is `NOT_MEASURED` if the photos or the model do not have what the metric needs. ``draws`` are the
    resamples of `lesion_draws`.
    """
    found = {
        **_accuracies(truth, answers),
        **_critical_areas(truth, answers),
        **_critical_sensitivities(truth, answers, draws),
        **_declined(truth, answers),
        **_calibration(truth, answers, draws),
        **_thresholds(truth, answers, draws),
    }
    return {name: found.get(name, NOT_MEASURED) for name in FIGURES}


def _accuracies(truth: Truth, answers: Answers) -> dict[str, Score]:
    everything = np.ones(len(truth.index), bool)
    classes = [_recognition(index, answers.index, truth) for index in range(len(truth.labels))]
    precision, recall, f1 = zip(*classes, strict=True)
    found = {
        "accuracy": intervals.share_score(answers.index == truth.index, everything, truth.lesions),
        "balanced_accuracy": intervals.mean_score(recall),
        "macro_precision": intervals.mean_score(_with_zeros(precision)),
        "macro_recall": intervals.mean_score(_with_zeros(recall)),
        "macro_f1": intervals.mean_score(_with_zeros(f1)),
    }
    named = truth.kinds == NAMED
    if not named.any():
        return found
    best_named = np.array(truth.named_indices)[answers.probabilities[:, truth.named_indices].argmax(axis=1)]

    def among_named(answered: NDArray[np.int64]) -> Score:
        part = truth.where(named)
        return intervals.mean_score(
            [_recognition(index, answered[named], part)[1] for index in truth.named_indices]
        )

    return {
        **found,
        "balanced_accuracy_named": among_named(best_named),
        "balanced_accuracy_end_to_end": among_named(answers.index),
    }


def _recognition(index: int, answered: NDArray[np.int64], truth: Truth) -> tuple[Score, Score, Score]:
    """Returns the precision, the recall and the F1 score of one class."""
    members, named_so = truth.index == index, answered == index
    return (
        intervals.share_score(members, named_so, truth.lesions),
        intervals.share_score(named_so, members, truth.lesions),
        intervals.f1_score(members, named_so, truth.lesions),
    )


def _with_zeros(scores: Sequence[Score]) -> list[Score]:
    """Replaces undefined scores by 0, as scikit-learn does in a macro mean."""
    return [one if one.measured else Score(0.0, 0.0, 0.0) for one in scores]


def _critical_parts(truth: Truth, answers: Answers) -> dict[str, tuple[Bools, Bools, Floats]]:
    """Returns the arrays from which the metrics of the critical class are computed.

    Returns:
        A dict with a triple for "named" (the photos of named classes) and a triple for "all" (all photos). The first
        element of a triple is a bool [N] mask that chooses the photos. The second element says for each chosen photo
        whether it shows the critical class. The third element is the score of the critical class for each chosen photo.
        For "all", the score is the probability of the critical class. For "named", the score is this probability
        divided by the sum of the probabilities of the named classes, because "none of these" is not a possible answer.
    """
    if truth.critical is None:
        return {}
    index = truth.labels.index(truth.critical)
    positive, probability = truth.index == index, answers.probabilities[:, index]
    total = answers.probabilities[:, truth.named_indices].sum(axis=1)
    # Large logits can make the probabilities of all named classes 0. These classes then have equal shares.
    equal = np.full(len(total), 1 / len(truth.named_indices))
    share = np.divide(probability, total, out=equal, where=total > 0)
    named = truth.kinds == NAMED
    everything = np.ones(len(positive), bool)
    parts = {"named": (named, share), "all": (everything, probability)}
    return {name: (chosen, positive[chosen], rank[chosen]) for name, (chosen, rank) in parts.items()}


def _critical_areas(truth: Truth, answers: Answers) -> dict[str, Score]:
    return {
        f"critical_auroc_{name}": intervals.area_score(positive, evidence, truth.lesions[chosen])
        for name, (chosen, positive, evidence) in _critical_parts(truth, answers).items()
    }


def _critical_sensitivities(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    return {
        f"critical_sensitivity_{name}": intervals.sensitivity_score(
            SPECIFICITY, positive, evidence, truth.lesions[chosen], draws[:, chosen]
        )
        for name, (chosen, positive, evidence) in _critical_parts(truth, answers).items()
    }


def _declined(truth: Truth, answers: Answers) -> dict[str, Score]:
    none = truth.none_index
    if none is None:
        return {}
    declined = answers.index == none
    found = {"declined_named": intervals.share_score(declined, truth.kinds == NAMED, truth.lesions)}
    for name, kind in (("other", OTHER_LESION), ("no_lesion", NO_LESION)):
        foreign = truth.kinds == kind
        found[f"declined_{name}"] = intervals.share_score(declined, foreign, truth.lesions)
        chosen = foreign | (truth.kinds == NAMED)
        found[f"decline_auroc_{name}"] = intervals.area_score(
            foreign[chosen], answers.probabilities[chosen, none], truth.lesions[chosen]
        )
    return found


def _top(probabilities: Floats, truth: Truth) -> tuple[Floats, Bools]:
    """Returns the highest probability of each photo, and whether the class with this probability is the true class."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == truth.index


def _calibration(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    balanced = metrics.class_balanced(truth.index, draws)
    found = {}
    for suffix, probabilities in (("_before", answers.raw_probabilities), ("", answers.probabilities)):
        top = _top(probabilities, truth)
        found[f"calibration_error{suffix}"] = metrics.calibration_error(*top, draws)
        found[f"calibration_error_balanced{suffix}"] = metrics.calibration_error(*top, balanced)
        found[f"brier{suffix}"] = metrics.brier(probabilities, truth.index, draws)
    return found


def _thresholds(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    everything = np.ones(len(truth.index), bool)
    found = {}
    if answers.alert_label is not None:
        alert = np.array([one.alert for one in answers.decisions])
        positive = truth.index == truth.labels.index(answers.alert_label)
        found["alert_sensitivity"] = intervals.share_score(alert, positive, truth.lesions)
        found["alert_specificity"] = intervals.share_score(~alert, ~positive, truth.lesions)
    if "uncertain" in answers.threshold_names:
        uncertain = np.array([one.uncertain for one in answers.decisions])
        answered = ~uncertain & np.array([not one.declined for one in answers.decisions])
        found["uncertain"] = intervals.share_score(uncertain, everything, truth.lesions)
        found["answered"] = intervals.share_score(answered, everything, truth.lesions)
        found["risk_answered"] = intervals.share_score(answers.index != truth.index, answered, truth.lesions)
    if answers.sets is not None:
        covered = answers.sets[np.arange(len(everything)), truth.index]
        found["conformal_coverage"] = intervals.share_score(covered, everything, truth.lesions)
        found["conformal_size"] = metrics.mean(answers.sets.sum(axis=1), everything, draws)
    return found


def _class_cards(truth: Truth, answers: Answers, draws: Floats) -> dict[str, ClassCard]:
    return {label: _class_card(index, truth, answers, draws) for index, label in enumerate(truth.labels)}


def _class_card(index: int, truth: Truth, answers: Answers, draws: Floats) -> ClassCard:
    members = truth.index == index
    coverage = size = NOT_MEASURED
    if answers.sets is not None:
        coverage = intervals.share_score(answers.sets[:, index], members, truth.lesions)
        size = metrics.mean(answers.sets.sum(axis=1), members, draws)
    return ClassCard(
        int(members.sum()),
        len(set(truth.groups[members])),
        *_recognition(index, answers.index, truth),
        intervals.area_score(members, answers.probabilities[:, index], truth.lesions),
        coverage,
        size,
    )


@dataclass(frozen=True)
class Comparison:
    """The differences between two models on the same photos.

    Attributes:
        first: name of the first model.
        other: name of the second model.
        agreement: share of the photos to which both models give the same answer.
        gain: balanced accuracy of the second model minus balanced accuracy of the first model.
        test: McNemar's test of the answers.
        flips: label of a class -> four numbers of photos of this class: all photos; photos to which the models give
            different answers; photos on which only the first model is right; photos on which only the second model is
            right.
    """

    first: str
    other: str
    agreement: Score
    gain: Score
    test: metrics.McNemar
    flips: dict[str, tuple[int, int, int, int]]


def compare(names: tuple[str, str], truth: Truth, first: Answers, other: Answers) -> Comparison:
    """Returns the differences between two models.

    Args:
        names: names of the first and the second model.
        truth: true classes of the photos.
        first: answers of the first model.
        other: answers of the second model.
    """
    draws = metrics.lesion_draws(truth.groups.tolist())
    right, right_now = first.index == truth.index, other.index == truth.index
    same = first.index == other.index
    flips = {}
    for index, label in enumerate(truth.labels):
        members = truth.index == index
        parts = (members, members & ~same, members & right & ~right_now, members & ~right & right_now)
        flips[label] = tuple(int(part.sum()) for part in parts)
    return Comparison(
        *names,
        agreement=intervals.share_score(same, np.ones(len(same), bool), truth.lesions),
        gain=gain(truth, first, other, draws),
        test=metrics.mcnemar(right, right_now),
        flips=flips,  # type: ignore[arg-type]
    )


def gain(truth: Truth, first: Answers, other: Answers, draws: Floats) -> Score:
    """Returns the balanced accuracy of ``other`` minus the balanced accuracy of ``first``.

    The interval of the difference comes from a paired bootstrap: the balanced accuracies of the two models are computed
    on the same resamples ``draws``.
    """
    before, after = (
        metrics.count(truth.index, one.index, len(truth.labels), draws).balanced_accuracy
        for one in (first, other)
    )
    return metrics.score_of(after - before)
