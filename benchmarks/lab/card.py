"""Writes the tables of models/README.md from the results of `dermedge evaluate` on the test splits, and of
`other-clinics` on lesions of clinics that the models have not learned from.

python -m dermedge.benchmarks.lab card
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.card_nine_classes import nine_class_tables
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.generated_sections import replace_section
from dermedge.edge.files import write_text
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = [
    "CARD",
    "COMMAND",
    "OTHER_CLINICS",
    "RESULTS",
    "main",
    "other_clinics_tables",
    "split_tables",
    "tables",
]

CARD = ROOT / "models" / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "test-split-3" / "evaluation.json"
OTHER_CLINICS = ROOT / "benchmarks" / "results" / "other-clinics" / "evaluation.json"
COMMAND = command_line("card", [])
# Name in `dermedge.train.evaluation.scorecard.FIGURES` -> title in the card.
_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "balanced_accuracy": "balanced accuracy, five classes, as it answers",
    "accuracy": "accuracy, five classes",
    "macro_f1": "macro F1, five classes",
    "melanoma_auroc_all": "melanoma AUROC, against all else",
    "melanoma_auroc_named": "melanoma AUROC, four classes",
    "melanoma_sensitivity_all": "melanoma sensitivity at 90 % specificity",
    "calibration_error": "calibration error",
    "calibration_error_before": "the same before the temperature",
    "declined_named": "declined: the four classes",
    "declined_no_lesion": "declined: no lesion",
    "declined_other": "declined: other lesions",
    "decline_auroc_other": "AUROC of declining other lesions",
    "alert_sensitivity": "alert: sensitivity",
    "alert_specificity": "alert: specificity",
    "conformal_coverage": "prediction sets for 90 %: coverage",
    "conformal_size": "prediction sets: classes",
}
_CLASS_FIGURES = ("precision", "recall", "f1", "auroc")
_LEAST_P = 0.001
_GROUP_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "critical_auroc_named": "melanoma AUROC",
}
_SOURCE_FIGURES = ("balanced_accuracy_named", "melanoma_auroc_named")


def tables() -> str:
    """All tables of the card, in Markdown."""
    five = "### The models of five classes"
    return "\n\n".join([nine_class_tables(), five, split_tables(), other_clinics_tables()])


def split_tables(path: Path = RESULTS) -> str:
    """Tables of the test split: all models, then the classes and the sources of the shipped ones."""
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    models = evaluation["models"]
    shipped = [model for model in models if model["name"] in SHIPPED]
    written = [
        _figures(models),
        *map(_classes, shipped),
        _sources(shipped),
        _compared(evaluation["comparisons"]),
    ]
    return "\n\n".join(table.to_markdown() for table in written)


def other_clinics_tables(path: Path = OTHER_CLINICS) -> str:
    """Tables of the shipped models on lesions of other clinics, in total and by groups of people, in Markdown."""
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    models = evaluation["models"]
    title = (
        f"All lesions of other clinics: {evaluation['photos']:,} photos of {evaluation['lesions']:,} lesions, none of "
        "which has a photo in the sources that these two learned from:"
    )
    # newer versions name the figures of melanoma after the critical class
    names = {name.replace("melanoma_", "critical_"): text for name, text in _FIGURES.items()}
    names = {name: text for name, text in names.items() if any(model["figures"][name] for model in models)}
    figures = TextTable(
        title,
        ("", *(model["name"] for model in models)),
        tuple((text, *(_score(model["figures"][name]) for model in models)) for name, text in names.items()),
    )
    return "\n\n".join(table.to_markdown() for table in (figures, _groups(models)))


def _groups(models: list[dict[str, Any]]) -> TextTable:
    """A row for each source, view and group of people that has enough photos to be measured."""
    head = [f"{model['name']}: {title}" for model in models for title in _GROUP_FIGURES.values()]
    rows = tuple(
        (
            f"{name}: {value}",
            str(found["photos"]),
            *(_score(model["slices"][name][value]["figures"][f]) for model in models for f in _GROUP_FIGURES),
        )
        for name, values in models[0]["slices"].items()
        for value, found in values.items()
    )
    return TextTable("The same by source, view and groups of people:", ("", "photos", *head), rows)


def main(argv: Sequence[str]) -> int:
    """Writes the tables into the card; returns the exit status."""
    experiment_parser(
        "card", "Write the tables of the model card, from the evaluation on the test split."
    ).parse_args(argv)
    write_text(CARD, replace_section(CARD.read_text(encoding="utf-8"), COMMAND, tables()))
    return 0


def _figures(models: list[dict[str, Any]]) -> TextTable:
    rows = tuple(
        (title, *(_score(model["figures"][name]) for model in models)) for name, title in _FIGURES.items()
    )
    return TextTable("Test split:", ("", *(model["name"] for model in models)), rows)


def _classes(model: dict[str, Any]) -> TextTable:
    rows = tuple(
        (label, *(_score(one[name]) for name in _CLASS_FIGURES), str(one["photos"]))
        for label, one in model["classes"].items()
    )
    return TextTable(f"{model['name']} by class:", ("", "precision", "recall", "F1", "AUROC", "photos"), rows)


def _sources(models: list[dict[str, Any]]) -> TextTable:
    head = [f"{model['name']}: {_FIGURES[name]}" for model in models for name in _SOURCE_FIGURES]
    rows = tuple(
        (
            source,
            str(found["photos"]),
            *(
                _score(model["sources"][source]["figures"][name])
                for model in models
                for name in _SOURCE_FIGURES
            ),
        )
        for source, found in models[0]["sources"].items()
        if found["figures"][_SOURCE_FIGURES[0]] is not None
    )
    return TextTable("By source:", ("", "photos", *head), rows)


def _compared(comparisons: list[dict[str, Any]]) -> TextTable:
    rows = []
    for one in comparisons:
        p = one["mcnemar"]["p_value"]
        alike, gain = _score(one["agreement"]), _score(one["balanced_accuracy_change"])
        rows.append((one["other"], alike, "< 0.001" if p < _LEAST_P else f"{p:.3f}", gain))
    return TextTable(
        f"Others beside {comparisons[0]['first']}:",
        ("", "answered alike", "McNemar's p", "balanced accuracy, five classes, gained"),
        tuple(rows),
    )


def _score(score: dict[str, float] | None) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else NOT_MEASURED
