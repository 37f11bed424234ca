"""The figures of one model on one set of photos: what each is called and means, and its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.decision import Decision, decide, prediction_set, softmax
from dermedge.train.data.catalogue import NONE_OF_THESE, LabelledPhoto
from dermedge.train.data.tables import DIAGNOSES
from dermedge.train.evaluation import intervals, metrics
from dermedge.train.evaluation.metrics import NOT_MEASURED, Bin, Bools, Floats, Score

MELANOMA = "melanoma"
SPECIFICITY = 0.90
LESION_DIAGNOSES = frozenset(DIAGNOSES.values())
NAMED, OTHER_LESION, NO_LESION, NOT_TOLD = "named class", "other lesion", "no lesion", "not told"

# Heading -> name -> (title, definition), in the order of the report.
FIGURE_GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "What is recognised": {
        "balanced_accuracy": (
            "balanced accuracy, all classes",
            "The mean of the recalls of all classes that have photos, 'none of these' among them.",
        ),
        "balanced_accuracy_named": (
            "balanced accuracy, lesion classes alone",
            "Of the photos whose true class is not 'none of these': the mean recall where the answer is the "
            "most probable of the lesion classes alone, so that nothing is declined.",
        ),
        "balanced_accuracy_end_to_end": (
            "balanced accuracy, declined counts as wrong",
            "Of the same photos: the mean recall where the answer is the model's own, so that a declined "
            "lesion is a wrong answer.",
        ),
        "accuracy": ("accuracy", "The share of all photos whose class was answered."),
        "macro_precision": (
            "macro precision",
            "The mean precision of all classes; 0 for one never answered.",
        ),
        "macro_recall": ("macro recall", "The mean recall of all classes; 0 for one without photos."),
        "macro_f1": ("macro F1", "The mean F1 of all classes."),
    },
    "Melanoma": {
        "melanoma_auroc_named": (
            "melanoma AUROC, lesion classes",
            "Of p(melanoma), for melanoma against the photos of the other lesion classes.",
        ),
        "melanoma_auroc_all": ("melanoma AUROC, all photos", "The same against all other photos."),
        "melanoma_sensitivity_named": (
            "melanoma sensitivity at 90 % specificity, lesion classes",
            "The greatest share of melanomas above a threshold on p(melanoma) that at least 90 % of the "
            "photos of the other lesion classes are below; the threshold is chosen on these very photos.",
        ),
        "melanoma_sensitivity_all": (
            "melanoma sensitivity at 90 % specificity, all photos",
            "The same against all other photos.",
        ),
    },
    "What is declined": {
        "declined_named": (
            "declined: photos of the lesion classes",
            "The share of the photos of lesion classes that are answered 'none of these'; lower is better.",
        ),
        "declined_other": (
            "declined: other lesions",
            "The share of the photos of lesions of no class of the model that are answered 'none of these'.",
        ),
        "declined_no_lesion": (
            "declined: no lesion",
            "The share of the photos of no lesion at all (clothing, hands) that are answered so.",
        ),
        "decline_auroc_other": (
            "declining AUROC, other lesions",
            "Of p(none of these), for other lesions against the photos of the lesion classes.",
        ),
        "decline_auroc_no_lesion": ("declining AUROC, no lesion", "The same for photos of no lesion."),
    },
    "Calibration": {
        "calibration_error_before": (
            "calibration error, temperature 1",
            "Expected calibration error of the top probability, 15 equal bins, before the temperature.",
        ),
        "calibration_error": (
            "calibration error",
            "The same after the temperature of the model's manifest. Intervals of a calibration error lie "
            "high: resampling adds to the unevenness of the bins.",
        ),
        "calibration_error_balanced_before": (
            "calibration error, classes weighed alike, temperature 1",
            "The same before the temperature, where the photos of each class weigh 1 together.",
        ),
        "calibration_error_balanced": ("calibration error, classes weighed alike", "The same after it."),
        "brier_before": (
            "Brier score, temperature 1",
            "The mean squared distance of the probabilities from the truth, 0 to 2, before the temperature.",
        ),
        "brier": ("Brier score", "The same after the temperature."),
    },
    "Decisions by the thresholds of the manifest": {
        "alert_sensitivity": (
            "alert: sensitivity",
            "The share of the alert's class whose probability reaches the manifest's threshold, whatever is "
            "answered.",
        ),
        "alert_specificity": ("alert: specificity", "The share of all other photos that do not reach it."),
        "uncertain": ("uncertain", "The share of all photos that are not declined and marked uncertain."),
        "answered": ("answered", "The share of all photos that are neither declined nor uncertain."),
        "risk_answered": (
            "risk among the answered",
            "The share of the answered photos whose answer is wrong.",
        ),
        "conformal_coverage": (
            "prediction sets: coverage",
            "The share of all photos whose true class is in the prediction set.",
        ),
        "conformal_size": ("prediction sets: size", "The mean number of classes in the set."),
    },
}
FIGURES = {name: texts for group in FIGURE_GROUPS.values() for name, texts in group.items()}
# What is shown of each source.
SOURCE_FIGURES = (
    "balanced_accuracy",
    "balanced_accuracy_named",
    "accuracy",
    "melanoma_auroc_named",
    "declined_named",
)


def kind_of(photo: LabelledPhoto, labels: Sequence[str], none_label: str | None) -> str:
    """Whether a photo shows a class of the model, another lesion, no lesion, or something nobody told."""
    if labels[photo.label_index] != none_label:
        return NAMED
    if photo.diagnosis in (NONE_OF_THESE, none_label):
        return NOT_TOLD
    return OTHER_LESION if photo.diagnosis in LESION_DIAGNOSES else NO_LESION


@dataclass(frozen=True)
class Truth:
    """What the photos show: [N] each.

    Attributes:
        labels: the classes of the models.
        none_label: the one that stands for "none of these", or None.
        index: int, the true class.
        groups: the lesion of each photo.
        sources: the set each came from.
        kinds: as `kind_of` tells.
    """

    labels: tuple[str, ...]
    none_label: str | None
    index: NDArray[np.int64]
    groups: NDArray[np.str_]
    sources: NDArray[np.str_]
    kinds: NDArray[np.str_]

    @classmethod
    def of(cls, photos: Sequence[LabelledPhoto], labels: Sequence[str], none_label: str | None) -> Truth:
        return cls(
            tuple(labels),
            none_label,
            np.array([photo.label_index for photo in photos]),
            np.array([photo.group for photo in photos]),
            np.array([photo.source for photo in photos]),
            np.array([kind_of(photo, labels, none_label) for photo in photos]),
        )

    def where(self, chosen: Bools | NDArray[np.intp]) -> Truth:
        """Of the chosen photos alone."""
        return replace(
            self,
            index=self.index[chosen],
            groups=self.groups[chosen],
            sources=self.sources[chosen],
            kinds=self.kinds[chosen],
        )

    @cached_property
    def lesions(self) -> NDArray[np.int64]:
        """int [N], a number for each lesion."""
        return np.unique(self.groups, return_inverse=True)[1]

    @property
    def none_index(self) -> int | None:
        return self.labels.index(self.none_label) if self.none_label in self.labels else None

    @property
    def named_indices(self) -> list[int]:
        """The classes that are not "none of these"."""
        return [index for index in range(len(self.labels)) if index != self.none_index]


@dataclass(frozen=True)
class Answers:
    """What one model says of N photos, decided as the device decides.

    Attributes:
        logits: float64 [N, K].
        labels: of the classes.
        none_label: the one of them that stands for "none of these", or None.
        temperature: of the manifest.
        thresholds: of the manifest, as `dermedge.edge.model.decision` describes them.
    """

    logits: Floats
    labels: tuple[str, ...]
    none_label: str | None
    temperature: float
    thresholds: Mapping[str, Any]

    def where(self, chosen: Bools | NDArray[np.intp]) -> Answers:
        """Of the chosen photos alone."""
        return replace(self, logits=self.logits[chosen])

    @cached_property
    def raw_probabilities(self) -> Floats:
        """float64 [N, K] at temperature 1."""
        return np.array([softmax(row) for row in self.logits.tolist()])

    @cached_property
    def probabilities(self) -> Floats:
        """float64 [N, K] at the manifest's temperature."""
        return np.array([softmax(row, self.temperature) for row in self.logits.tolist()])

    @cached_property
    def decisions(self) -> list[Decision]:
        rows = self.probabilities.tolist()
        return [decide(row, self.labels, self.none_label, self.thresholds) for row in rows]

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """int [N], the answered class."""
        return np.array([one.index for one in self.decisions])

    @cached_property
    def sets(self) -> Bools | None:
        """bool [N, K], the classes of each prediction set; None without thresholds for them."""
        if "conformal" not in self.thresholds:
            return None
        held = np.zeros(self.logits.shape, bool)
        for row, values in enumerate(self.probabilities.tolist()):
            held[row, list(prediction_set(values, self.labels, self.thresholds))] = True
        return held


