"""Summarize in a few lines of text what a conversion wrote and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dermedge.convert.accept.acceptance import CANNOT_TELL
from dermedge.convert.accept.layer_errors import worst_layers
from dermedge.convert.accept.network_checks import NetworkCheck
from dermedge.convert.accept.power import POWER
from dermedge.convert.report.layer_advice import short_name
from dermedge.convert.report.verdict import verdict_sentence
from dermedge.convert.search import SearchResult
from dermedge.convert.to_tflite.form import INT8_QAT
from dermedge.edge.model.manifest import Manifest

__all__ = ["decision_lines", "refusal", "summary", "view_line"]

# The longest status of a check is "not measured".
_STATUS_WIDTH = 12
_LAYERS_NAMED = 3


def summary(result: SearchResult) -> str:
    """Return the best file: its size, its parity, its decisions and its checks."""
    best, parity = result.best, result.best.parity
    lines = [verdict_sentence(result), *(f"warning: {line}" for line in best.warnings)]
    if "val_balanced_accuracy_argmax_of" in best.manifest.metrics:
        figures = best.manifest.metrics["val_balanced_accuracy_argmax_of"]
        listed = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        lines.append(f"balanced accuracy on the proof set by the most probable class: {listed}")
    lines += [
        f"{best.form.name}: {len(best.model) / 1e6:.2f} MB",
        f"compared with {_made_from(best.form.kind)} on {parity.photos} photos, by {best.runtime}: same class "
        f"{parity.agreement:.1%}, logits differ by {parity.mean_logit_difference:.3f} on average and "
        f"{parity.max_logit_difference:.3f} at most",
        *decision_lines(best.manifest),
        *(f"  {check.status:<{_STATUS_WIDTH}} {check.line}" for check in best.acceptance.network_checks),
        f"compared with the float network (detectable: the smallest loss that such photos show with a power of "
        f"{POWER:.0%}):",
        *(f"  {check.status:<{_STATUS_WIDTH}} {check.line}" for check in best.acceptance.checks),
    ]
    return "\n".join(lines)


def _made_from(kind: str) -> str:
    """Return the network whose logits a file is compared with: the fine-tuned one rounds to 8 bits itself."""
    return "the fine-tuned network, which rounds to 8 bits too," if kind == INT8_QAT else "the float network"


def refusal(result: SearchResult, has_searched: bool) -> str:
    """Return one line: the largest loss, the layers that cause it, and the cure."""
    worst = dict.fromkeys(map(short_name, worst_layers(result.layers, _LAYERS_NAMED)))
    layers = f"; worst layers: {', '.join(worst)}" if worst else ""
    if result.best.acceptance.verdict == CANNOT_TELL:
        cure = "prove the file on more photos, or accept it with --cannot-tell deliver"
        return f"dermedge: refused: {'; '.join(result.best.acceptance.doubts)}; nothing is delivered: {cure}"
    check = result.best.acceptance.failed[0]
    if isinstance(check, NetworkCheck):
        return f"dermedge: refused: {check.line}; nothing is delivered: {check.cure}"
    cure = "allow more with --max-drop, or train longer"
    if not has_searched:
        cure = "try --search, or allow more with --max-drop"
    return f"dermedge: refused: {check.line}{layers}; nothing is delivered: {cure}"


def decision_lines(manifest: Manifest) -> list[str]:
    """Return lines on the effect of temperature and thresholds on the validation photos that they were fitted on.

    If the file tells the view of a photo, there are lines for each view.
    """
    metrics = manifest.metrics
    lines = [
        *_network_lines(metrics),
        f"validation balanced accuracy {metrics['val_balanced_accuracy']:.3f} by the decision, "
        f"{metrics['val_balanced_accuracy_argmax']:.3f} by the most probable class",
    ]
    if view := view_line(metrics):
        lines.append(view)
    if not manifest.views:
        return [*lines, *_fitted_lines(manifest)]
    for view, of_view in metrics["val_views"].items():
        own = replace(manifest, metrics=of_view, **manifest.views.get(view, {}))
        lines += [f"{view}: {line}" for line in _fitted_lines(own)]
    return lines


def view_line(metrics: Mapping[str, Any]) -> str:
    """Return one line on how well the file tells close-ups from dermoscopic photos; empty if it does not tell them."""
    if "val_view_accuracy" not in metrics:
        return ""
    taken = ", ".join(
        f"{of_view['val_photos']} taken for {view} (calibration error {of_view['val_ece']:.3f})"
        for view, of_view in metrics.get("val_views", {}).items()
    )
    share = f"view told right for {metrics['val_view_accuracy']:.1%} of the validation photos"
    return f"{share}; {taken}" if taken else share


def _fitted_lines(manifest: Manifest) -> list[str]:
    """Return lines with the temperature, the thresholds, and their effect."""
    metrics, thresholds = manifest.metrics, manifest.thresholds
    return [
        f"temperature {manifest.temperature:.2f}: calibration error {metrics['val_ece']:.3f}, "
        f"{metrics['val_ece_unscaled']:.3f} without it",
        *_threshold_lines(manifest),
        f"prediction sets for {thresholds['conformal']['coverage']:.0%}: {metrics['val_set_coverage']:.1%} "
        f"hold the true class, with {metrics['val_set_size']:.2f} classes on average",
    ]


def _network_lines(metrics: dict[str, Any]) -> list[str]:
    lines = []
    if "validated_by" in metrics:
        lines.append(
            "the network was trained on the validation photos too: temperature, thresholds and their figures "
            f"come from '{metrics['validated_by']}', the same recipe trained without them"
        )
    if metrics.get("logit_adjustment"):
        lines.append(
            f"logit adjustment {metrics['logit_adjustment']:.2f}: balanced accuracy in float "
            f"{metrics['val_float_balanced_accuracy']:.3f}, "
            f"{metrics['val_float_balanced_accuracy_unadjusted']:.3f} without it"
        )
    return lines


def _threshold_lines(manifest: Manifest) -> list[str]:
    metrics, thresholds = manifest.metrics, manifest.thresholds
    lines = []
    if "none" in thresholds:
        others = metrics.get("val_none_declined")
        lines.append(
            f"declined from p({manifest.none_label}) >= {thresholds['none']:.4f}: "
            f"{metrics['val_declined']:.1%} of the named classes"
            + ("" if others is None else f", {others:.1%} of other photos")
        )
    if "alert" in thresholds:
        alert = thresholds["alert"]
        lines.append(
            f"alert from p({alert['label']}) >= {alert['threshold']:.4f}: sensitivity "
            f"{metrics['val_alert_sensitivity']:.1%}, specificity {metrics['val_alert_specificity']:.1%}"
        )
    if "uncertain" in thresholds:
        lines.append(
            f"uncertain below {thresholds['uncertain']:.4f}: {metrics['val_uncertain']:.1%} of the answered "
            f"photos; balanced error {metrics['val_risk']:.3f}, of the certain ones "
            f"{metrics['val_risk_certain']:.3f}"
        )
    return lines
