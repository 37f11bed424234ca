"""Read Keras classifiers: .keras and .h5 files of Keras 2 and 3, and SavedModels."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dermedge.convert.accept.network_checks import chance_check, order_check
from dermedge.convert.load.network import Network
from dermedge.edge.errors import DataError, ModelError, OptionError
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS, Normalization
from dermedge.train.evaluation.metrics import balanced_accuracy, confusion_matrix, lesion_draws

__all__ = ["KerasFile", "choose_normalization", "is_keras_file", "open_keras"]

_FORMS = ".keras, .h5 or a SavedModel folder"
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
# A network with one of these layers takes pixel values.
_PREPROCESSING_LAYERS = ("Rescaling", "Normalization")
_SOFTMAX = "softmax"
_REASON_CHARACTERS = 200


@dataclass(frozen=True)
class KerasFile:
    """A classifier read from a file.

    Attributes:
        path: path of the file or folder.
        size: side of its input in pixels.
        classes: number of its outputs.
        compute: as `Network.compute`.
        weights: as `Network.weights`.
        takes_pixels: whether one of its layers normalizes; None if that cannot be seen.
    """

    path: Path
    size: int
    classes: int
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    weights: dict[str, Any]
    takes_pixels: bool | None

    def network(self, labels: tuple[str, ...], normalization: Normalization) -> Network:
        """The network with labels for its outputs and the normalization that it expects."""
        return Network(self.path.stem, self.size, labels, normalization, self.compute, self.weights)


def is_keras_file(path: Path) -> bool:
    """Whether a path is a Keras file or a SavedModel."""
    return path.suffix.lower() in _KERAS_SUFFIXES or (path / "saved_model.pb").is_file()


def open_keras(path: Path, size: int | None = None) -> KerasFile:
    """Read a Keras file or a SavedModel.

    Args:
        path: path of the file or folder.
        size: side of the input in pixels, for a network that takes any.

    Raises:
        ModelError: it cannot be read, or is not an image classifier.
        OptionError: the size is not that of its input, or it takes any size and none was given.
    """
    if not path.exists():
        raise ModelError(f"there is no model '{path}'; give a run folder, {_FORMS}")
    try:
        if path.is_dir():
            return _from_saved_model(path, size)
        model = _keras_for(path).models.load_model(path, compile=False)
        return _from_model(path, model, size)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ImportError,
        NotImplementedError,
        zipfile.BadZipFile,
        tf.errors.OpError,
    ) as error:
        raise ModelError(
            f"cannot read the Keras model '{path}': {_reason(error)}; "
            "if it has custom layers, export it as a SavedModel"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_REASON_CHARACTERS].rstrip(".") if lines else type(error).__name__


def _keras_for(path: Path) -> ModuleType:
    """The package for a file: tf_keras for Keras 2, keras for Keras 3."""
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
    else:
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise ValueError("it holds only weights; save the whole model")
            version = str(file.attrs.get("keras_version", "2"))
    if int(version.split(".")[0]) < 3:
        return import_module("tf_keras")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return import_module("keras")


def _from_model(path: Path, model: Any, size: int | None) -> KerasFile:
    size = _input_size(path, [tuple(one.shape) for one in model.inputs], size)

    def answer(images: tf.Tensor) -> Any:
        return model(images, training=False)

    takes_pixels = any(type(layer).__name__ in _PREPROCESSING_LAYERS for layer in _layers(model))
    ends_in_softmax = _remove_softmax(model, answer, size)
    weights = {getattr(variable, "path", variable.name): variable for variable in model.weights}
    return _keras_file(path, size, answer, weights, takes_pixels, ends_in_softmax)


def _from_saved_model(path: Path, size: int | None) -> KerasFile:
    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise ModelError(f"the SavedModel '{path}' has no signature 'serving_default'; export it again")
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    size = _input_size(path, [tuple(one.shape) for one in inputs.values()], size)
    name = next(iter(inputs))

    def answer(images: tf.Tensor, owner: Any = loaded) -> Any:
        # The signature alone does not keep its variables alive.
        answers = list(owner.signatures["serving_default"](**{name: images}).values())
        return answers[0] if len(answers) == 1 else answers

    weights = {variable.name: variable for variable in signature.variables if variable.dtype.is_floating}
    return _keras_file(path, size, answer, weights, None, False)


def _keras_file(
    path: Path,
    size: int,
    answer: Callable[[tf.Tensor], Any],
    weights: dict[str, Any],
    takes_pixels: bool | None,
    gives_logits: bool,
) -> KerasFile:
    output = answer(_noise(size))
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 2 or shape[1] < 2:
        found = f"{len(output)} outputs" if isinstance(output, list | dict) else f"an output of {list(shape)}"
        raise ModelError(
            f"'{path}' is not a classifier: it has {found} in place of one number per class, [n, K]"
        )
    gives_logits = gives_logits or not _are_probabilities(np.asarray(output))

    def compute(images: tf.Tensor) -> list[tf.Tensor]:
        answers = answer(images)
        if not gives_logits:
            return [answers]
        return [tf.nn.softmax(answers), tf.reshape(answers, (-1, 1, 1, shape[1]))]

    return KerasFile(path, size, int(shape[1]), compute, weights, takes_pixels)


def _noise(size: int) -> tf.Tensor:
    """float32 [4, size, size, 3] noise of 0 to 1, to look at a network's output."""
    return tf.constant(np.random.default_rng(0).random((4, size, size, 3), np.float32))


