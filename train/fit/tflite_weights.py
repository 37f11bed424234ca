"""Starts a run from a delivered .tflite, so that a shipped model can go on learning without its own run.

In a .tflite, the batch norms are folded into the weights. These become the weights of the convolutions, and each
batch norm only adds the bias. The network then computes the same as the file, except for the rounding of int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.flatbuffer import read_graph, tflite_schema
from dermedge.edge.model.manifest import read_manifest, strip
from dermedge.edge.model.shipped import model_path
from dermedge.edge.preprocess import SCALE

__all__ = ["is_tflite", "start_labels", "take_tflite_weights"]

_SUFFIX = ".tflite"
_WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclass(frozen=True)
class _Kernel:
    """The weights of one operator.

    Attributes:
        values: float32; [out, h, w, in] of a convolution, [1, h, w, channels] of a depthwise one, [out, in] of a
            fully connected layer.
        bias: float32 [out].
    """

    values: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def as_in_keras(self) -> NDArray[np.float32]:
        """The values in Keras's layout: [h, w, in, out], [h, w, channels, 1] or [in, out]."""
        return self.values.T if self.values.ndim == 2 else self.values.transpose(1, 2, 3, 0)


def is_tflite(weights: str) -> bool:
    """Tells whether ``weights`` means a .tflite or a model that ships."""
    return model_path(weights).suffix == _SUFFIX


def start_labels(weights: str) -> tuple[str, ...]:
    """Returns the classes of a .tflite, or of a model that ships, from which a run can start.

    Raises:
        OptionError: there is no such file, or dermedge did not write it.
        ModelError: it is damaged.
    """
    path = model_path(weights)
    if not path.is_file():
        raise OptionError(f"--weights is '{weights}', which does not exist")
    manifest = read_manifest(path)
    if manifest is None:
        raise OptionError(
            f"--weights is '{path}', which has no manifest of dermedge; a run can start with the files that "
            "`dermedge convert` writes"
        )
    return manifest.labels


def take_tflite_weights(network: keras.Model, weights: str, classes: Sequence[str]) -> None:
    """Sets a network's weights from those of a .tflite, in place.

    The outputs of classes that the file has get its weights; those of other classes are not changed.

    Args:
        network: a network of `build_network` with the file's architecture, at any size.
        weights: the file, or the name of a model that ships.
        classes: classes of the network's outputs, in order.

    Raises:
        OptionError: the file is of another architecture, is not int8, or lacks data that a run needs.
        DataError: it cannot be read.
    """
    path, labels = model_path(weights), start_labels(weights)
    kernels = _kernels(path)
    layers = [layer for layer in network.layers if isinstance(layer, _WEIGHTED)]
    if len(kernels) != len(layers):
        raise _other_architecture(path)
    for layer, kernel in zip(layers[:-1], kernels[:-1], strict=True):
        _set(layer, kernel, path)
    _set_head(layers[-1], kernels[-1], labels, classes, path)


def _set(layer: keras.layers.Layer, kernel: _Kernel, path: Path) -> None:
    """Sets one layer, and the batch norm that follows it if the layer has no bias."""
    values, bias = kernel.as_in_keras, kernel.bias
    if values.shape != tuple(layer.weights[0].shape):
        raise _other_architecture(path)
    if layer.use_bias:
        layer.set_weights([values, bias])
        return
    layer.set_weights([values])
    norm = layer.outbound_nodes[0].layer
    ones = np.ones_like(bias)
    # the batch norm divides by the root of the variance and epsilon
    norm.set_weights([ones, bias, np.zeros_like(bias), ones - np.float32(norm.epsilon)])


def _set_head(
    layer: keras.layers.Layer, kernel: _Kernel, labels: Sequence[str], classes: Sequence[str], path: Path
) -> None:
    """Sets the outputs of the classes that the file has."""
    known = [name for name in classes if name in labels]
    given = kernel.as_in_keras
    values, bias = layer.get_weights()
    if given.shape[:-1] != values.shape[:-1]:
        raise _other_architecture(path)
    for name in known:
        values[..., classes.index(name)] = given[..., labels.index(name)]
        bias[classes.index(name)] = kernel.bias[labels.index(name)]
    layer.set_weights([values, bias])


def _other_architecture(path: Path) -> OptionError:
    return OptionError(f"'{path}' has another architecture; give the one that it was trained with as --arch")


def _kernels(path: Path) -> list[_Kernel]:
    """Returns the weights of all operators that have weights, in the order in which they run.

    The operator that tells the view of a photo is left out: `dermedge convert` fits it anew. It is the only operator
    with a single output value.
    """
    try:
        model = strip(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    # raises an error for damage, which the generated classes below do not check
    read_graph(model, path)
    schema = tflite_schema()
    root = schema.ModelT.InitFromPackedBuf(model)
    graph, operator_names = root.subgraphs[0], schema.BuiltinOperator
    _check_input(graph.tensors[graph.inputs[0]], path)
    weighted = (operator_names.CONV_2D, operator_names.DEPTHWISE_CONV_2D, operator_names.FULLY_CONNECTED)
    found = []
    for operator in graph.operators:
        code = root.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in weighted:
            kernel, bias = (
                _constant(root, graph.tensors[index], schema, path) for index in operator.inputs[1:3]
            )
            found.append(_Kernel(kernel, bias))
    return [kernel for kernel in found if len(kernel.bias) > 1]


def _check_input(pixels: Any, path: Path) -> None:
    """Checks that the scale of the input normalizes the pixels.

    Otherwise a part of the normalization is in the first weights.
    """
    scales = getattr(pixels.quantization, "scale", None)
    if scales is None or not np.isclose(scales[0], 1 / SCALE):
        raise OptionError(
            f"a run cannot start with '{path}', whose first layer also normalizes the pixels; give an int8 file of "
            "dermedge convert --int8, or the run that it comes from"
        )


def _constant(root: Any, tensor: Any, schema: Any, path: Path) -> NDArray[np.float32]:
    """Returns the real values of a constant tensor."""
    dtypes = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }
    data = root.buffers[tensor.buffer].data
    if tensor.type not in dtypes or data is None:
        raise OptionError(
            f"a run cannot start with '{path}', whose weights are neither int8 nor float32; give another file"
        )
    values = np.frombuffer(bytes(data), dtypes[tensor.type]).reshape(tensor.shape)
    scales = getattr(tensor.quantization, "scale", None)
    if scales is None:
        return values.astype(np.float32)
    shape = [1] * values.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    return values.astype(np.float32) * np.asarray(scales, np.float32).reshape(shape)
