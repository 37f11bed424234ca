"""Groups photos that belong together: photos of one lesion or person, and duplicates of one photo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from dermedge.train.data.catalogue import Photo

__all__ = ["lowest_linked", "sets_of_equal", "with_groups"]

Key = TypeVar("Key", bound=Hashable)


def lowest_linked(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Returns, for each of ``count`` items, the lowest index among the item and all items linked to it.

    Items are also linked if a chain of several links connects them.
    """
    parent = list(range(count))

    def find(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in links:
        a, b = find(one), find(other)
        parent[max(a, b)] = min(a, b)
    return [find(item) for item in range(count)]


def sets_of_equal(keys: Sequence[Iterable[Key]]) -> list[list[int]]:
    """Returns the indices of the items that share a key: one list for each key that two or more items have."""
    members: dict[Key, list[int]] = defaultdict(list)
    for index, of_one in enumerate(keys):
        for key in of_one:
            members[key].append(index)
    return [indices for indices in members.values() if len(indices) > 1]


def with_groups(
    photos: Sequence[Photo], links: Sequence[Iterable[str]], duplicates: Iterable[Sequence[int]] = ()
) -> list[Photo]:
    """Returns the photos with their groups.

    Two photos are put into one group if they are duplicates, or if they have a name in common: a name in ``links``, the
    name of their group, or their image id. If photos with different group names come into one group, all photos of this
    group get the name that comes first in alphabetical order.

    Args:
        photos: photos whose ``group`` is the id of the lesion or the photo.
        links: for each photo, names of lesions, persons, folders and photos, as in `LabelledFile`.
        duplicates: lists of indices of photos that are duplicates of each other.
    """
    names = sets_of_equal([{photo.group, photo.image_id} for photo in photos])
    pairs = [
        (members[0], other)
        for members in (*duplicates, *sets_of_equal(links), *names)
        for other in members[1:]
    ]
    roots = lowest_linked(len(photos), pairs)
    group_of: dict[int, str] = {}
    for photo, root in zip(photos, roots, strict=True):
        group_of[root] = min(group_of.get(root, photo.group), photo.group)
    return [replace(photo, group=group_of[root]) for photo, root in zip(photos, roots, strict=True)]
