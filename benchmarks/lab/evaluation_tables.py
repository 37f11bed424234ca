"""Makes tables from the results of `dermedge evaluate`, for the model card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = ["class_table", "comparison_table", "figure_table", "read_evaluation", "slice_table"]

_CLASS_FIGURES = ("precision", "recall", "f1", "auroc")
_LEAST_P = 0.001

_Model = dict[str, Any]


def read_evaluation(path: Path) -> dict[str, Any]:
    """Returns the content of an ``evaluation.json``, in which outdated names are replaced by the current names.

    Files of older versions differ in two ways. The names of the metrics of the critical class begin with ``melanoma_``
    instead of ``critical_``. There is no key ``slices``: the only groups of photos are the sources, under the key
    ``sources``.
    """
    evaluation: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for model in evaluation["models"]:
        model["figures"] = _renamed(model["figures"])
        model.setdefault("slices", {"source": model.get("sources", {})})
        for values in model["slices"].values():
            for one in values.values():
                one["figures"] = _renamed(one["figures"])
    return evaluation


def _renamed(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("melanoma_", "critical_"): score for name, score in figures.items()}


def figure_table(title: str, models: Sequence[_Model], names: Mapping[str, str]) -> TextTable:
    """Returns a table with a row for each metric that was measured for at least one model, and a column for each model.

    Args:
        title: title of the table.
        models: the models of an evaluation.
        names: titles of the rows. The keys are names in `dermedge.train.evaluation.figures.FIGURES`.
    """
    rows = tuple(
        (text, *(_score(model["figures"][name]) for model in models))
        for name, text in names.items()
        if any(model["figures"][name] for model in models)
    )
    return TextTable(title, ("figure", *(model["name"] for model in models)), rows)


def slice_table(
    title: str, models: Sequence[_Model], names: Mapping[str, str], slices: Iterable[str]
) -> TextTable:
    """Returns a table with a row for each group of photos in which at least one metric was measured.

    Args:
        title: title of the table.
        models: the models of an evaluation.
        names: titles of the columns. The keys are names in `dermedge.train.evaluation.figures.FIGURES`.
        slices: properties by which photos are grouped, such as ``source``. Photos with the same value form a group.
    """
    head = [f"{model['name']}: {text}" for model in models for text in names.values()]
    rows = tuple(
        (f"{name}: {value}", str(found["photos"]), *map(_score, scores))
        for name in slices
        for value, found in models[0]["slices"][name].items()
        if any(scores := [model["slices"][name][value]["figures"][one] for model in models for one in names])
    )
    return TextTable(title, ("group", "photos", *head), rows)


def class_table(model: _Model) -> TextTable:
    """Returns a table with a row for each class of a model."""
    rows = tuple(
        (label, *(_score(one[name]) for name in _CLASS_FIGURES), str(one["photos"]))
        for label, one in model["classes"].items()
    )
    return TextTable(
        f"{model['name']} by class:", ("class", "precision", "recall", "F1", "AUROC", "photos"), rows
    )


def comparison_table(comparisons: Sequence[dict[str, Any]]) -> TextTable:
    """Returns a table with a row for each model that was compared with the first model."""
    rows = []
    for one in comparisons:
        p = one["mcnemar"]["p_value"]
        alike, gain = _score(one["agreement"]), _score(one["balanced_accuracy_change"])
        rows.append((one["other"], alike, "< 0.001" if p < _LEAST_P else f"{p:.3f}", gain))
    return TextTable(
        f"Other models compared with {comparisons[0]['first']} on the same photos:",
        ("model", "same answer", "p-value of McNemar's test", "gain in balanced accuracy, five classes"),
        tuple(rows),
    )


def _score(score: dict[str, float] | None) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else NOT_MEASURED
