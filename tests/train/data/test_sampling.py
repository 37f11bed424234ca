"""A few of many labelled photos are sampled. They are one of each class in turn, and the same ones each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dermedge.train.data.catalogue import Photo
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto


def photos(*counts: int) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(Path(f"{label} {at}.jpg"), label, Photo("", f"{label} {at}", "", "", "", "", ""))
        for label, count in enumerate(counts)
        for at in range(count)
    ]


def test_classes_come_in_turn_and_a_small_one_comes_whole() -> None:
    chosen = sample_evenly(photos(40, 2, 40), 10)
    assert [one.label_index for one in chosen] == [0, 1, 2, 0, 1, 2, 0, 2, 0, 2]
    assert len({one.path for one in chosen}) == 10


def test_all_photos_are_taken_if_there_are_no_more_than_asked_for() -> None:
    some = photos(3, 5)
    assert Counter(sample_evenly(some, 100)) == Counter(some)
    assert sample_evenly([], 5) == []


def test_within_a_class_the_sample_is_random_and_the_same_each_time() -> None:
    some = photos(100)
    chosen = [int(one.path.stem.split()[1]) for one in sample_evenly(some, 20)]
    assert chosen == [int(one.path.stem.split()[1]) for one in sample_evenly(some, 20)]
    # Photos of one lesion or day often follow each other. So the 20 random photos must be spread over all hundred.
    assert min(chosen) < 25
    assert max(chosen) > 75
    assert chosen != sorted(chosen)
