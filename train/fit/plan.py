"""Decides how long a network is trained by default, from the number of training photos.

Set size decides how many photos the float stage samples in all: 14 times the training photos, as the shipped models
were trained (18 epochs of 4,000 photos out of 5,059), but at least 6,400 (200 steps of 32) and at most 200,000. An
epoch samples as many photos as there are, but at least 640 and at most 4,000. The peak learning rate does not depend
on the size of the set: 0.0003 from pretrained weights, 0.001 without.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plan", "plan_training"]

_TIMES_SAMPLED = 14
_MIN_SAMPLED, _MAX_SAMPLED = 6_400, 200_000
_MIN_PER_EPOCH, _MAX_PER_EPOCH = 640, 4_000
_PRETRAINED_RATE, _FRESH_RATE = 3e-4, 1e-3


@dataclass(frozen=True)
class Plan:
    """The length and the speed of the float stage.

    Attributes:
        epochs: number of epochs.
        photos_per_epoch: number of photos that an epoch samples.
        learning_rate: the peak.
    """

    epochs: int
    photos_per_epoch: int
    learning_rate: float

    def describe(self, photos: int) -> str:
        """Returns the plan in one line; ``photos`` is the number of training photos."""
        times = self.epochs * self.photos_per_epoch / photos
        epochs = f"{self.epochs} epoch{'' if self.epochs == 1 else 's'}"
        return (
            f"plan: {epochs} of {self.photos_per_epoch:,} photos, in all {times:.0f} times the "
            f"{photos:,} training photos; peak learning rate {self.learning_rate:g}"
        )


def plan_training(
    photos: int,
    pretrained: bool,
    epochs: int | None = None,
    photos_per_epoch: int | None = None,
    learning_rate: float | None = None,
) -> Plan:
    """Returns the plan for a training split of ``photos`` photos; given values are kept.

    With ``epochs`` and without ``photos_per_epoch``, an epoch samples as many photos as there are.
    """
    if photos_per_epoch is None:
        bounded = min(max(photos, _MIN_PER_EPOCH), _MAX_PER_EPOCH)
        photos_per_epoch = photos if epochs is not None else bounded
    if epochs is None:
        sampled = min(max(_TIMES_SAMPLED * photos, _MIN_SAMPLED), _MAX_SAMPLED)
        epochs = max(1, round(sampled / photos_per_epoch))
    return Plan(epochs, photos_per_epoch, learning_rate or (_PRETRAINED_RATE if pretrained else _FRESH_RATE))
