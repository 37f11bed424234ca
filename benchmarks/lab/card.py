"""Writes the tables of models/README.md from the results of `dermedge evaluate` on the test split.

python -m dermedge.benchmarks.lab card
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.generated_sections import replace_section
from dermedge.edge.files import write_text
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = ["CARD", "COMMAND", "RESULTS", "main", "tables"]

CARD = ROOT / "models" / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "test-split-3" / "evaluation.json"
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
_SOURCE_FIGURES = ("balanced_accuracy_named", "melanoma_auroc_named")


def tables(path: Path = RESULTS) -> str:
    """Tables in Markdown: all models, then the classes and the sources of the shipped ones."""
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
