"""Writes the tables of the model card, models/README.md.

    python -m dermedge.benchmarks.lab card

The results come from two sources. `dermedge evaluate` scored the models on their test splits. The experiment
`other-clinics` scored the models of five classes on lesions from clinics whose photos were not used for training.
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
# The key is the name of a metric in `dermedge.train.evaluation.figures.FIGURES`. The value is the title of the row or
# column in the model card.
_KEY_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "critical_auroc_named": "melanoma AUROC, four classes",
    "critical_auroc_all": "melanoma AUROC, against all other photos",
    "critical_sensitivity_all": "melanoma sensitivity at 90 % specificity",
    "decline_auroc_other": "AUROC of other lesions against the four classes",
    "alert_sensitivity": "melanoma alert: sensitivity",
    "alert_specificity": "melanoma alert: specificity",
}
_CALIBRATION_FIGURES = {
    "calibration_error": "calibration error",
    "calibration_error_before": "calibration error at temperature 1",
}
_SET_FIGURES = {
    "conformal_coverage": "prediction sets for 90 %: coverage",
    "conformal_size": "prediction sets for 90 %: mean number of classes",
}
_FIVE_FIGURES = {
    **_KEY_FIGURES,
    "balanced_accuracy": "balanced accuracy, five classes",
    "accuracy": "accuracy, five classes",
    "macro_f1": "macro F1, five classes",
    **_CALIBRATION_FIGURES,
    "declined_named": "declined: photos of the four classes",
    "declined_no_lesion": "declined: photos without a lesion",
    "declined_other": "declined: photos of other lesions",
    **_SET_FIGURES,
}
_NINE_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, eight lesion classes",
    "balanced_accuracy": "balanced accuracy, nine classes",
    "accuracy": "accuracy, nine classes",
    "macro_f1": "macro F1, nine classes",
    **_CALIBRATION_FIGURES,
    "declined_named": "declined: photos of the eight lesion classes",
    "declined_no_lesion": "declined: photos without a lesion",
    "declined_other": "declined: photos of other lesions",
    "uncertain": "answers marked uncertain",
    "risk_answered": "wrong answers among the certain ones",
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
    "declined_named": "declined: photos of the eight lesion classes",
}
# `dermedge.train.evaluation.slices` groups photos by several properties. These two properties tell where a photo comes
# from. All other properties are those of people and lesions.
_PLACES = ("source", "view")


def tables() -> str:
    """Returns all tables of the model card in Markdown."""
    nine, five = ("\n\n".join(one.to_markdown() for one in part) for part in (_nine_tables(), _five_tables()))
    return f"{nine}\n\n### The models of five classes\n\n{five}"


def main(argv: Sequence[str]) -> int:
    """Writes the tables into the model card; returns the exit status."""
    experiment_parser(
        "card", "Write the tables of the model card from the evaluations on the test splits."
    ).parse_args(argv)
    write_text(CARD, replace_section(CARD.read_text(encoding="utf-8"), COMMAND, tables()))
    return 0


def _nine_tables() -> list[TextTable]:
    """Returns the tables of the nine-class models: comparisons with other models, and results on the test split."""
    common, key, whole = map(read_evaluation, (COMMON_LESIONS, KEY_CLASSES, _ALL_CLASSES))
    nine, nine_by_all = _shipped_in(key), _shipped_in(whole)
    people = [name for name in nine[0]["slices"] if name not in _PLACES]
    common_title = (
        f"All models on {_size(common)} of MILK10k and PAD-UFES-20. No model has learned from these lesions:"
    )
    return [
        figure_table(common_title, common["models"], _KEY_FIGURES),
        slice_table(
            "All models on these photos, by source and view:", common["models"], _GROUP_FIGURES, _PLACES
        ),
        figure_table(
            f"The test split of the models of nine classes, {_size(key)}, four key classes:",
            key["models"],
            _KEY_FIGURES,
        ),
        slice_table("This test split, four key classes, by source and view:", nine, _PLACE_FIGURES, _PLACES),
        figure_table("This test split, all nine classes:", whole["models"], _NINE_FIGURES),
        *map(class_table, nine_by_all),
        slice_table("This test split, all nine classes, by view:", nine_by_all, _VIEW_FIGURES, ("view",)),
        slice_table("This test split, four key classes, by groups of people:", nine, _GROUP_FIGURES, people),
    ]


def _shipped_in(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the results of the shipped models in an evaluation, without those of other models."""
    return [model for model in evaluation["models"] if model["name"] in SHIPPED]


def _five_tables() -> list[TextTable]:
    """Returns the tables of the five-class models: results on the test split and on lesions of other clinics."""
    split, elsewhere = map(read_evaluation, (FIVE_CLASSES, _OTHER_CLINICS))
    shipped = _shipped_in(split)
    title = (
        f"Other clinics: {_size(elsewhere)}. No lesion has a photo in a source that dermedge-192 and dermedge-128 "
        "learned from:"
    )
    models = elsewhere["models"]
    return [
        figure_table("Test split of the models of five classes:", split["models"], _FIVE_FIGURES),
        *map(class_table, shipped),
        slice_table("This test split, by source:", shipped, _GROUP_FIGURES, ("source",)),
        comparison_table(split["comparisons"]),
        figure_table(title, models, _FIVE_FIGURES),
        slice_table(
            "Other clinics, by source, view and groups of people:",
            models,
            _GROUP_FIGURES,
            models[0]["slices"],
        ),
    ]


def _size(evaluation: dict[str, Any]) -> str:
    return f"{evaluation['photos']:,} photos of {evaluation['lesions']:,} lesions"
