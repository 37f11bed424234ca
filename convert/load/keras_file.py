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
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dermedge.convert.load.keras_code import check_no_code, is_keras_zip
from dermedge.convert.load.keras_head import KerasHead, check_repeatable, find_head, without_activation
from dermedge.convert.load.keras_precision import file_in_float32, other_precision
from dermedge.convert.load.tensorflow_network import TensorFlowNetwork
from dermedge.edge.errors import DermedgeError, ModelError, OptionError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS, Normalization

__all__ = ["KerasFile", "open_keras"]

_FORMS = "a .keras or .h5 file, or a SavedModel folder"
_HDF5_SUFFIXES = (".h5", ".hdf5")
_SUFFIXES = (".keras", *_HDF5_SUFFIXES)
# Advice for files that Keras cannot read. The key is the suffix of the file.
_OTHER_FRAMEWORKS = {
    ".onnx": "convert it to a .tflite in float32 first, for example with onnx2tf",
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".safetensors"),
        "export the network to a .tflite in float32 first, for example with litert-torch",
    ),
    ".pb": "give the SavedModel folder that holds saved_model.pb and the folder variables",
}
# A Rescaling layer is made for pixel values of 0 to 255 if its scale is at most `_LARGEST_SCALE_OF_PIXELS`. A
# Normalization layer is made for such values if its mean is larger than `_LEAST_MEAN_OF_PIXELS`. Other layers of these
# kinds may be made for values that were scaled before.
_LARGEST_SCALE_OF_PIXELS = 1 / 64
_LEAST_MEAN_OF_PIXELS = 2.0
_CHANNELS = (1, 3)
_REASON_CHARACTERS = 200


@dataclass(frozen=True)
class KerasFile:
    """A `ForeignClassifier` that was read from a Keras file.

    Attributes:
        path: the path of the file or folder.
        layout: the shape of the input, which is channels-last.
        outputs: the number of outputs.
        classes: the number of classes. A single output stands for two classes.
        known_labels: always None, because a Keras file does not name its classes.
        known_normalization: ``pixels`` if the first layer that normalizes is made for pixel values of 0 to 255. None if
            the layer is made for other values, if there is no such layer, or if the layers cannot be inspected.
        note: one line about the outputs for the user; empty if there is nothing to say.
        compute: as in `TensorFlowNetwork`.
        weights: as in `TensorFlowNetwork`.
    """

    path: Path
    layout: Layout
    outputs: int
    classes: int
    known_labels: tuple[str, ...] | None
    known_normalization: Normalization | None
    note: str
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    weights: dict[str, Any]

    def network(self, labels: tuple[str, ...], normalization: Normalization) -> TensorFlowNetwork:
        """Return the network, given the labels of its classes and the normalization that its input expects."""
        return TensorFlowNetwork(
            self.path.stem, self.layout, labels, normalization, self.compute, self.weights
        )


def open_keras(path: Path, size: int | None = None, trust: bool = False) -> KerasFile:
    """Read a Keras file or a SavedModel.

    Args:
        path: the path of the file or folder.
        size: the width and the height of the input in pixels, for a network that accepts any size.
        trust: whether to load a file even if it holds Python code. The code then runs on this machine.

    Raises:
        ModelError: the file cannot be read, holds code that is not trusted, or is not an image classifier.
        OptionError: ``size`` is not the size that the network expects. Or the network accepts any size, and ``size`` is
            None.
    """
    if not path.exists():
        raise ModelError(f"there is no model '{path}'; give a run folder, {_FORMS}")
    _check_form(path)
    try:
        if not trust:
            check_no_code(path)
        if path.is_dir():
            return _from_saved_model(path, size)
        with file_in_float32(path) as file:
            model = _keras_for(path).models.load_model(file, compile=False, safe_mode=not trust)
        return _from_model(path, model, size)
    except DermedgeError:
        raise
    except Exception as error:  # Keras, and the layers of a file, may raise any exception
        cure = (
            "export the model again"
            if path.is_dir()
            else "if it has custom layers, export it as a SavedModel"
        )
        raise ModelError(f"cannot read the Keras model '{path}': {_reason(error)}; {cure}") from error


