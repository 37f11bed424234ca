"""Reads the tensors and operators of a .tflite from its flatbuffer, without running it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from dermedge.edge.errors import MissingExtra, ModelError

__all__ = ["MACS", "Graph", "Operator", "TensorInfo", "float_ops", "read_graph", "tflite_schema"]

_FILE_IDENTIFIER = b"TFL3"
# The precision of an operator is the type of the first tensor that it reads or writes.
_COMPUTED_IN = ("float32", "float16", "bfloat16", "float64", "int16", "int8", "uint8", "int4")
_FLOATS = _COMPUTED_IN[:4]
# Types of shapes, axes, indices and biases. They do not tell how weights are stored.
_NOT_WEIGHTS = ("int32", "int64", "bool")
# Operators that only convert one type into another.
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "CAST")
_CONVERSION = "conversion"

_Shape = tuple[int, ...]

# Operator -> a function that counts its multiply-accumulates from the shapes of its inputs and of its output. Howard
# et al., "MobileNets", 2017, section 3.1: every output value takes as many multiply-accumulates as its kernel has
# weights. The layouts are those of TensorFlow's schema.fbs and of the operators' shape functions.
MACS: dict[str, Callable[[Sequence[_Shape], _Shape], int]] = {
    # the filter is [c_out, h, w, c_in / groups]
    "CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:]),
    # [1, h, w, c_out]
    "DEPTHWISE_CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:3]),
    # [d, h, w, c_in / groups, c_out]
    "CONV_3D": lambda inputs, output: prod(output) * prod(inputs[1][:4]),
    # [c_out, h, w, c_in]; the image is the third input, and the kernel is applied to each of its values once
    "TRANSPOSE_CONV": lambda inputs, output: prod(inputs[2]) * prod(inputs[1][:3]),
    # [out, in]
    "FULLY_CONNECTED": lambda inputs, output: prod(output) * inputs[1][-1],
    # [.., rows, inner] or its transpose; the output is [.., rows, columns]
    "BATCH_MATMUL": lambda inputs, output: prod(output) * prod(inputs[0][-2:]) // output[-2],
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the file describes it.

    Attributes:
        name: given by the converter.
        shape: shape, with 1 for a dimension of unknown size.
        dtype: type of the values, as NumPy calls it.
        scales: scales of the quantization: none, one, or one a channel.
        zero_points: zero points, one for each scale.
        is_constant: whether its values are in the file.
    """

    name: str
    shape: _Shape
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    is_constant: bool


@dataclass(frozen=True)
class Operator:
    """One step of the computation.

    Attributes:
        name: name in the schema, or that of a custom operator.
        output: the name of its first output tensor.
        precision: precision of its arithmetic, such as ``int8``, ``float32``, ``float32 with int8 weights`` (dynamic
            range) or ``float32 with float16 weights``; ``conversion`` for one that only changes the type.
        macs: multiply-accumulates of convolutions and matrix products; 0 for all other operators, as the literature
            counts. It is also 0 for recurrent and custom operators, whose multiply-accumulates do not follow from
            their shapes.
    """

    name: str
    output: str
    precision: str
    macs: int

    @property
    def is_float(self) -> bool:
        """Whether the operator computes in floats, however its weights are stored."""
        return self.precision.startswith(_FLOATS)


