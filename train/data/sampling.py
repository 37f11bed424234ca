"""Samples a few of many labelled photos. The same photos are sampled each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from dermedge.train.data.scoring import LabelledPhoto

__all__ = ["sample_evenly"]

_SEED = 0


def sample_evenly(photos: Sequence[LabelledPhoto], count: int) -> list[LabelledPhoto]:
    """Returns at most ``count`` photos, one from each class in turn.

    Within a class, the order is random, but the same in every call.
    """
    random = Random(_SEED)
    classes: dict[int, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        classes[photo.label_index].append(photo)
    for label in sorted(classes):
        random.shuffle(classes[label])
    longest = max((len(members) for members in classes.values()), default=0)
    turns = (classes[label][turn : turn + 1] for turn in range(longest) for label in sorted(classes))
    return [photo for sampled in turns for photo in sampled][:count]
