"""Counts the bytes that an inference reads and writes. The count is computed from the shapes in a .tflite file."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.edge.errors import ModelError
from dermedge.edge.model.flatbuffer import read_graph, tflite_schema

__all__ = ["bytes_moved"]

_BITS = {"int4": 4, "bfloat16": 16, "bool": 8}
_BITS_PER_BYTE = 8


def bytes_moved(path: Path) -> int:
    """Returns the bytes that all ops of a model read and write.

    For each op, the bytes of the inputs, weights and outputs are counted. If several ops use a tensor, the tensor
    counts once for each op. Caches are not modelled. Ops that the runtime fuses or skips count like all others.

    Raises:
        ModelError: the file is damaged, or a tensor has no fixed size.
        MissingExtra: the schema of .tflite files is not installed.
    """
    content = path.read_bytes()
    read_graph(content, path)  # raises an error that explains what is wrong with a damaged file
    schema = tflite_schema()
    graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}
    sizes = [_size(tensor, names.get(tensor.type, ""), path) for tensor in graph.tensors]
    used = (index for op in graph.operators for index in (*op.inputs, *op.outputs))
    return sum(sizes[int(index)] for index in used if index >= 0)  # -1 means an absent input


def _size(tensor: Any, dtype: str, path: Path) -> int:
    bits = _BITS.get(dtype)
    try:
        bits = bits or np.dtype(dtype).itemsize * _BITS_PER_BYTE
    except TypeError as error:
        raise ModelError(
            f"cannot count the bytes that an inference of '{path}' reads and writes: the model has tensors of the type "
            f"'{dtype}', and the values of this type have no fixed size; give a model without this type"
        ) from error
    sides = () if tensor.shape is None else [int(side) for side in tensor.shape]
    return prod(sides) * bits // _BITS_PER_BYTE
