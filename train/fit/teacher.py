"""Distillation: trained runs that tell a smaller network how sure it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.train.fit.batches import Teacher


def make_teacher(networks: Sequence[keras.Model], sizes: Sequence[int], classes: int) -> Teacher:
    """What networks say together: from float32 [n, s, s, 3] normalized RGB to float32 [n, K] probabilities.

    Args:
        networks: each from [n, s, s, 3] pictures to [n, K] logits.
        sizes: the side of each one's input; pictures of another side are resized, bilinearly.
        classes: K.
    """

    @tf.function(reduce_retracing=True)
    def ask(pictures: tf.Tensor) -> tf.Tensor:
        said = [
            tf.nn.softmax(network(tf.image.resize(pictures, (size, size)), training=False))
            for network, size in zip(networks, sizes, strict=True)
        ]
        return tf.add_n(said) / len(said)

    def teacher(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = ask(tf.constant(pictures)).numpy()
        return answers.reshape(-1, classes)

    return teacher
