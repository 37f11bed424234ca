"""Summarize a conversion in a few lines of text: the file, and its losses compared with the float network."""

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

# The width of the column for the status of a check, in characters. The longest status is "not measured".
_STATUS_WIDTH = 12
_LAYERS_NAMED = 3


def summary(result: SearchResult) -> str:
    """Return lines on the best file: the verdict, the size, the parity, the thresholds and the checks."""
    best, parity = result.best, result.best.parity
    lines = [verdict_sentence(result), *(f"warning: {line}" for line in best.warnings)]
    if "val_balanced_accuracy_argmax_of" in best.manifest.metrics:
        figures = best.manifest.metrics["val_balanced_accuracy_argmax_of"]
        listed = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        lines.append(f"balanced accuracy of the most probable class on the proof set: {listed}")
    lines += [
        f"{best.form.name}: {len(best.model) / 1e6:.2f} MB",
        f"compared with {_made_from(best.form.kind)} on {parity.photos} photos, in {best.runtime}: "
        f"{parity.agreement:.1%} have the same most probable class, and logits differ by "
        f"{parity.mean_logit_difference:.3f} on average and {parity.max_logit_difference:.3f} at most",
        *decision_lines(best.manifest),
        *(f"  {check.status:<{_STATUS_WIDTH}} {check.line}" for check in best.acceptance.network_checks),
        f"compared with the float network; losses are in percentage points; {POWER:.0%} of all proof sets of this size "
        f"would reveal a true loss as large as the smallest detectable loss:",
        *(f"  {check.status:<{_STATUS_WIDTH}} {check.line}" for check in best.acceptance.checks),
    ]
    return "\n".join(lines)


def _made_from(kind: str) -> str:
    """Describe the network with which the logits of a file are compared: the network that the file was made from.

    A quantization-aware file was made from the fine-tuned network, which simulates the rounding to 8 bits.
    """
    return "the fine-tuned network, which rounds to 8 bits too," if kind == INT8_QAT else "the float network"


def refusal(result: SearchResult, has_searched: bool) -> str:
    """Return one line for a refused file: the most important reason, the layers that cause it, and a cure."""
    worst = dict.fromkeys(map(short_name, worst_layers(result.layers, _LAYERS_NAMED)))
    layers = f"; the worst layers are {', '.join(worst)}" if worst else ""
    if result.best.acceptance.verdict == CANNOT_TELL:
        cure = "give more labelled photos, or accept the file with --cannot-tell deliver"
        return f"dermedge: refused: {'; '.join(result.best.acceptance.doubts)}; no file was written; {cure}"
    check = result.best.acceptance.failed[0]
    if isinstance(check, NetworkCheck):
        return f"dermedge: refused: {check.line}; no file was written; {check.cure}"
    cure = "allow a larger loss with --max-drop, or train longer"
    if not has_searched:
        cure = "try --search, or allow a larger loss with --max-drop"
    return f"dermedge: refused: {check.line}{layers}; no file was written; {cure}"


def decision_lines(manifest: Manifest) -> list[str]:
    """Return lines on the temperature and the thresholds, and on their effect on the validation photos.

    The temperature and the thresholds were fitted on the same photos. If the file tells the view of a photo, there are
    separate lines for each view.
    """
    metrics = manifest.metrics
    lines = [
        *_network_lines(metrics),
        f"balanced accuracy on the validation photos: {metrics['val_balanced_accuracy']:.3f} with the thresholds, "
        f"{metrics['val_balanced_accuracy_argmax']:.3f} for the most probable class",
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
    """Return one line on how well the file tells close-ups from dermoscopic photos.

    The line is empty if the file does not tell the view of a photo.
    """
    if "val_view_accuracy" not in metrics:
        return ""
    taken = ", ".join(
        f"{of_view['val_photos']} were classified as {view} (calibration error {of_view['val_ece']:.3f})"
        for view, of_view in metrics.get("val_views", {}).items()
    )
    share = f"the view is right for {metrics['val_view_accuracy']:.1%} of the validation photos"
    return f"{share}; {taken}" if taken else share


def _fitted_lines(manifest: Manifest) -> list[str]:
    """Return lines on the temperature and on each threshold. Each line also states the effect on validation photos."""
    metrics, thresholds = manifest.metrics, manifest.thresholds
    return [
        f"temperature {manifest.temperature:.2f}: calibration error {metrics['val_ece']:.3f} with the temperature, "
        f"{metrics['val_ece_unscaled']:.3f} without it",
        *_threshold_lines(manifest),
        f"prediction sets with a coverage of {thresholds['conformal']['coverage']:.0%}: "
        f"{metrics['val_set_coverage']:.1%} hold the true class, and a set has {metrics['val_set_size']:.2f} classes "
        "on average",
    ]


def _network_lines(metrics: dict[str, Any]) -> list[str]:
    lines = []
    if "validated_by" in metrics:
        lines.append(
            "the network was also trained on the validation photos; so the temperature, the thresholds and their "
            f"metrics come from '{metrics['validated_by']}', a run of the same recipe without these photos"
        )
    if metrics.get("logit_adjustment"):
        lines.append(
            f"logit adjustment with the strength {metrics['logit_adjustment']:.2f}: balanced accuracy of the float "
            f"network {metrics['val_float_balanced_accuracy']:.3f} with the adjustment, "
            f"{metrics['val_float_balanced_accuracy_unadjusted']:.3f} without it"
        )
    return lines


def _threshold_lines(manifest: Manifest) -> list[str]:
    metrics, thresholds = manifest.metrics, manifest.thresholds
    lines = []
    if "none" in thresholds:
        others = metrics.get("val_none_declined")
        lines.append(
            f"declined if p({manifest.none_label}) >= {thresholds['none']:.4f}: "
            f"{metrics['val_declined']:.1%} of the photos of named classes"
            + ("" if others is None else f", {others:.1%} of the other photos")
        )
    if "alert" in thresholds:
        alert = thresholds["alert"]
        lines.append(
            f"alert if p({alert['label']}) >= {alert['threshold']:.4f}: sensitivity "
            f"{metrics['val_alert_sensitivity']:.1%}, specificity {metrics['val_alert_specificity']:.1%}"
        )
    if "uncertain" in thresholds:
        lines.append(
            f"uncertain below {thresholds['uncertain']:.4f}: {metrics['val_uncertain']:.1%} of the answers; the "
            f"balanced error is {metrics['val_risk']:.3f} for all answers and {metrics['val_risk_certain']:.3f} "
            f"for the certain ones"
        )
    return lines
