"""Computes the exponential moving average of the weights of a network.

The average varies less from step to step than the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras as keras

__all__ = ["WeightAverage"]


class WeightAverage(tf.Module):
    """The average of the weights of a model over the training steps. A checkpoint can store this average.

    After step t, counted from 1, the average A moves towards the weights W: A becomes d A + (1 - d) W, where d is
    min(decay, (1 + t) / (10 + t)). Because d is small at first, the initial weights soon lose their influence.
    `tf.train.ExponentialMovingAverage` uses the same formula.

    Args:
        model: network whose floating-point weights are averaged, including the moving statistics of batch norms.
        decay: highest value of d, 0 to 1.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self._weights = [weight for weight in model.weights if weight.dtype.is_floating]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._values = [tf.Variable(tf.convert_to_tensor(one), trainable=False) for one in self._weights]

    @tf.function
    def update(self) -> None:
        """Updates the average with the current weights. Call this method after each training step."""
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for value, weight in zip(self._values, self._weights, strict=True):
            value.assign_add((1 - decay) * (weight - value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replaces the weights of the model by the averaged weights within a ``with`` block.

        At the end of the ``with`` block, the model gets its previous weights back.
        """
        own = [weight.numpy() for weight in self._weights]
        for weight, value in zip(self._weights, self._values, strict=True):
            weight.assign(value.numpy())
        try:
            yield
        finally:
            for weight, before in zip(self._weights, own, strict=True):
                weight.assign(before)
