"""A classifier in TensorFlow, whoever made it: what it computes, of which pixels, for which classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.convert.load.normalization import NORMALIZATIONS, Normalization
from dermedge.edge.errors import ModelError
from dermedge.train.fit.networks import EVIDENCE, LOGITS
from dermedge.train.fit.quantize_aware import QUANTIZED

PREDICTION_BATCH = 64


@dataclass(frozen=True)
class Network:
    """A classifier in TensorFlow.

    Attributes:
        name: of the architecture or the file, for the manifest.
        size: side of its input in pixels.
        labels: of its outputs.
        normalization: what its pixels are turned into first.
        compute: from float32 [n, s, s, 3] normalized pictures to the outputs of the model-file contract:
            probabilities [n, K] and, where there are logits to be had, evidence [n, h, w, K].
        weights: what it has learned, by name.
        quantization_aware: whether it holds the ranges of an int8 file itself.
    """

    name: str
    size: int
    labels: tuple[str, ...]
    normalization: Normalization
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    weights: dict[str, Any]
    quantization_aware: bool = False

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [n, K], up to a constant a row, of uint8 [n, s, s, 3] RGB pictures."""
        ask = tf.function(self.compute, reduce_retracing=True)
        found = []
        for start in range(0, len(pixels), PREDICTION_BATCH):
            batch = self.normalization(np.asarray(pixels[start : start + PREDICTION_BATCH]))
            found.append(_logits(ask(tf.constant(batch))))
        return np.concatenate(found)

    def shifted(self, amounts: NDArray[np.float32]) -> Network:
        """The network with float32 [K] amounts more on the evidence of each place, and so on its logits."""

        def compute(pictures: tf.Tensor) -> list[tf.Tensor]:
            evidence = self.compute(pictures)[1] + amounts
            return [tf.nn.softmax(tf.reduce_mean(evidence, (1, 2)), name="probabilities"), evidence]

        return replace(self, compute=compute)

    def check_weights(self) -> None:
        """Raises ModelError where one is not finite: TensorFlow's converter dies of these without a word."""
        for name, values in self.weights.items():
            if not np.isfinite(np.asarray(values)).all():
                raise ModelError(f"the weights '{name}' of this network are not finite; train it again")


def _logits(outputs: list[tf.Tensor]) -> NDArray[np.float32]:
    if len(outputs) > 1:
        return outputs[1].numpy().mean(axis=(1, 2))
    return np.log(np.maximum(outputs[0].numpy(), np.finfo(np.float32).tiny))


def network_of(
    model: keras.Model, name: str, size: int, labels: tuple[str, ...], evidence: bool = True
) -> Network:
    """The network of a Keras model of `dermedge.train.fit.networks`, or of its quantization-aware twin.

    Args:
        model: from normalized pixels to logits.
        name: of the architecture.
        size: side of the input in pixels.
        labels: of the outputs.
        evidence: whether the heat map is an output.
    """
    names = {layer.name for layer in model.layers}
    prefix = QUANTIZED if QUANTIZED + LOGITS in names else ""
    outputs = [model.get_layer(prefix + LOGITS).output]
    if evidence:
        outputs.append(model.get_layer(prefix + EVIDENCE).output)
    whole = keras.Model(model.input, outputs, name="dermedge")

    def compute(pictures: tf.Tensor) -> list[tf.Tensor]:
        made = whole(pictures, training=False)
        logits, *maps = made if evidence else [made]
        return [tf.nn.softmax(logits, name="probabilities"), *maps]

    weights = {variable.name: variable for variable in model.weights}
    return Network(name, size, labels, NORMALIZATIONS["dermedge"], compute, weights, bool(prefix))
