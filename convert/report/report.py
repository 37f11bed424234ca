"""The report of one conversion: what was tried, what was lost where, and why; for people and for programs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.convert.accept.acceptance import POINTS, SURE_LEAD, Check
from dermedge.convert.accept.layer_errors import LayerError, advice, layers_svg, short_name
from dermedge.convert.load.conversion_input import Subject
from dermedge.convert.pipeline import Conversion
from dermedge.convert.search import Attempt, Outcome
from dermedge.convert.to_tflite.converter import CALIBRATED_KINDS
from dermedge.edge.errors import StorageError
from dermedge.edge.files import storage_error
from dermedge.edge.model.manifest import strip
from dermedge.train.pages import json_head, render

SCHEMA = "dermedge-conversion/1"
TEMPLATES = Path(__file__).parent.parent / "templates"
PAGE, FIGURES = "report.html", "report.json"
WORST_LAYERS_SHOWN = 20


def save_report(outcome: Outcome, subject: Subject, folder: Path, command: str, target: Path) -> Path:
    """Writes a folder with the page and the JSON, whole or not at all; returns the page.

    Args:
        outcome: of the conversion.
        subject: what was converted.
        folder: to make.
        command: the command line.
        target: the file that was asked for.

    Raises:
        StorageError: the folder exists already, or cannot be written.
    """
    if folder.exists():
        raise StorageError(f"'{folder}' exists already; delete it, or name another with --report")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for name, writer in ((PAGE, to_html), (FIGURES, to_json)):
            content = writer(outcome, subject, command, target)
            (part / name).write_text(content, encoding="utf-8", errors="backslashreplace")
        os.replace(part, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / PAGE


def to_json(outcome: Outcome, subject: Subject, command: str, target: Path) -> str:
    """Everything as indented JSON of schema `SCHEMA`."""
    chosen = outcome.chosen
    values = {
        **json_head(SCHEMA, command),
        "target": str(target),
        "delivered": outcome.delivered,
        "form": asdict(chosen.form),
        "bytes": len(chosen.model),
        "normalization": subject.network.normalization.name,
        "calibration_photos": len(subject.calibration),
        "proof_photos": len(subject.proof.truth),
        "labels": subject.proof.labels,
        "critical": subject.proof.critical,
        "manifest": asdict(chosen.manifest),
        "attempts": [_attempt_json(one) for one in outcome.attempts],
        "layers": [_layer_json(layer) for layer in outcome.layers],
        "advice": advice(outcome.layers),
    }
    return json.dumps(values, indent=1, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist()


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    made = attempt.conversion
    if made is None:
        return {"form": asdict(attempt.form), "passed": False, "refusal": attempt.refusal}
    return {
        "form": asdict(attempt.form),
        "passed": attempt.passed,
        "bytes": len(made.model),
        "invoke_ms": round(made.invoke_ms, 3),
        "parity": asdict(made.parity),
        "checks": [_check_json(check) for check in made.verdict.checks],
    }


def _layer_json(layer: LayerError) -> dict[str, Any]:
    """JSON has no infinity: what has no noise at all, or no signal, has no ratio."""
    values = asdict(layer)
    return values | {"sqnr_db": layer.sqnr_db if np.isfinite(layer.sqnr_db) else None}


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "reference": check.reference,
        "device": check.device if check.drop.measured else None,
        "drop": check.drop.to_json(),
        "limit": check.limit,
        "passed": check.passed,
    }


def to_html(outcome: Outcome, subject: Subject, command: str, target: Path) -> str:
    """One page that needs no other file and no network."""
    chosen = outcome.chosen
    return render(
        "conversion.html",
        {"points": lambda share: f"{share * POINTS:.1f}", "short": short_name},
        TEMPLATES,
        outcome=outcome,
        chosen=chosen,
        subject=subject,
        command=command,
        target=target,
        facts=_facts(chosen, subject),
        flips=_flips(chosen),
        sure_lead=SURE_LEAD,
        layers=_worst(outcome.layers),
        layers_plot=layers_svg(outcome.layers) if outcome.layers else "",
        advice=advice(outcome.layers),
    )


def _worst(layers: tuple[LayerError, ...]) -> list[LayerError]:
    return sorted(layers, key=lambda layer: layer.sqnr_db)[:WORST_LAYERS_SHOWN]


def _flips(chosen: Conversion) -> list[tuple[str, int, int]]:
    """Class -> photos of it that only the float network named rightly, and that only the file did."""
    return [(label, lost, won) for label, (lost, won) in chosen.verdict.flips.items()]


def _facts(chosen: Conversion, subject: Subject) -> dict[str, str]:
    manifest, calibrated = chosen.manifest, chosen.form.kind in CALIBRATED_KINDS
    proven = f"{chosen.verdict.photos} photos that it was not calibrated on"
    if subject.validated:
        validated_by = manifest.metrics["validated_by"]
        proven = (
            f"{chosen.verdict.photos} photos that the network has learned: temperature, thresholds and "
            f"checks are those of '{validated_by}', the same recipe without them, converted alike"
        )
    return {
        "form": chosen.form.name,
        "input": f"{chosen.form.io}, {manifest.input_size} x {manifest.input_size}, real pixels",
        "normalization inside": subject.network.normalization.name,
        "network": manifest.architecture,
        "classes": ", ".join(manifest.labels),
        "size": f"{len(chosen.model) / 1e6:.2f} MB, the network {len(strip(chosen.model)) / 1e6:.2f} MB",
        "calibrated on": f"{len(subject.calibration)} photos" if calibrated else "nothing: no need of it",
        "proven on": proven,
        "inference": f"{chosen.invoke_ms:.2f} ms, the median of the proof: no benchmark",
        "temperature": f"{manifest.temperature:.3f}",
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }
