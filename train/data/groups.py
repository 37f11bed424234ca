"""Groups photos that belong together: photos of one lesion or person, and duplicates of one photo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

__all__ = ["lowest_linked", "sets_of_equal"]

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
