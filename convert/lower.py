"""From a Keras network to the bytes of a .tflite that takes real uint8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.preprocess import SCALE, ZERO_POINT, normalize
from train.networks import EVIDENCE, LOGITS
from train.quantize_aware import QUANTIZED

FLOAT32, FLOAT16, DYNAMIC, INT8_PTQ, INT8_QAT = "float32", "float16", "dynamic", "int8-ptq", "int8-qat"
KINDS = (FLOAT32, FLOAT16, DYNAMIC, INT8_PTQ, INT8_QAT)


def deployable(network: keras.Model, evidence: bool = True) -> keras.Model:
    """The network with the outputs of the model-file contract: probabilities and, if wanted, evidence."""
    names = {layer.name for layer in network.layers}
    prefix = QUANTIZED if QUANTIZED + LOGITS in names else ""
    logits = network.get_layer(prefix + LOGITS).output
    outputs = [keras.layers.Softmax(name="probabilities")(logits)]
    if evidence:
        outputs.append(network.get_layer(prefix + EVIDENCE).output)
    return keras.Model(network.input, outputs, name="dermedge")


def lower(
    network: keras.Model,
    kind: str,
    calibration: Sequence[NDArray[np.uint8]] = (),
    evidence: bool = True,
) -> bytes:
    """Converts a network to a .tflite with a static batch of 1.

    Args:
        network: of `train.networks`, or its quantization-aware twin for ``int8-qat``.
        kind: one of KINDS.
        calibration: for ``int8-ptq``: uint8 [s, s, 3] RGB training pictures, unaugmented.
        evidence: whether the evidence map is an output.

    Returns:
        A flatbuffer with a uint8 [1, s, s, 3] input.

    Raises:
        ModelError: the weights are not finite, or the converter refused the network.
    """
    broken = next((w.name for w in network.weights if not np.isfinite(w.numpy()).all()), None)
    if broken:
        # TensorFlow's converter dies of these without a word
        raise ModelError(f"the weights '{broken}' of this network are not finite; train it again")
    model = deployable(network, evidence)
    size = int(network.input_shape[1])
    is_int8 = kind in (INT8_PTQ, INT8_QAT)
    converter = _converter(model, size, takes_pixels=not is_int8)
    if kind != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if is_int8:
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    if kind == INT8_PTQ:
        pictures = with_full_range(calibration)
        converter.representative_dataset = lambda: ([normalize(picture)[None]] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        return converter.convert()
    except Exception as error:  # the converter raises many kinds, and its own only by a private name
        raise ModelError(f"TensorFlow cannot convert this network to {kind}: {error}") from error


def with_full_range(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """The pictures, with one black and one white pixel in a corner of the first.

    The input's scale is taken from the least and the greatest value that calibration shows; these make it
    that of all uint8 pixels, so that a pixel of a camera is the quantized input itself.
    """
    first = pictures[0].copy()
    first[0, 0], first[0, 1] = 0, 255
    return [first, *pictures[1:]]


def _converter(model: keras.Model, size: int, takes_pixels: bool) -> Any:
    dtype = tf.uint8 if takes_pixels else tf.float32

    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], dtype, name="pixels")])
    def run(pixels: tf.Tensor) -> list[tf.Tensor]:
        if takes_pixels:
            pixels = (tf.cast(pixels, tf.float32) - ZERO_POINT) * (1 / SCALE)
        return model(pixels, training=False)

    return tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], model)
