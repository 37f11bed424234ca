"""Pins the tables of names and columns: whoever changes, removes or adds a row must change it here too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dermedge.edge.photos import SUFFIXES, is_system_folder
from dermedge.train.data.diagnoses import (
    LESION_DIAGNOSES,
    class_of,
    diagnosis_of,
    is_open,
    own_name,
    possible_diagnoses,
)
from dermedge.train.data.folder_names import FolderKind, folder_kind, part_of, says_mask
from dermedge.train.data.people import fitzpatrick_of, sex_of, site_of, view_of
from dermedge.train.data.table_formats import (
    FORMATS,
    HEADERLESS,
    ONE_HOT,
    OWN,
    OWN_COLUMNS,
    TableFormat,
    format_of,
)

PINNED: dict[str, Any] = json.loads(Path(__file__).with_name("pinned_tables.json").read_text())
NAMES: dict[str, Any] = PINNED["diagnoses"]
READERS: dict[str, Callable[[str], str]] = {
    "site": site_of,
    "sex": sex_of,
    "fitzpatrick": fitzpatrick_of,
    "view": view_of,
}


def test_every_name_means_its_diagnosis_and_class() -> None:
    assert {name: diagnosis_of(name) for name in NAMES["diagnoses"]} == NAMES["diagnoses"]
    assert {diagnosis: class_of(diagnosis) for diagnosis in NAMES["classes"]} == NAMES["classes"]
    assert not any(is_open(diagnosis) for diagnosis in NAMES["classes"])


def test_case_hyphens_and_underscores_do_not_matter() -> None:
    for name, diagnosis in NAMES["diagnoses"].items():
        assert diagnosis_of(name.upper().replace(" ", "_")) == diagnosis
        assert diagnosis_of(f" {name.replace(' ', '-')} ") == diagnosis


def test_every_open_name_leaves_open_what_it_does() -> None:
    assert {name: sorted(possible_diagnoses(name)) for name in NAMES["open"]} == NAMES["open"]
    assert all(is_open(name) and diagnosis_of(name) == name for name in NAMES["open"])


def test_every_other_lesion_and_code_is_itself() -> None:
    others = NAMES["other_lesions"]
    assert [diagnosis_of(name) for name in others] == others
    assert {code: own_name(code) for code in NAMES["own_names"]} == NAMES["own_names"]
    assert [diagnosis_of(name) for name in NAMES["unknown"]] == [None] * len(NAMES["unknown"])


def test_no_lesion_is_known_beside_these() -> None:
    assert set(NAMES["classes"]) == set(NAMES["diagnoses"].values())
    assert {*NAMES["classes"], *NAMES["open"], *NAMES["other_lesions"]} == LESION_DIAGNOSES


def plain(value: Any) -> Any:
    """A value as JSON stores it. Sets are sorted lists."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if hasattr(value, "items") else value


def filled(table: TableFormat) -> dict[str, Any]:
    """The fields of a format that are not empty."""
    values = {one.name: plain(getattr(table, one.name)) for one in fields(table)}
    return {name: value for name, value in values.items() if value not in ([], {}, "", False)}


@pytest.mark.parametrize(
    ("table", "expected"),
    [*zip((*FORMATS, HEADERLESS, ONE_HOT), PINNED["formats"], strict=True)],
    ids=lambda one: one.name if isinstance(one, TableFormat) else "",
)
def test_every_column_of_every_publisher(table: TableFormat, expected: dict[str, Any]) -> None:
    assert filled(table) == expected


@pytest.mark.parametrize("table", FORMATS, ids=lambda one: one.name)
def test_a_publisher_is_known_by_its_columns(table: TableFormat) -> None:
    found = format_of(table.required | frozenset(table.image[:1]))
    assert found is not None
    assert found.name == table.name


def test_every_column_of_a_table_of_ones_own() -> None:
    assert {fact: names.split() for fact, names in OWN_COLUMNS.items()} == PINNED["own_columns"]
    # a person's own table is believed before all others
    assert (OWN.name, OWN.rank) == ("your own table", 0)


@pytest.mark.parametrize("fact", PINNED["cells"])
def test_every_cell_about_people(fact: str) -> None:
    cells = PINNED["cells"][fact]
    assert {cell: READERS[fact](cell) for cell in cells} == cells


def test_every_name_of_a_folder() -> None:
    assert {name: part_of(name) for name in PINNED["parts"]} == PINNED["parts"]
    assert {folder_kind(name) for name in PINNED["containers"]} == {FolderKind.PLAIN}
    assert {folder_kind(name) for name in PINNED["months"]} == {FolderKind.DATE}
    assert {folder_kind(f"{name} 7") for name in PINNED["persons"]} == {FolderKind.GROUP}
    assert all(says_mask(f"ISIC_{name}_8") for name in PINNED["masks"])


def test_every_suffix_of_a_photo_and_every_folder_that_holds_none() -> None:
    assert sorted(SUFFIXES) == PINNED["photo_suffixes"]
    assert all(is_system_folder(name.upper()) for name in PINNED["system_folders"])
    assert is_system_folder(".git")
    assert not is_system_folder("nevus")