@dataclass(frozen=True)
class Graph:
    """The content of one .tflite.

    Attributes:
        inputs: inputs of the model.
        outputs: outputs of the model, in the file's order.
        operators: operators in the order in which they run.
        metadata: the names of the entries that tools have added.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[Operator, ...]
    metadata: tuple[str, ...]


def read_graph(model: bytes, source: Path | str) -> Graph:
    """Reads a .tflite, with or without an appended zip; ``source`` names it in errors.

    Raises:
        ModelError: it is damaged, or no .tflite.
        MissingExtra: the schema is not installed.
    """
    schema = tflite_schema()
    if model[4:8] != _FILE_IDENTIFIER:
        raise ModelError(f"'{source}' is no .tflite model, or its beginning is damaged")
    try:
        root = schema.Model.GetRootAs(model)
        # large files, and files of some tools, store the values behind the flatbuffer; offset and size tell where
        constant = [
            bool(root.Buffers(index).DataLength() and root.Buffers(index).DataAsNumpy().size)
            or root.Buffers(index).Offset() > 1
            for index in range(root.BuffersLength())
        ]
        graphs = [root.Subgraphs(index) for index in range(root.SubgraphsLength())]
        tensors = [_tensors(graph, constant, schema) for graph in graphs]
        operators = [
            one
            for graph, of_graph in zip(graphs, tensors, strict=True)
            for one in _operators(root, graph, of_graph, schema)
        ]
        return Graph(
            inputs=tuple(tensors[0][index] for index in _vector(graphs[0], "Inputs")),
            outputs=tuple(tensors[0][index] for index in _vector(graphs[0], "Outputs")),
            operators=tuple(operators),
            metadata=tuple(_text(root.Metadata(index).Name()) for index in range(root.MetadataLength())),
        )
    except (struct.error, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        # the generated code does not check offsets; a damaged offset raises one of these exceptions
        raise ModelError(f"'{source}' is damaged: its flatbuffer cannot be read ({error})") from error


def float_ops(model: bytes) -> tuple[Operator, ...]:
    """Returns the operators of a .tflite that compute in floats; none for a file that only computes in integers.

    Conversions at the inputs and outputs, such as that of a float input, are not counted.
    """
    return tuple(one for one in read_graph(model, "the model").operators if one.is_float)


def tflite_schema() -> Any:
    """Returns the code that TensorFlow's schema.fbs was generated into; ai-edge-litert ships it.

    Raises:
        MissingExtra: the package with the schema is not installed, for example beside tflite-runtime alone.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        note = (
            "which contains the schema of .tflite files (if there is no wheel for this machine, run the command "
            "on another one)"
        )
        raise MissingExtra("ai-edge-litert", note=note) from error
    return schema_py_generated


def _tensors(graph: Any, constant: Sequence[bool], schema: Any) -> list[TensorInfo]:
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}
    found = []
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        quantization = tensor.Quantization()
        found.append(
            TensorInfo(
                name=_text(tensor.Name()),
                shape=_vector(tensor, "Shape"),
                dtype=dtypes.get(tensor.Type(), f"type {tensor.Type()}"),
                scales=_vector(quantization, "Scale") if quantization else (),
                zero_points=_vector(quantization, "ZeroPoint") if quantization else (),
                # a file may have no buffers, although its tensors refer to the first one
                is_constant=tensor.Buffer() < len(constant) and constant[tensor.Buffer()],
            )
        )
    return found


def _operators(root: Any, graph: Any, tensors: Sequence[TensorInfo], schema: Any) -> list[Operator]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    # tensor -> the type in which its values are stored; weights that a DEQUANTIZE unpacks also count as constants
    stored = {index: one.dtype for index, one in enumerate(tensors) if one.is_constant}
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        # codes below 127 are in the older field, which has one byte
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _text(code.CustomCode()) if builtin == schema.BuiltinOperator.CUSTOM else names.get(builtin)
        # -1 stands for an optional input that is absent
        inputs = [index for index in _vector(operator, "Inputs") if index >= 0]
        outputs = _vector(operator, "Outputs")
        if name == "DEQUANTIZE" and inputs[0] in stored:
            stored[outputs[0]] = stored[inputs[0]]
        moving = [tensors[index].dtype for index in (*inputs, *outputs) if index not in stored]
        weights = [stored[index] for index in inputs if index in stored]
        shapes = [tensors[index].shape for index in inputs]
        found.append(
            Operator(
                name=name or f"operator {builtin}",
                output=tensors[outputs[0]].name if outputs else "",
                precision=_CONVERSION if name in _CONVERSIONS else _precision(moving, weights),
                macs=_macs(name, shapes, tensors[outputs[0]].shape) if outputs else 0,
            )
        )
    return found


def _precision(moving: Sequence[str], weights: Sequence[str]) -> str:
    """Returns the precision in which an operator computes, from the types of its activations and constants."""
    computed = next((dtype for dtype in _COMPUTED_IN if dtype in moving), moving[0] if moving else "constant")
    others = sorted({*weights} - {computed, *_NOT_WEIGHTS})
    return f"{computed} with {' and '.join(others)} weights" if others else computed


def _macs(name: str | None, inputs: Sequence[_Shape], output: _Shape) -> int:
    try:
        return MACS[name](inputs, output) if name in MACS else 0
    except (IndexError, ZeroDivisionError):
        return 0  # the shape is known only when the model runs


def _vector(table: Any, field: str) -> tuple[Any, ...]:
    """Returns a vector of numbers, empty where it is absent."""
    return tuple(getattr(table, f"{field}AsNumpy")().tolist()) if getattr(table, f"{field}Length")() else ()


def _text(value: bytes | None) -> str:
    return value.decode(errors="replace") if value else ""
