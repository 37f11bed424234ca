"""The figures of an evaluation: their names, their definitions, and their needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["FIGURES", "GROUPS", "SLICE_FIGURES", "Figure", "applicable"]

# The needs of figures. Without them, a figure has no meaning.
NONE_CLASS, CRITICAL, TEMPERATURE = "a class for none of these", "a critical class", "a temperature"
ALERT, UNCERTAIN, CONFORMAL = "an alert", "a threshold for uncertain", "prediction sets"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: its key in JSON.
        title: title for people; ``{critical}`` stands for the critical class.
        definition: definition in one or two sentences.
        needs: what the data or the model must have, or None.
    """

    name: str
    title: str
    definition: str
    needs: str | None = None

    def titled(self, critical: str | None) -> str:
        """Returns the title with the name of the critical class."""
        return self.title.format(critical=critical)

    def defined(self, critical: str | None) -> str:
        """Returns the definition with the name of the critical class."""
        return self.definition.format(critical=critical)


# Heading -> its figures, in the order of the report.
GROUPS: dict[str, tuple[Figure, ...]] = {
    "Recognition": (
        Figure(
            "balanced_accuracy",
            "balanced accuracy",
            "The mean of the recalls of all classes that have photos.",
        ),
        Figure(
            "balanced_accuracy_named",
            "balanced accuracy among the named classes",
            "The mean recall over photos of the named classes (all but 'none of these'), if the answer is the "
            "most probable of these classes. No photo is declined.",
            NONE_CLASS,
        ),
        Figure(
            "balanced_accuracy_end_to_end",
            "balanced accuracy, declined photos count as wrong",
            "The mean recall over the same photos with the model's own answers. A declined photo counts as a "
            "wrong answer.",
            NONE_CLASS,
        ),
        Figure("accuracy", "accuracy", "The share of all photos whose answer is the true class."),
        Figure(
            "macro_precision",
            "macro precision",
            "The mean precision of all classes. It is 0 for a class that was never answered.",
        ),
        Figure(
            "macro_recall",
            "macro recall",
            "The mean recall of all classes. It is 0 for a class without photos.",
        ),
        Figure("macro_f1", "macro F1", "The mean F1 of all classes."),
    ),
    "Critical class": (
        Figure(
            "critical_auroc_named",
            "{critical} AUROC among the named classes",
            "The area below the ROC curve of p({critical}) / p(any named class), for {critical} against the other "
            "named classes. Nothing is declined.",
            CRITICAL,
        ),
        Figure(
            "critical_auroc_all",
            "{critical} AUROC",
            "The area below the ROC curve of p({critical}), for {critical} against all other photos.",
            CRITICAL,
        ),
        Figure(
            "critical_sensitivity_named",
            "{critical} sensitivity at 90 % specificity among the named classes",
            "The greatest sensitivity for {critical} at a threshold on this ratio that keeps a specificity of "
            "at least 90 % among the other named classes. The threshold is chosen on these very photos.",
            CRITICAL,
        ),
        Figure(
            "critical_sensitivity_all",
            "{critical} sensitivity at 90 % specificity",
            "The greatest sensitivity at a threshold on p({critical}) that keeps a specificity of at least 90 % among "
            "all other photos. The threshold is chosen on these very photos.",
            CRITICAL,
        ),
    ),
    "Declining": (
        Figure(
            "declined_named",
            "declined: named classes",
            "The share of the photos of named classes that are answered 'none of these'. Lower is better.",
            NONE_CLASS,
        ),
        Figure(
            "declined_other",
            "declined: other lesions",
            "The share of photos of other lesions, which belong to no class of the model, that are answered "
            "'none of these'.",
            NONE_CLASS,
        ),
        Figure(
            "declined_no_lesion",
            "declined: no lesion",
            "The share of the photos without a lesion (clothing, hands) that are answered 'none of these'.",
            NONE_CLASS,
        ),
        Figure(
            "decline_auroc_other",
            "declining AUROC, other lesions",
            "The area below the ROC curve of p(none of these), for other lesions against the named classes.",
            NONE_CLASS,
        ),
        Figure(
            "decline_auroc_no_lesion",
            "declining AUROC, no lesion",
            "The same for photos without a lesion.",
            NONE_CLASS,
        ),
    ),
    "Calibration": (
        Figure(
            "calibration_error",
            "calibration error",
            "The expected calibration error of the top probability over 15 equal bins. Its interval is biased "
            "upwards, because resampling adds noise to the bins.",
        ),
        Figure(
            "calibration_error_before",
            "calibration error at temperature 1",
            "The same before the temperature of the model's manifest.",
            TEMPERATURE,
        ),
        Figure(
            "calibration_error_balanced",
            "calibration error, classes weighted equally",
            "The same, with weights that give each class the same total.",
        ),
        Figure(
            "calibration_error_balanced_before",
            "calibration error, classes weighted equally, at temperature 1",
            "The same before the temperature.",
            TEMPERATURE,
        ),
        Figure(
            "brier",
            "Brier score",
            "The mean squared distance of the probabilities from the truth, from 0 to 2. Lower is better.",
        ),
        Figure(
            "brier_before", "Brier score at temperature 1", "The same before the temperature.", TEMPERATURE
        ),
    ),
    "Decisions with the thresholds of the manifest": (
        Figure(
            "alert_sensitivity",
            "alert: sensitivity",
            "The share of the photos of the alert's class that raise the alert, whatever the answer is.",
            ALERT,
        ),
        Figure(
            "alert_specificity",
            "alert: specificity",
            "The share of all other photos that do not raise the alert.",
            ALERT,
        ),
        Figure(
            "uncertain",
            "uncertain",
            "The share of all photos that are not declined but marked uncertain.",
            UNCERTAIN,
        ),
        Figure(
            "answered",
            "answered",
            "The share of all photos that are neither declined nor uncertain.",
            UNCERTAIN,
        ),
        Figure(
            "risk_answered",
            "risk among the answered",
            "The share of the answered photos whose answer is wrong.",
            UNCERTAIN,
        ),
        Figure(
            "conformal_coverage",
            "prediction sets: coverage",
            "The share of all photos whose true class is in the prediction set.",
            CONFORMAL,
        ),
        Figure(
            "conformal_size",
            "prediction sets: size",
            "The mean number of classes in the prediction set.",
            CONFORMAL,
        ),
    ),
}

FIGURES = {one.name: one for group in GROUPS.values() for one in group}

# Shown for each source, view and group of people.
SLICE_FIGURES = (
    "balanced_accuracy",
    "balanced_accuracy_named",
    "accuracy",
    "critical_auroc_named",
    "declined_named",
    "decline_auroc_other",
    "calibration_error",
)


def applicable(has: Collection[str]) -> list[Figure]:
    """Returns the figures that are meaningful if these needs are met."""
    return [one for one in FIGURES.values() if one.needs is None or one.needs in has]
