"""Measure the quantization error of every operator of a file."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import inf, log10
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import NUM_THREADS, KeepingInterpreter, Op, name_of, ops_of, read_model
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.errors import DataError
from dermedge.edge.model.runtime import without_native_log

__all__ = ["LayerError", "Quantized", "compare_layers", "decibels", "delegated_results", "worst_layers"]

# For these operators, the noise of the result is the sum of the absolute noise of the inputs. For all other operators,
# the relative noise (noise divided by signal) of the inputs is added up.
_ADDITIVE = {"ADD", "SUB", "CONCATENATION"}
# Operators that only change the dtype or the name of a tensor.
_CASTS = {"QUANTIZE", "DEQUANTIZE"}
# The scale of a tensor counts as collapsed in two cases. In the first case, the values within the range of the integers
# span fewer than `_FEWEST_STEPS` quantization steps. In the second case, the values within the range of the integers
# span less than the fraction `_LEAST_REACH` of the span of all values.
_FEWEST_STEPS = 4
_LEAST_REACH = 1 / 16
# A value that is not finite counts as this multiple of the largest value of the float network.
_FAR = 1e3
_DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
}


@dataclass(frozen=True)
class LayerError:
    """The quantization error in the result of one operator, measured over all images.

    Three values are compared. y is the result of the operator in the float network. q is the dequantized result of the
    operator in the quantized network. f(x) is the result of the float operator for the dequantized inputs of the
    quantized operator.

    Attributes:
        name: the name of the result tensor, which is the same in both files.
        kind: the operator in the float file, named as in the TFLite schema, such as ``CONV_2D``.
        inputs: the names of the activations that the operator reads.
        sqnr_db: the signal-to-quantization-noise ratio in dB, 10 log10(sum y^2 / sum (q - y)^2).
        introduced: the error that the operator itself adds by its weights, its rounding and its range:
            sum (q - f(x))^2 / sum y^2. If an input does not exist in the quantized file, the input in the float network
            is used.
        contribution: an estimate of how much of ``introduced`` reaches the outputs of the network. It is computed from
            measurements of how much noise each later operator passes on.
        low: the smallest value of y.
        high: the largest value of y.
        rms: the root mean square of y.
        scale: the quantization scale; 0 if the result is not quantized.
        zero_point: the quantization zero point; 0 if the result is not quantized.
        channels: the size of the last axis.
        dead_channels: the number of channels that are constant over all images and positions in the float network.
        lost_channels: the number of channels that are constant in the quantized network, but not in the float network.
        saturated: the fraction of the values of y that lie more than half a step outside the range of the integers.
        in_float: whether the operator computes in float in the quantized file.
        collapsed: whether the values within the range of the integers span fewer than 4 steps, or less than a
            sixteenth of the span of all values.
        delegated: whether XNNPACK, the library with the fast kernels, runs the operator.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    sqnr_db: float
    introduced: float
    contribution: float
    low: float
    high: float
    rms: float
    scale: float
    zero_point: int
    channels: int
    dead_channels: int
    lost_channels: int
    saturated: float
    in_float: bool
    collapsed: bool
    delegated: bool


