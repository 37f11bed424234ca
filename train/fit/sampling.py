"""Samples the photos of a training epoch so that no class and no source dominates the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.train.data.catalogue import Photo
from dermedge.train.fit.recipe import Recipe

__all__ = ["class_shares", "label_indices", "sample_balanced", "sample_epoch"]

# The first key is the label of a class, and the second key is the (diagnosis, source) of a stratum of this class. The
# value is a list of the indices of the stratum's photos.
Strata = dict[str, dict[tuple[str, str], list[int]]]


def sample_epoch(
    photos: Sequence[Photo], count: int, rng: np.random.Generator, recipe: Recipe | None = None
) -> NDArray[np.intp]:
    """Returns the indices of the photos of one epoch in random order.

    The samples are divided among the classes, then among the strata of each class, and then among the photos of each
    stratum. `Recipe` explains the exponents that set the share of each class, stratum and photo. A stratum consists of
    the photos of one diagnosis from one source. Without strata, a network could learn to recognize the source instead
    of the lesion.

    With the default ``class_power`` of 0.5, a photo of a rare class is sampled more often than a photo of a frequent
    class. With a ``class_power`` of 0, all classes would be sampled equally often, and the network would memorize the
    few photos of a rare class. Within a stratum, photos of equal weight are sampled equally often, up to a difference
    of one.

    Args:
        photos: photos of the training split.
        count: number of samples.
        rng: random generator for the sampling.
        recipe: settings of the sampling; None for the default recipe.

    Returns:
        int [n], indices into ``photos``. n is ``count`` or a little lower, because the number of samples of each
        stratum is rounded. n is at least 1, unless ``count`` is 0.
    """
    recipe = recipe or Recipe()
    strata = _strata(photos)
    weights = _class_weights(strata, recipe)
    total = sum(weights.values())
    sampled: list[NDArray[np.intp]] = []
    for label, parts in sorted(strata.items()):
        members = [parts[key] for key in sorted(parts)]
        sizes = _stratum_weights(members, recipe)
        for part, expected in zip(members, count * weights[label] / total * sizes / sizes.sum(), strict=True):
            # rounds the expected number up or down at random
            times = int(expected) + int(rng.random() < expected % 1)
            sampled.append(_sample_stratum(part, photos, times, rng, recipe.lesion_power))
    order: NDArray[np.intp] = rng.permutation(np.concatenate(sampled))[:count]
    if not len(order) and count:
        # All numbers of samples were rounded down to 0. This only happens if the count is small.
        return sample_epoch(photos, count, rng, recipe)
    return order


def sample_balanced(photos: Sequence[Photo], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Does the same as `sample_epoch` with the default recipe, but samples all classes equally often."""
    return sample_epoch(photos, count, rng, Recipe(class_power=0.0))


def class_shares(
    photos: Sequence[Photo], classes: Sequence[str], recipe: Recipe | None = None
) -> NDArray[np.float32]:
    """Returns the expected share of each class among the samples of `sample_epoch`, float32 [K].

    The shares are in the order of ``classes``.
    """
    recipe = recipe or Recipe()
    if recipe.classes_first:
        sizes = np.bincount(label_indices(photos, classes), minlength=len(classes)) ** recipe.class_power
    else:
        weights = _class_weights(_strata(photos), recipe)
        sizes = np.array([weights.get(name, 0.0) for name in classes])
    return (sizes / sizes.sum()).astype(np.float32)


def label_indices(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """Returns the index in ``classes`` of the label of each photo, int64 [n]."""
    positions = {name: position for position, name in enumerate(classes)}
    return np.array([positions[photo.label] for photo in photos], np.int64)


def _strata(photos: Sequence[Photo]) -> Strata:
    strata: Strata = defaultdict(lambda: defaultdict(list))
    for index, photo in enumerate(photos):
        strata[photo.label][photo.diagnosis, photo.source].append(index)
    return strata


def _class_weights(strata: Strata, recipe: Recipe) -> dict[str, float]:
    if recipe.classes_first:
        return {label: sum(map(len, parts.values())) ** recipe.class_power for label, parts in strata.items()}
    return {
        label: float(_stratum_weights(list(parts.values()), recipe).sum()) for label, parts in strata.items()
    }


def _stratum_weights(members: Sequence[Sequence[int]], recipe: Recipe) -> NDArray[np.float64]:
    return np.array([len(part) for part in members], np.float64) ** recipe.stratum_power


def _sample_stratum(
    members: Sequence[int], photos: Sequence[Photo], times: int, rng: np.random.Generator, power: float
) -> NDArray[np.intp]:
    if power != 1:
        lesions = Counter(photos[index].group for index in members)
        weights = np.array([float(lesions[photos[index].group]) for index in members]) ** (power - 1)
        return np.array(members, np.intp)[_in_proportion(weights, times, rng)]
    rounds = [rng.permutation(members) for _ in range(-(-times // len(members)))]
    return np.concatenate(rounds)[:times] if rounds else np.empty(0, np.intp)


def _in_proportion(weights: NDArray[np.float64], times: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Returns indices into ``weights``, int [times]. Each index occurs in proportion to its weight.

    The expected number of occurrences of an index is rounded up or down at random. The method is systematic sampling.
    It lays the weights end to end on a line, in random order. It sets marks on the line at equal distances, with a
    random start. Each mark selects the weight in which it lies.
    """
    order = rng.permutation(len(weights))
    ends = np.cumsum(weights[order])
    marks = (np.arange(times) + rng.random()) / max(times, 1) * ends[-1]
    return order[np.searchsorted(ends, marks, side="right").clip(max=len(order) - 1)]
