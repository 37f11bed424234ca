"""`dermedge models`: lists the models that ship with dermedge, with the accuracy and licence in each manifest."""

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
    "The accuracies were measured on the validation photos. The temperature and the thresholds were chosen on the same "
    "photos. Balanced accuracy is the mean recall of the classes. The more classes a model tells apart, the lower it "
    "is. The model card, models/README.md, has the accuracies on photos that were not used to train or choose a model. "
    "The licence applies to the weights; the licence of the code is Apache-2.0. To score a model on your own photos, "
    "run: dermedge evaluate MODEL --data PHOTOS"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table with one row for each model that ships with dermedge."""
    options = parser().parse_args(argv)
    models = [_described(name, path) for name, path in SHIPPED.items()]
    if options.json:
        print(json.dumps(models, indent=1))
        return 0
    print(_table(models).to_text())
    print(f"\n{textwrap.fill(_NOTE, _WIDTH)}")
    return 0


def _described(name: str, path: Path) -> dict[str, Any]:
    """Returns the description of one model as a JSON-serializable dict: input size, file size, accuracy and so on.

    Raises:
        ModelError: the model file is missing, damaged, or has no manifest.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise ModelError(f"the model file '{path}' of dermedge has no manifest; install dermedge again")
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
    head = ("model", "pixels", "MB", "classes", "bal. accuracy", "licence")
    rows = tuple(
        (
            f"{one['name']} (default)" if one["default"] else one["name"],
            str(one["input_size"]),
            f"{one['bytes'] / _BYTES_PER_MB:.2f}",
            str(len(one["labels"])),
            measured(one["balanced_accuracy"], ".3f"),
            one["licence"] or "not stated",
        )
        for one in models
    )
    return TextTable("The models that ship with dermedge. Use a name in place of MODEL.", head, rows)


def parser() -> Parser:
    """Returns the options of `dermedge models`."""
    made = make_parser(
        "models",
        "List the models that ship with dermedge: input size, file size, accuracy and licence.",
        ("dermedge models", "dermedge models --json"),
    )
    made.add_argument("--json", action="store_true", help="print the models as one JSON list")
    return made
