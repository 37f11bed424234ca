"""`dermedge models`: lists the models that ship, with facts from their manifests."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.errors import ModelError
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED
from dermedge.edge.text_table import TextTable, measured

__all__ = ["main", "parser"]

_BYTES_PER_MB = 1e6
_WIDTH = 80
_NOTE = (
    "The accuracies were measured on the validation photos, on which temperature and thresholds were set. Balanced "
    "accuracy is the mean recall of the classes. The model card, models/README.md, has the figures on photos that no "
    "model was trained or chosen on. The licence is that of the weights; the code is Apache-2.0. Score a model on "
    "your own photos with: dermedge evaluate MODEL --data PHOTOS"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a row for each model that ships."""
    options = parser().parse_args(argv)
    models = [_described(name, path) for name, path in SHIPPED.items()]
    if options.json:
        print(json.dumps(models, indent=1))
        return 0
    print(_table(models).to_text())
    print(f"\n{textwrap.fill(_NOTE, _WIDTH)}")
    return 0


def _described(name: str, path: Path) -> dict[str, Any]:
    """Returns the facts about a model, for JSON.

    Raises:
        ModelError: the file is missing, damaged, or has no manifest.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise ModelError(f"'{path}' has no manifest; install dermedge again")
    metrics = manifest.metrics
    return {
        "name": name,
        "default": path == DEFAULT_MODEL,
        "input_size": manifest.input_size,
        "bytes": path.stat().st_size,
        "labels": list(manifest.labels),
        "validation_photos": metrics.get("val_photos"),
        "accuracy": metrics.get("val_accuracy"),
        "balanced_accuracy": metrics.get("val_balanced_accuracy"),
        "quantization": manifest.quantization,
        "licence": manifest.licence,
        "file": str(path),
    }


def _table(models: Sequence[dict[str, Any]]) -> TextTable:
    head = ("model", "pixels", "MB", "classes", "accuracy", "balanced", "licence")
    rows = tuple(
        (
            f"{one['name']} (default)" if one["default"] else one["name"],
            str(one["input_size"]),
            f"{one['bytes'] / _BYTES_PER_MB:.2f}",
            str(len(one["labels"])),
            measured(one["accuracy"], ".3f"),
            measured(one["balanced_accuracy"], ".3f"),
            one["licence"] or "not stated",
        )
        for one in models
    )
    return TextTable("The models that ship. Give their names wherever a MODEL is asked for.", head, rows)


def parser() -> Parser:
    """Returns the options of `dermedge models`."""
    made = make_parser("models", "List the models that ship: input, size, accuracy and licence.")
    made.add_argument("--json", action="store_true", help="print one JSON list, for a program")
    return made