@dataclass(frozen=True)
class ClassCard:
    """The figures of one class; coverage and size are those of the prediction sets of its photos."""

    photos: int
    lesions: int
    precision: Score
    recall: Score
    f1: Score
    auroc: Score
    coverage: Score
    set_size: Score


@dataclass(frozen=True)
class SourceCard:
    """The figures on the photos of one source."""

    photos: int
    lesions: int
    figures: dict[str, Score]


@dataclass(frozen=True)
class Card:
    """Every figure of one model.

    Attributes:
        figures: by the names of `FIGURES`.
        classes: label -> its figures.
        sources: source -> its figures.
        matrix: int64 [K, K], row truth, column answer.
        bins_before: of the reliability diagram at temperature 1.
        bins: of the one at the manifest's temperature.
    """

    figures: dict[str, Score]
    classes: dict[str, ClassCard]
    sources: dict[str, SourceCard]
    matrix: NDArray[np.int64]
    bins_before: list[Bin]
    bins: list[Bin]


def make_card(truth: Truth, answers: Answers) -> Card:
    """All figures of one model, with intervals over the lesions."""
    draws = metrics.lesion_draws(truth.groups.tolist())
    sources = {
        source: _source_card(truth.where(chosen), answers.where(chosen))
        for source in np.unique(truth.sources).tolist()
        if (chosen := truth.sources == source).any()
    }
    return Card(
        figures(truth, answers, draws),
        _class_cards(truth, answers, draws),
        sources,
        metrics.confusion_matrix(truth.index, answers.index, len(truth.labels)),
        metrics.reliability(*_top(answers.raw_probabilities, truth)),
        metrics.reliability(*_top(answers.probabilities, truth)),
    )


