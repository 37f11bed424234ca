"""Reads facts about the network in a .tflite that the runtimes do not report. The .tflite need not be made by dermedge.

The facts are the kinds of the outputs, the normalization, the custom operators, and the scales of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.head import Head
from dermedge.edge.model.tables import Table, refusing_damage

__all__ = ["METADATA_NAME", "NetworkFacts", "read_facts"]

METADATA_NAME = "TFLITE_METADATA"

# These are slots (numbers of fields) in the tables of schema.fbs, the schema of .tflite files.
_CODES, _SUBGRAPHS, _BUFFERS, _METADATA = 1, 2, 4, 6
_DATA, _DATA_OFFSET, _DATA_BYTES = 0, 1, 2
_OLD_CODE, _CUSTOM_CODE, _CODE = 0, 1, 3
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3
_QUANTIZATION, _SCALE, _ZERO_POINT = 4, 2, 3
_TENSOR_TYPE = 1
_UINT8, _INT8 = 3, 9
# These are slots (numbers of fields) in the tables of metadata_schema.fbs, a schema of TensorFlow Lite Support.
_SUBGRAPH_METADATA, _INPUT_METADATA, _PROCESS_UNITS = 3, 2, 4
_OPTIONS_TYPE, _OPTIONS, _NORMALIZATION_OPTIONS = 0, 1, 1

# These are values of the enum BuiltinOperator in schema.fbs, the schema of .tflite files.
_CUSTOM, _SOFTMAX, _LOG_SOFTMAX, _LOGISTIC, _EXP, _DIV, _SUM = 32, 25, 50, 14, 47, 42, 74
# These operators only reshape, reorder, cut, round, convert, average or select values, so that the output has the same
# meaning as the input: AVERAGE_POOL_2D, DEQUANTIZE, MAX_POOL_2D, RESHAPE, GATHER, TRANSPOSE, MEAN, SQUEEZE,
# STRIDED_SLICE, SPLIT, CAST, SLICE, EXPAND_DIMS, REDUCE_MAX, UNPACK, REDUCE_MIN, SPLIT_V, REVERSE_V2, GATHER_ND,
# QUANTIZE, ROUND and RELU_0_TO_1.
_KEEPING = frozenset(
    {1, 6, 17, 22, 36, 39, 40, 43, 45, 49, 53, 65, 70, 82, 88, 89, 102, 105, 107, 114, 116, 152}
)
# These operators combine the values of several inputs: ADD, CONCATENATION, MUL, SUB, MAXIMUM, MINIMUM, PACK and ADD_N.
_COMBINING = frozenset({0, 2, 18, 41, 55, 57, 83, 106})
# TFLite prescribes this scale for the quantized outputs of SOFTMAX and LOGISTIC.
_PROBABILITY_SCALE = 1 / 256


@dataclass(frozen=True)
class NetworkFacts:
    """The information about a network that can be read from its .tflite.

    Attributes:
        heads: the kind of each output, in the file's order.
        custom_operators: the names of the operators that are not TFLite's own.
        mean: the mean in the normalization (p - mean) / std of pixel values p from 0 to 255. TFLite Metadata states
            one number, or one number for each channel. The tuple is empty if the file does not state the mean.
        std: the standard deviation in this normalization, with as many numbers as ``mean``.
        logit_scales: one number for each output. If a sigmoid computes the output from quantized logits, the number is
            the quantization scale of these logits. Otherwise, it is 0.
    """

    heads: tuple[Head, ...]
    custom_operators: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    logit_scales: tuple[float, ...]


def read_facts(path: Path) -> NetworkFacts:
    """Reads the information about the network of a .tflite.

    Raises:
        ModelError: the file is missing, damaged, or not a .tflite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model '{path}': {error.strerror}; check the path and its permissions"
        ) from error
    with refusing_damage(content, path):
        return _facts(content)


def _facts(content: bytes) -> NetworkFacts:
    root = Table.root(content)
    codes = root.tables(_CODES)
    numbers = [max(one.number(_CODE), one.number(_OLD_CODE, "<b")) for one in codes]
    graph = root.tables(_SUBGRAPHS)[0]
    mean, std = _normalization(root, content)
    return NetworkFacts(
        heads=_heads(graph, numbers),
        custom_operators=tuple(
            one.text(_CUSTOM_CODE) for one, number in zip(codes, numbers, strict=True) if number == _CUSTOM
        ),
        mean=mean,
        std=std,
        logit_scales=_logit_scales(graph, numbers),
    )


