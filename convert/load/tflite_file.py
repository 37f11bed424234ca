"""Read a float .tflite that dermedge did not make, for conversion. This needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dermedge.convert.load.conversion_input import sigmoids_note
from dermedge.convert.load.tflite_network import TfliteNetwork
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.edge.errors import ModelError
from dermedge.edge.model.flatbuffer import read_graph
from dermedge.edge.model.head import Head
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import read_associated_labels, read_manifest, strip
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.normalization import Normalization
from dermedge.edge.model.runtime import choose_runtime, open_interpreter
from dermedge.edge.model.signature import find_input, find_normalization, find_outputs

__all__ = ["TfliteFile", "open_tflite"]

_ACTIVATIONS = {schema.BuiltinOperator.SOFTMAX: Head.SOFTMAX, schema.BuiltinOperator.LOGISTIC: Head.SIGMOID}
_RESHAPING = (schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.SQUEEZE)
_QUANTIZED = ("int8", "uint8", "int16", "int4")


@dataclass(frozen=True)
class TfliteFile:
    """A `ForeignClassifier` that was read from a float .tflite.

    Attributes:
        path: the path of the file.
        layout: the shape of the input with the channels last, even if the channels come first in the file.
        outputs: the number of outputs.
        classes: the number of classes. A single output stands for two classes.
        known_labels: the labels in the file; None if there are none, or if their number is not the number of classes.
        known_normalization: the normalization that the metadata of the file state; None if they state none.
        note: one line about the outputs for the user; empty if there is nothing to say.
        model: as in `TfliteNetwork`.
    """

    path: Path
    layout: Layout
    outputs: int
    classes: int
    known_labels: tuple[str, ...] | None
    known_normalization: Normalization | None
    note: str
    model: bytes

    def network(self, labels: tuple[str, ...], normalization: Normalization) -> TfliteNetwork:
        """Return the network, given the labels of its classes and the normalization that its input expects."""
        return TfliteNetwork(self.path.stem, self.layout, labels, normalization, self.model)


def open_tflite(path: Path) -> TfliteFile:
    """Read a float .tflite.

    Raises:
        ModelError: the file is missing or damaged, is quantized already, was made by dermedge, or is not an image
            classifier.
    """
    interpreter = open_interpreter(path, 1, choose_runtime("auto"), True)
    if read_manifest(path) is not None:
        raise ModelError(
            f"'{path}' was made by dermedge convert; convert the run or the file that it was made from"
        )
    pixels, layout = find_input(interpreter, path)
    output = find_outputs(interpreter, path).probabilities
    model = strip(path.read_bytes())
    _check_float(path, pixels["dtype"], model)
    _check_single_output(path, interpreter.get_output_details())
    if int(pixels["shape"][0]) != 1:
        raise ModelError(
            f"'{path}' expects {pixels['shape'][0]} images at a time; export it with a batch of 1"
        )
    facts = read_facts(path)
    head = facts.heads[[one["index"] for one in interpreter.get_output_details()].index(output["index"])]
    known = find_normalization(path, pixels, layout, None) if facts.mean or facts.std else None
    units = int(output["shape"][-1])
    classes, labels = max(units, 2), read_associated_labels(path)
    return TfliteFile(
        path=path,
        layout=Layout(layout.height, layout.width, layout.channels, channels_first=False),
        outputs=units,
        classes=classes,
        known_labels=labels if labels is not None and len(labels) == classes else None,
        known_normalization=known,
        note=sigmoids_note(head, units),
        model=_normal_form(path, model, layout, head, int(output["index"])),
    )


def _check_single_output(path: Path, outputs: Sequence[dict[str, Any]]) -> None:
    """Raise ModelError if a file has several outputs, because the converted file would only have one of them."""
    if len(outputs) > 1:
        shapes = ", ".join(str(one["shape"].tolist()) for one in outputs)
        raise ModelError(
            f"'{path}' has {len(outputs)} outputs ({shapes}); export a model that only has the output for the classes"
        )


def _check_float(path: Path, dtype: type, model: bytes) -> None:
    """Raise ModelError if a file does not compute in float32, or if its weights are not float32."""
    precisions = (one.precision for one in read_graph(model, path).operators)
    found = next((one for one in precisions if " with " in one or one.startswith(_QUANTIZED)), None)
    if found is None and dtype != np.float32:
        found = f"an input of {np.dtype(dtype).name}"
    if found is not None:
        raise ModelError(
            f"'{path}' is quantized already ({found}); give the float32 .tflite from before the quantization"
        )


def _check_dense(path: Path, editor: GraphEditor) -> None:
    """Raise ModelError if weights are stored without their zeros, because the quantizer needs all values."""
    if any(tensor.sparsity is not None for tensor in editor.graph.tensors):
        raise ModelError(
            f"'{path}' has weights in TFLite's sparse format, which cannot be quantized here; export the network again "
            "without EXPERIMENTAL_SPARSITY"
        )


def _normal_form(path: Path, model: bytes, layout: Layout, head: Head, output: int) -> bytes:
    """Return the file with the input and the outputs that `TfliteNetwork` requires, and a unique name for each tensor.

    The input is float32 [1, h, w, C]. The outputs are the probabilities and, if the network has logits, the evidence.
    The ranges for a quantization are stored by the names of the tensors.
    """
    editor = GraphEditor(model)
    editor.remove_unused_graphs()
    _check_dense(path, editor)
    editor.make_names_unique()
    if layout.channels_first:
        (replaced,) = (int(one) for one in editor.graph.inputs)
        pixels = editor.set_input("images", (1, layout.height, layout.width, layout.channels), "float32")
        editor.end_front(editor.transpose(pixels, (0, 3, 1, 2)), replaced)
    units = editor.shape(output)[-1]
    found = _take_off_activation(editor, output)
    if found is None and head is Head.SOFTMAX:
        editor.set_outputs([editor.reshape(output, "flat", (1, units))], ["probabilities"])
        return editor.to_bytes()
    if found is None and head is not Head.LOGITS:
        raise ModelError(
            f"the sigmoid of '{path}' is not the last operator; export the network so that it ends in the sigmoid"
        )
    logits = editor.reshape(output if found is None else found, "flat", (1, units))
    if units == 1:
        logits = editor.zero_in_front(logits)
    evidence = editor.reshape(logits, "evidence", (1, 1, 1, max(units, 2)))
    editor.set_outputs([editor.softmax(logits), evidence], ["probabilities", "evidence"])
    return editor.to_bytes()


def _take_off_activation(editor: GraphEditor, output: int) -> int | None:
    """Remove the softmax or sigmoid that computes an output, and return the index of its input tensor.

    If no softmax or sigmoid computes the output, nothing is removed, and the result is None. A softmax is removed only
    if it runs over all classes at once, and does not scale its input.
    """
    operators, tensor = editor.graph.operators, output
    behind = []
    while True:
        writer = next((one for one in operators if tensor in one.outputs), None)
        if writer is None:
            return None
        kind = editor.root.operatorCodes[writer.opcodeIndex].builtinCode
        behind.append(writer)
        tensor = int(writer.inputs[0])
        if kind == schema.BuiltinOperator.SOFTMAX and not _is_softmax_of_all(writer, editor, output):
            return None
        if kind in _ACTIVATIONS:
            editor.graph.operators = [one for one in operators if one not in behind]
            return tensor
        if kind not in _RESHAPING:
            return None


def _is_softmax_of_all(softmax: schema.OperatorT, editor: GraphEditor, output: int) -> bool:
    """Tell whether a softmax runs over all classes at once, and does not scale its input."""
    classes = editor.shape(int(softmax.outputs[0]))[-1]
    return classes == editor.shape(output)[-1] and softmax.builtinOptions.beta == 1
