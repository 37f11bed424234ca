"""Tables of the model card for the network of nine classes, from the results of `dermedge evaluate`.

Its test split was scored by two commands: for the four key classes, and for all nine. A third one scored it beside the
networks of five classes, on lesions of the test split that none of them has learned from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dermedge.benchmarks.child import ROOT
from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = ["ALL_CLASSES", "COMMON_LESIONS", "KEY_CLASSES", "nine_class_tables", "read_evaluation"]

_RESULTS = ROOT / "benchmarks" / "results" / "nine-classes"
KEY_CLASSES = _RESULTS / "key-classes" / "evaluation.json"
ALL_CLASSES = _RESULTS / "all-classes" / "evaluation.json"
COMMON_LESIONS = _RESULTS / "common-lesions" / "evaluation.json"
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
_ALL_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, eight lesion classes",
    "balanced_accuracy": "balanced accuracy, nine classes, as it answers",
    "accuracy": "accuracy, nine classes",
    "macro_f1": "macro F1, nine classes",
    "calibration_error": "calibration error",
    "calibration_error_before": "the same before the temperature",
    "declined_named": "declined: lesions of the eight classes",
    "declined_no_lesion": "declined: photos of no lesion",
    "declined_other": "declined: lesions of no class",
    "uncertain": "called uncertain",
    "risk_answered": "wrong where it answers without reserve",
    "conformal_coverage": "prediction sets for 90 %: coverage",
    "conformal_size": "prediction sets: classes",
}
_CLASS_FIGURES = ("precision", "recall", "f1", "auroc")
_GROUP_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, four classes",
    "critical_auroc_named": "melanoma AUROC",
}
_PLACE_FIGURES = _GROUP_FIGURES | {"decline_auroc_other": "AUROC of other lesions"}
_VIEW_FIGURES = {
    "balanced_accuracy_named": "balanced accuracy, eight classes",
    "calibration_error": "calibration error",
    "declined_named": "declined: eight classes",
}
# The slices of `dermedge.train.evaluation.slices` that are places a photo comes from; all others are groups of people.
_PLACES = ("source", "view")


def nine_class_tables() -> str:
    """All tables, in Markdown."""
    key, whole, common = map(read_evaluation, (KEY_CLASSES, ALL_CLASSES, COMMON_LESIONS))
    nine, *_ = whole["models"]
    written = [
        _figures(_common_title(common), common["models"], _KEY_FIGURES),
        _slices("The same by source and view:", common["models"], _GROUP_FIGURES, _PLACES),
        _figures(f"The whole test split of {nine['name']}, four key classes:", key["models"], _KEY_FIGURES),
        _slices("The same by source and view:", key["models"][:1], _PLACE_FIGURES, _PLACES),
        _figures("All nine classes:", whole["models"], _ALL_FIGURES),
        _classes(nine),
        _slices("All nine classes by view:", whole["models"][:1], _VIEW_FIGURES, ("view",)),
        _slices("Four key classes by groups of people:", key["models"][:1], _GROUP_FIGURES, _people(key)),
    ]
    return "\n\n".join(table.to_markdown() for table in written)


def read_evaluation(path: Path) -> dict[str, Any]:
    """The content of an ``evaluation.json``."""
    evaluation: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return evaluation


def _common_title(evaluation: dict[str, Any]) -> str:
    return (
        f"All models on {evaluation['photos']:,} photos of {evaluation['lesions']:,} lesions of MILK10k and "
        "PAD-UFES-20 that none of them has learned from:"
    )


def _people(evaluation: dict[str, Any]) -> list[str]:
    """The slices that are groups of people."""
    return [name for name in evaluation["models"][0]["slices"] if name not in _PLACES]


def _figures(title: str, models: list[dict[str, Any]], names: Mapping[str, str]) -> TextTable:
    """A row for each figure that at least one model has."""
    rows = tuple(
        (text, *(_score(model["figures"][name]) for model in models))
        for name, text in names.items()
        if any(model["figures"][name] for model in models)
    )
    return TextTable(title, ("", *(model["name"] for model in models)), rows)


def _slices(
    title: str, models: list[dict[str, Any]], figures: Mapping[str, str], slices: Iterable[str]
) -> TextTable:
    """A row for each value of the slices for which a figure was measured."""
    head = [f"{model['name']}: {text}" for model in models for text in figures.values()]
    rows = tuple(
        (f"{name}: {value}", str(found["photos"]), *map(_score, scores))
        for name in slices
        for value, found in models[0]["slices"][name].items()
        if any(scores := [model["slices"][name][value]["figures"][f] for model in models for f in figures])
    )
    return TextTable(title, ("", "photos", *head), rows)


def _classes(model: dict[str, Any]) -> TextTable:
    rows = tuple(
        (label, *(_score(one[name]) for name in _CLASS_FIGURES), str(one["photos"]))
        for label, one in model["classes"].items()
    )
    return TextTable(f"{model['name']} by class:", ("", "precision", "recall", "F1", "AUROC", "photos"), rows)


def _score(score: dict[str, float] | None) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else NOT_MEASURED
