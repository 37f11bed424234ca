"""Makes the teacher for distillation, whose probabilities become a part of the targets (Hinton et al., 2015).

A teacher consists of one or more trained networks. The networks run in LiteRT, which needs less processor time than
TensorFlow and gives the same answers. For efficientnet_lite0_trunk at 128 pixels on a busy x86 machine, LiteRT needed
2.5 to 3.4 ms per photo, and TensorFlow 4.2 to 5.6 ms.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from dermedge.edge.model.runtime import without_native_log
from dermedge.train.fit.batches import Teacher

__all__ = ["make_teacher"]

# Number of images that the teacher predicts in one call. More images would not fit into the processor caches of a small
# machine.
_CALL_IMAGES = 4


def make_teacher(networks: Sequence[keras.Model], sizes: Sequence[int], size: int) -> Teacher:
    """Returns a teacher that computes the mean of the probabilities of one or more networks.

    Args:
        networks: networks from float32 [n, s, s, 3] normalized RGB images to float32 [n, K] logits.
        sizes: input size of each network in pixels.
        size: width and height of the images that the teacher gets, in pixels. For a network with another input size,
            the images are resized bilinearly.
    """
    interpreter = _interpreter(networks, sizes, size)
    image_input = interpreter.get_input_details()[0]["index"]
    probabilities = interpreter.get_output_details()[0]["index"]

    def teacher(images: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = []
        for start in range(0, len(images), _CALL_IMAGES):
            part = images[start : start + _CALL_IMAGES]
            # If fewer images are left for the last call, images of zeros are added, and the answers to them are
            # dropped.
            padded = np.zeros((_CALL_IMAGES, *images.shape[1:]), np.float32)
            padded[: len(part)] = part
            interpreter.set_tensor(image_input, padded)
            interpreter.invoke()
            answers.append(interpreter.get_tensor(probabilities)[: len(part)])
        return np.concatenate(answers)

    return teacher


def _interpreter(networks: Sequence[keras.Model], sizes: Sequence[int], size: int) -> Interpreter:
    @tf.function(input_signature=[tf.TensorSpec((_CALL_IMAGES, size, size, 3), tf.float32)])
    def ask(images: tf.Tensor) -> tf.Tensor:
        answers = [
            tf.nn.softmax(network(_resized(images, size, side), training=False))
            for network, side in zip(networks, sizes, strict=True)
        ]
        return tf.add_n(answers) / len(answers)

    holder = tf.Module()
    holder.networks = list(networks)
    model = tf.lite.TFLiteConverter.from_concrete_functions([ask.get_concrete_function()], holder).convert()
    # The teacher uses half of the cores, because the training itself uses the other half.
    with without_native_log():
        interpreter = Interpreter(model_content=model, num_threads=max(1, (os.cpu_count() or 1) // 2))
        interpreter.allocate_tensors()
    return interpreter


def _resized(images: tf.Tensor, size: int, side: int) -> tf.Tensor:
    return images if side == size else tf.image.resize(images, (side, side))
