"""Writes an evaluation as a self-contained HTML page, as JSON, and as a summary for the terminal."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dermedge import DISCLAIMER
from dermedge.edge.files import write_text
from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import aligned_lines
from dermedge.train.data.counts import plural
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation import plots
from dermedge.train.evaluation.evaluate import Evaluation, Mistake, Scored
from dermedge.train.evaluation.figures import FIGURES, GROUPS, SLICE_FIGURES, Figure, applicable
from dermedge.train.evaluation.metrics import RESAMPLES, Bin, Score, risk_coverage, roc
from dermedge.train.evaluation.plots import Curve
from dermedge.train.evaluation.scorecard import (
    NAMED,
    Answers,
    ClassCard,
    Comparison,
    SliceCard,
    Truth,
    kind_of,
    needs_met,
)
from dermedge.train.pages import json_head, render

__all__ = ["NOT_MEASURED", "SCHEMA", "cautions", "save", "to_html", "to_json", "to_text", "verdict"]

SCHEMA = "dermedge-evaluation/3"
NOT_MEASURED = "not measured"
_CLASS_FIGURES = ("precision", "recall", "f1", "auroc", "coverage", "set_size")
# The terminal shows at most this many models side by side.
_COLUMNS = 3
_SCORE_WIDTH = 20
# If there are more classes than this, the confusion matrix is written only to the JSON, and the plot has the ROC curve
# of the critical class alone.
_MOST_CLASSES_SHOWN = 20
# If a class has fewer lesions than this, Wilson's interval of the recall is at least 0.35 wide, even if all answers are
# right.
_FEW_LESIONS = 8
# The metrics at the top of the HTML page.
_SUMMARY = (
    "balanced_accuracy",
    "critical_auroc_named",
    "alert_sensitivity",
    "alert_specificity",
    "calibration_error",
)
# The report leaves out a metric on the left if its value equals the value of the metric on the right. This happens if
# the models have no "none of these" or a temperature of 1, or if there are photos of all classes.
_REPEATS = {
    "balanced_accuracy_named": "balanced_accuracy",
    "balanced_accuracy_end_to_end": "balanced_accuracy",
    "macro_recall": "balanced_accuracy",
    "critical_auroc_all": "critical_auroc_named",
    "critical_sensitivity_all": "critical_sensitivity_named",
    "calibration_error_before": "calibration_error",
    "calibration_error_balanced_before": "calibration_error_balanced",
    "brier_before": "brier",
}
# If more than this share of the prediction sets contain all classes, the report warns that the sets are useless.
_MOST_FULL_SETS = 0.5


def save(evaluation: Evaluation, folder: Path, command: str) -> list[Path]:
    """Writes evaluation.html and evaluation.json into ``folder``, and returns the paths of both files.

    ``command`` is the command line that the reports show.

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
    """Returns all results as indented JSON with the schema `SCHEMA`. A metric that was not measured is null."""
    values = {
        **json_head(SCHEMA, command),
        "data": evaluation.data,
        "photos": len(evaluation.photos),
        "lesions": len(set(evaluation.truth.groups)),
        "resamples": RESAMPLES,
        "labels": evaluation.truth.labels,
        "none_label": evaluation.truth.none_label,
        "critical": evaluation.truth.critical,
        "unreadable": [str(one) for one in evaluation.unreadable],
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
    """Returns a row for each diagnosis: the diagnosis, the class or kind that it counts as, and the number of photos.

    The rows are sorted by the class or kind. Rows of the same class or kind are sorted by the number of photos, the
    largest number first.
    """
    truth = evaluation.truth

    def counted_as(photo: LabelledPhoto) -> str:
        kind = kind_of(photo, truth.labels, truth.none_label)
        return truth.labels[photo.label_index] if kind == NAMED else kind

    counts = Counter((photo.entry.diagnosis, counted_as(photo)) for photo in evaluation.photos)
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
        "learned_photos": model.learned,
        "temperature": model.answers.temperature,
        "thresholds": model.answers.thresholds,
        **_views_json(model.answers),
        "figures": _scores_json(card.figures),
        "classes": {label: _class_json(one) for label, one in card.classes.items()},
        "slices": {
            name: {value: _slice_json(one) for value, one in values.items()}
            for name, values in card.slices.items()
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
                "critical": one.critical,
            }
            for one in model.mistakes
        ],
    }


