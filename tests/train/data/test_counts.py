"""Counts and names in messages."""

from __future__ import annotations

from collections import Counter

from dermedge.train.data.counts import counted, plural, some_of


def test_a_count_stands_with_its_noun() -> None:
    assert [plural(count, "file") for count in (0, 1, 2, 12_345)] == [
        "0 files",
        "1 file",
        "2 files",
        "12,345 files",
    ]
    assert [plural(count, "class") for count in (1, 3)] == ["1 class", "3 classes"]


def test_three_names_are_shown_and_more_are_hinted_at() -> None:
    assert some_of([]) == ""
    assert some_of(["a", "b", "c"]) == "a, b, c"
    assert some_of(["a", "b", "c", "d"]) == "a, b, c, …"
    assert some_of({"a": 1, "b": 2}, 1) == "a, …"


def test_the_most_frequent_names_come_first_and_then_the_alphabet() -> None:
    counts = Counter({"rare": 1, "b": 2_000, "a": 2_000, "most": 3_000})
    assert counted(counts) == "most 3,000, a 2,000, b 2,000, rare 1"
    assert counted(counts, 4) == counted(counts)
    assert counted(counts, 1) == "most 3,000, and 3 more"
    # twelve are shown unless another number is asked for
    many = Counter({f"{number:02}": 1 for number in range(13)})
    assert counted(many).endswith("11 1, and 1 more")
