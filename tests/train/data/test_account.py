"""The lines that say how folders and tables were understood, from photos made up without files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dermedge.train.data.account import account_lines
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.counts import some_of
from dermedge.train.data.labelled_file import ON_FOLDER, ON_TABLE, LabelledFile
from dermedge.train.data.tables import TableAccount

PHOTO = Photo("a.jpg", "a", "", "a", "nevus", "", "set", original_label="nevus")
FILE = LabelledFile(
    photo=PHOTO,
    name="set/nevus/a.jpg",
    links=(),
    part="",
    folder="nevus",
    group_folder="",
    reference="",
    in_table=False,
    undecided=False,
    origin=ON_FOLDER,
)


def file(label: str = "nevus", source: str = "set", photo: dict[str, str] | None = None, **facts: Any) -> Any:
    of_photo = replace(PHOTO, source=source, original_label=label, diagnosis=label, **(photo or {}))
    return replace(FILE, photo=of_photo, **facts)


def lines(*files: LabelledFile, **facts: Any) -> list[str]:
    given: dict[str, Any] = {
        "tables": (),
        "contradicted": 0,
        "spellings": {},
        "group_folders_count": True,
        **facts,
    }
    return list(account_lines(files, **given))


def test_of_many_classes_the_twelve_largest_are_named() -> None:
    names = [f"class {number:02}" for number in range(14)]
    files = [file(name) for number, name in enumerate(names) for _ in range(20 - number)]
    [line] = lines(*files)
    shown = ", ".join(f"{name} {20 - number}" for number, name in enumerate(names[:12]))
    assert line == f"classes from folder names of 'set': {shown}, and 2 more"
    [line] = lines(*(one for one in files if one.photo.original_label in names[:12]))
    assert line.endswith("class 11 9")


def test_a_folder_without_diagnoses_is_named_where_its_name_is_the_label() -> None:
    files = [file("Unknown", folder="Unknown"), file("Unknown", folder="Unknown"), file("nevus")]
    told = "the folder name 'Unknown' counts as the label of 2 photos. If the diagnoses of these photos are not known, "
    assert [line for line in lines(*files) if "Unknown'" in line] == [
        f"{told}move the folder to another place"
    ]
    by_table = file("nevus", folder="Unknown", origin=ON_TABLE)
    assert not any("counts as the label" in line for line in lines(by_table, file("nevus")))


def test_series_of_names_are_told_unless_something_groups_the_photos() -> None:
    names = [f"set/nevus/case{case}-{number}.jpg" for case in range(5) for number in range(2)]
    told = lines(*(file(name=name) for name in names))
    assert any(
        "the names of 10 photos differ only in the number at the end, or in the last word" in line
        for line in told
    )
    for date in ("20{}-03-01", "20{}0301", "1-3-20{}"):
        dated = [f"set/nevus/P{p}_L1_{date.format(year)}.jpg" for p in range(5) for year in (19, 21)]
        assert any(
            "the names of 10 photos differ only" in line for line in lines(*(file(name=n) for n in dated))
        )
    # numbers of eight digits that are no dates are ids of photos
    numbered = [f"set/nevus/site{p}_000{year}345.jpg" for p in range(5) for year in (19, 21)]
    assert not any("differ only" in line for line in lines(*(file(name=n) for n in numbered)))
    grouped = lines(*(file(name=name, links=("a lesion",)) for name in names))
    assert not any("differ only in the number" in line for line in grouped)


@pytest.mark.parametrize(
    "ends", [("_clinic", "_derm"), (" left", " right"), ("", "b"), ("a", "b"), ("-close", "")]
)
def test_views_of_a_lesion_are_told_as_a_series(ends: tuple[str, str]) -> None:
    """Both views of a lesion may get into different splits. Earlier, only numbers at the end were noticed."""
    names = [f"set/nevus/case{case}{end}.jpg" for case in range(5) for end in ends]
    told = any(
        "differ only in the number at the end" in line for line in lines(*(file(name=name) for name in names))
    )
    assert told is (all(ends))


def test_sets_are_counted_where_there_are_several() -> None:
    assert lines(file(), file(), file(source="other"))[0] == "datasets: set 2, other 1"
    assert lines(file(origin=ON_TABLE)) == []
    # Classes with equally many photos are sorted by name.
    assert lines(file("b"), file("a")) == ["classes from folder names of 'set': a 1, b 1"]


def test_spellings_of_one_class_are_told() -> None:
    told = lines(spellings={"folders": {"Nevus": "nevus", "nevi": "nevus", "cat": "cat"}})
    assert told == ["the folders 'Nevus', 'nevi' are one class: 'nevus'"]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"format": "", "note": "has no labels"}, "table not read: 'a.csv' has no labels"),
        ({"photos": 0}, "table not used: 'a.csv' (a format) names none of the photos"),
        (
            {"photos": 3, "labelled": 2, "strangers": 1234},
            "labels from 'a.csv' (a format): 2 photos; rows that name none of the photos: 1,234",
        ),
        ({"photos": 3, "labelled": 1}, "labels from 'a.csv' (a format): 1 photo"),
        ({"photos": 3}, "no labels from 'a.csv' (a format), which names 3 photos"),
    ],
)
def test_a_table_is_told_by_what_is_read_of_it(facts: dict[str, Any], line: str) -> None:
    table = TableAccount(Path("folder/a.csv"), **{"format": "a format", **facts})
    assert line in lines(tables=(table,))


def test_a_table_overrides_a_folder_of_another_diagnosis_and_not_of_another_name() -> None:
    def told(folder: str, **facts: Any) -> bool:
        given = {"origin": ON_TABLE, **facts}
        return any(
            "another diagnosis than the folder" in line
            for line in lines(file("nevus", folder=folder, **given))
        )

    assert told("melanoma")
    assert not told("nevus")
    assert not told("nv")
    assert not told("Moles")
    # A folder that is not a class states nothing. A table whose label is not used states nothing either.
    assert not told("")
    assert not told("melanoma", origin=ON_FOLDER)


def test_columns_and_cells_that_are_not_read_are_named() -> None:
    columns = tuple(f"column {number:02}" for number in range(13))
    path = Path("folder/a.csv")
    unread = TableAccount(path, "a format", 1, unused=columns, unclear={"age": 3, "sex": 1000})
    shown = ", ".join(f"'{column}'" for column in columns[:12])
    assert lines(tables=(unread,))[1:] == [
        f"columns of 'a.csv' that are not read: {shown}, …",
        "cells of 'a.csv' that are not understood: sex 1,000, age 3",
    ]
    assert lines(tables=(replace(unread, unused=columns[:12]),))[1].endswith("'column 11'")
    assert lines(tables=(TableAccount(path, "a format", 40, groups={"person": 10, "lesion": 40}),))[1:] == [
        "groups from: person of 'a.csv' (no id for 30 of 40 photos), lesion of 'a.csv'"
    ]


def test_a_table_that_overrides_folders_is_told_with_the_way_out() -> None:
    over = file("melanoma", folder="nevus", origin=ON_TABLE)
    agreeing = file("nevus", folder="nevus", origin=ON_TABLE)
    assert lines(over, over, agreeing) == [
        "a table states another diagnosis than the folder for 2 photos (in the folders: nevus 2). The table is used; "
        "--labels-from folder uses the folders instead"
    ]
    assert lines(agreeing, contradicted=1) == [
        "tables contradict each other on the diagnosis of 1 photo. dermedge prefers a specific diagnosis to an "
        "ambiguous one, and otherwise your own table to a publisher's"
    ]


def test_folders_of_groups_are_counted_and_three_are_named() -> None:
    files = [file(origin=ON_TABLE, group_folder=name) for name in ("d", "a", "b", "c", "")]
    [line] = lines(*files)
    assert line.startswith("groups from: 4 folders ")
    assert line.endswith(" (a, b, c, …)")
    [line] = lines(*files[1:], group_folders_count=False)
    assert line.startswith("no groups from: 3 folders ")
    assert line.endswith(" (a, b, c)")


def test_folders_of_one_name_below_several_classes_are_told_because_they_may_be_one_person() -> None:
    folders = (
        "set/nevus/anna",
        "set/mel/anna",
        "set/nevus/ben",
        "set/nevus/2021-05",
        "set/mel/2021-05",
        "set/pat_1",
    )
    files = [file(group_folder=folder) for folder in folders]
    [line] = [line for line in lines(*files) if line.startswith("below several classes")]
    assert line == (
        "below several classes there are folders of one name (anna). The photos of each such folder are a separate "
        "group. If the name means one person, add a table with the columns path and patient_id"
    )
    assert not any("several classes" in line for line in lines(*files, group_folders_count=False))
    known = [file(group_folder=folder, photo={"patient_id": "p1"}) for folder in folders]
    assert not any("several classes" in line for line in lines(*known))


def test_parts_and_facts_about_people_are_counted() -> None:
    person = {"age": "50", "skin_tone": "3"}
    told = lines(
        file(origin=ON_TABLE, part="train", photo=person), file(origin=ON_TABLE, photo={"age": "40"})
    )
    assert told == [
        "splits that folders or tables state: train 1. Without --keep-parts, the photos are split anew by group",
        "known facts of 2 photos: age of 2, skin tone of 1",
    ]


def test_three_names_are_shown() -> None:
    assert some_of(["a", "b", "c"]) == "a, b, c"
    assert some_of(["a", "b", "c", "d"]) == "a, b, c, …"
