"""Reads the tensors and operators of a .tflite from its flatbuffer, without running the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from dermedge.edge.errors import MissingExtra
from dermedge.edge.model.tables import READ_ERRORS, refusing_damage

__all__ = ["MACS", "Graph", "Operator", "TensorInfo", "float_ops", "read_graph", "tflite_schema"]

# An operator computes in one of these types. If the activations of the operator have several of these types, the type
# that comes first in this list counts.
_COMPUTED_IN = ("float32", "float16", "bfloat16", "float64", "int16", "int8", "uint8", "int4")
_FLOATS = _COMPUTED_IN[:4]
# Constants of these types are shapes, axes, indices or biases, and not weights.
_NOT_WEIGHTS = ("int32", "int64", "bool")
# These operators only convert one type into another.
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "CAST")
_CONVERSION = "conversion"

_Shape = tuple[int, ...]

# Maps an operator to a function that counts the multiply-accumulates of the operator from the shapes of its inputs and
# of its output. Each output value needs one multiply-accumulate for each weight of its kernel (Howard et al.,
# "MobileNets", 2017, section 3.1). The order of the dimensions in a shape, such as
# [batch, height, width, channels], is the one in TensorFlow's schema.fbs.
MACS: dict[str, Callable[[Sequence[_Shape], _Shape], int]] = {
    # the filter is [c_out, h, w, c_in / groups]
    "CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:]),
    # the filter is [1, h, w, c_out]
    "DEPTHWISE_CONV_2D": lambda inputs, output: prod(output) * prod(inputs[1][1:3]),
    # the filter is [d, h, w, c_in / groups, c_out]
    "CONV_3D": lambda inputs, output: prod(output) * prod(inputs[1][:4]),
    # the filter is [c_out, h, w, c_in], and the third input is the image; each value of the image is multiplied by
    # c_out * h * w weights
    "TRANSPOSE_CONV": lambda inputs, output: prod(inputs[2]) * prod(inputs[1][:3]),
    # the weights are [out, in]
    "FULLY_CONNECTED": lambda inputs, output: prod(output) * inputs[1][-1],
    # each output value needs `inner` multiply-accumulates; the first input is [.., rows, inner] or its transpose, and
    # the output is [.., rows, columns]
    "BATCH_MATMUL": lambda inputs, output: prod(output) * prod(inputs[0][-2:]) // output[-2],
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the file describes it.

    Attributes:
        name: the name that the converter gave the tensor.
        shape: the shape. A dimension of unknown size is 1.
        dtype: the type of the values, as NumPy calls it.
        scales: the scales of the quantization: one scale, or one for each channel. The tuple is empty if the tensor is
            not quantized.
        zero_points: the zero points of the quantization, one for each scale.
        is_constant: whether the file stores the values of the tensor.
    """

    name: str
    shape: _Shape
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    is_constant: bool


@dataclass(frozen=True)
class Operator:
    """One operator of a network.

    Attributes:
        name: the name of the operator in TensorFlow's schema, or the name of a custom operator.
        output: the name of the first tensor that the operator writes.
        precision: the precision of the arithmetic, such as ``int8``, ``float32``, ``float32 with int8 weights``
            (dynamic-range quantization) or ``float32 with float16 weights``. It is ``conversion`` if the operator only
            converts one type into another.
        macs: the number of multiply-accumulates of a convolution or a matrix product. It is 0 for all other operators,
            as is usual in the literature. It is also 0 for recurrent and custom operators, because their
            multiply-accumulates cannot be computed from the shapes.
    """

    name: str
    output: str
    precision: str
    macs: int

    @property
    def is_float(self) -> bool:
        """Whether the operator computes in floats, even if its weights are stored as integers."""
        return self.precision.startswith(_FLOATS)


@dataclass(frozen=True)
class Graph:
    """The tensors, operators and metadata of one .tflite.

    Attributes:
        inputs: the inputs of the model, in the file's order.
        outputs: the outputs of the model, in the file's order.
        operators: the operators, in the order in which they run.
        metadata: the names of the metadata entries.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[Operator, ...]
    metadata: tuple[str, ...]


def read_graph(model: bytes, source: Path | str) -> Graph:
    """Reads the bytes of a .tflite, with or without an appended zip. ``source`` names the file in error messages.

    Raises:
        ModelError: the bytes are damaged, or are not a .tflite.
        MissingExtra: the package that contains the schema of .tflite files is not installed.
    """
    schema = tflite_schema()
    # the generated code does not check offsets; a damaged offset raises one of these exceptions
    with refusing_damage(model, source, (*READ_ERRORS, TypeError, AttributeError)):
        root = schema.Model.GetRootAs(model)
        # In large files, and in the files of some tools, the values of constants follow the flatbuffer. The buffer of
        # such a constant has an offset.
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


def float_ops(model: bytes) -> tuple[Operator, ...]:
    """Returns the operators of a .tflite that compute in floats, or an empty list if all compute in integers.

    Operators that only convert one type into another, such as a float input into int8, are not included.
    """
    return tuple(one for one in read_graph(model, "the model").operators if one.is_float)


def tflite_schema() -> Any:
    """Returns the module that was generated from TensorFlow's schema.fbs. It is a part of ai-edge-litert.

    Raises:
        MissingExtra: ai-edge-litert is not installed, for example because tflite-runtime is used in its place.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        note = (
            "which contains the schema of .tflite files (if there is no wheel for this machine, run the command "
            "on another machine)"
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
                # some files have no buffers at all, although their tensors refer to the first buffer
                is_constant=tensor.Buffer() < len(constant) and constant[tensor.Buffer()],
            )
        )
    return found


def _operators(root: Any, graph: Any, tensors: Sequence[TensorInfo], schema: Any) -> list[Operator]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    # Maps the index of a constant tensor to the type in which the file stores its values. The output of a DEQUANTIZE
    # that reads a constant counts as a constant too.
    stored = {index: one.dtype for index, one in enumerate(tensors) if one.is_constant}
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        # A file can store the code of an operator in two fields. The older field has one byte and holds codes below
        # 127. The unused field holds a smaller number, so that the maximum is the code.
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
    """Returns the precision of an operator, from the types of its activations and the types of its constants."""
    computed = next((dtype for dtype in _COMPUTED_IN if dtype in moving), moving[0] if moving else "constant")
    others = sorted({*weights} - {computed, *_NOT_WEIGHTS})
    return f"{computed} with {' and '.join(others)} weights" if others else computed


def _macs(name: str | None, inputs: Sequence[_Shape], output: _Shape) -> int:
    try:
        return MACS[name](inputs, output) if name in MACS else 0
    except (IndexError, ZeroDivisionError):
        return 0  # the file does not state the full shapes, which are known only when the model runs


def _vector(table: Any, field: str) -> tuple[Any, ...]:
    """Returns the vector of numbers in a field of a table. The vector is empty if the table lacks the field."""
    return tuple(getattr(table, f"{field}AsNumpy")().tolist()) if getattr(table, f"{field}Length")() else ()


def _text(value: bytes | None) -> str:
    return value.decode(errors="replace") if value else ""
