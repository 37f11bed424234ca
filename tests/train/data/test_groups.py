"""Links, names and duplicates, and chains of these, decide which photos are one group."""

from __future__ import annotations

import itertools

import pytest

from dermedge.train.data.catalogue import Photo
from dermedge.train.data.groups import lowest_linked, sets_of_equal, with_groups


def photo(name: str, group: str = "", image_id: str = "") -> Photo:
    return Photo(f"/p/{name}.jpg", image_id or f"id {name}", "", group or name, "nevus", "nevus", "s")


@pytest.mark.parametrize("links", list(itertools.permutations([(4, 2), (2, 5), (1, 5), (3, 0)])))
def test_a_chain_of_links_leads_to_the_lowest_of_all(links: tuple[tuple[int, int], ...]) -> None:
    assert lowest_linked(7, links) == [0, 1, 1, 0, 1, 1, 6]
    assert lowest_linked(7, [(b, a) for a, b in links]) == [0, 1, 1, 0, 1, 1, 6]


def test_items_that_share_a_key_are_a_set() -> None:
    assert sets_of_equal([{"a"}, {"b", "c"}, {"a", "c"}, set(), {"d"}, {"a"}]) == [[0, 2, 5], [1, 2]]
    assert sets_of_equal([["a"], ["a"]]) == [[0, 1]]


def test_photos_are_grouped_by_names_links_ids_and_duplicates() -> None:
    photos = [
        photo("k"),
        photo("j"),
        photo("d", group="shared"),
        photo("c", group="shared"),
        photo("f", image_id="one"),
        photo("e", image_id="one"),
        photo("h"),
        photo("g"),
        photo("i"),
    ]
    links = [("lesion",), ("lesion", "person"), (), (), (), (), (), ("person",), ("person",)]
    found = [one.group for one in with_groups(photos, links, [[6, 3]])]
    # A group has the alphabetically first of its names. Here k, j, g and i are linked, and h is a duplicate of c.
    assert found == ["g", "g", "h", "h", "e", "e", "h", "g", "g"]
    alone = [one.group for one in with_groups(photos, [()] * 9)]
    assert alone == ["k", "j", "shared", "shared", "e", "e", "h", "g", "i"]
