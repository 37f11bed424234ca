"""Writes the tables of models/README.md from the results of `dermedge evaluate` on the test splits, and of
`other-clinics` on lesions of clinics that the models of five classes have not learned from.

    python -m dermedge.benchmarks.lab card
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.evaluation_tables import (
    class_table,
    comparison_table,
    figure_table,
    read_evaluation,
    slice_table,
)
from dermedge.benchmarks.lab.generated_sections import replace_section
from dermedge.edge.files import write_text
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.text_table import TextTable

__all__ = ["CARD", "COMMAND", "COMMON_LESIONS", "FIVE_CLASSES", "KEY_CLASSES", "main", "tables"]

CARD = ROOT / "models" / "README.md"
_RESULTS = ROOT / "benchmarks" / "results"
FIVE_CLASSES = _RESULTS / "test-split-3" / "evaluation.json"
_OTHER_CLINICS = _RESULTS / "other-clinics" / "evaluation.json"
KEY_CLASSES = _RESULTS / "nine-classes" / "key-classes" / "evaluation.json"
_ALL_CLASSES = _RESULTS / "nine-classes" / "all-classes" / "evaluation.json"
COMMON_LESIONS = _RESULTS / "nine-classes" / "common-lesions" / "evaluation.json"
COMMAND = command_line("card", [])
# Names in `dermedge.train.evaluation.figures.FIGURES` -> titles in the card.
_KEY_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "critical_auroc_named": "melanoma AUROC, four classes",
    "critical_auroc_all": "melanoma AUROC, against all other photos",
    "critical_sensitivity_all": "melanoma sensitivity at 90 % specificity",
    "decline_auroc_other": "AUROC of other lesions against the four classes",
    "alert_sensitivity": "alert: sensitivity",
    "alert_specificity": "alert: specificity",
}
_CALIBRATION_FIGURES = {
    "calibration_error": "calibration error",
    "calibration_error_before": "the same before the temperature",
}
_SET_FIGURES = {
    "conformal_coverage": "prediction sets for 90 %: coverage",
    "conformal_size": "prediction sets: classes",
}
_FIVE_FIGURES = {
    **_KEY_FIGURES,
    "balanced_accuracy": "balanced accuracy, five classes, as it answers",
    "accuracy": "accuracy, five classes",
    "macro_f1": "macro F1, five classes",
    **_CALIBRATION_FIGURES,
    "declined_named": "declined: the four classes",
    "declined_no_lesion": "declined: photos of no lesion",
    "declined_other": "declined: other lesions",
    **_SET_FIGURES,
}
_NINE_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, eight lesion classes",
    "balanced_accuracy": "balanced accuracy, nine classes, as it answers",
    "accuracy": "accuracy, nine classes",
    "macro_f1": "macro F1, nine classes",
    **_CALIBRATION_FIGURES,
    "declined_named": "declined: lesions of the eight classes",
    "declined_no_lesion": "declined: photos of no lesion",
    "declined_other": "declined: lesions of no class",
    "uncertain": "called uncertain",
    "risk_answered": "wrong among the certain answers",
    **_SET_FIGURES,
}
_GROUP_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "critical_auroc_named": "melanoma AUROC, four classes",
}
_PLACE_FIGURES = _GROUP_FIGURES | {"decline_auroc_other": "AUROC of other lesions"}
_VIEW_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, eight classes",
    "calibration_error": "calibration error",
    "declined_named": "declined: eight classes",
}
# The slices of `dermedge.train.evaluation.slices` that tell where a photo comes from; all others are groups of people.
_PLACES = ("source", "view")


def tables() -> str:
    """Returns all tables of the card, in Markdown."""
    nine, five = ("\n\n".join(one.to_markdown() for one in part) for part in (_nine_tables(), _five_tables()))
    return f"{nine}\n\n### The models of five classes\n\n{five}"


def main(argv: Sequence[str]) -> int:
    """Writes the tables into the card; returns the exit status."""
    experiment_parser(
        "card", "Write the tables of the model card, from the evaluations on the test splits."
    ).parse_args(argv)
    write_text(CARD, replace_section(CARD.read_text(encoding="utf-8"), COMMAND, tables()))
    return 0


def _nine_tables() -> list[TextTable]:
    """Returns the tables of the model of nine classes: beside the other models, and on its own test split."""
    common, key, whole = map(read_evaluation, (COMMON_LESIONS, KEY_CLASSES, _ALL_CLASSES))
    [nine], [nine_by_all] = key["models"], whole["models"]
    people = [name for name in nine["slices"] if name not in _PLACES]
    common_title = (
        f"All models on {_size(common)} of MILK10k and PAD-UFES-20 that none of them has learned from:"
    )
    return [
        figure_table(common_title, common["models"], _KEY_FIGURES),
        slice_table("The same by source and view:", common["models"], _GROUP_FIGURES, _PLACES),
        figure_table(f"The whole test split of {nine['name']}, four key classes:", [nine], _KEY_FIGURES),
        slice_table("The same by source and view:", [nine], _PLACE_FIGURES, _PLACES),
        figure_table("All nine classes:", [nine_by_all], _NINE_FIGURES),
        class_table(nine_by_all),
        slice_table("All nine classes by view:", [nine_by_all], _VIEW_FIGURES, ("view",)),
        slice_table("Four key classes by groups of people:", [nine], _GROUP_FIGURES, people),
    ]


def _five_tables() -> list[TextTable]:
    """Returns the tables of the models of five classes: on their own test split, and on lesions of clinics whose photos
    they have not learned from.
    """
    split, elsewhere = map(read_evaluation, (FIVE_CLASSES, _OTHER_CLINICS))
    shipped = [model for model in split["models"] if model["name"] in SHIPPED]
    title = (
        f"All lesions of other clinics: {_size(elsewhere)}, none of which has a photo in the sources that these two "
        "learned from:"
    )
    models = elsewhere["models"]
    return [
        figure_table("Test split:", split["models"], _FIVE_FIGURES),
        *map(class_table, shipped),
        slice_table("By source:", shipped, _GROUP_FIGURES, ("source",)),
        comparison_table(split["comparisons"]),
        figure_table(title, models, _FIVE_FIGURES),
        slice_table(
            "The same by source, view and groups of people:", models, _GROUP_FIGURES, models[0]["slices"]
        ),
    ]


def _size(evaluation: dict[str, Any]) -> str:
    return f"{evaluation['photos']:,} photos of {evaluation['lesions']:,} lesions"
