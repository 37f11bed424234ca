"""Finds the files of the models that ship with dermedge."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_MODEL", "FAST_MODEL", "NINE_CLASSES_MODEL", "SHIPPED", "model_argument", "model_path"]

_MODELS = Path(__file__).resolve().parents[2] / "models"
DEFAULT_MODEL = _MODELS / "dermedge-192.tflite"
# Its latency is at most half that of the default model.
FAST_MODEL = _MODELS / "dermedge-128.tflite"
# It names four common kinds of lesions that the other models only decline, and recognizes close-ups.
NINE_CLASSES_MODEL = _MODELS / "dermedge-nine-192.tflite"
SHIPPED = {path.stem: path for path in (DEFAULT_MODEL, FAST_MODEL, NINE_CLASSES_MODEL)}


def model_path(text: str) -> Path:
    """Returns the file of a model that ships, by its name, or the path that was given."""
    return SHIPPED.get(text, Path(text))


def model_argument(path: Path) -> str:
    """Returns how to name a model so that the name works on any machine: its name if it ships, else the given path."""
    return path.stem if path in SHIPPED.values() else str(path)
