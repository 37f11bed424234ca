"""The loss for training on imbalanced classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

__all__ = ["adjusted_loss"]


def adjusted_loss(shares: NDArray[np.float32]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns cross-entropy with logit adjustment, which makes the trained logits those of equally frequent classes.

    The logarithm of each class's share is added to its logit, only in training: Menon et al., "Long-Tail
    Learning via Logit Adjustment", 2021, equation 10.

    Args:
        shares: float32 [K], above 0: the share of each class among the photos of training. Equal shares change
            nothing.

    Returns:
        A function of float32 [n, K] target probabilities and float32 [n, K] logits: float32 [n] losses.
    """
    adjustment = np.log(shares)

    def loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return keras.losses.categorical_crossentropy(targets, logits + adjustment, from_logits=True)

    return loss
