"""The models that ship with dermedge, found beside this package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_MODEL", "FAST_MODEL", "NINE_CLASSES_MODEL", "SHIPPED", "model_argument", "model_path"]

_MODELS = Path(__file__).resolve().parents[2] / "models"
DEFAULT_MODEL = _MODELS / "dermedge-192.tflite"
# Half the latency of the default one or less.
FAST_MODEL = _MODELS / "dermedge-128.tflite"
# Names the common lesions that the others only decline, and knows close-ups.
NINE_CLASSES_MODEL = _MODELS / "dermedge-nine-192.tflite"
SHIPPED = {path.stem: path for path in (DEFAULT_MODEL, FAST_MODEL, NINE_CLASSES_MODEL)}


def model_path(text: str) -> Path:
    """Returns the file of a model that ships, by its name, or the path that was given."""
    return SHIPPED.get(text, Path(text))


def model_argument(path: Path) -> str:
    """Returns the name of a model file that is valid on any machine: its name if it ships, else the given path."""
    return path.stem if path in SHIPPED.values() else str(path)
