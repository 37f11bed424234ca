"""The loss for training on imbalanced classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

__all__ = ["adjusted_loss"]


def adjusted_loss(shares: NDArray[np.float32]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the cross-entropy with logit adjustment. The network then learns logits for equally frequent classes.

    The share of a class is the fraction of the sampled photos that belong to the class. The loss adds the logarithm of
    this share to the logit of the class. Source: Menon et al., "Long-Tail Learning via Logit Adjustment", 2021,
    equation 10.

    Args:
        shares: float32 [K], the share of each class among the sampled training photos. All shares must be above 0. If
            all shares are equal, the loss is the usual cross-entropy.

    Returns:
        A function from float32 [n, K] target probabilities and float32 [n, K] logits to float32 [n] losses.
    """
    adjustment = np.log(shares)

    def loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return keras.losses.categorical_crossentropy(targets, logits + adjustment, from_logits=True)

    return loss