def _heads(graph: Table, numbers: Sequence[int]) -> tuple[Head, ...]:
    """Returns the kind of each output, by following the operators in the order in which they run."""
    held = dict.fromkeys(map(int, graph.numbers(_INPUTS)), Head.LOGITS)
    made_by: dict[int, int] = {}
    for operator in graph.tables(_OPERATORS):
        number = numbers[operator.number(0, "<I")]
        inputs = [int(one) for one in operator.numbers(1)]
        known = [held[one] for one in inputs if one in held]
        is_softmax = (number == _DIV and made_by.get(inputs[-1]) == _SUM) or (
            number == _EXP and made_by.get(inputs[0]) == _LOG_SOFTMAX
        )
        for output in map(int, operator.numbers(2)):
            made_by[output] = number
            if known:  # otherwise, the output is constant, for example dequantized float16 weights
                held[output] = Head.SOFTMAX if is_softmax else _head_of(number, known)
    tensors = graph.tables(_TENSORS)
    return tuple(
        _by_quantization(held.get(index, Head.LOGITS), tensors[index])
        for index in map(int, graph.numbers(_OUTPUTS))
    )


def _head_of(number: int, inputs: Sequence[Head]) -> Head:
    """Returns the kind of an operator's output. ``inputs`` has the kind of each input that is not constant."""
    if number == _SOFTMAX:
        return Head.SOFTMAX
    if number == _LOGISTIC:
        return Head.SIGMOID
    if number in _KEEPING or number in _COMBINING:
        return inputs[0] if len({*inputs}) == 1 else Head.LOGITS
    return Head.LOGITS


def _by_quantization(head: Head, tensor: Table) -> Head:
    """Returns the kind of an output. ``head`` is the kind that the operators suggest.

    If the operators suggest logits, the output may still hold probabilities. It does so if the quantized values range
    exactly from 0 to 255/256, because TFLite prescribes this range for probabilities.
    """
    quantization = tensor.table(_QUANTIZATION)
    if head is not Head.LOGITS or quantization is None:
        return head
    lowest = {_UINT8: 0, _INT8: -128}.get(tensor.number(_TENSOR_TYPE, "<b"))
    zero_points = quantization.numbers(_ZERO_POINT, "q")[:1] or (0,)
    exact = quantization.numbers(_SCALE, "f") == (_PROBABILITY_SCALE,) and zero_points[0] == lowest
    return Head.SOFTMAX if exact else head


def _logit_scales(graph: Table, numbers: Sequence[int]) -> tuple[float, ...]:
    """Returns `NetworkFacts.logit_scales`, by following the operators from each sigmoid to the outputs."""
    tensors = graph.tables(_TENSORS)
    scales: dict[float, float] = {}
    for operator in graph.tables(_OPERATORS):
        number = numbers[operator.number(0, "<I")]
        for first, output in zip(operator.numbers(1)[:1], operator.numbers(2)[:1], strict=False):
            if number == _LOGISTIC:
                scales[output] = _scale_of(tensors[int(first)])
            elif number in _KEEPING and first in scales:
                scales[output] = scales[first]
    return tuple(scales.get(index, 0.0) for index in graph.numbers(_OUTPUTS))


def _scale_of(tensor: Table) -> float:
    """Returns the scale of a tensor. Returns 0 if the tensor is not quantized, or has several scales."""
    quantization = tensor.table(_QUANTIZATION)
    scales = quantization.numbers(_SCALE, "f") if quantization else ()
    return scales[0] if len(scales) == 1 else 0.0


def _normalization(root: Table, content: bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the standard deviation that TFLite Metadata states for the first input.

    The mean and the standard deviation are empty if the metadata does not state them.
    """
    for entry in root.tables(_METADATA):
        if entry.text(0) == METADATA_NAME:
            buffer = root.tables(_BUFFERS)[entry.number(1, "<I")]
            # files larger than 2 GB, and the files of some tools, store the data after the flatbuffer
            start = buffer.number(_DATA_OFFSET, "<Q")
            behind = content[start : start + buffer.number(_DATA_BYTES, "<Q")] if start > 1 else b""
            return _normalization_options(Table.root(buffer.data(_DATA) or behind))
    return (), ()


def _normalization_options(metadata: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    inputs = [
        one for graph in metadata.tables(_SUBGRAPH_METADATA)[:1] for one in graph.tables(_INPUT_METADATA)
    ]
    for unit in [unit for one in inputs[:1] for unit in one.tables(_PROCESS_UNITS)]:
        options = unit.table(_OPTIONS)
        if options is not None and unit.number(_OPTIONS_TYPE, "<B") == _NORMALIZATION_OPTIONS:
            return options.numbers(0, "f"), options.numbers(1, "f")
    return (), ()
