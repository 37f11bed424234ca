"""Add operators to a .tflite, with the schema that LiteRT contains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import read_model
from dermedge.convert.to_tflite.share_buffers import pack

__all__ = ["GraphEditor"]

_TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
}
# The schema has an older and a newer field for the code of an operator. The older field has only one byte. If the older
# field holds this value, the code is in the newer field.
_NEWER_FIELD = 127


class GraphEditor:
    """An editor that adds operators to the first graph of a .tflite.

    A tensor is given by its index. Every method that adds an operator returns the index of the tensor that the operator
    computes.

    Args:
        model: a .tflite with a batch of 1.

    Attributes:
        root: the whole file.
        graph: the first graph of the file.
    """

    def __init__(self, model: bytes) -> None:
        self.root = read_model(model)
        self.graph = self.root.subgraphs[0]
        self._is_front = False
        self._front: list[schema.OperatorT] = []
        for code in self.root.operatorCodes:
            # Files written before 2020 have only the older of the two fields for the code.
            code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        for tensor in self.graph.tensors:
            # Without a shape signature, the batch size is fixed. XNNPACK does not run a graph with an open batch size.
            tensor.shapeSignature = None

    def to_bytes(self) -> bytes:
        """Return the changed .tflite. Signatures and metadata are left out, because they no longer fit the graph."""
        self.graph.operators = [*self._front, *self.graph.operators]
        self._front = []
        self.root.signatureDefs, self.root.metadata = [], []
        return pack(self.root)

    def set_input(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """Replace the input by a new tensor, and return the index of this tensor.

        Operators that are added between this call and the call of `end_front` run before the operators of the file.
        """
        self._is_front = True
        index = self._tensor(name, shape, dtype)
        self.graph.inputs = np.array([index], np.int32)
        return index

    def end_front(self, written: int, replaced: int) -> None:
        """Make the existing operators read the tensor ``written`` instead of the tensor ``replaced``.

        Operators that are added after the call of `end_front` run after all other operators.
        """
        self._is_front = False
        for operator in self.graph.operators:
            operator.inputs = np.array(
                [written if one == replaced else one for one in operator.inputs], np.int32
            )

    def set_outputs(self, tensors: Sequence[int], names: Sequence[str]) -> None:
        """Make ``tensors`` the outputs of the graph, and rename each tensor to the corresponding entry of ``names``."""
        self.graph.outputs = np.array(tensors, np.int32)
        for tensor, name in zip(tensors, names, strict=True):
            self.rename(tensor, name)

    def rename(self, tensor: int, name: str) -> None:
        """Give a tensor a new name. If another tensor has the new name already, rename the other tensor.

        The other tensor gets the same name with a number appended.
        """
        for one in self.graph.tensors:
            if one.name == name.encode():
                one.name = self._unique(name).encode()
        self.graph.tensors[tensor].name = name.encode()

    def make_names_unique(self) -> None:
        """Give every tensor a name of its own. Some tools remove the names, or use one name for several tensors."""
        taken: set[str] = set()
        for tensor in self.graph.tensors:
            name = (tensor.name or b"tensor").decode(errors="replace")
            tensor.name = _numbered(name, taken).encode()
            taken.add(tensor.name.decode())

    def remove_unused_graphs(self) -> None:
        """Remove all graphs but the first, unless an operator of the first graph uses another graph."""
        options = [
            one
            for operator in self.graph.operators
            for one in (operator.builtinOptions, operator.builtinOptions2)
        ]
        # The options of a loop, a branch or a call have a field such as "bodySubgraphIndex" or "subgraph".
        if not any("subgraph" in field.lower() for one in options if one for field in vars(one)):
            self.root.subgraphs = [self.graph]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return tuple(int(side) for side in self.graph.tensors[tensor].shape)

    def cast_to_float(self, source: int) -> int:
        """Convert a tensor of integers to float32."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = self.graph.tensors[source].type, schema.TensorType.FLOAT32
        return self._add("CAST", [source], "pixels_float", self.shape(source), options)

    def pointwise(self, source: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
        """Apply a 1 x 1 convolution to float32 [1, h, w, C].

        The weights are [C, C], with the output channels first. The bias is [C].
        """
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        kernel = self._constant("normalization_weights", weights[:, np.newaxis, np.newaxis, :])
        offset = self._constant("normalization_bias", bias)
        return self._add("CONV_2D", [source, kernel, offset], "normalized", self.shape(source), options)

    def transpose(self, source: int, order: Sequence[int]) -> int:
        """Reorder the axes of a tensor. Axis i of the result is the axis ``order[i]`` of the tensor."""
        shape = [self.shape(source)[axis] for axis in order]
        axes = self._constant("axes", np.array(order, np.int32))
        return self._add("TRANSPOSE", [source, axes], "transposed", shape, schema.TransposeOptionsT())

    def reshape(self, source: int, name: str, shape: Sequence[int]) -> int:
        """Reshape a tensor. If the tensor has this shape already, return the tensor unchanged."""
        if self.shape(source) == tuple(shape):
            return source
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        return self._add(
            "RESHAPE", [source, self._constant(f"{name}_shape", options.newShape)], name, shape, options
        )

    def zero_in_front(self, source: int) -> int:
        """Pad [1, 1] to [1, 2], with a 0 before the value."""
        amounts = self._constant("zero_amounts", np.array([[0, 0], [1, 0]], np.int32))
        return self._add("PAD", [source, amounts], "logits", (1, 2), schema.PadOptionsT())

    def softmax(self, source: int) -> int:
        """Return the softmax over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._add("SOFTMAX", [source], "probabilities", self.shape(source), options)

    def add(self, source: int, amounts: NDArray[np.float32]) -> int:
        """Add constants to a tensor: one amount for each index of the last axis."""
        constant = self._constant("amounts", amounts)
        return self._add("ADD", [source, constant], "moved", self.shape(source), schema.AddOptionsT())

    def _add(self, kind: str, inputs: Sequence[int], name: str, shape: Sequence[int], options: Any) -> int:
        output = self._tensor(name, shape, "float32")
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, kind))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        (self._front if self._is_front else self.graph.operators).append(operator)
        return output

    def _code(self, number: int) -> int:
        """Return the index of an operator in the file's table of operators. A missing operator is added."""
        for index, code in enumerate(self.root.operatorCodes):
            if code.builtinCode == number:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, _NEWER_FIELD), 1
        self.root.operatorCodes.append(code)
        return len(self.root.operatorCodes) - 1

    def _constant(self, name: str, values: NDArray[Any]) -> int:
        index = self._tensor(name, values.shape, values.dtype.name)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.root.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.root.buffers) - 1
        return index

    def _tensor(self, name: str, shape: Sequence[int], dtype: str) -> int:
        """Return a new tensor with a unique name."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = (
            self._unique(name).encode(),
            np.array(shape, np.int32),
            _TENSOR_TYPES[dtype],
        )
        # Buffer 0 is the empty buffer. Activations use it, because the file stores no data for them.
        tensor.buffer, tensor.hasRank = 0, True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _unique(self, name: str) -> str:
        """Return the name, with a number appended if another tensor has this name."""
        return _numbered(name, {one.name.decode() for one in self.graph.tensors})


def _numbered(name: str, taken: set[str]) -> str:
    """Return the name, with a number appended if it is taken."""
    unique, number = name, 0
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique
