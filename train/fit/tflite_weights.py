"""Starts a run with the weights of a .tflite, so that a shipped model can be trained further without its run folder.

In a .tflite, the batch norms are folded into the weights and biases of the convolutions. Here, the convolutions of the
network get these weights, and each batch norm is set so that it only adds the bias. Apart from the rounding of int8,
the network then computes the same function as the file.
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
    """The weights of one operator in a .tflite.

    Attributes:
        values: float32. The layout is [out, h, w, in] for a convolution, [1, h, w, channels] for a depthwise
            convolution, and [out, in] for a fully connected layer.
        bias: float32 [out].
    """

    values: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def as_in_keras(self) -> NDArray[np.float32]:
        """The values in the layout of Keras: [h, w, in, out], [h, w, channels, 1] or [in, out]."""
        return self.values.T if self.values.ndim == 2 else self.values.transpose(1, 2, 3, 0)


def is_tflite(weights: str) -> bool:
    """Returns whether a value of --weights is the path of a .tflite or the name of a shipped model."""
    return model_path(weights).suffix == _SUFFIX


def start_labels(weights: str) -> tuple[str, ...]:
    """Returns the classes of a .tflite whose weights can be the initial weights of a run.

    Args:
        weights: path of the .tflite, or name of a shipped model.

    Raises:
        OptionError: the file does not exist, or has no manifest of dermedge.
        ModelError: the file is damaged.
    """
    path = model_path(weights)
    if not path.is_file():
        raise OptionError(f"--weights is '{weights}', which does not exist; check the path")
    manifest = read_manifest(path)
    if manifest is None:
        raise OptionError(
            f"--weights is '{path}', which has no manifest of dermedge; give a .tflite that `dermedge convert` wrote"
        )
    return manifest.labels


def take_tflite_weights(network: keras.Model, weights: str, classes: Sequence[str]) -> None:
    """Copies the weights of a .tflite into a network.

    In the last layer, an output gets weights only if the file has an output for the same class. The other outputs are
    not changed.

    Args:
        network: a network of `build_network` with the same architecture as the file, and with any input size.
        weights: path of the .tflite, or name of a shipped model.
        classes: classes of the network in the order of its outputs.

    Raises:
        OptionError: the file does not exist, has no manifest of dermedge, or has another architecture; or its weights
            are neither int8 nor float32; or its first layer also normalizes the pixels.
        ModelError: the file is damaged.
        DataError: the file cannot be read.
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
    """Sets the weights of one layer. If the layer has no bias, the batch norm after it is set to add the bias."""
    values, bias = kernel.as_in_keras, kernel.bias
    if values.shape != tuple(layer.weights[0].shape):
        raise _other_architecture(path)
    if layer.use_bias:
        layer.set_weights([values, bias])
        return
    layer.set_weights([values])
    norm = layer.outbound_nodes[0].layer
    ones = np.ones_like(bias)
    # The batch norm divides by sqrt(variance + epsilon), which is 1 with this variance.
    norm.set_weights([ones, bias, np.zeros_like(bias), ones - np.float32(norm.epsilon)])


def _set_head(
    layer: keras.layers.Layer, kernel: _Kernel, labels: Sequence[str], classes: Sequence[str], path: Path
) -> None:
    """Sets the weights of the outputs whose classes are also classes of the file."""
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
    return OptionError(
        f"'{path}' has another architecture than --arch; give --arch the architecture that the file was trained with"
    )


def _kernels(path: Path) -> list[_Kernel]:
    """Returns the weights of all operators that have weights, in the order in which the operators run.

    The operator that predicts the view of a photo is left out, because `dermedge convert` fits a new one. Only this
    operator has a single output value.
    """
    try:
        model = strip(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read '{path}': {error.strerror or error}; check the path and its permissions"
        ) from error
    # `read_graph` raises ModelError if the file is damaged. `InitFromPackedBuf` would not notice the damage.
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
    """Checks that the quantization of the input does the whole normalization of the pixels.

    If the quantized input of a file has another scale, the first layer of the file does a part of the normalization.
    The weights of that layer do not fit a network of dermedge.

    Raises:
        OptionError: the input is not quantized, or the scale of the input differs from the scale of the normalization.
    """
    scales = getattr(pixels.quantization, "scale", None)
    if scales is None or not np.isclose(scales[0], 1 / SCALE):
        raise OptionError(
            f"a run cannot start with '{path}', because its first layer also normalizes the pixels; give an int8 file "
            "that `dermedge convert --int8` wrote, or the run that the file was converted from"
        )


def _constant(root: Any, tensor: Any, schema: Any, path: Path) -> NDArray[np.float32]:
    """Returns the dequantized values of a constant tensor."""
    dtypes = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }
    data = root.buffers[tensor.buffer].data
    if tensor.type not in dtypes or data is None:
        raise OptionError(
            f"a run cannot start with '{path}', because its weights are neither int8 nor float32; give an int8 file "
            "that `dermedge convert --int8` wrote"
        )
    values = np.frombuffer(bytes(data), dtypes[tensor.type]).reshape(tensor.shape)
    scales = getattr(tensor.quantization, "scale", None)
    if scales is None:
        return values.astype(np.float32)
    shape = [1] * values.ndim
    shape[tensor.quantization.quantizedDimension] = -1
    return values.astype(np.float32) * np.asarray(scales, np.float32).reshape(shape)
