"""Choose ranges of weights that keep every bias within 32 bits.

An integer kernel holds a bias as int32, in steps of (input scale x weight scale). A channel with very small weights
gets a tiny weight scale. Its bias may then need more than 32 bits. Networks with batch norms have such channels.

litert-quantizer 0.11 clips a bias that does not fit into 32 bits, without a warning. This happens in 7 of the 32
channels in the first layer of MobileNetV2, and in about 90 channels of an EfficientNet-Lite0 trunk. TensorFlow's own
quantizer raises the weight scale of such a channel. The ranges that this module chooses have the same effect.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import name_of, read_model
from dermedge.convert.to_tflite.ranges import Range

__all__ = ["INT8_STEPS", "INT16_STEPS", "widened_weights"]

# The number of steps in the range of an activation. The 16-bit range is symmetric.
INT8_STEPS, INT16_STEPS = 255, 65534

# The axis of the output channels in the weights of each operator that has a bias.
_CHANNEL_AXIS = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
}
# The largest bias. It is half of the largest int32, which leaves room for the sum of products.
_LARGEST_BIAS = 2.0**30
_LARGEST_WEIGHT = 127


def widened_weights(
    model: bytes, ranges: Mapping[str, Range], input_steps: int
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return wider ranges for the weights of some operators, so that every bias fits into 32 bits.

    The range of the weights normally ends at the weight with the largest magnitude. An operator gets wider ranges if
    the integer that stands for the bias of at least one channel would exceed `_LARGEST_BIAS` with this range.

    Args:
        model: a float .tflite.
        ranges: the range of each activation, with the name of the activation as the key.
        input_steps: the number of quantization steps in the range of an activation, `INT8_STEPS` or `INT16_STEPS`.

    Returns:
        The wider ranges, with the name of the weight tensor as the key. A tensor that needs no wider range is left out.
        A range consists of ``min`` and ``max``, each with one value per channel, as litert-quantizer expects it.
    """
    root = read_model(model)
    graph, found = root.subgraphs[0], {}
    for operator in graph.operators:
        code = root.operatorCodes[operator.opcodeIndex]
        axis = _CHANNEL_AXIS.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if axis is None or len(operator.inputs) < 3:
            continue
        source, *constants = (int(index) for index in operator.inputs[:3])
        weights, bias = (_constant(root, index) for index in constants)
        ends = ranges.get(name_of(graph.tensors[source]))
        if weights is None or bias is None or ends is None:
            continue
        wide = _widened(weights, bias, axis, _step(ends, input_steps))
        if wide is not None:
            found[name_of(graph.tensors[constants[0]])] = {"min": -wide, "max": wide}
    return found


def _widened(
    weights: NDArray[np.float32], bias: NDArray[np.float32], axis: int, step: float
) -> NDArray[np.float32] | None:
    """Return the end of the symmetric range of the weights of each channel, or None if no range has to be widened.

    The range of a channel normally ends at the largest magnitude of the weights of the channel. If the integer that
    stands for the bias would exceed `_LARGEST_BIAS` with this range, the range ends at a larger value. A wider range
    gives a larger scale, so this integer gets smaller.
    """
    others = tuple(one for one in range(weights.ndim) if one != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    needed = (_LARGEST_WEIGHT * np.abs(bias) / (step * _LARGEST_BIAS)).reshape(largest.shape)
    if not (needed > largest).any():
        return None
    return np.maximum(largest, needed).astype(np.float32)


def _step(ends: Range, steps: int) -> float:
    """Return the scale of an activation. The range is extended to hold 0."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    spread = high - low if steps == INT8_STEPS else 2 * max(high, -low)
    return spread / steps or float(np.finfo(np.float32).tiny)


def _constant(root: schema.ModelT, index: int) -> NDArray[np.float32] | None:
    """Return the values of a tensor. Return None if the tensor is absent or is not a float32 constant."""
    if index < 0:
        return None
    tensor = root.subgraphs[0].tensors[index]
    data = root.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)