def _are_probabilities(rows: NDArray[np.floating]) -> bool:
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))


def _input_size(path: Path, shapes: list[tuple[int | None, ...]], size: int | None) -> int:
    shape = shapes[0]
    if len(shapes) != 1 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        found = ", ".join(str(list(one)) for one in shapes)
        raise ModelError(f"'{path}' takes {found}, not square colour images, [n, S, S, 3]")
    if shape[1] is None and size is None:
        raise OptionError(f"'{path}' takes images of any size; choose one with --imgsz")
    if shape[1] is not None and size not in (None, shape[1]):
        raise OptionError(f"--imgsz is {size}, but '{path}' takes {shape[1]} pixels")
    return int(shape[1] or size)  # type: ignore[arg-type]


def _layers(model: Any) -> Iterator[Any]:
    """Yield all layers, also those of nested models."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _remove_softmax(model: Any, answer: Callable[[tf.Tensor], Any], size: int) -> bool:
    """Remove the softmax of the last layer, so that a model gives logits; return whether it had one.

    Decisions need logits, because a uint8 probability has only 256 levels.
    """
    *_, last = _layers(model)
    before = answer(_noise(size))
    if getattr(getattr(last, "activation", None), "__name__", "") == _SOFTMAX:
        kept, last.activation = last.activation, tf.identity
        if _is_softmax_of(before, answer(_noise(size))):
            return True
        last.activation = kept
    elif type(last).__name__ == "Softmax":
        kept, last.call = last.call, lambda inputs, mask=None: inputs
        if _is_softmax_of(before, answer(_noise(size))):
            return True
        last.call = kept
    return False


def _is_softmax_of(probabilities: Any, logits: Any) -> bool:
    return np.allclose(probabilities, tf.nn.softmax(logits), atol=1e-5)


def choose_normalization(
    file: KerasFile,
    asked: str,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    groups: Sequence[str],
) -> Normalization:
    """Choose the normalization that a network expects.

    Args:
        file: the network.
        asked: a name in `NORMALIZATIONS`, or ``auto``: ``pixels`` if one of its layers normalizes, else the
            one with the highest balanced accuracy on labelled photos.
        pixels: uint8 [n, s, s, 3] RGB photos that are not in the proof set.
        truth: int [n], their classes.
        groups: their lesions.

    Raises:
        OptionError: the name is unknown.
        DataError: by `chance_check`, the network is no better than chance; any file would pass on such photos.
    """
    if asked not in ("auto", *NORMALIZATIONS):
        raise OptionError(f"--normalization is '{asked}'. Known: auto, {', '.join(NORMALIZATIONS)}")
    tried = (asked,) if asked != "auto" else ("pixels",) if file.takes_pixels else FOREIGN
    labels = tuple(map(str, range(file.classes)))
    answers = {
        name: file.network(labels, NORMALIZATIONS[name]).logits(pixels).argmax(axis=1) for name in tried
    }
    figures = {
        name: balanced_accuracy(confusion_matrix(truth, of_name, file.classes))
        for name, of_name in answers.items()
    }
    best = max(figures, key=figures.__getitem__)
    check = chance_check(truth, answers[best], groups)
    in_order = order_check(truth, answers[best], labels, lesion_draws(groups)).passed
    # Labels in another order are left to the proof, which names them.
    if in_order and not check.passed:
        found = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        raise DataError(
            f"'{file.path}' is hardly better than chance on {len(truth)} calibration photos ({check.line}); "
            f"balanced accuracy by normalization: {found}; give the right --normalization, the classes in the "
            "right order with --labels, or more photos"
        )
    return NORMALIZATIONS[best]
