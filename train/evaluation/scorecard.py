"""Computes the figures of one model on one set of photos."""

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

# The critical class if neither an option nor a model names one.
MELANOMA = "melanoma"
SPECIFICITY = 0.90
NAMED, OTHER_LESION, NO_LESION, NOT_TOLD = "named class", "other lesion", "no lesion", "not told"


def kind_of(photo: LabelledPhoto, labels: Sequence[str], none_label: str | None) -> str:
    """Tells whether a photo shows a class of the model, another lesion, no lesion, or an unknown object."""
    if labels[photo.label_index] != none_label:
        return NAMED
    if photo.entry.diagnosis in (NONE_OF_THESE, none_label):
        return NOT_TOLD
    return OTHER_LESION if photo.entry.diagnosis in LESION_DIAGNOSES else NO_LESION


@dataclass(frozen=True)
class Truth:
    """The truth about N photos.

    Attributes:
        labels: the classes of the models.
        none_label: the one that stands for "none of these", or None.
        critical: the class that must not be missed, or None.
        index: int, the true class.
        groups: the lesion of each photo.
        slices: name of a slicing, as in `dermedge.train.evaluation.slices` -> the value of each photo.
        kinds: kinds, as `kind_of` tells them.
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
        """Returns the values of the chosen photos only."""
        return replace(
            self,
            index=self.index[chosen],
            groups=self.groups[chosen],
            slices={name: values[chosen] for name, values in self.slices.items()},
            kinds=self.kinds[chosen],
        )

    @cached_property
    def lesions(self) -> NDArray[np.int64]:
        """int [N], the number of each photo's lesion."""
        return np.unique(self.groups, return_inverse=True)[1]

    @property
    def none_index(self) -> int | None:
        return self.labels.index(self.none_label) if self.none_label in self.labels else None

    @property
    def named_indices(self) -> list[int]:
        """The classes that are not "none of these"."""
        return [index for index in range(len(self.labels)) if index != self.none_index]


@dataclass(frozen=True)
class ModelOutputs:
    """The outputs of a model for N photos.

    Attributes:
        logits: float64 [N, K].
        close_up: bool [N], whether the model takes each photo for a close-up; None if it does not tell the view.
    """

    logits: Floats
    close_up: Bools | None = None

    @classmethod
    def joined(cls, parts: Sequence[ModelOutputs]) -> ModelOutputs:
        """Returns the outputs for the photos of all parts, of one model."""
        close_ups = [one.close_up for one in parts if one.close_up is not None]
        return cls(
            np.concatenate([one.logits for one in parts]), np.concatenate(close_ups) if close_ups else None
        )


