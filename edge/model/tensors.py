"""Describes the inputs and outputs of a .tflite for programs: shape, type and quantization."""

from __future__ import annotations

from typing import Any

from dermedge.edge.model.tables import READ_ERRORS, Table

__all__ = ["describe_inputs_and_outputs"]

# These are slots (numbers of fields) in the tables of schema.fbs, the schema of .tflite files.
_SUBGRAPHS, _TENSORS, _INPUTS, _OUTPUTS = 2, 0, 1, 2
_SHAPE, _TYPE, _NAME, _QUANTIZATION, _SCALE, _ZERO_POINT = 0, 1, 3, 4, 2, 3
# Maps values of the enum TensorType in schema.fbs to names of NumPy types.
_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}


def describe_inputs_and_outputs(model: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns descriptions of the inputs and of the outputs, in the file's order. Both are empty for a damaged file.

    Each description has the keys ``index`` (the position among the inputs, or among the outputs), ``name``, ``shape``,
    ``dtype`` (the name of the type in NumPy), ``scale`` and ``zero_point``. A stored integer q stands for the number
    (q - zero_point) * scale. Scale and zero point are None if the tensor is not quantized.
    """
    try:
        graph = Table.root(model).tables(_SUBGRAPHS)[0]
        tensors = graph.tables(_TENSORS)
        inputs, outputs = (
            [_described(place, tensors[int(index)]) for place, index in enumerate(graph.numbers(slot))]
            for slot in (_INPUTS, _OUTPUTS)
        )
    except READ_ERRORS:
        return [], []
    return inputs, outputs


def _described(place: int, tensor: Table) -> dict[str, Any]:
    quantization = tensor.table(_QUANTIZATION)
    scales = quantization.numbers(_SCALE, "f") if quantization else ()
    zero_points = quantization.numbers(_ZERO_POINT, "q") if quantization else ()
    kind = tensor.number(_TYPE, "<b")
    return {
        "index": place,
        "name": tensor.text(_NAME),
        "shape": [int(side) for side in tensor.numbers(_SHAPE)],
        "dtype": _DTYPES.get(kind, f"type {kind}"),
        "scale": scales[0] if scales else None,
        "zero_point": int(zero_points[0]) if zero_points else (0 if scales else None),
    }