@dataclass(frozen=True)
class Quantized:
    """A tensor of a quantized file.

    Attributes:
        index: the index of the tensor in the graph.
        dtype: the dtype of the values.
        scale: the quantization scale; 0 if the tensor is not quantized.
        zero_point: the quantization zero point; 0 if the tensor is not quantized.
    """

    index: int
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def ends(self) -> tuple[float, float]:
        """The real values that the smallest and the largest integer stand for."""
        info = np.iinfo(self.dtype)
        return (info.min - self.zero_point) * self.scale, (info.max - self.zero_point) * self.scale

    def dequantize(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return (q - zero point) * scale in float64. Values without a scale are only converted to float64."""
        wide = values.astype(np.float64)
        return (wide - self.zero_point) * self.scale if self.scale else wide

    def quantize(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Scale, round, clip and cast values to `dtype`. If the tensor has no scale, the values are only cast."""
        if not self.scale:
            return values.astype(self.dtype)
        info = np.iinfo(self.dtype)
        levels = np.round(values.astype(np.float64) / self.scale) + self.zero_point
        return levels.clip(info.min, info.max).astype(self.dtype)


class _Power:
    """The power of a signal and of its noise: the sums of y^2 and of (q - y)^2. `LayerError` explains y and q."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, y: NDArray[Any], q: NDArray[Any]) -> None:
        wide = y.astype(np.float64)
        self.signal += float(np.sum(wide**2))
        self.noise += float(np.sum((_finite(q, wide) - wide) ** 2))


class _Sums(_Power):
    """The sums over all images for the result of one operator. `LayerError` explains y, q and f(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.own = self.passed = 0.0
        self.values = self.places = self.beyond = 0
        # The smallest and the largest value of each channel, [2, channels].
        self.float_ends = np.array([[inf], [-inf]])
        self.quantized_ends = np.array([[inf], [-inf]])

    def add_result(self, y: NDArray[Any], q: NDArray[np.float64], f: NDArray[Any], tensor: Quantized) -> None:
        wide = y.astype(np.float64)
        q, f = _finite(q, wide), _finite(f, wide)
        self.add(y, q)
        self.own += float(np.sum((q - f) ** 2))
        self.passed += float(np.sum((f - wide) ** 2))
        self.values += y.size
        self.places += y.size // y.shape[-1]
        if tensor.scale:
            low, high = tensor.ends
            half = tensor.scale / 2
            self.beyond += int(np.count_nonzero((y < low - half) | (y > high + half)))
        self.float_ends = _widened(self.float_ends, y)
        self.quantized_ends = _widened(self.quantized_ends, q)


def compare_layers(
    float_model: bytes, quantized_model: bytes, images: Sequence[NDArray[np.float32]]
) -> list[LayerError]:
    """Measure the error of each operator whose result has the same name and shape in both files.

    Args:
        float_model: a float .tflite, such as `Network.float_tflite` returns.
        quantized_model: the quantized file, with uint8, int8 or float32 input.
        images: normalized images, each float32 [1, h, w, C]. The images are quantized for the quantized file.

    Returns:
        The errors of the operators, in the order in which the operators run.

    Raises:
        DataError: there are no images.
        ModelError: the runtime refuses one of the files.
    """
    if not images:
        raise DataError("there are no images to compare the layers on; give at least one")
    model = read_model(float_model)
    ops, tensors = ops_of(model), model.subgraphs[0].tensors
    results = _results(read_model(quantized_model))
    matched = {
        index: results[key]
        for op in ops
        for index in op.outputs[:1]
        if (key := _key(tensors[index])) in results
    }
    sums, arriving = _run_side_by_side(float_model, quantized_model, matched, images)
    influence = _influence(ops, sums, arriving, [int(index) for index in model.subgraphs[0].outputs])
    delegated = delegated_results(quantized_model)
    return [
        _layer_error(op, tensors, matched[index], sums[index], influence[index], delegated)
        for op in ops
        if (index := op.outputs[0]) in matched
    ]


def _run_side_by_side(
    float_model: bytes,
    quantized_model: bytes,
    matched: dict[int, Quantized],
    images: Sequence[NDArray[np.float32]],
) -> tuple[dict[int, _Sums], dict[int, _Power]]:
    """Run both files on the images, and add up the errors of each activation over the images.

    Args:
        float_model: as in `compare_layers`.
        quantized_model: as in `compare_layers`.
        matched: the results that both files have. The key is the index of the result in the float file, and the value
            is the result of the same operator in the quantized file.
        images: as in `compare_layers`.

    Returns:
        Two dicts, whose keys are indices of tensors in the float file. The first dict holds the sums of the errors for
        the result of each operator in ``matched``. The second dict holds the sums of the signal and of the noise for
        each activation that an operator reads.
    """
    model, quantized_graph = read_model(float_model), read_model(quantized_model)
    input_index = int(model.subgraphs[0].inputs[0])
    pixels = _quantized(quantized_graph, int(quantized_graph.subgraphs[0].inputs[0]))
    cut_apart, copies = _cut_apart(model)
    whole, parts = KeepingInterpreter(float_model), KeepingInterpreter(cut_apart)
    quantized = KeepingInterpreter(quantized_model)
    sums = {index: _Sums() for index in matched}
    arriving = {index: _Power() for index in copies}
    for image in images:
        whole.run({input_index: image})
        quantized.run({pixels.index: pixels.quantize(image)})
        inputs = {}
        for index, copied in copies.items():
            y = whole.values(index)
            tensor = pixels if index == input_index else matched.get(index)
            x = y if tensor is None else tensor.dequantize(quantized.values(tensor.index))
            arriving[index].add(y, x)
            inputs[copied] = x.astype(y.dtype)
        parts.run(inputs)
        for index, tensor in matched.items():
            q = tensor.dequantize(quantized.values(tensor.index))
            sums[index].add_result(whole.values(index), q, parts.values(index), tensor)
    return sums, arriving


def worst_layers(layers: Sequence[LayerError], count: int) -> list[str]:
    """Return the names of the operators that should stay in float, at most ``count``, the worst first.

    The operators are ordered by ``contribution``. If an int8 operator reads the result of a float operator, the result
    is still rounded. To avoid this rounding, each operator in the list is followed by those that read its result.
    """
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer.name)
    by_contribution = sorted(layers, key=lambda layer: layer.contribution, reverse=True)
    names: dict[str, None] = {}
    for layer in by_contribution:
        if layer.contribution > 0 and not layer.in_float:
            names.update(dict.fromkeys([layer.name, *readers.get(layer.name, [])]))
    return list(names)[:count]


def delegated_results(model: bytes) -> set[int]:
    """Return the indices of the tensors that XNNPACK computes. The set is empty if the runtime refuses the file.

    The interpreter only reports the inputs and the final outputs of a delegate. The tensors in between are found by
    following the graph from the outputs back to the inputs.
    """
    by_output = {output: op for op in ops_of(read_model(model)) for output in op.outputs}
    try:
        with without_native_log():
            interpreter = Interpreter(model_content=model, num_threads=NUM_THREADS)
            interpreter.allocate_tensors()
    except RuntimeError:
        return set()
    taken: set[int] = set()
    for details in interpreter._get_ops_details():
        if details["op_name"] == "DELEGATE":
            given = {int(index) for index in details["inputs"]}
            waiting = [int(index) for index in details["outputs"]]
            while waiting:
                index = waiting.pop()
                if index not in given and index not in taken and index in by_output:
                    taken.add(index)
                    waiting.extend(by_output[index].inputs)
    return taken


def _layer_error(
    op: Op,
    tensors: Sequence[schema.TensorT],
    tensor: Quantized,
    sums: _Sums,
    influence: float,
    delegated: set[int],
) -> LayerError:
    low, high = float(sums.float_ends[0].min()), float(sums.float_ends[1].max())
    introduced = _ratio(sums.own, sums.signal)
    repeated = sums.places > 1
    dead = (sums.float_ends[0] == sums.float_ends[1]) & repeated
    constant = (sums.quantized_ends[0] == sums.quantized_ends[1]) & repeated
    return LayerError(
        name=name_of(tensors[op.outputs[0]]),
        kind=op.kind,
        inputs=tuple(name_of(tensors[index]) for index in op.inputs),
        sqnr_db=decibels(sums.signal, sums.noise),
        introduced=introduced,
        contribution=introduced * influence,
        low=low,
        high=high,
        rms=(sums.signal / sums.values) ** 0.5,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        channels=len(dead),
        dead_channels=int(dead.sum()),
        lost_channels=int((constant & ~dead).sum()),
        saturated=sums.beyond / sums.values,
        in_float=not tensor.scale,
        collapsed=bool(tensor.scale) and _is_collapsed(low, high, tensor),
        delegated=tensor.index in delegated,
    )


def _is_collapsed(low: float, high: float, tensor: Quantized) -> bool:
    within = min(high, tensor.ends[1]) - max(low, tensor.ends[0])
    return low < high and within < max(_FEWEST_STEPS * tensor.scale, (high - low) * _LEAST_REACH)


def _influence(
    ops: Sequence[Op], sums: dict[int, _Sums], arriving: dict[int, _Power], outputs: Sequence[int]
) -> dict[int, float]:
    """Return how much of the relative noise of each tensor reaches the outputs of the network.

    The relative noise is the noise divided by the signal. The result holds a factor for each tensor, with the index of
    the tensor as the key. For example, the factor 0.5 means that half of the relative noise of the tensor reaches the
    outputs. If the noise reaches several outputs, the factors for these outputs are added up.
    """
    influence = dict.fromkeys((index for op in ops for index in (*op.inputs, *op.outputs)), 0.0)
    influence.update(dict.fromkeys(outputs, 1.0))
    for op in reversed(ops):
        reaching = sum(influence[index] for index in op.outputs)
        result = sums.get(op.outputs[0])
        noise = sum(_ratio(arriving[index].noise, arriving[index].signal) for index in op.inputs)
        for index in op.inputs:
            if result is None or not noise:
                gain = 1.0
            elif op.kind in _ADDITIVE:
                gain = _ratio(arriving[index].signal, result.signal)
            else:
                gain = _ratio(result.passed, result.signal) / noise
            influence[index] += gain * reaching
    return influence


def _cut_apart(model: schema.ModelT) -> tuple[bytes, dict[int, int]]:
    """Cut the operators apart: every operator then reads its activations from new inputs of the network.

    After the cut, the caller gives each operator f its inputs x directly. A single run of the network then computes
    f(x) for all operators.

    Returns:
        The cut network, and a dict from the index of each activation to the index of the input that replaces it.
    """
    ops = ops_of(model)
    apart = copy(model)
    graph = copy(model.subgraphs[0])
    apart.subgraphs, apart.signatureDefs = [graph], []
    graph.tensors = list(graph.tensors)
    copies: dict[int, int] = {}
    for index in dict.fromkeys(index for op in ops for index in op.inputs):
        copies[index] = len(graph.tensors)
        graph.tensors.append(copy(graph.tensors[index]))
    graph.operators = [copy(operator) for operator in graph.operators]
    for operator in graph.operators:
        operator.inputs = np.array(
            [copies.get(int(index), int(index)) for index in operator.inputs], np.int32
        )
    graph.inputs = np.array(list(copies.values()), np.int32)
    graph.outputs = np.array([index for op in ops for index in op.outputs], np.int32)
    return pack(apart), copies


def _results(model: schema.ModelT) -> dict[tuple[str, tuple[int, ...]], Quantized]:
    """Return the result of each operator. The keys are the name and the shape of the result.

    For an operator in `_CASTS`, the input is returned in place of the result, because both have the same values.
    """
    tensors = model.subgraphs[0].tensors
    results = {}
    for op in ops_of(model):
        source = op.inputs if op.kind in _CASTS else op.outputs
        if source and tensors[source[0]].type in _DTYPES:
            results[_key(tensors[op.outputs[0]])] = _quantized(model, source[0])
    return results


def _key(tensor: schema.TensorT) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape of a tensor. This pair identifies the same tensor in another file.

    The name alone is not enough, because two tensors of a file may have the same name.
    """
    return name_of(tensor), tuple(int(size) for size in tensor.shape)


def _quantized(model: schema.ModelT, index: int) -> Quantized:
    tensor = model.subgraphs[0].tensors[index]
    dtype = _DTYPES[tensor.type]
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return Quantized(index, dtype, 0.0, 0)
    return Quantized(index, dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def _widened(ends: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    by_channel = values.reshape(-1, values.shape[-1])
    return np.array(
        [np.minimum(ends[0], by_channel.min(axis=0)), np.maximum(ends[1], by_channel.max(axis=0))]
    )


def _finite(values: NDArray[Any], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values in float64. Those that are not finite are replaced by numbers far outside the range of ``y``.

    Values are not finite if an operator that stays in float divides by a value that was rounded to 0, or computes the
    logarithm of such a value.
    """
    far = _FAR * max(float(np.abs(y).max()), 1.0)
    return np.nan_to_num(values.astype(np.float64), nan=far, posinf=far, neginf=-far)


def _ratio(part: float, whole: float) -> float:
    """Return the ratio of two sums of squares, or 0 if the second one is 0."""
    return part / whole if whole else 0.0


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise): inf without noise, and -inf for noise without signal."""
    return 10 * log10(signal / noise) if signal and noise else (-inf if noise else inf)
