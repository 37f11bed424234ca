"""Explains why a runtime refused a .tflite: names the kind of the file, and the program that would run it."""

from __future__ import annotations

from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.tables import READ_ERRORS, Table

__all__ = ["explain_refusal", "repair_dimensions"]

# Custom operator -> the compiler that writes it, and the program that runs it.
_COMPILED = {
    "edgetpu-custom-op": (
        "is compiled for Google's Edge TPU, and runs on a Coral device with libedgetpu alone",
        "this machine can run the .tflite that it was compiled from",
    ),
    "ethos-u": (
        "is compiled by Vela for Arm's Ethos-U, and runs only on a microcontroller with this NPU",
        "this machine can run the .tflite that it was compiled from",
    ),
}
_FLEX = "Flex"

# Slots of the tables of TensorFlow's schema.fbs.
_SUBGRAPHS, _TENSORS, _SHAPE, _QUANTIZATION, _DIMENSION = 2, 0, 0, 4, 6


def explain_refusal(path: Path, reason: str) -> ModelError:
    """Returns the error for a file that a runtime refused to open or to run; ``reason`` is the runtime's own line."""
    try:
        custom = read_facts(path).custom_operators
    except ModelError as damaged:
        return damaged
    for name in custom:
        if name in _COMPILED:
            what, cure = _COMPILED[name]
            return ModelError(f"'{path}' {what} (its operator '{name}'); {cure}")
        if name.startswith(_FLEX):
            return ModelError(
                f"'{path}' needs TensorFlow's own operators ('{name}'), which run with the Flex delegate alone; "
                "convert its source again with TFLite's builtin operators alone"
            )
    if custom:
        return ModelError(
            f"'{path}' has the custom operator '{custom[0]}', which runs only in the program or with the delegate "
            f"that it was made for; the runtime says: {reason}"
        )
    return ModelError(f"'{path}' cannot be run here; the runtime says: {reason}")


def repair_dimensions(model: bytes) -> bytes | None:
    """Returns the model with each quantized dimension that lies outside its tensor's shape corrected; None if there
    is none.

    Converters of 2020 gave a bias the quantized dimension of its filter. A bias has only one dimension, so the
    correction is not ambiguous. Older runtimes ignored the mistake; LiteRT 2 refuses the file.
    """
    repaired = bytearray(model)
    try:
        for graph in Table.root(model).tables(_SUBGRAPHS):
            for tensor in graph.tables(_TENSORS):
                quantization = tensor.table(_QUANTIZATION)
                if quantization is not None and len(tensor.numbers(_SHAPE)) == 1:
                    at = quantization.offset(_DIMENSION)
                    if at:
                        repaired[at : at + 4] = bytes(4)
    except READ_ERRORS:
        return None
    return bytes(repaired) if repaired != model else None
