"""Explains why a runtime refused a .tflite, and repairs a mistake of old converters."""

from __future__ import annotations

from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.tables import READ_ERRORS, Table

__all__ = ["explain_refusal", "repair_dimensions"]

# Maps a custom operator to two parts of the message: what the file is, and what the user can do.
_COMPILED = {
    "edgetpu-custom-op": (
        "is compiled for Google's Edge TPU, and runs only on a Coral device with libedgetpu",
        "use the .tflite from which it was compiled",
    ),
    "ethos-u": (
        "is compiled by Vela for Arm's Ethos-U, and runs only on a microcontroller with this NPU",
        "use the .tflite from which it was compiled",
    ),
}
_FLEX = "Flex"

# These are slots (numbers of fields) in the tables of schema.fbs, the schema of .tflite files.
_SUBGRAPHS, _TENSORS, _SHAPE, _QUANTIZATION, _DIMENSION = 2, 0, 0, 4, 6


def explain_refusal(path: Path, reason: str) -> ModelError:
    """Returns the error for a file that a runtime refused to open or to run.

    Args:
        path: path of the file.
        reason: the first line of the runtime's error message.
    """
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
                f"'{path}' needs TensorFlow's own operators ('{name}'), which run only with the Flex delegate; "
                "convert the original model again, with TFLite's builtin operators only"
            )
    if custom:
        return ModelError(
            f"'{path}' has the custom operator '{custom[0]}', which runs only in the program or with the delegate "
            f"that it was made for; convert the original model again without this operator; the runtime says: {reason}"
        )
    return ModelError(
        f"'{path}' cannot be run here; the runtime says: {reason}; install a newer ai-edge-litert, or convert the "
        "model again"
    )


def repair_dimensions(model: bytes) -> bytes | None:
    """Returns the model with the quantized dimension of each one-dimensional tensor set to 0.

    Returns None if nothing has to be corrected, or if the model is damaged. A bias has only one dimension, so 0 is the
    only correct value. But converters of 2020 gave a bias the quantized dimension of its filter. Older runtimes ignored
    this mistake, whereas LiteRT 2 refuses the file.
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