def _source_card(truth: Truth, answers: Answers) -> SourceCard:
    found = figures(truth, answers, metrics.lesion_draws(truth.groups.tolist()))
    return SourceCard(
        len(truth.index), len(set(truth.groups)), {name: found[name] for name in SOURCE_FIGURES}
    )


def figures(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    """The figures of `FIGURES`; `NOT_MEASURED` where the photos or the model do not give one."""
    found = {
        **_accuracies(truth, answers),
        **_melanoma(truth, answers, draws),
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
    """Precision, recall and F1 of one class."""
    members, named_so = truth.index == index, answered == index
    return (
        intervals.share_score(members, named_so, truth.lesions),
        intervals.share_score(named_so, members, truth.lesions),
        intervals.f1_score(members, named_so, truth.lesions),
    )


def _with_zeros(scores: Sequence[Score]) -> list[Score]:
    """An undefined score counts as 0 in a macro mean, as scikit-learn has it."""
    return [one if one.measured else Score(0.0, 0.0, 0.0) for one in scores]


def _melanoma(truth: Truth, answers: Answers, draws: Floats) -> dict[str, Score]:
    if MELANOMA not in truth.labels:
        return {}
    index = truth.labels.index(MELANOMA)
    positive, evidence = truth.index == index, answers.probabilities[:, index]
    found = {}
    for name, chosen in (("named", truth.kinds == NAMED), ("all", np.ones(len(positive), bool))):
        part = positive[chosen], evidence[chosen], truth.lesions[chosen]
        found[f"melanoma_auroc_{name}"] = intervals.area_score(*part)
        found[f"melanoma_sensitivity_{name}"] = intervals.sensitivity_score(
            SPECIFICITY, *part, draws[:, chosen]
        )
    return found


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
    """The top probability of each photo, and whether its class is the true one."""
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
    if "alert" in answers.thresholds:
        alert = np.array([one.alert for one in answers.decisions])
        positive = truth.index == truth.labels.index(answers.thresholds["alert"]["label"])
        found["alert_sensitivity"] = intervals.share_score(alert, positive, truth.lesions)
        found["alert_specificity"] = intervals.share_score(~alert, ~positive, truth.lesions)
    if "uncertain" in answers.thresholds:
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
        first: the name of the one.
        other: of the other.
        agreement: the share of photos that both answer alike.
        gain: the balanced accuracy of the other less that of the first, on the same resamples.
        test: McNemar's.
        flips: label -> (photos of it, answered otherwise, lost: right before, won: right now).
    """

    first: str
    other: str
    agreement: Score
    gain: Score
    test: metrics.McNemar
    flips: dict[str, tuple[int, int, int, int]]


def compare(names: tuple[str, str], truth: Truth, first: Answers, other: Answers) -> Comparison:
    """The other model beside the first."""
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
    """The balanced accuracy of the other answers less that of the first, on the same resamples."""
    before, after = (
        metrics.count(truth.index, one.index, len(truth.labels), draws).balanced_accuracy
        for one in (first, other)
    )
    return metrics.score_of(after - before)
