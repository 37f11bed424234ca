"""The exponential moving average of a network's weights, which varies less than the weights of the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras as keras

__all__ = ["WeightAverage"]


class WeightAverage(tf.Module):
    """The average of a model's weights over its training steps. Its state can be saved in a checkpoint.

    After step t, counted from 1, the average moves towards the weights by 1 - min(decay, (1 + t) / (10 + t)), so that
    the first steps soon lose their influence. This is the warm-up of `tf.train.ExponentialMovingAverage`.

    Args:
        model: its float weights are averaged, including the moving statistics of batch norms.
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
        """Updates the average with the weights after one more step."""
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        decay = tf.minimum(self._decay, (1 + step) / (10 + step))
        for value, weight in zip(self._values, self._weights, strict=True):
            value.assign_add((1 - decay) * (weight - value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model the averaged weights within a block, and restores its own weights afterwards."""
        own = [weight.numpy() for weight in self._weights]
        for weight, value in zip(self._weights, self._values, strict=True):
            weight.assign(value.numpy())
        try:
            yield
        finally:
            for weight, before in zip(self._weights, own, strict=True):
                weight.assign(before)
