"""Write the report of a conversion: a page for people and a JSON file for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.convert.accept.acceptance import CANNOT_TELL, POINTS, REFUSED, SURE_LEAD, AcceptanceCheck
from dermedge.convert.accept.layer_errors import LayerError
from dermedge.convert.conversion import Conversion
from dermedge.convert.load.conversion_input import ConversionInput
from dermedge.convert.report.layer_advice import Cures, advice, short_name
from dermedge.convert.report.layer_plot import layers_svg
from dermedge.convert.report.summary import view_line
from dermedge.convert.report.verdict import verdict_sentence
from dermedge.convert.request import ConversionRequest
from dermedge.convert.search import ConversionAttempt, SearchResult
from dermedge.convert.to_tflite.form import CALIBRATED_KINDS, INT8_MIXED, INT8_PTQ, INT8_QAT
from dermedge.edge.files import whole_folder
from dermedge.edge.model.manifest import Manifest, strip
from dermedge.edge.model.photo_view import DERMOSCOPIC
from dermedge.train.pages import json_head, render

__all__ = ["SCHEMA", "save_report", "to_html", "to_json"]

SCHEMA = "dermedge-conversion/1"
_TEMPLATES = Path(__file__).parents[1] / "templates"
_PAGE, _FIGURES = "report.html", "report.json"
_WORST_LAYERS_SHOWN = 20
# The layers are plotted only if there are at least this many. For fewer layers, the table is enough.
_LEAST_LAYERS_PLOTTED = 3


def save_report(result: SearchResult, source: ConversionInput, request: ConversionRequest) -> Path:
    """Write the folder of the report, and return the path of its page. If an error occurs, no folder is left behind.

    Raises:
        StorageError: the folder exists already, or cannot be written.
    """
    folder = request.report_folder
    with whole_folder(folder) as part:
        for name, content in (
            (_PAGE, to_html(result, source, request)),
            (_FIGURES, to_json(result, source, request)),
        ):
            (part / name).write_text(content, encoding="utf-8", errors="backslashreplace")
    return folder / _PAGE


def to_json(result: SearchResult, source: ConversionInput, request: ConversionRequest) -> str:
    """Return the whole result as indented JSON with the schema `SCHEMA`.

    Args:
        result: the result of the conversion.
        source: the classifier and its photos.
        request: the request for the conversion.
    """
    best = result.best
    values = {
        **json_head(SCHEMA, request.command),
        "target": str(request.target),
        "files": [str(request.target_of(one.form.kind)) for one in result.deliveries],
        "delivered": result.delivered,
        "verdict": best.acceptance.verdict,
        "verdict_sentence": verdict_sentence(result),
        "doubts": best.acceptance.doubts,
        "form": asdict(best.form),
        "bytes": len(best.model),
        "normalization": source.network.normalization.name,
        "calibration_photos": len(source.calibration),
        "proof_photos": len(source.proof.truth),
        "labels": source.proof.labels,
        "critical": source.proof.critical,
        "warnings": best.warnings,
        "manifest": asdict(best.manifest),
        "attempts": [_attempt_json(one) for one in result.attempts],
        "layers": [_layer_json(layer) for layer in result.layers],
        "advice": advice(result.layers, _cures(best, source)),
    }
    return json.dumps(values, indent=1, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist()


def _attempt_json(attempt: ConversionAttempt) -> dict[str, Any]:
    made = attempt.conversion
    if made is None:
        return {"form": asdict(attempt.form), "passed": False, "refusal": attempt.refusal}
    return {
        "form": asdict(attempt.form),
        "passed": attempt.accepted,
        "bytes": len(made.model),
        "invoke_ms": round(made.invoke_ms, 3),
        "parity": made.parity.to_json(),
        "network_checks": [asdict(check) for check in made.acceptance.network_checks],
        "checks": [_check_json(check) for check in made.acceptance.checks],
    }


def _layer_json(layer: LayerError) -> dict[str, Any]:
    """Return the error of a layer as a JSON-serializable dict.

    For a layer without noise or without signal, ``sqnr_db`` is infinite. JSON has no infinity, so null stands for it.
    """
    values = asdict(layer)
    return values | {"sqnr_db": layer.sqnr_db if np.isfinite(layer.sqnr_db) else None}


def _check_json(check: AcceptanceCheck) -> dict[str, Any]:
    return {
        "name": check.name,
        "reference": check.reference,
        "device": check.device if check.drop.measured else None,
        "drop": check.drop.to_json(),
        "limit": check.limit,
        "detectable": check.detectable if check.drop.measured else None,
        "passed": check.passed,
        "status": check.status,
    }


def to_html(result: SearchResult, source: ConversionInput, request: ConversionRequest) -> str:
    """Return the report as one HTML page, which needs no other file and no network connection.

    `to_json` explains the arguments.
    """
    best = result.best
    return render(
        "conversion.html",
        {"points": lambda share: f"{share * POINTS:.1f}", "short": short_name},
        _TEMPLATES,
        result=result,
        verdict=verdict_sentence(result),
        best=best,
        command=request.command,
        files=[request.target_of(one.form.kind) for one in result.deliveries],
        facts=_facts(best, source),
        flips=[(label, lost, won) for label, (lost, won) in best.acceptance.flips.items()],
        sure_lead=SURE_LEAD,
        layers=sorted(result.layers, key=lambda layer: layer.sqnr_db)[:_WORST_LAYERS_SHOWN],
        layers_plot=layers_svg(result.layers) if len(result.layers) >= _LEAST_LAYERS_PLOTTED else "",
        advice=advice(result.layers, _cures(best, source)),
    )


def _cures(best: Conversion, source: ConversionInput) -> Cures:
    """Tell which cures are possible for a file. If no metric lost more than allowed, all cures are False."""
    has_lost = any(check.status in (REFUSED, CANNOT_TELL) for check in best.acceptance.checks)
    is_ptq, is_qat = best.form.kind in (INT8_PTQ, INT8_MIXED), best.form.kind == INT8_QAT
    is_run = source.manifest.data_digest is not None
    return Cures(
        ranges=has_lost and is_ptq,
        float_layers=has_lost and (is_ptq or is_qat),
        qat=has_lost and is_run and is_ptq,
    )


def _facts(best: Conversion, source: ConversionInput) -> dict[str, str]:
    manifest, calibrated, layout = best.manifest, best.form.kind in CALIBRATED_KINDS, source.network.layout
    colour = "gray" if layout.channels == 1 else "colour"
    view = view_line(manifest.metrics)
    size, network_size = len(best.model) / 1e6, len(strip(best.model)) / 1e6
    return {
        "form": best.form.name,
        "input": f"{best.form.io}, {layout.height} x {layout.width}, {colour}, pixel values",
        "normalization inside": source.network.normalization.name,
        "network": manifest.architecture,
        "classes": ", ".join(manifest.labels),
        "size": f"{size:.2f} MB, of which the network takes {network_size:.2f} MB",
        "calibrated on": f"{len(source.calibration)} photos"
        if calibrated
        else "no photos, because this form needs no calibration",
        "proven on": _proven_on(best, source),
        "inference": f"{best.invoke_ms:.2f} ms on this machine, the median over the proof set; this is not a benchmark",
        **({"view": view} if view else {}),
        "temperature": _temperatures(manifest),
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }


def _temperatures(manifest: Manifest) -> str:
    others = [f"{view} {values['temperature']:.3f}" for view, values in manifest.views.items()]
    own = f"{manifest.temperature:.3f}"
    return ", ".join([f"{DERMOSCOPIC} {own}", *others]) if others else own


def _proven_on(best: Conversion, source: ConversionInput) -> str:
    if source.validated_by is None:
        return f"{best.acceptance.photos} photos that the file was not calibrated on"
    return (
        f"{best.acceptance.photos} photos that the network was trained on; so the temperature, the thresholds and the "
        f"checks come from '{best.manifest.metrics['validated_by']}', a run of the same recipe without these photos, "
        "converted to the same form"
    )
