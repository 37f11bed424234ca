"""The schedule of the learning rate over the steps of one training stage."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tf_keras as keras

__all__ = ["WarmupCosine"]


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to a peak during the warm-up, and then falls to 0 along half a cosine.

    In step s of a warm-up of w steps, the rate is peak * (s + 1) / w. In a later step s of a stage with n steps, it is
    peak * (1 + cos(pi * (s - w) / (n - w))) / 2. Source: Loshchilov and Hutter, "SGDR", 2017, without restarts.

    The learning rate depends only on the step count of the optimizer. A resumed run therefore continues with the right
    learning rate.

    Args:
        peak: highest learning rate.
        steps: number of steps of the whole stage.
        warmup: number of steps of the warm-up. A warm-up longer than a quarter of ``steps`` is shortened to a quarter.
    """

    def __init__(self, peak: float, steps: int, warmup: int) -> None:
        self.peak, self.steps, self.warmup = peak, steps, min(warmup, max(1, steps // 4))

    def __call__(self, step: Any) -> Any:
        at = tf.cast(step, tf.float32)
        rise = self.peak * (at + 1) / self.warmup
        share = (at - self.warmup) / max(1, self.steps - self.warmup)
        fall = self.peak * 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(share, 0.0, 1.0)))
        return tf.where(at < self.warmup, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}