def _check_form(path: Path) -> None:
    """Raise ModelError if the name or the first bytes of a file show that Keras cannot read it."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return
    if suffix not in _SUFFIXES:
        cure = _OTHER_FRAMEWORKS.get(suffix, f"give {_FORMS}, or a .tflite")
        raise ModelError(f"'{path}' is not a Keras model; {cure}")
    is_hdf5 = h5py.is_hdf5(path)
    if not (zipfile.is_zipfile(path) or is_hdf5):
        raise ModelError(
            f"cannot read the Keras model '{path}': the file is damaged, or was not saved by Keras "
            f"({path.stat().st_size:,} bytes); copy the file again, or save it again with Keras"
        )
    if not (is_keras_zip(path) or is_hdf5):
        raise ModelError(
            f"'{path}' is a zip archive; if Keras saved it, rename it so that its name ends in .keras"
        )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_REASON_CHARACTERS].rstrip(".") if lines else type(error).__name__


def _keras_for(path: Path) -> ModuleType:
    """Return the package that loads a file: tf_keras for a file of Keras 2, and keras for a file of Keras 3."""
    if is_keras_zip(path):
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
    else:
        with h5py.File(path) as file:
            stored = file.attrs.get("keras_version", "2")
            version = stored.decode() if isinstance(stored, bytes) else str(stored)
    if int(version.split(".")[0]) < 3:
        return import_module("tf_keras")
    if not (is_keras_zip(path) or path.name.endswith(_HDF5_SUFFIXES)):
        raise ModelError(f"'{path}' is an HDF5 file; rename it so that its name ends in .h5")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return import_module("keras")


def _from_model(path: Path, model: Any, size: int | None) -> KerasFile:
    layout = _layout(path, [tuple(one.shape) for one in model.inputs], size)
    layers = list(_layers(model))
    takes_pixels = next((one for one in map(_takes_pixels, layers) if one is not None), False)

    def answer(images: tf.Tensor) -> Any:
        return _only(model(images, training=False))

    check_repeatable(path, answer, layout)
    head = find_head(path, answer, layout, layers[-1])
    weights = {getattr(variable, "path", variable.name): variable for variable in model.weights}
    return _keras_file(path, layout, head, weights, NORMALIZATIONS["pixels"] if takes_pixels else None)


def _takes_pixels(layer: Any) -> bool | None:
    """Return whether a layer that normalizes is made for pixel values of 0 to 255.

    The result is None for a layer that does not normalize.
    """
    kind = type(layer).__name__
    if kind == "Rescaling":
        return bool(np.abs(np.asarray(layer.scale)).max() <= _LARGEST_SCALE_OF_PIXELS)
    if kind == "Normalization" and getattr(layer, "mean", None) is not None:
        return bool(np.abs(np.asarray(layer.mean)).max() > _LEAST_MEAN_OF_PIXELS)
    return None


def _from_saved_model(path: Path, size: int | None) -> KerasFile:
    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise ModelError(
            f"the SavedModel '{path}' has no signature 'serving_default', so it cannot be run; save the network again, "
            "for example with Keras: model.export('FOLDER')"
        )
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    layout = _layout(path, [tuple(one.shape) for one in inputs.values()], size)
    name, (batch, *_), dtype = next((name, one.shape, one.dtype) for name, one in inputs.items())
    if batch not in (None, 1):
        raise ModelError(f"'{path}' expects {batch} images at a time; export it with a batch of 1")
    if dtype != tf.float32:
        raise ModelError(
            f"the input of the SavedModel '{path}' is {dtype.name}, instead of float32; export the network with a "
            "float32 input"
        )
    precision = other_precision(signature.graph.as_graph_def())
    if precision:
        raise ModelError(
            f"the SavedModel '{path}' computes in {precision}, which cannot be converted; give the network as a .keras "
            "or .h5 file, which is read in float32, or export the network in float32"
        )
    weights = {variable.name: variable for variable in signature.variables if variable.dtype.is_floating}
    check_repeatable(path, _in_batches(lambda images: signature(**{name: images}), batch), layout)
    constant, removed = without_activation(convert_variables_to_constants_v2(signature))
    answer = _in_batches(lambda images: _only(constant(images)), batch)
    head = find_head(path, answer, layout, removed=removed)
    return _keras_file(path, layout, head, weights, None)


def _in_batches(answer: Callable[[tf.Tensor], Any], batch: int | None) -> Callable[[tf.Tensor], Any]:
    """Return a function that accepts any number of images. ``batch`` is 1 if ``answer`` accepts one image only."""
    if batch is None:
        return answer

    def answer_each(images: tf.Tensor) -> Any:
        if images.shape[0] == batch:
            return answer(images)
        single = answer(images[:1])
        dtypes = tf.nest.map_structure(lambda one: one.dtype, single)
        return tf.map_fn(
            lambda image: tf.nest.map_structure(lambda one: one[0], answer(image[tf.newaxis])),
            images,
            fn_output_signature=dtypes,
        )

    return answer_each


def _only(outputs: Any) -> Any:
    """Return the single output of a container that holds one output. Return anything else unchanged."""
    values = list(outputs.values()) if isinstance(outputs, dict) else outputs
    return values[0] if isinstance(values, list | tuple) and len(values) == 1 else outputs


def _keras_file(
    path: Path, layout: Layout, head: KerasHead, weights: dict[str, Any], normalization: Normalization | None
) -> KerasFile:
    return KerasFile(
        path, layout, head.outputs, head.classes, None, normalization, head.note, head.compute, weights
    )


def _layout(path: Path, shapes: Sequence[tuple[int | None, ...]], size: int | None) -> Layout:
    shape = shapes[0] if shapes else ()
    if len(shapes) != 1 or len(shape) != 4 or shape[3] not in _CHANNELS:
        found = ", ".join(str(list(one)) for one in shapes) or "nothing"
        is_turned = len(shapes) == 1 and len(shape) == 4 and shape[1] in _CHANNELS
        cure = "the channels last" if is_turned else "one gray or colour image as its only input"
        raise ModelError(
            f"the input of '{path}' is {found}, instead of gray or colour images, [n, H, W, 1 or 3]; export it with "
            f"{cure}"
        )
    sides = shape[1:3]
    if None in sides and size is None:
        raise OptionError(f"'{path}' accepts images of any size; choose a size with --imgsz")
    if size is not None and any(side not in (None, size) for side in sides):
        raise OptionError(
            f"--imgsz is {size}, but '{path}' expects {sides[0]} x {sides[1]} pixels; leave --imgsz out, or give the "
            "size that the network expects"
        )
    height, width = (int(side or size or 0) for side in sides)
    return Layout(height, width, int(shape[3]), channels_first=False)


def _layers(model: Any) -> Iterator[Any]:
    """Yield all layers of a model, including those of nested models."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)
