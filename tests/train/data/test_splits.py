"""The laws of the splits, by numbers computed by hand."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace

import pytest

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.data.splits import (
    _fill_empty_splits,
    find_leaks,
    split_by_group,
    with_fold,
    with_parts_kept,
    with_validation_learned,
)


def photo(name: str, label: str = "a", source: str = "s", split: str = "", **facts: str) -> Photo:
    named = {"lesion_id": "", "group": f"group {name}", **facts}
    return Photo(
        f"/p/{name}.jpg", f"id {name}", diagnosis=label, label=label, source=source, split=split, **named
    )


def some(count: int, label: str = "a", source: str = "s", split: str = "") -> list[Photo]:
    return [photo(f"{label} {source} {at}", label, source, split) for at in range(count)]


def sizes(photos: tuple[Photo, ...]) -> tuple[int, int, int]:
    counts = Counter(one.split for one in photos)
    return counts["train"], counts["val"], counts["test"]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # Val gets 15 % of the groups, and test 20 %.
        (100, (65, 15, 20)),
        (20, (13, 3, 4)),
        # Of seven groups, 15 % are 1.05 and 20 % are 1.4. Both are rounded to 1.
        (7, (5, 1, 1)),
        # From five groups on, each split gets at least one group.
        (5, (3, 1, 1)),
        (2, (2, 0, 0)),
    ],
)
def test_each_split_has_its_share_of_the_groups(groups: int, expected: tuple[int, int, int]) -> None:
    assert sizes(split_by_group(some(groups), 0)) == expected


def test_groups_count_and_not_photos_and_each_class_and_source_is_split_alike() -> None:
    photos = [
        replace(one, path=f"/p/{one.image_id} {copy}.jpg")
        for label, source in itertools.product("ab", "st")
        for at, one in enumerate(some(20, label, source))
        for copy in range(1 + at)
    ]
    cut = split_by_group(photos, 3)
    groups = {one.group: (one.label, one.source, one.split) for one in cut}
    assert len({(one.group, one.split) for one in cut}) == len(groups) == 80
    counts = Counter(groups.values())
    for label, source in itertools.product("ab", "st"):
        assert [counts[label, source, split] for split in ("train", "val", "test")] == [13, 3, 4]


def test_the_seed_decides_which_groups_are_held_out() -> None:
    first, again, other = (split_by_group(some(40), seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", ["path", "image_id", "lesion_id", "patient_id", "digest"])
def test_a_photo_that_is_known_by_any_of_its_names_keeps_its_split(name: str) -> None:
    for split in ("train", "val", "test"):
        known = {
            "path": "/p/new.jpg",
            "image_id": "id new",
            "lesion_id": "L",
            "patient_id": "P",
            "digest": "D",
        }
        facts = {key: known[key] for key in ("lesion_id", "patient_id", "digest")}
        old = replace(photo("old", split=split), **{name: known[name]})
        [found] = split_by_group([photo("new", **facts)], 0, [old])
        assert found.split == split
        # Two photos are not one photo because the same facts are empty in both.
        plain = split_by_group([photo("new")], 0, [photo("old", split="test")])
        assert plain[0].split == "train"


@pytest.mark.parametrize("order", list(itertools.permutations(("train", "val", "test"))))
def test_what_was_held_out_once_stays_held_out(order: tuple[str, ...]) -> None:
    # The three photos show one lesion, and each was in another split.
    earlier = [photo(f"old {split}", split=split, lesion_id="L") for split in order]
    assert split_by_group([photo("new", lesion_id="L")], 0, earlier)[0].split == "test"
    held = [one for one in earlier if one.split != "test"]
    assert split_by_group([photo("new", lesion_id="L")], 0, held)[0].split == "val"
    # The same holds for a group with photos of three lesions, of which each was in another split: the whole
    # group goes to test.
    new = [photo(f"new {split}", lesion_id=split, group="one") for split in order]
    apart = [photo(f"old {split}", split=split, lesion_id=split) for split in order]
    assert {one.split for one in split_by_group(new, 0, apart)} == {"test"}


def test_groups_whose_split_is_known_count_as_part_of_the_share() -> None:
    photos = some(20)
    earlier = [replace(one, split="train") for one in photos[:13]]
    cut = split_by_group(photos, 0, earlier)
    assert {one.split for one in cut if one.path in {old.path for old in earlier}} == {"train"}
    assert sizes(cut) == (13, 3, 4)
    # Six groups are left. Two of them complete val, and four get into test.
    earlier.append(replace(photos[13], split="val"))
    assert sizes(split_by_group(photos, 0, earlier)) == (13, 3, 4)


def test_a_class_of_many_small_sources_is_in_each_split_and_known_groups_stay() -> None:
    # Each source has one group, and 15 % or 20 % of one group are no group. Of all eight groups, they are 1.2
    # and 1.6, which are rounded to 1 and 2.
    photos = [one for source in "abcdefgh" for one in some(1, source=source)]
    assert sizes(split_by_group(photos, 0)) == (5, 1, 2)
    known = [replace(one, split="train") for one in photos[:7]]
    # Only one group may move. It goes to val, because val is filled first.
    cut = split_by_group(photos, 0, known)
    assert {one.split for one in cut if one.source != "h"} == {"train"}


def test_each_group_is_held_out_by_one_fold_and_folds_are_alike() -> None:
    photos = (*some(9, "a"), *some(9, "b"), *some(4, "a", split="test"))
    photos = tuple(
        replace(one, path=f"{one.path}{one.split}", group=f"{one.group}{one.split}") for one in photos
    )
    folds = [with_fold(photos, fold, 3, 5) for fold in range(3)]
    held_out = [[one.group for one in cut if one.split == "val"] for cut in folds]
    assert sorted(itertools.chain(*held_out)) == sorted(one.group for one in photos[:18])
    for cut in folds:
        assert Counter((one.label, one.split) for one in cut) == {
            ("a", "train"): 6,
            ("a", "val"): 3,
            ("b", "train"): 6,
            ("b", "val"): 3,
            ("a", "test"): 4,
        }
        assert [one.path for one in cut] == [one.path for one in photos]
    assert folds[0] == with_fold(photos, 0, 3, 5)
    assert folds[0] != with_fold(photos, 0, 3, 6)
    # Seven groups are divided into three folds.
    assert [sizes(with_fold(some(7), fold, 3, 0))[1] for fold in range(3)] == [3, 2, 2]


def test_stated_parts_are_kept_and_a_group_in_several_is_held_out() -> None:
    photos = [photo("one"), photo("two"), photo("three"), photo("four"), photo("five")]
    photos = [replace(one, group=group) for one, group in zip(photos, "xxyyz", strict=True)]
    for parts, expected in (
        (["train", "test", "train", "val", "train"], {"two": "test", "four": "val", "five": "train"}),
        (["test", "train", "val", "train", "train"], {"one": "test", "three": "val", "five": "train"}),
        (
            ["val", "test", "val", "val", "train"],
            {"two": "test", "three": "val", "four": "val", "five": "train"},
        ),
    ):
        kept, left_out = with_parts_kept(photos, parts, 0)
        assert {one.image_id.removeprefix("id "): one.split for one in kept} == expected
        assert left_out == 5 - len(expected)


def test_a_part_that_nobody_states_is_taken_from_train_alone() -> None:
    photos = [*some(20, "a"), *some(10, "b")]
    kept, left_out = with_parts_kept(photos, ["train"] * 20 + ["test"] * 10, 0)
    counts = Counter((one.label, one.split) for one in kept)
    # Val gets 15 % of the 20 groups. The groups that would otherwise get into test stay in train.
    assert counts == {("a", "train"): 17, ("a", "val"): 3, ("b", "test"): 10}
    assert left_out == 0
    assert [one.path for one in kept] == sorted(one.path for one in photos)
    with pytest.raises(DataError, match="no photo is in train, only in test, val"):
        with_parts_kept(photos, ["test"] * 20 + ["val"] * 10, 0)


def test_a_part_whose_photos_are_all_left_out_is_taken_from_train() -> None:
    trained, tested = some(20, "a"), some(10, "b")
    copies = [replace(one, path=f"{one.path} copy") for one in tested]
    kept, left_out = with_parts_kept(
        [*trained, *tested, *copies], ["train"] * 20 + ["test"] * 10 + ["val"] * 10, 0
    )
    counts = Counter((one.label, one.split) for one in kept)
    assert counts == {("a", "train"): 17, ("a", "val"): 3, ("b", "test"): 10}
    assert left_out == 10
    with pytest.raises(
        DataError, match=r"only in test\. The groups of all 10 photos of train also have photos in"
    ):
        with_parts_kept([*tested, *copies], ["test"] * 10 + ["train"] * 10, 0)


def test_a_split_in_a_table_that_is_unknown_is_corrected_there() -> None:
    photos = some(2, "a")
    with pytest.raises(
        DataError, match=r"unknown split 'ISIC2018' in a table\. Write train, val or test into this cell"
    ):
        with_parts_kept(photos, ["train", "ISIC2018"], 0)


def test_copies_of_one_file_in_two_splits_leak() -> None:
    one, other = (
        replace(photo("one"), digest="d", split="train"),
        replace(photo("other"), digest="d", split="test"),
    )
    assert find_leaks([one, other]) == ["d"]
    assert find_leaks([one, replace(other, split="train")]) == []


def test_validation_is_learned_and_the_test_split_is_not() -> None:
    photos = [photo("one", split="train"), photo("two", split="val"), photo("three", split="test")]
    assert [one.split for one in with_validation_learned(photos)] == ["train", "train", "test"]


@pytest.mark.parametrize("name", ["path", "image_id", "lesion_id", "group"])
def test_each_name_that_lies_in_two_splits_is_a_leak(name: str) -> None:
    apart = [photo("one", split="train", lesion_id="L"), photo("two", split="test", lesion_id="M")]
    assert find_leaks(apart) == []
    shared = [replace(one, **{name: "shared"}) for one in apart]
    assert find_leaks(shared) == ["shared"]
    assert find_leaks([shared[0], replace(shared[1], split="train")]) == []
    # Photos with an empty name of the lesion do not share a lesion.
    assert find_leaks([replace(one, lesion_id="") for one in apart]) == []


def test_the_description_of_a_catalogue_counts_groups_and_photos_of_each_split() -> None:
    photos = (
        photo("one", split="train", group="x"),
        photo("two", split="train", group="x"),
        photo("three", "b", split="test"),
    )
    told = json.loads(Catalogue(photos, ("b", "a"), {"why": 2}, 5, ("a line",)).to_json())
    assert (told["photos"], told["groups"], told["seed"], told["classes"]) == (3, 2, 5, ["b", "a"])
    assert told["counts"] == {
        "b": {"train": 0, "val": 0, "test": 1},
        "a": {"train": 2, "val": 0, "test": 0},
    }
    assert (told["left_out"], told["understood"]) == ({"why": 2}, ["a line"])


def test_a_split_without_a_class_takes_what_the_others_have_beyond_their_share() -> None:
    # Of 20 groups, 13 belong to train, 3 to val and 4 to test. Train has one too many, and val has three too many.
    names = [f"group {at}" for at in range(20)]
    for seed in range(20):
        split_of = dict.fromkeys(names[:14], "train") | dict.fromkeys(names[14:], "val")
        _fill_empty_splits(split_of, {("a", "s"): set(names)}, (), seed)
        assert Counter(split_of.values()) == {"train": 13, "val": 3, "test": 4}
    # groups that are kept do not move
    split_of = dict.fromkeys(names, "train")
    _fill_empty_splits(split_of, {("a", "s"): set(names)}, names[2:], 0)
    assert [name for name in names if split_of[name] != "train"] == names[:2]
