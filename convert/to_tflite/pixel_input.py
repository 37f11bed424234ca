"""A .tflite that takes float32 pixels, made to take uint8 ones."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dermedge.convert.to_tflite.graph import read_model
from dermedge.convert.to_tflite.share_buffers import pack

PIXELS = b"uint8_pixels"


def with_uint8_input(model: bytes) -> bytes:
    """The model behind a cast, for networks in which the converter allows none: its input is then uint8.

    Args:
        model: a flatbuffer with one float32 input of pixel values, 0 to 255.
    """
    root = read_model(model)
    graph = root.subgraphs[0]
    (taken,) = graph.inputs
    pixels = schema.TensorT()
    pixels.name, pixels.type = PIXELS, schema.TensorType.UINT8
    pixels.shape, pixels.shapeSignature = graph.tensors[taken].shape, graph.tensors[taken].shapeSignature
    pixels.buffer, pixels.hasRank = 0, True
    graph.tensors.append(pixels)
    given = len(graph.tensors) - 1
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
    root.operatorCodes.append(code)
    cast = schema.OperatorT()
    cast.opcodeIndex = len(root.operatorCodes) - 1
    cast.inputs, cast.outputs = np.array([given], np.int32), np.array([taken], np.int32)
    cast.builtinOptionsType = schema.BuiltinOptions.CastOptions
    cast.builtinOptions = schema.CastOptionsT()
    cast.builtinOptions.inDataType = schema.TensorType.UINT8
    cast.builtinOptions.outDataType = schema.TensorType.FLOAT32
    graph.operators.insert(0, cast)
    graph.inputs = np.array([given], np.int32)
    for signature in root.signatureDefs or []:
        for one in signature.inputs:
            one.tensorIndex = given if one.tensorIndex == taken else one.tensorIndex
    return pack(root)
