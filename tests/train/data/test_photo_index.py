"""Which photos a cell of a table names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.photo_index import PhotoIndex
from dermedge.train.data.table_files import TableText

ROOT = Path("/data/set")
TABLE = ROOT / "labels.csv"
NAMES = (
    "a/x/1.jpg",
    "b/x/1.jpg",
    "b/y/1.PNG",
    "0012.jpg",
    "a/ISIC_0000007.jpg",
    "b/ISIC_0000007.png",
    "Mole One.jpg",
)


def index_of(*names: str) -> PhotoIndex:
    return PhotoIndex([FoundPhoto(ROOT / name, ROOT, Path(name).parts[:-1]) for name in names])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1.png", [2]),
        ("1.jpg", [0, 1]),
        # A cell without a suffix must hold the whole name before the suffix. Among equal names, the folders
        # in the cell decide, beginning with the one directly above the photo.
        ("1", [0, 1, 2]),
        ("x/1", [0, 1]),
        ("b/x/1", [1]),
        ("b\\x\\1.JPG", [1]),
        ("./b/./x/1.jpg", [1]),
        ("set/b/x/1.jpg", [1]),
        ("elsewhere/x/1.jpg", [0, 1]),
        ("/other/place/b/y/1.png", [2]),
        # A folder further up counts only if the cell also names the folders between it and the photo.
        ("b/1.jpg", [0, 1]),
        ("12", [3]),
        ("12.0", [3]),
        ("mole one", [6]),
        ("MOLE ONE.JPG", [6]),
        # A published id means all of its files, whatever stands around the id.
        ("ISIC_0000007", [4, 5]),
        ("isic_0000007", [4, 5]),
        # The cell holds the name with %20 in place of the space, as in a URL.
        ("mole%20one.jpg", [6]),
        ("https://host/b%2Fx/1.jpg", [0, 1]),
        ("set/Mole%20One", [6]),
        ("mole%2one", []),
        ("a/ISIC_0000007_downsampled.jpg", [4, 5]),
        ("ISIC_0000008", []),
        ("unknown", []),
        ("", []),
        ("/", []),
    ],
)
def test_a_cell_names_the_photos_whose_paths_agree_most(cell: str, expected: list[int]) -> None:
    assert index_of(*NAMES).find(cell, TABLE) == expected


def test_among_equals_the_photos_below_the_folder_of_the_table_are_meant() -> None:
    index = index_of("a/1.jpg", "b/1.jpg", "b/c/1.jpg")
    assert index.find("1.jpg", ROOT / "b" / "labels.csv") == [1, 2]
    assert index.find("1.jpg", ROOT / "b" / "c" / "labels.csv") == [2]
    # A table in another place prefers no photo.
    assert index.find("1.jpg", Path("/tables/labels.csv")) == [0, 1, 2]
    # The folder in the cell goes before the folder of the table.
    assert index.find("a/1.jpg", ROOT / "b" / "labels.csv") == [0]


def text(*cells: str) -> TableText:
    return TableText(TABLE, ("some",), "\n".join(cells) + "\n", 2, ",")


def test_a_table_is_about_the_photos_if_it_names_a_tenth_of_them_or_of_its_rows() -> None:
    names = [f"mole{number}.jpg" for number in range(100)]
    index = index_of(*names)
    assert index.named_in(text(*names[:9], *(f"x{at}" for at in range(200)))) == frozenset()
    assert index.named_in(text(*names[:10], *(f"x{at}" for at in range(200)))) == frozenset(range(10))
    # the line above the names of the columns may have fewer cells than the rows below
    assert index.named_in(text(*(f"{name},nevus" for name in names))) == frozenset(range(100))
    # A short table may name few of the photos. Two of its twenty rows are enough.
    assert index.named_in(text(*names[:2], *(f"x{at}" for at in range(18)))) == {0, 1}
    assert index.named_in(text(*names[:1], *(f"x{at}" for at in range(18)))) == frozenset()
    # Cells that are only a number may be ages or counts, so they are not taken as names of photos.
    assert index_of("1.jpg", "2.jpg").named_in(text("1", "2")) == frozenset()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_with_accents_may_be_one_character_or_two(form: str) -> None:
    index = index_of(unicodedata.normalize(form, "Zürich/Müller.jpg"), "Bern/Müller.jpg")
    for other in ("NFC", "NFD"):
        assert index.find(unicodedata.normalize(other, "ZÜRICH/müller.jpg"), TABLE) == [0]
