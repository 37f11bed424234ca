"""An evaluation as a page in one file, as JSON, and as a summary for the terminal."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge import DISCLAIMER
from dermedge.edge.files import write_text
from dermedge.train.data.catalogue import LabelledPhoto
from dermedge.train.evaluation import plots
from dermedge.train.evaluation.evaluate import Evaluation, Mistake, Scored
from dermedge.train.evaluation.metrics import RESAMPLES, Bin, Score, risk_coverage, roc
from dermedge.train.evaluation.plots import Curve
from dermedge.train.evaluation.scorecard import (
    FIGURE_GROUPS,
    FIGURES,
    MELANOMA,
    NAMED,
    SOURCE_FIGURES,
    ClassCard,
    Comparison,
    kind_of,
)
from dermedge.train.pages import json_head, render

SCHEMA = "dermedge-evaluation/2"
NOT_MEASURED = "not measured"
CLASS_FIGURES = ("precision", "recall", "f1", "auroc", "coverage", "set_size")
# Models side by side in the terminal.
COLUMNS = 3
SCORE_WIDTH = 20
# A confusion matrix of more classes stands in the JSON alone.
MOST_CLASSES_SHOWN = 20


def save(evaluation: Evaluation, folder: Path, command: str) -> list[Path]:
    """Writes evaluation.html and evaluation.json; returns their paths.

    Raises:
        StorageError: a file cannot be written.
    """
    contents = {
        folder / "evaluation.html": to_html(evaluation, command),
        folder / "evaluation.json": to_json(evaluation, command),
    }
    for path, content in contents.items():
        write_text(path, content)
    return list(contents)


def to_json(evaluation: Evaluation, command: str) -> str:
    """All figures as indented JSON of schema `SCHEMA`; what is not measured is null."""
    values = {
        **json_head(SCHEMA, command),
        "data": evaluation.data,
        "photos": len(evaluation.photos),
        "lesions": len(set(evaluation.truth.groups)),
        "resamples": RESAMPLES,
        "labels": evaluation.truth.labels,
        "none_label": evaluation.truth.none_label,
        "diagnoses": [
            dict(zip(("diagnosis", "kind", "photos"), row, strict=True)) for row in _diagnoses(evaluation)
        ],
        "models": [_model_json(model) for model in evaluation.models],
        "comparisons": [_comparison_json(one) for one in evaluation.comparisons],
        "stress": {
            "photos": evaluation.strained_photos,
            "results": [
                {
                    "model": one.model,
                    "perturbation": one.perturbation,
                    "severity": one.severity,
                    "balanced_accuracy_change": one.gain.to_json(),
                    "flips": one.flips.to_json(),
                }
                for one in evaluation.strains
            ],
        },
    }
    return json.dumps(values, indent=1) + "\n"


def _diagnoses(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """(diagnosis, what it counts as, photos), the kinds together, frequent ones first."""
    truth = evaluation.truth

    def counted_as(photo: LabelledPhoto) -> str:
        kind = kind_of(photo, truth.labels, truth.none_label)
        return truth.labels[photo.label_index] if kind == NAMED else kind

    counts = Counter((photo.diagnosis, counted_as(photo)) for photo in evaluation.photos)
    order = [*truth.labels, *sorted({kind for _, kind in counts} - set(truth.labels))]
    rows = [(diagnosis, kind, photos) for (diagnosis, kind), photos in counts.items()]
    return sorted(rows, key=lambda row: (order.index(row[1]), -row[2], row[0]))


def _scores_json(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores.items()}


def _model_json(model: Scored) -> dict[str, Any]:
    card = model.card
    return {
        "name": model.name,
        "facts": model.facts,
        "temperature": model.answers.temperature,
        "thresholds": model.answers.thresholds,
        "figures": _scores_json(card.figures),
        "classes": {label: _class_json(one) for label, one in card.classes.items()},
        "sources": {
            source: {"photos": one.photos, "lesions": one.lesions, "figures": _scores_json(one.figures)}
            for source, one in card.sources.items()
        },
        "confusion_matrix": card.matrix.tolist(),
        "reliability": {"before": _bins_json(card.bins_before), "after": _bins_json(card.bins)},
        "mistakes": [
            {
                "kind": one.kind,
                "image_id": one.image_id,
                "source": one.source,
                "truth": one.truth,
                "answer": one.answer,
                "probability": one.probability,
                "melanoma": one.melanoma,
            }
            for one in model.mistakes
        ],
    }


def _class_json(one: ClassCard) -> dict[str, Any]:
    scores = {name: getattr(one, name) for name in CLASS_FIGURES}
    return {"photos": one.photos, "lesions": one.lesions, **_scores_json(scores)}


def _bins_json(bins: Sequence[Bin]) -> list[dict[str, float]]:
    return [{"photos": one.photos, "confidence": one.confidence, "accuracy": one.accuracy} for one in bins]


def _comparison_json(one: Comparison) -> dict[str, Any]:
    return {
        "first": one.first,
        "other": one.other,
        "agreement": one.agreement.to_json(),
        "balanced_accuracy_change": one.gain.to_json(),
        "mcnemar": {
            "first_only_right": one.test.first_only,
            "other_only_right": one.test.other_only,
            "p_value": one.test.p_value,
        },
        "flips": {
            label: dict(zip(("photos", "changed", "lost", "won"), counts, strict=True))
            for label, counts in one.flips.items()
        },
    }


def to_text(evaluation: Evaluation) -> str:
    """The main figures for a terminal."""
    lesions = len(set(evaluation.truth.groups))
    blocks = [f"{evaluation.data}: {len(evaluation.photos)} photos of {lesions} lesions; [95 % intervals]"]
    for start in range(0, len(evaluation.models), COLUMNS):
        models = evaluation.models[start : start + COLUMNS]
        blocks.append(_figures_text(models))
        blocks.append(_recalls_text(models))
    if len(evaluation.truth.labels) <= MOST_CLASSES_SHOWN:
        blocks += [_matrix_text(model) for model in evaluation.models]
    blocks += [_sources_text(model) for model in evaluation.models]
    blocks += [_comparison_text(one) for one in evaluation.comparisons]
    if evaluation.strains:
        blocks.append(_stress_text(evaluation))
    return "\n\n".join([*blocks, DISCLAIMER])


def _row(name: str, width: int, cells: Sequence[str]) -> str:
    return f"{name:<{width}}" + "".join(f"  {cell:<{SCORE_WIDTH}}" for cell in cells).rstrip()


def _heads(models: Sequence[Scored]) -> list[str]:
    """The names of the models, cut at their beginning: names of one network differ at the end."""
    return [m.name if len(m.name) <= SCORE_WIDTH else f"…{m.name[1 - SCORE_WIDTH :]}" for m in models]


def _figures_text(models: Sequence[Scored]) -> str:
    """Those that at least one of the models has; the others are named below."""
    width = max(len(title) for title, _ in FIGURES.values())
    measured = [name for name in FIGURES if any(model.card.figures[name].measured for model in models)]
    rows = [_row(FIGURES[name][0], width, [_cell(m.card.figures[name]) for m in models]) for name in measured]
    missing = [FIGURES[name][0] for name in FIGURES if name not in measured]
    return "\n".join(
        [
            _row("", width, _heads(models)),
            *rows,
            *([f"{NOT_MEASURED}: {'; '.join(missing)}"] if missing else []),
        ]
    )


def _recalls_text(models: Sequence[Scored]) -> str:
    classes = models[0].card.classes
    width = max(len(label) for label in classes) + 16
    return "\n".join(
        [
            _row("recall", width, _heads(models)),
            *(
                _row(f"{label} ({one.photos})", width, [_cell(m.card.classes[label].recall) for m in models])
                for label, one in classes.items()
            ),
        ]
    )


def _matrix_text(model: Scored) -> str:
    labels = list(model.card.classes)
    width = max(len(model.name), *map(len, labels))
    lines = [f"{model.name:<{width}} " + " ".join(f"{label[:10]:>10}" for label in labels)]
    lines += [
        f"{label:<{width}} " + " ".join(f"{number:>10}" for number in row)
        for label, row in zip(labels, model.card.matrix, strict=True)
    ]
    return "\n".join(lines)


def _sources_text(model: Scored) -> str:
    return "\n".join(
        f"{model.name}, source {name} ({one.photos} photos): balanced accuracy "
        f"{_cell(one.figures['balanced_accuracy'])}"
        for name, one in model.card.sources.items()
    )


def _comparison_text(one: Comparison) -> str:
    test = one.test
    return (
        f"{one.other} against {one.first}: {one.agreement.value:.1%} answered alike; balanced accuracy "
        f"{_cell(one.gain, '+.3f')}; right alone {test.other_only} against {test.first_only}, "
        f"McNemar {_p_value(test.p_value)}"
    )


def _stress_text(evaluation: Evaluation) -> str:
    """A line a perturbation and severity, beside each other what it does to each model."""
    lines: dict[str, list[str]] = {}
    for one in evaluation.strains:
        cells = lines.setdefault(_strain_name(one.perturbation, one.severity), [])
        cells.append(f"{_cell(one.gain, '+.3f')} {one.flips.value:>6.1%}")
    width = max(map(len, lines))
    head = f"stress on {evaluation.strained_photos} photos: change of balanced accuracy, share of flips"
    return "\n".join([head, *(f"{name:<{width}}  {'  '.join(cells)}" for name, cells in lines.items())])


def _strain_name(perturbation: str, severity: str) -> str:
    return f"{perturbation}, {severity}"


def _cell(score: Score, form: str = ".3f") -> str:
    if not score.measured:
        return NOT_MEASURED
    return f"{score.value:{form}} [{score.low:{form}}, {score.high:{form}}]"


def _p_value(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"


def to_html(evaluation: Evaluation, command: str) -> str:
    """The report as a page that needs no other file and no network."""
    return render(
        "evaluation.html",
        {"data_uri": _data_uri, "p_value": _p_value},
        not_measured=NOT_MEASURED,
        evaluation=evaluation,
        command=command,
        lesions=len(set(evaluation.truth.groups)),
        resamples=RESAMPLES,
        diagnoses=_diagnoses(evaluation),
        groups=FIGURE_GROUPS,
        figures=FIGURES,
        source_figures=SOURCE_FIGURES,
        risk_coverage_svg=_risk_coverage_svg(evaluation),
        stress_svg=_stress_svg(evaluation) if evaluation.strains else "",
        models=[_model_view(model, evaluation.truth.index) for model in evaluation.models],
    )


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _model_view(model: Scored, truth: NDArray[np.int64]) -> dict[str, Any]:
    """What the template shows of one model beside the model itself."""
    kinds: dict[str, list[Mistake]] = {}
    for mistake in model.mistakes:
        kinds.setdefault(mistake.kind, []).append(mistake)
    shares = model.card.matrix / np.maximum(model.card.matrix.sum(axis=1, keepdims=True), 1)
    return {
        "model": model,
        "thresholds": _thresholds_text(model.answers.thresholds),
        "shares": shares.tolist() if len(shares) <= MOST_CLASSES_SHOWN else None,
        "roc_svg": _roc_svg(model, truth),
        "reliability_svg": plots.reliability_svg(model.card.bins_before, model.card.bins),
        "mistakes": kinds,
    }


def _thresholds_text(thresholds: Mapping[str, Any]) -> str:
    parts = []
    if "none" in thresholds:
        parts.append(f"declined at p(none of these) {thresholds['none']:.3f}")
    if "uncertain" in thresholds:
        parts.append(f"uncertain below {thresholds['uncertain']:.3f} among the lesion classes")
    if "alert" in thresholds:
        parts.append(f"alert at p({thresholds['alert']['label']}) {thresholds['alert']['threshold']:.3f}")
    if "conformal" in thresholds:
        parts.append(f"prediction sets for a coverage of {thresholds['conformal']['coverage']:.0%}")
    return "; ".join(parts) or "none, the most probable class is answered"


def _roc_svg(model: Scored, truth: NDArray[np.int64]) -> str:
    """One curve against the rest for every class that has photos, and others beside it."""
    curves = []
    for index, (label, one) in enumerate(model.card.classes.items()):
        if one.auroc.measured:
            x, y = roc(truth == index, model.answers.probabilities[:, index])
            curves.append(Curve(f"{label} {one.auroc.value:.3f}", x, y, label == MELANOMA))
    return plots.roc_svg(curves) if curves else ""


def _risk_coverage_svg(evaluation: Evaluation) -> str:
    curves = []
    for model in evaluation.models:
        probabilities = model.answers.probabilities
        wrong = probabilities.argmax(axis=1) != evaluation.truth.index
        curves.append(Curve(model.name, *risk_coverage(probabilities.max(axis=1), wrong)))
    return plots.risk_coverage_svg(curves)


def _stress_svg(evaluation: Evaluation) -> str:
    names = [model.name for model in evaluation.models]
    first = [one for one in evaluation.strains if one.model == names[0]]
    rows = [_strain_name(one.perturbation, one.severity) for one in first]
    scores = [(name, [one.gain for one in evaluation.strains if one.model == name]) for name in names]
    return plots.stress_svg(rows, scores)