def _views_json(answers: Answers) -> dict[str, Any]:
    """Returns the field ``views``: temperature and thresholds for close-ups, and the number of photos that the model
    predicts to be close-ups. Returns an empty dict if the model does not predict the view.
    """
    if answers.of_close_ups is None or answers.close_up is None:
        return {}
    return {"views": {CLOSE_UP: {**asdict(answers.of_close_ups), "photos": int(answers.close_up.sum())}}}


def _slice_json(one: SliceCard) -> dict[str, Any]:
    return {"photos": one.photos, "lesions": one.lesions, "figures": _scores_json(one.figures)}


def _class_json(one: ClassCard) -> dict[str, Any]:
    scores = {name: getattr(one, name) for name in _CLASS_FIGURES}
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


def _shown_figures(evaluation: Evaluation) -> list[Figure]:
    """Returns the metrics that apply to these photos and models. Metrics that repeat another metric are left out."""
    shown = applicable(needs_met(evaluation.truth, [model.answers for model in evaluation.models]))
    return [one for one in shown if not _is_repeat(one.name, evaluation.models)]


def _is_repeat(name: str, models: Sequence[Scored]) -> bool:
    other = _REPEATS.get(name)
    pairs = [(one.card.figures[name], one.card.figures[other]) for one in models] if other else []
    return bool(pairs) and all(first.measured and first == second for first, second in pairs)


def verdict(evaluation: Evaluation) -> str:
    """Returns the main result in one or two sentences.

    The sentences compare the best balanced accuracy with random guessing, and state how often the alert is on.
    """
    best = max(evaluation.models, key=lambda one: np.nan_to_num(one.card.figures["balanced_accuracy"].value))
    score = best.card.figures["balanced_accuracy"]
    classes = len(evaluation.truth.labels)
    which = "the highest" if len(evaluation.models) > 1 else "a"
    text = (
        f"{best.name} has {which} balanced accuracy of {score.value:.3f} (95 % confidence interval: {score.low:.3f} to "
        f"{score.high:.3f}). Guessing among {classes} classes reaches {1 / classes:.2f}."
    )
    found, spared = (best.card.figures[f"alert_{name}"] for name in ("sensitivity", "specificity"))
    if found.measured and spared.measured:
        text += (
            f" The alert is on for {100 * found.value:.0f}\u00a0% of the photos of {best.answers.alert_label}"
        )
        text += f" and for {100 * (1 - spared.value):.0f}\u00a0% of all other photos."
    return text


def cautions(evaluation: Evaluation) -> list[str]:
    """Returns the warnings that a report shows before the metrics.

    The warnings are about unreadable photos, classes with few or no photos, photos that a model was trained on, and
    models whose prediction sets mostly contain all classes.
    """
    truth, found = evaluation.truth, []
    if evaluation.unreadable:
        found.append(f"photos that could not be decoded and are not scored: {len(evaluation.unreadable)}")
    for index, label in enumerate(truth.labels):
        lesions = len(set(truth.groups[truth.index == index]))
        if not lesions:
            found.append(f"no scored photo shows the class '{label}'")
        elif lesions < _FEW_LESIONS:
            found.append(
                f"the scored photos show only {plural(lesions, 'lesion')} of the class '{label}', too few to judge the "
                "recall of this class"
            )
    for model in evaluation.models:
        if model.learned:
            found.append(
                f"{model.name} was trained on {model.learned} of these {len(evaluation.photos)} photos; on new photos, "
                "its scores are likely to be lower"
            )
        sets = model.answers.sets
        if sets is not None and sets.all(axis=1).mean() > _MOST_FULL_SETS:
            found.append(
                f"{sets.all(axis=1).mean():.0%} of the prediction sets of {model.name} contain all classes, and so do "
                "not narrow the answer down"
            )
    return found


