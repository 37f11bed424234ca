"""Table files as people have them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import pytest

from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.photo_index import PhotoIndex
from dermedge.train.data.table_files import number_in, read_table_text, spreadsheet_text


def rows(path: Path, content: bytes) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    path.write_bytes(content)
    table = read_table_text(path)
    return table.header, list(table.rows())


@pytest.mark.parametrize(
    "content",
    [
        b"Path,My  Label\na.jpg,Nevus\n",
        b"Path;My  Label\r\na.jpg;Nevus\r\n",
        b"Path\tMy  Label\ra.jpg\tNevus\r",
        b"Path|My  Label\na.jpg|Nevus",
        b"\xef\xbb\xbfPath,My  Label\na.jpg,Nevus\n",
        "Path,My  Label\na.jpg,Nevus\n".encode("utf-16"),
        b'"Path","My  Label"\n"a.jpg","Nevus"\n',
        b" Path , My  Label \n a.jpg , Nevus \n",
    ],
)
def test_delimiters_marks_and_ends_of_lines(tmp_path: Path, content: bytes) -> None:
    header, found = rows(tmp_path / "t.csv", content)
    assert header == ("Path", "My  Label")
    assert found == [(2, {"path": "a.jpg", "my_label": "Nevus"})]


def test_the_line_that_excel_writes_for_itself(tmp_path: Path) -> None:
    header, found = rows(tmp_path / "t.csv", b"sep=;\npath;label\na.jpg;x,y\n")
    assert header == ("path", "label")
    assert found == [(3, {"path": "a.jpg", "label": "x,y"})]


def test_a_first_line_that_is_a_photo_is_no_header(tmp_path: Path) -> None:
    assert rows(tmp_path / "t.csv", b"ISIC_0000001,benign\nISIC_0000002,malignant\n") == (
        ("0", "1"),
        [(1, {"0": "ISIC_0000001", "1": "benign"}), (2, {"0": "ISIC_0000002", "1": "malignant"})],
    )
    assert rows(tmp_path / "t.csv", b"a/b.JPG,x\n")[0] == ("0", "1")
    assert rows(tmp_path / "t.csv", b"a.jpg\n")[0] == ("a.jpg",)


def test_short_rows_have_empty_cells_and_empty_rows_are_none(tmp_path: Path) -> None:
    _, found = rows(tmp_path / "t.csv", b"a,b,c\n1\n\n,,\n1,2,3,, \n")
    assert found == [(2, {"a": "1", "b": "", "c": ""}), (5, {"a": "1", "b": "2", "c": "3"})]


@pytest.mark.parametrize("row", [b"1.jpg,Nevus, Reed,P1", b"1,1.jpg,nevus,P1"])
def test_a_row_with_more_cells_than_columns_is_named(tmp_path: Path, row: bytes) -> None:
    """After an unquoted comma, or if the first line lacks a name, cells are in wrong columns."""
    with pytest.raises(ValueError, match="line 3: the row has 4 cells, but the first line names 3 columns"):
        rows(tmp_path / "t.csv", b"image,label,patient_id\n2.jpg,nevus,P2\n" + row + b"\n")


def test_a_quotation_mark_that_is_not_closed_is_named(tmp_path: Path) -> None:
    """Earlier, all rows after the quotation mark were one cell, and their photos had no label."""
    rest = b"".join(b"%d.jpg,,nevus\n" % number for number in range(4, 40))
    table = (
        b'image,comment,label\n1.jpg,3" wide,nevus\n\n2.jpg,"on\nthe arm",nevus\n3.jpg,"large,nevus\n' + rest
    )
    for content in (table, table.rstrip()):
        with pytest.raises(ValueError, match="line 6: a quotation mark is not closed"):
            rows(tmp_path / "t.csv", content)
    found = rows(tmp_path / "t.csv", table.replace(b'"large', b"large"))[1]
    assert [line for line, _ in found[:4]] == [2, 5, 6, 7]
    assert len(found) == 39


def test_a_name_of_a_column_may_have_several_lines(tmp_path: Path) -> None:
    header, found = rows(tmp_path / "t.csv", b'image;"label\r\n(histology)";patient_id\r\n1.jpg;nevus;P1\r\n')
    assert header == ("image", "label\n(histology)", "patient_id")
    assert found == [(3, {"image": "1.jpg", "label_(histology)": "nevus", "patient_id": "P1"})]


def test_other_encodings_are_read(tmp_path: Path) -> None:
    for encoding in ("cp1252", "utf-8"):
        found = rows(tmp_path / "t.csv", "path,label\né.jpg,Ö\n".encode(encoding))[1]
        assert found == [(2, {"path": "é.jpg", "label": "Ö"})]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0\5\26\7" * 300])
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"first line is empty|not text"):
        rows(tmp_path / "t.csv", content)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 3: .*field larger than"):
        rows(tmp_path / "t.csv", b"a,b\n1,2\n" + b"x" * 200_000 + b",1\n")
    with pytest.raises(ValueError, match=r"line 1: field larger than"):
        rows(tmp_path / "t.csv", b"x" * 200_000 + b",1\n1,2\n")
    with pytest.raises(ValueError, match=r"line 2: field larger than"):
        rows(tmp_path / "t.csv", b"sep=;\n" + b"x" * 200_000 + b";1\n1;2\n")


def test_a_file_that_is_no_spreadsheet_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"no zip")
    assert spreadsheet_text(tmp_path / "t.xlsx") == ""


def test_the_text_of_a_spreadsheet_is_that_of_its_first_sheet_and_its_strings(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as package:
        package.writestr("xl/sharedStrings.xml", "shared.jpg")
        package.writestr("xl/worksheets/sheet1.xml", "inline.jpg")
        package.writestr("xl/worksheets/sheet2.xml", "other.jpg")
        package.writestr("xl/theme.xml", "theme")
    assert spreadsheet_text(tmp_path / "labels.xlsx").split() == ["shared.jpg", "inline.jpg"]


@pytest.mark.parametrize("name", ["labels.xlsx", "LABELS.XLSX"])
def test_a_spreadsheet_names_photos_whatever_the_case_of_its_suffix(tmp_path: Path, name: str) -> None:
    photos = [FoundPhoto(tmp_path / one, tmp_path, ()) for one in ("a.jpg", "b.jpg")]
    with zipfile.ZipFile(tmp_path / name, "w") as package:
        package.writestr("xl/sharedStrings.xml", "<t>a.jpg</t>")
    assert PhotoIndex(photos).named_in_spreadsheet(tmp_path / name) == {0}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes("image;label\na;Nävus\n".encode(encoding))
    assert [row for _, row in read_table_text(tmp_path / "t.csv").rows()] == [
        {"image": "a", "label": "Nävus"}
    ]


def test_numbers_of_cells() -> None:
    assert [number_in(cell) for cell in ("1", "0,5", "-2.5", "True", "false")] == [1, 0.5, -2.5, 1, 0]
    assert all(math.isnan(number_in(cell)) for cell in ("", "nevus", "1.000,5"))


def test_only_the_first_rows_are_taken_to_see_what_a_table_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("photo,label\n" + "".join(f"{number}.jpg,nevus\n" for number in range(600)))
    found = list(read_table_text(path).first_rows())
    assert len(found) == 500
    assert found[-1] == {"photo": "499.jpg", "label": "nevus"}


def test_a_damaged_spreadsheet_has_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("xl/sharedStrings.xml", "photo " * 1000)
    content = path.read_bytes()
    assert spreadsheet_text(path).startswith("photo photo")
    # the second content is marked as encrypted
    at = content.index(b"PK\x01\x02") + 8
    for damaged in (content[:60] + b"\xff" * 10 + content[70:], content[:at] + b"\x01" + content[at + 1 :]):
        path.write_bytes(damaged)
        assert spreadsheet_text(path) == ""


@pytest.mark.parametrize(("named", "found"), [(1, 0), (2, 2), (20, 20)])
def test_a_spreadsheet_is_about_the_photos_if_it_names_a_tenth_of_them(
    tmp_path: Path, named: int, found: int
) -> None:
    photos = [FoundPhoto(tmp_path / f"mole{at}.jpg", tmp_path, ()) for at in range(20)]
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as package:
        package.writestr("xl/sharedStrings.xml", "".join(f"<t>mole{at}.jpg</t>" for at in range(named)))
    assert PhotoIndex(photos).named_in_spreadsheet(tmp_path / "t.xlsx") == set(range(found))
