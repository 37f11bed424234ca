"""A classifier in TensorFlow, trained by dermedge or by others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.convert.load.close_up import CloseUpProbe, close_up_probability, feature_output
from dermedge.convert.load.network import logits_of_probabilities, normalized_images
from dermedge.convert.to_tflite.form import Form
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.convert.to_tflite.tensorflow_converter import PixelGraph, convert_to_finished, convert_to_float
from dermedge.edge.errors import ModelError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS, Normalization
from dermedge.train.fit.networks import EVIDENCE, LOGITS
from dermedge.train.fit.quantize_aware import QUANTIZED

__all__ = ["TensorFlowNetwork", "network_of"]

_BATCH = 64
_EVIDENCE_RANK = 4
_CLOSE_UP = "close_up"


@dataclass(frozen=True)
class TensorFlowNetwork:
    """A `Network` in TensorFlow.

    Attributes:
        name: the architecture or the name of the file, for the manifest.
        layout: the shape of the input, which is channels-last.
        labels: the labels of the outputs.
        normalization: the normalization that the input expects.
        compute: a function from normalized images, float32 [n, h, w, C], to the list of outputs. The first output is
            the probabilities [n, K]. If the network has logits, the evidence [n, h, w, K] follows. The mean of the
            evidence over h and w is the logits. If the network tells the view, the probability of a close-up [n, 1]
            follows.
        weights: the trained variables, with their names as keys.
        quantization_aware: whether the network already holds the ranges of an int8 file.
    """

    name: str
    layout: Layout
    labels: tuple[str, ...]
    normalization: Normalization
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    weights: dict[str, Any]
    quantization_aware: bool = False

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network.logits`."""
        compute = tf.function(self.compute, reduce_retracing=True)
        found = []
        for start in range(0, len(images), _BATCH):
            batch = np.asarray(images[start : start + _BATCH])
            normalized = normalized_images(batch, self.layout, self.normalization)
            found.append(_logits(compute(tf.constant(normalized))))
        return np.concatenate(found)

    def with_logits_moved(self, amounts: NDArray[np.float32]) -> TensorFlowNetwork:
        """See `Network.with_logits_moved`."""

        def compute(images: tf.Tensor) -> list[tf.Tensor]:
            _, evidence, *close_up = self.compute(images)
            moved = evidence + amounts
            return [tf.nn.softmax(tf.reduce_mean(moved, (1, 2)), name="probabilities"), moved, *close_up]

        return replace(self, compute=compute)

    def float_tflite(self, form: Form) -> bytes:
        """See `Network.float_tflite`."""
        self._check_weights()
        graph = PixelGraph(self.compute, self.layout, self.normalization)
        return _with_named_view(convert_to_float(graph, form))

    def finished_tflite(self, form: Form) -> bytes:
        """See `Network.finished_tflite`."""
        self._check_weights()
        graph = PixelGraph(self.compute, self.layout, self.normalization)
        return _with_named_view(convert_to_finished(graph, form))

    def _check_weights(self) -> None:
        """Raise ModelError if a weight is not finite, because TensorFlow's converter crashes on such weights."""
        for name, values in self.weights.items():
            if not np.isfinite(np.asarray(values)).all():
                raise ModelError(f"the weights '{name}' of this network are not finite; train it again")


def _logits(outputs: list[tf.Tensor]) -> NDArray[np.float32]:
    if len(outputs) > 1 and len(outputs[1].shape) == _EVIDENCE_RANK:
        return outputs[1].numpy().mean(axis=(1, 2))
    return logits_of_probabilities(outputs[0].numpy()).astype(np.float32)


def _with_named_view(model: bytes) -> bytes:
    """Return a .tflite in which the output for the view, if there is one, has the name ``close_up``."""
    editor = GraphEditor(model)
    close_up = [int(one) for one in editor.graph.outputs if editor.shape(int(one)) == (1, 1)]
    if not close_up:
        return model
    editor.rename(close_up[0], _CLOSE_UP)
    return editor.to_bytes()


def network_of(
    model: keras.Model,
    name: str,
    size: int,
    labels: tuple[str, ...],
    evidence: bool = True,
    probe: CloseUpProbe | None = None,
) -> TensorFlowNetwork:
    """Return a Keras model as a network that can be converted.

    Args:
        model: a Keras model of `dermedge.train.fit.networks`, which maps normalized images to logits, or the
            quantization-aware copy of such a model.
        name: the architecture.
        size: the width and the height of the colour input in pixels.
        labels: the labels of the outputs.
        evidence: whether the evidence, from which heat maps are made, is an output.
        probe: the probe that computes the output for the view; None for a network without this output.
    """
    layers = {layer.name for layer in model.layers}
    prefix = QUANTIZED if QUANTIZED + LOGITS in layers else ""
    outputs = [model.get_layer(prefix + LOGITS).output]
    if evidence:
        outputs.append(model.get_layer(prefix + EVIDENCE).output)
    if probe:
        outputs.append(feature_output(model))
    whole = keras.Model(model.input, outputs, name="dermedge")

    def compute(images: tf.Tensor) -> list[tf.Tensor]:
        made = whole(images, training=False)
        logits, *others = made if len(outputs) > 1 else [made]
        if probe:
            others[-1] = close_up_probability(probe, others[-1], rounds=bool(prefix))
        return [tf.nn.softmax(logits, name="probabilities"), *others]

    weights = {variable.name: variable for variable in model.weights}
    layout, normalization = Layout(size, size, 3, channels_first=False), NORMALIZATIONS["dermedge"]
    return TensorFlowNetwork(name, layout, labels, normalization, compute, weights, bool(prefix))
