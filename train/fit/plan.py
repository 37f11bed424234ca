"""Chooses the default length of the training from the number of training photos.

The float stage samples each training photo 14 times on average. The total number of samples is limited to the range
from 6,400 (200 steps of 32 photos) to 200,000. The number 14 comes from the teachers of dermedge-192 and dermedge-128.
They were trained for 18 epochs of 4,000 samples, on about 5,000 training photos, so that each photo was sampled about
14 times. An epoch samples as many photos as there are training photos, but at least 640 and at most 4,000.

The peak learning rate does not depend on the number of photos. It is 0.0003 with pretrained weights, and 0.001 with
random weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from dermedge.train.data.counts import plural

__all__ = ["Plan", "plan_training"]

_TIMES_SAMPLED = 14
_MIN_SAMPLED, _MAX_SAMPLED = 6_400, 200_000
_MIN_PER_EPOCH, _MAX_PER_EPOCH = 640, 4_000
_PRETRAINED_RATE, _FRESH_RATE = 3e-4, 1e-3


@dataclass(frozen=True)
class Plan:
    """The length and the learning rate of the float stage.

    Attributes:
        epochs: number of epochs.
        photos_per_epoch: number of photos that are sampled for each epoch.
        learning_rate: peak learning rate.
    """

    epochs: int
    photos_per_epoch: int
    learning_rate: float

    def describe(self, photos: int) -> str:
        """Returns the plan in one line. ``photos`` is the number of training photos."""
        times = self.epochs * self.photos_per_epoch / photos
        return (
            f"plan: {plural(self.epochs, 'epoch')} of {self.photos_per_epoch:,} photos, in total {times:.0f} times "
            f"the number of training photos ({photos:,}); peak learning rate {self.learning_rate:g}"
        )


def plan_training(
    photos: int,
    pretrained: bool,
    epochs: int | None = None,
    photos_per_epoch: int | None = None,
    learning_rate: float | None = None,
) -> Plan:
    """Returns the plan of the float stage. Settings that are not None are used unchanged.

    If ``epochs`` is given and ``photos_per_epoch`` is not, each epoch samples as many photos as there are training
    photos.

    Args:
        photos: number of training photos.
        pretrained: whether the network starts with pretrained weights.
        epochs: number of epochs.
        photos_per_epoch: number of photos that are sampled for each epoch.
        learning_rate: peak learning rate.
    """
    if photos_per_epoch is None:
        bounded = min(max(photos, _MIN_PER_EPOCH), _MAX_PER_EPOCH)
        photos_per_epoch = photos if epochs is not None else bounded
    if epochs is None:
        sampled = min(max(_TIMES_SAMPLED * photos, _MIN_SAMPLED), _MAX_SAMPLED)
        epochs = max(1, round(sampled / photos_per_epoch))
    return Plan(epochs, photos_per_epoch, learning_rate or (_PRETRAINED_RATE if pretrained else _FRESH_RATE))
