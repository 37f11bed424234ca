"""Defines the metrics of an evaluation. In the code and in the JSON, metrics are called figures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["FIGURES", "GROUPS", "SLICE_FIGURES", "Figure", "applicable"]

# Things that a model or the photos may have. A metric that needs one of these things has no meaning without it.
NONE_CLASS, CRITICAL, TEMPERATURE = "a class for none of these", "a critical class", "a temperature"
ALERT, UNCERTAIN, CONFORMAL = "an alert", "a threshold for uncertain", "prediction sets"


@dataclass(frozen=True)
class Figure:
    """One metric of an evaluation.

    Attributes:
        name: key of the metric in the JSON.
        title: title of the metric in reports; ``{critical}`` stands for the name of the critical class.
        definition: definition in a few sentences; ``{critical}`` stands for the name of the critical class.
        needs: what the photos or the model must have for this metric, for instance "an alert"; None if nothing.
    """

    name: str
    title: str
    definition: str
    needs: str | None = None

    def titled(self, critical: str | None) -> str:
        """Returns the title of the metric. ``{critical}`` is replaced by the name of the critical class."""
        return self.title.format(critical=critical)

    def defined(self, critical: str | None) -> str:
        """Returns the definition of the metric. ``{critical}`` is replaced by the name of the critical class."""
        return self.definition.format(critical=critical)


# For each heading of the report: the metrics below the heading. Headings and metrics are in the order of the report.
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
            "The mean of the recalls of the named classes, which are all classes except 'none of these'. Here, the "
            "answer is always the most probable named class, and no photo is declined (answered 'none of these').",
            NONE_CLASS,
        ),
        Figure(
            "balanced_accuracy_end_to_end",
            "balanced accuracy, declined photos count as wrong",
            "The mean of the recalls of the named classes with the answers that the model gives. A photo of a named "
            "class that is declined (answered 'none of these') counts as a wrong answer.",
            NONE_CLASS,
        ),
        Figure("accuracy", "accuracy", "The share of all photos whose answer is the true class."),
        Figure(
            "macro_precision",
            "macro precision",
            "The mean of the precisions of all classes. The precision of a class that is never the answer counts as 0.",
        ),
        Figure(
            "macro_recall",
            "macro recall",
            "The mean of the recalls of all classes. The recall of a class without photos counts as 0.",
        ),
        Figure("macro_f1", "macro F1", "The mean of the F1 scores of all classes."),
    ),
    "Critical class": (
        Figure(
            "critical_auroc_named",
            "{critical} AUROC among the named classes",
            "The area under the ROC curve that separates {critical} from the other named classes. The score is the "
            "probability of {critical} divided by the sum of the probabilities of all named classes. No photo is "
            "declined.",
            CRITICAL,
        ),
        Figure(
            "critical_auroc_all",
            "{critical} AUROC",
            "The area under the ROC curve that separates {critical} from all other photos. The score is the "
            "probability of {critical}.",
            CRITICAL,
        ),
        Figure(
            "critical_sensitivity_named",
            "{critical} sensitivity at 90 % specificity among the named classes",
            "The highest sensitivity for {critical} at which the specificity among the other named classes is still "
            "at least 90 %. The score is the probability of {critical} divided by the sum of the probabilities of all "
            "named classes. Its threshold is chosen on the photos that are scored.",
            CRITICAL,
        ),
        Figure(
            "critical_sensitivity_all",
            "{critical} sensitivity at 90 % specificity",
            "The highest sensitivity for {critical} at which the specificity among all other photos is still at least "
            "90 %. The score is the probability of {critical}. Its threshold is chosen on the photos that are scored.",
            CRITICAL,
        ),
    ),
    "Declining": (
        Figure(
            "declined_named",
            "declined: named classes",
            "The share of the photos of named classes that are declined, that is, answered 'none of these'. Lower is "
            "better.",
            NONE_CLASS,
        ),
        Figure(
            "declined_other",
            "declined: other lesions",
            "The share of the photos of other lesions that are declined, that is, answered 'none of these'. Other "
            "lesions belong to no named class. Higher is better.",
            NONE_CLASS,
        ),
        Figure(
            "declined_no_lesion",
            "declined: no lesion",
            "The share of the photos without a lesion (clothing, hands) that are declined, that is, answered 'none of "
            "these'. Higher is better.",
            NONE_CLASS,
        ),
        Figure(
            "decline_auroc_other",
            "declining AUROC, other lesions",
            "The area under the ROC curve that separates other lesions from the named classes. The score is the "
            "probability of 'none of these'.",
            NONE_CLASS,
        ),
        Figure(
            "decline_auroc_no_lesion",
            "declining AUROC, no lesion",
            "The area under the ROC curve that separates photos without a lesion from the named classes. The score is "
            "the probability of 'none of these'.",
            NONE_CLASS,
        ),
    ),
    "Calibration": (
        Figure(
            "calibration_error",
            "calibration error",
            "The expected calibration error of the highest probability, over 15 bins of equal width. Lower is better. "
            "The confidence interval is shifted upwards, because resampling adds noise to the bins.",
        ),
        Figure(
            "calibration_error_before",
            "calibration error at temperature 1",
            "The expected calibration error with a temperature of 1 in place of the temperature in the manifest.",
            TEMPERATURE,
        ),
        Figure(
            "calibration_error_balanced",
            "calibration error, classes weighted equally",
            "The expected calibration error, with weights on the photos that give each class the same total weight.",
        ),
        Figure(
            "calibration_error_balanced_before",
            "calibration error, classes weighted equally, at temperature 1",
            "The expected calibration error with equally weighted classes, and with a temperature of 1 in place of the "
            "temperature in the manifest.",
            TEMPERATURE,
        ),
        Figure(
            "brier",
            "Brier score",
            "The mean squared distance between the probabilities and the truth, from 0 to 2. Lower is better.",
        ),
        Figure(
            "brier_before",
            "Brier score at temperature 1",
            "The Brier score with a temperature of 1 in place of the temperature in the manifest.",
            TEMPERATURE,
        ),
    ),
    "Decisions with the thresholds of the manifest": (
        Figure(
            "alert_sensitivity",
            "alert: sensitivity",
            "The share of the photos of the alert's class for which the alert is on, whatever the answer is.",
            ALERT,
        ),
        Figure(
            "alert_specificity",
            "alert: specificity",
            "The share of the photos of all other classes for which the alert is off.",
            ALERT,
        ),
        Figure(
            "uncertain",
            "uncertain",
            "The share of all photos that are not declined and whose answer is marked uncertain.",
            UNCERTAIN,
        ),
        Figure(
            "answered",
            "answered",
            "The share of all photos that are not declined and whose answer is not marked uncertain.",
            UNCERTAIN,
        ),
        Figure(
            "risk_answered",
            "risk among the answered",
            "The share of wrong answers among the photos that are neither declined nor marked uncertain.",
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

# The metrics that a report shows for each source, view and group of people.
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
    """Returns the metrics that need nothing, and the metrics whose `Figure.needs` is contained in ``has``."""
    return [one for one in FIGURES.values() if one.needs is None or one.needs in has]
