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
    """The average of the weights of a model over the training steps. A checkpoint can store it.

    After step t, counted from 1, the difference between the weights and the average is multiplied by
    1 - min(decay, (1 + t) / (10 + t)) and added to the average. The first steps thus soon lose their influence. This is
    the warm-up of `tf.train.ExponentialMovingAverage`.

    Args:
        model: network whose floating-point weights are averaged, including the moving statistics of batch norms.
        decay: decay of the average, 0 to 1.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self._weights = [weight for weight in model.weights if weight.dtype.is_floating]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._values = [tf.Variable(tf.convert_to_tensor(one), trainable=False) for one in self._weights]

    @tf.function
    def update(self) -> None:
        """Updates the average with the current weights. Call this after each training step."""
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for value, weight in zip(self._values, self._weights, strict=True):
            value.assign_add((1 - decay) * (weight - value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model the averaged weights within a ``with`` block, and restores its own weights afterwards."""
        own = [weight.numpy() for weight in self._weights]
        for weight, value in zip(self._weights, self._values, strict=True):
            weight.assign(value.numpy())
        try:
            yield
        finally:
            for weight, before in zip(self._weights, own, strict=True):
                weight.assign(before)
