"""A classifier in a float .tflite that runs in LiteRT."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from dermedge.convert.load.network import logits_of_probabilities, normalized_images
from dermedge.convert.to_tflite.form import FLOAT16, FLOAT32, Form
from dermedge.convert.to_tflite.graph import NUM_THREADS
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.convert.to_tflite.pixel_input import input_dtype, normalizes_inside
from dermedge.convert.to_tflite.quantizer import to_float16
from dermedge.edge.errors import ModelError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import Normalization
from dermedge.edge.model.runtime import without_native_log

__all__ = ["TfliteNetwork"]

_INT8_TO_UINT8 = 128


@dataclass(frozen=True)
class TfliteNetwork:
    """A `Network` that was read from a float .tflite.

    Attributes:
        name: the name of the file, for the manifest.
        layout: the shape of the input, which is channels-last.
        labels: the labels of the classes.
        normalization: the normalization that the input expects.
        model: a float .tflite. The input is a normalized image, float32 [1, h, w, C]. The first output is the
            probabilities [1, K]. If the network has logits, the second output is the evidence [1, 1, 1, K], which
            equals the logits.
    """

    name: str
    layout: Layout
    labels: tuple[str, ...]
    normalization: Normalization
    model: bytes

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network.logits`."""
        with without_native_log():
            interpreter = Interpreter(model_content=self.model, num_threads=NUM_THREADS)
            interpreter.allocate_tensors()
        (pixels,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
        found = []
        for image in images:
            normalized = normalized_images(np.asarray(image)[None], self.layout, self.normalization)
            interpreter.set_tensor(pixels["index"], normalized)
            interpreter.invoke()
            found.append(np.ravel(interpreter.get_tensor(outputs[-1]["index"])))
        rows: NDArray[np.float32] = np.array(found)
        return rows if len(outputs) > 1 else logits_of_probabilities(rows).astype(np.float32)

    def with_logits_moved(self, amounts: NDArray[np.float32]) -> TfliteNetwork:
        """See `Network.with_logits_moved`."""
        editor = GraphEditor(self.model)
        _, evidence = (int(one) for one in editor.graph.outputs)
        moved = editor.add(evidence, amounts)
        logits = editor.reshape(moved, "moved_logits", (1, len(amounts)))
        editor.set_outputs([editor.softmax(logits), moved], ["moved_probabilities", "moved_evidence"])
        return replace(self, model=editor.to_bytes())

    def float_tflite(self, form: Form) -> bytes:
        """See `Network.float_tflite`."""
        editor, dtype = GraphEditor(self.model), input_dtype(form)
        is_inside = normalizes_inside(self.normalization, form)
        if not is_inside and dtype == "float32":
            return self.model
        (replaced,) = (int(one) for one in editor.graph.inputs)
        pixels = editor.set_input(
            "pixels", (1, self.layout.height, self.layout.width, self.layout.channels), dtype
        )
        values = pixels if dtype == "float32" else editor.cast_to_float(pixels)
        if is_inside:
            offset = _INT8_TO_UINT8 if dtype == "int8" else 0
            values = editor.pointwise(values, *self._normalizing_convolution(offset))
        editor.end_front(values, replaced)
        return editor.to_bytes()

    def finished_tflite(self, form: Form) -> bytes:
        """See `Network.finished_tflite`. The form must be float32 or float16.

        Raises:
            ModelError: the form is neither float32 nor float16.
        """
        model = self.float_tflite(form)
        if form.kind == FLOAT32:
            return model
        if form.kind == FLOAT16:
            return to_float16(model)
        raise ModelError(
            f"a .tflite cannot be converted to {form.kind}; use --int8, --int16x8, --float16 or --float32"
        )

    def _normalizing_convolution(self, offset: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights [C, C] and the bias [C] of a convolution that normalizes pixel values.

        The input of the convolution must be the pixel values minus ``offset``.
        """
        channels, one = self.layout.channels, self.normalization
        mean, std = (np.array(values[:channels], np.float64) for values in (one.mean, one.std))
        weights, bias = np.diag(1 / std), (offset - mean) / std
        if one.blue_first:
            weights, bias = weights[::-1], bias[::-1]
        return weights.astype(np.float32), bias.astype(np.float32)