def to_text(evaluation: Evaluation) -> str:
    """Returns the main results as text for a terminal."""
    lesions = len(set(evaluation.truth.groups))
    counts = f"{plural(len(evaluation.photos), 'photo')} of {plural(lesions, 'lesion')}"
    blocks = [f"{evaluation.data}: {counts}; 95 % confidence intervals are in brackets"]
    blocks += ["\n".join(f"caution: {text}" for text in cautions(evaluation))] if cautions(evaluation) else []
    shown = _shown_figures(evaluation)
    critical = evaluation.truth.critical
    for start in range(0, len(evaluation.models), _COLUMNS):
        models = evaluation.models[start : start + _COLUMNS]
        blocks.append(_figures_text(models, shown, critical))
        blocks.append(_recalls_text(models))
    if len(evaluation.truth.labels) <= _MOST_CLASSES_SHOWN:
        blocks += [_matrix_text(model) for model in evaluation.models]
    blocks += [_slices_text(model, critical) for model in evaluation.models]
    blocks += [_comparison_text(one) for one in evaluation.comparisons]
    if evaluation.strains:
        blocks.append(_stress_text(evaluation))
    return printable_lines("\n\n".join([*blocks, DISCLAIMER]))


def _row(name: str, width: int, cells: Sequence[str]) -> str:
    return f"{name:<{width}}" + "".join(f"  {cell:<{_SCORE_WIDTH}}" for cell in cells).rstrip()


def _heads(models: Sequence[Scored]) -> list[str]:
    """Returns the names of the models. A long name is cut at its beginning, because names often differ at their end."""
    return [m.name if len(m.name) <= _SCORE_WIDTH else f"…{m.name[1 - _SCORE_WIDTH :]}" for m in models]


def _figures_text(models: Sequence[Scored], shown: Sequence[Figure], critical: str | None) -> str:
    """Returns a table of the metrics that were measured for at least one model.

    A line below the table names all other metrics.
    """
    titles = {one.name: one.titled(critical) for one in shown}
    width = max(map(len, titles.values()))
    measured = [name for name in titles if any(model.card.figures[name].measured for model in models)]
    rows = [_row(titles[name], width, [_cell(m.card.figures[name]) for m in models]) for name in measured]
    missing = [title for name, title in titles.items() if name not in measured]
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
    rows = [(label, *map(str, row)) for label, row in zip(labels, model.card.matrix, strict=True)]
    return "\n".join(aligned_lines([(model.name, *(label[:10] for label in labels)), *rows]))


def _slices_text(model: Scored, critical: str | None) -> str:
    """Returns a table with the balanced accuracy and the AUROC of the critical class.

    There is one row for each source, view and group of people.
    """
    names = ["balanced_accuracy", *(["critical_auroc_named"] if critical else [])]
    titles = [FIGURES[name].titled(critical) for name in names]
    rows = [
        (f"{name} {value} ({one.photos})", [_cell(one.figures[figure]) for figure in names])
        for name, values in model.card.slices.items()
        for value, one in values.items()
    ]
    width = max(len(model.name), *(len(head) for head, _ in rows))
    return "\n".join([_row(model.name, width, titles), *(_row(head, width, cells) for head, cells in rows)])


def _comparison_text(one: Comparison) -> str:
    test = one.test
    return (
        f"{one.other} compared with {one.first}: same answer to {one.agreement.value:.1%} of the photos; change of "
        f"balanced accuracy {_cell(one.gain, '+.3f')}; only {one.other} is right on "
        f"{plural(test.other_only, 'photo')}, only {one.first} on {test.first_only}; McNemar's test: "
        f"{_p_value(test.p_value)}"
    )


def _stress_text(evaluation: Evaluation) -> str:
    """Returns a table with the effect of each perturbation and severity. Each model has a column."""
    rows: dict[str, list[str]] = {}
    for one in evaluation.strains:
        cells = rows.setdefault(_strain_name(one.perturbation, one.severity), [])
        cells.append(f"{_cell(one.gain, '+.3f')} {one.flips.value:>6.1%}")
    head = (
        f"stress on {evaluation.strained_photos} photos: change of balanced accuracy, share of photos whose answer "
        "changes"
    )
    return "\n".join([head, *aligned_lines([(name, *cells) for name, cells in rows.items()])])


def _strain_name(perturbation: str, severity: str) -> str:
    return f"{perturbation}, {severity}"


def _cell(score: Score, form: str = ".3f") -> str:
    if not score.measured:
        return NOT_MEASURED
    return f"{score.value:{form}} [{score.low:{form}}, {score.high:{form}}]"


