"""The learning rate over the steps of one stage."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tf_keras as keras


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to the peak over the warm-up, then falls to 0 as half a cosine.

    Loshchilov and Hutter, "SGDR", 2017, without restarts. A function of the optimizer's own step count
    alone, so that a resumed run goes on where it was.

    Args:
        peak: the highest learning rate.
        steps: of the whole stage.
        warmup: steps of the rise.
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
