"""Finds the files of models by the names of the models that ship with dermedge, or by paths."""

from __future__ import annotations

from pathlib import Path

from dermedge.edge.errors import ModelError

__all__ = [
    "DEFAULT_MODEL",
    "FAST_MODEL",
    "FIVE_CLASSES_MODEL",
    "SHIPPED",
    "model_argument",
    "model_path",
    "require_model_file",
]

_MODELS = Path(__file__).resolve().parents[2] / "models"
# This model names eight kinds of lesions, and recognizes close-ups.
DEFAULT_MODEL = _MODELS / "dermedge-nine-192.tflite"
# The latency of this model is at most half of the latency of dermedge-192.
FAST_MODEL = _MODELS / "dermedge-128.tflite"
# This model names four kinds of lesions. It answers "none of these" for all others.
FIVE_CLASSES_MODEL = _MODELS / "dermedge-192.tflite"
SHIPPED = {path.stem: path for path in (DEFAULT_MODEL, FIVE_CLASSES_MODEL, FAST_MODEL)}


def model_path(text: str) -> Path:
    """Returns the path of a model that ships with dermedge if ``text`` is its name, and else ``text`` as a path."""
    return SHIPPED.get(text, Path(text))


def require_model_file(path: Path) -> None:
    """Raises ModelError if there is no file at the path of a model."""
    if not path.is_file():
        raise ModelError(f"there is no model file '{path}'; `dermedge models` lists the models that ship")


def model_argument(path: Path) -> str:
    """Returns the name of a model that ships with dermedge, and the path of any other model.

    A command that uses the name instead of the path is valid on every machine.
    """
    return path.stem if path in SHIPPED.values() else str(path)