def _p_value(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"


def to_html(evaluation: Evaluation, command: str) -> str:
    """Returns the report as an HTML page that needs no other file and no network access."""
    shown = _shown_figures(evaluation)
    return render(
        "evaluation.html",
        {"data_uri": _data_uri, "p_value": _p_value},
        not_measured=NOT_MEASURED,
        evaluation=evaluation,
        command=command,
        lesions=len(set(evaluation.truth.groups)),
        resamples=RESAMPLES,
        diagnoses=_diagnoses(evaluation),
        cautions=cautions(evaluation),
        verdict=verdict(evaluation),
        summary=[one for one in shown if one.name in _SUMMARY],
        groups=_shown_groups(shown),
        critical=evaluation.truth.critical,
        slice_figures=[one for one in shown if one.name in SLICE_FIGURES],
        risk_coverage_svg=_risk_coverage_svg(evaluation),
        stress_svg=_stress_svg(evaluation) if evaluation.strains else "",
        models=[_model_view(model, evaluation.truth) for model in evaluation.models],
    )


def _shown_groups(shown: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Returns the groups of metrics, reduced to the metrics in ``shown``. Empty groups are left out."""
    groups = {heading: [one for one in group if one in shown] for heading, group in GROUPS.items()}
    return {heading: group for heading, group in groups.items() if group}


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _model_view(model: Scored, truth: Truth) -> dict[str, Any]:
    """Returns the values that the template shows for a model."""
    kinds: dict[str, list[Mistake]] = {}
    for mistake in model.mistakes:
        kinds.setdefault(mistake.kind, []).append(mistake)
    shares = model.card.matrix / np.maximum(model.card.matrix.sum(axis=1, keepdims=True), 1)
    return {
        "model": model,
        "thresholds": {view: _thresholds_text(one.thresholds) for view, one in model.answers.by_view.items()},
        "shares": shares.tolist() if len(shares) <= _MOST_CLASSES_SHOWN else None,
        "roc_svg": _roc_svg(model, truth),
        "reliability_svg": plots.reliability_svg(_reliability_curves(model)),
        "mistakes": kinds,
    }


def _reliability_curves(model: Scored) -> dict[str, list[Bin]]:
    """Returns the bins at the temperature of the manifest.

    If the temperature of the manifest is not 1, the bins at temperature 1 are also returned.
    """
    if not model.answers.is_calibrated:
        return {"top probability": model.card.bins}
    temperatures = " and ".join(f"{one.temperature:.2f}" for one in model.answers.by_view.values())
    return {
        f"temperature {temperatures}": model.card.bins,
        "temperature 1": model.card.bins_before,
    }


def _thresholds_text(thresholds: Mapping[str, Any]) -> str:
    parts = []
    if "none" in thresholds:
        parts.append(f"declined if the probability of 'none of these' is at least {thresholds['none']:.3f}")
    if "uncertain" in thresholds:
        parts.append(
            "uncertain if the probability of the answer, divided by the sum of the probabilities of all classes except "
            f"'none of these', is below {thresholds['uncertain']:.3f}"
        )
    if "alert" in thresholds:
        alert = thresholds["alert"]
        parts.append(f"alert if the probability of {alert['label']} is at least {alert['threshold']:.3f}")
    if "conformal" in thresholds:
        parts.append(f"prediction sets with a coverage of {thresholds['conformal']['coverage']:.0%}")
    return "; ".join(parts) or "none; the answer is the most probable class"


def _roc_svg(model: Scored, truth: Truth) -> str:
    """Returns a plot with a ROC curve for each class whose AUROC was measured. Returns "" if there is no such class.

    If there are more classes than a legend can name, only the curve of the critical class is drawn.
    """
    curves = []
    for index, (label, one) in enumerate(model.card.classes.items()):
        if one.auroc.measured:
            x, y = roc(truth.index == index, model.answers.probabilities[:, index])
            curves.append(Curve(f"{label} {one.auroc.value:.3f}", x, y, label == truth.critical))
    if len(curves) > _MOST_CLASSES_SHOWN:
        curves = [curve for curve in curves if curve.emphasised]
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