@dataclass(frozen=True)
class Answers:
    """The answers of one model to N photos, with the same decisions as on the device.

    Attributes:
        logits: float64 [N, K].
        labels: labels of the classes.
        none_label: the one of them that stands for "none of these", or None.
        temperature: temperature of the manifest; that of dermoscopic photos if the model tells the view.
        thresholds: thresholds of the same photos, as `dermedge.edge.model.decision` describes them.
        independent: whether the logits are the logarithms of independent probabilities, which need not sum to 1.
        close_up: as in `ModelOutputs`.
        of_close_ups: temperature and thresholds of close-ups; None if the model does not tell the view.
    """

    logits: Floats
    labels: tuple[str, ...]
    none_label: str | None
    temperature: float
    thresholds: Mapping[str, Any]
    independent: bool = False
    close_up: Bools | None = None
    of_close_ups: ViewCalibration | None = None

    def where(self, chosen: Bools | NDArray[np.intp]) -> Answers:
        """Returns the values of the chosen photos only."""
        close_up = None if self.close_up is None else self.close_up[chosen]
        return replace(self, logits=self.logits[chosen], close_up=close_up)

    @property
    def by_view(self) -> dict[str, ViewCalibration]:
        """The temperature and thresholds of each view; a single entry for all photos if the model does not tell the
        view.
        """
        usual = ViewCalibration(self.temperature, self.thresholds)
        if self.of_close_ups is None:
            return {"all": usual}
        return {DERMOSCOPIC: usual, CLOSE_UP: self.of_close_ups}

    @property
    def threshold_names(self) -> set[str]:
        """The kinds of thresholds that at least one view has."""
        return {name for one in self.by_view.values() for name in one.thresholds}

    @property
    def is_calibrated(self) -> bool:
        """Whether the temperature of at least one view differs from 1."""
        return any(one.temperature != 1 for one in self.by_view.values())

    @property
    def alert_label(self) -> str | None:
        """The class of the alert, or None."""
        alerts = (one.thresholds.get("alert") for one in self.by_view.values())
        return next((str(alert["label"]) for alert in alerts if alert), None)

    @cached_property
    def calibrations(self) -> list[ViewCalibration]:
        """Temperature and thresholds of each photo."""
        usual = ViewCalibration(self.temperature, self.thresholds)
        if self.of_close_ups is None or self.close_up is None:
            return [usual] * len(self.logits)
        return [self.of_close_ups if told else usual for told in self.close_up]

    @cached_property
    def raw_probabilities(self) -> Floats:
        """float64 [N, K] at temperature 1."""
        return self._probabilities_at([1.0] * len(self.logits))

    @cached_property
    def probabilities(self) -> Floats:
        """float64 [N, K] at the manifest's temperature; independent probabilities are those that the network
        computes.
        """
        return self._probabilities_at([one.temperature for one in self.calibrations])

    def _probabilities_at(self, temperatures: Sequence[float]) -> Floats:
        if self.independent:
            return np.exp(self.logits)
        rows = zip(self.logits.tolist(), temperatures, strict=True)
        return np.array([softmax(row, temperature) for row, temperature in rows])

    @cached_property
    def decisions(self) -> list[Decision]:
        return [
            decide(row, self.labels, self.none_label, one.thresholds)
            for row, one in zip(self.probabilities.tolist(), self.calibrations, strict=True)
        ]

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """int [N], the answered class."""
        return np.array([one.index for one in self.decisions])

    @cached_property
    def sets(self) -> Bools | None:
        """bool [N, K], the classes of each prediction set; None without thresholds for them.

        As on the device, no class is ruled out if the photo's view has no thresholds for sets.
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
    """The figures of one class; coverage and size describe the prediction sets of its photos."""

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
    """The figures on one slice of the photos."""

    photos: int
    lesions: int
    figures: dict[str, Score]


@dataclass(frozen=True)
class Card:
    """Every figure of one model.

    Attributes:
        figures: name of `FIGURES` -> value.
        classes: label -> its figures.
        slices: name of a slicing -> value -> the figures of its photos.
        matrix: int64 [K, K], row truth, column answer.
        bins_before: bins of the reliability diagram at temperature 1.
        bins: bins of the reliability diagram at the manifest's temperature.
    """

    figures: dict[str, Score]
    classes: dict[str, ClassCard]
    slices: dict[str, dict[str, SliceCard]]
    matrix: NDArray[np.int64]
    bins_before: list[Bin]
    bins: list[Bin]


def make_card(truth: Truth, answers: Answers) -> Card:
    """Returns all figures of one model, with intervals over the lesions."""
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
    """Returns the needs of `Figure` that the data and at least one model meet."""
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
    """Returns the class that must not be missed: the requested one, that of the first model's alert, or melanoma; or
    None.

    Raises:
        OptionError: the requested class does not exist.
    """
    if asked is not None:
        if asked not in labels:
            raise OptionError(f"--critical is '{asked}', which is not a class. Known: {', '.join(labels)}")
        return asked
    if models and models[0].alert_label is not None:
        return models[0].alert_label
    return MELANOMA if MELANOMA in labels else None


def figures(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    """Returns the figures of `FIGURES`; `NOT_MEASURED` where the photos or the model do not give one."""
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
    """Returns precision, recall and F1 of one class."""
    members, named_so = truth.index == index, answered == index
    return (
        intervals.share_score(members, named_so, truth.lesions),
        intervals.share_score(named_so, members, truth.lesions),
        intervals.f1_score(members, named_so, truth.lesions),
    )


def _with_zeros(scores: Sequence[Score]) -> list[Score]:
    """Returns the scores with 0 for undefined ones, as a macro mean counts them in scikit-learn."""
    return [one if one.measured else Score(0.0, 0.0, 0.0) for one in scores]


def _critical_parts(truth: Truth, answers: Answers) -> dict[str, tuple[Bools, Bools, Floats]]:
    """Returns, for the named classes and for all photos: the photos, those of the critical class, and their scores.

    Among the named classes, the score is the class's share of their probabilities, because no photo is declined.
    """
    if truth.critical is None:
        return {}
    index = truth.labels.index(truth.critical)
    positive, probability = truth.index == index, answers.probabilities[:, index]
    share = probability / answers.probabilities[:, truth.named_indices].sum(axis=1)
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
    """Returns the top probability of each photo, and whether its class is the true one."""
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
    """Two models on the same photos.

    Attributes:
        first: name of the first model.
        other: name of the second model.
        agreement: share of photos with the same answer of both models.
        gain: balanced accuracy of the second model minus that of the first, on the same resamples.
        test: McNemar's test of the answers.
        flips: label -> (photos of the class; photos with another answer; lost photos, which only the first model
            answers rightly; won photos, which only the second one does).
    """

    first: str
    other: str
    agreement: Score
    gain: Score
    test: metrics.McNemar
    flips: dict[str, tuple[int, int, int, int]]


def compare(names: tuple[str, str], truth: Truth, first: Answers, other: Answers) -> Comparison:
    """Compares the second model with the first."""
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
    """Returns the balanced accuracy of the other answers less that of the first, on the same resamples."""
    before, after = (
        metrics.count(truth.index, one.index, len(truth.labels), draws).balanced_accuracy
        for one in (first, other)
    )
    return metrics.score_of(after - before)
