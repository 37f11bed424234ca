"""Give a .tflite with a float32 pixel input a uint8 one."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dermedge.convert.to_tflite.graph import read_model
from dermedge.convert.to_tflite.share_buffers import pack

__all__ = ["with_uint8_input"]

_INPUT_NAME = b"uint8_pixels"


def with_uint8_input(model: bytes) -> bytes:
    """Put a cast from uint8 in front of a network, for kinds whose converter offers none.

    Args:
        model: a flatbuffer with one float32 input that takes pixel values, 0 to 255.
    """
    root = read_model(model)
    graph = root.subgraphs[0]
    (float_input,) = graph.inputs
    graph.tensors.append(_uint8_tensor_like(graph.tensors[float_input]))
    uint8_input = len(graph.tensors) - 1
    graph.operators.insert(0, _cast(root, uint8_input, float_input))
    graph.inputs = np.array([uint8_input], np.int32)
    for signature in root.signatureDefs or []:
        for entry in signature.inputs:
            entry.tensorIndex = uint8_input if entry.tensorIndex == float_input else entry.tensorIndex
    return pack(root)


def _uint8_tensor_like(tensor: Any) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.type = _INPUT_NAME, schema.TensorType.UINT8
    made.shape, made.shapeSignature = tensor.shape, tensor.shapeSignature
    made.buffer, made.hasRank = 0, True
    return made


def _cast(root: Any, source: int, target: int) -> schema.OperatorT:
    """An operator from uint8 to float32; its code is added to the model."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
    root.operatorCodes.append(code)
    cast = schema.OperatorT()
    cast.opcodeIndex = len(root.operatorCodes) - 1
    cast.inputs, cast.outputs = np.array([source], np.int32), np.array([target], np.int32)
    cast.builtinOptionsType = schema.BuiltinOptions.CastOptions
    cast.builtinOptions = schema.CastOptionsT()
    cast.builtinOptions.inDataType = schema.TensorType.UINT8
    cast.builtinOptions.outDataType = schema.TensorType.FLOAT32
    return cast
