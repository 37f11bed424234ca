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
# The models of nine classes name eight kinds of lesions, and recognize close-ups.
DEFAULT_MODEL = _MODELS / "dermedge-nine-192.tflite"
# The latency of this model is about half of the latency of the default model.
FAST_MODEL = _MODELS / "dermedge-nine-128.tflite"
# The models of five classes name four kinds of lesions, and answer "none of these" for all others.
FIVE_CLASSES_MODEL = _MODELS / "dermedge-192.tflite"
_FAST_FIVE_CLASSES_MODEL = _MODELS / "dermedge-128.tflite"
SHIPPED = {
    path.stem: path for path in (DEFAULT_MODEL, FAST_MODEL, FIVE_CLASSES_MODEL, _FAST_FIVE_CLASSES_MODEL)
}


def model_path(text: str) -> Path:
    """Returns the path of the shipped model with the name ``text``. Any other text is returned as a path."""
    return SHIPPED.get(text, Path(text))


def require_model_file(path: Path) -> None:
    """Raises ModelError if the file of a model does not exist or cannot be read."""
    try:
        is_file = path.is_file()
        if is_file:
            path.open("rb").close()
    except OSError as error:
        raise ModelError(
            f"cannot read the model '{path}': {error.strerror}; check the path and its permissions"
        ) from error
    if not is_file and path.is_dir():
        raise ModelError(f"'{path}' is a folder and not a model; give a .tflite file")
    if not is_file:
        raise ModelError(
            f"the model file '{path}' does not exist; `dermedge models` lists the models that ship"
        )


def model_argument(path: Path) -> str:
    """Returns the text that names a model on the command line.

    A model that ships with dermedge has a name, which is valid on every machine. For such a model, the function returns
    the name. For any other model, it returns the path.
    """
    return path.stem if path in SHIPPED.values() else str(path)
