"""Reads table files in any usual encoding, with commas, semicolons, tabs or bars between the cells."""

from __future__ import annotations

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from dermedge.train.data.counts import plural
from dermedge.train.data.photo_names import is_photo_name

__all__ = ["TableText", "number_in", "read_table_text", "spreadsheet_text"]

# Text without a byte order mark counts as UTF-16 if at least the fraction _NEARLY_ALL of the bytes at even (or at odd)
# positions are 0. Only the first _LOOKED_AT bytes are examined.
_LOOKED_AT = 1024
_NEARLY_ALL = 0.9
# The meaning of columns is recognized from this many rows at the beginning of a table.
_FIRST_ROWS = 500
# This text is appended as a row of its own. If it appears in a cell of another row, a quotation mark was not closed.
_END = "\0end of the table\0"
_TRUTH = {"true": 1.0, "false": 0.0}
_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class TableText:
    """A table of text cells.

    Attributes:
        path: path of the file.
        header: names of the columns as the table writes them; ``0, 1, …`` if the table has no header.
        text: the lines below the header; all lines if the table has no header.
        first_line: line number of the first line of ``text``. The first line of the file has the number 1.
        delimiter: the character between cells.
    """

    path: Path
    header: tuple[str, ...]
    text: str
    first_line: int
    delimiter: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns in lower case, in their order."""
        return tuple(map(_normal, self.header))

    @property
    def columns(self) -> frozenset[str]:
        """The names of the columns in lower case."""
        return frozenset(self.names)

    @property
    def has_header(self) -> bool:
        return self.header != tuple(map(str, range(len(self.header))))

    def rows(self, lenient: bool = False) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields the line number and the cells of each row. The keys of the cells are the column names in lower case.

        Empty rows are skipped. The missing cells of a short row are empty.

        Args:
            lenient: whether cells beyond the last named column are ignored. Otherwise, they are an error.

        Raises:
            ValueError: a row cannot be read, has more cells than the table has columns, or has a quotation mark that is
                not closed. The message contains the line number.
        """
        names = self.names
        for line, cells in self._lines():
            if any(map(str.strip, cells[len(names) :])) and not lenient:
                raise ValueError(
                    f"line {line}: the row has {len(cells)} cells, but the first line names "
                    f"{plural(len(names), 'column')}. Put a text that contains '{self.delimiter}' in double quotes, or "
                    "name all columns"
                )
            if any(cells):
                padded = [cell.strip() for cell in cells] + [""] * len(names)
                yield line, dict(zip(names, padded, strict=False))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the line number and the cells of each row, as `rows` does, but with all cells."""
        ended = [_END]
        reader = csv.reader(chain(io.StringIO(self.text, newline=""), ["\n", _END]), delimiter=self.delimiter)
        last = self.first_line
        while True:
            try:
                cells = next(reader)
            except csv.Error as error:
                raise ValueError(f"line {self.first_line + reader.line_num - 1}: {error}") from error
            if cells == ended:
                return
            if cells and cells[-1].endswith(_END):
                raise ValueError(f"line {last}: a quotation mark is not closed; close or remove it")
            yield self.first_line + reader.line_num - 1, cells
            last = self.first_line + reader.line_num

    def first_rows(self, lenient: bool = False) -> Iterator[dict[str, str]]:
        """Yields the cells of the first 500 rows, as `rows` does, but without line numbers."""
        return (row for _, row in islice(self.rows(lenient), _FIRST_ROWS))


def number_in(cell: str) -> float:
    """Returns the number in a cell, with a decimal point or comma. True is 1, false is 0, and any other text is NaN."""
    try:
        return _TRUTH[cell.lower()] if cell.lower() in _TRUTH else float(cell.replace(",", "."))
    except ValueError:
        return math.nan


def read_table_text(path: Path) -> TableText:
    """Reads a .csv or .tsv file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the first line is empty or cannot be read, or the file is not text.
    """
    content = path.read_bytes()
    if b"\0" in content[:_LOOKED_AT] and not _is_utf_16(content):
        raise ValueError("the file is not text; save the table as CSV")
    text = _decode(content).replace("\r\n", "\n").replace("\r", "\n")
    skipped = 0
    delimiter = None
    if text[:4].lower() == "sep=" and len(text) > 4:
        # Excel can write the delimiter in the first line, as in "sep=;"
        delimiter = text[4]
        text, skipped = text.partition("\n")[2], 1
    if not text.partition("\n")[0].strip():
        raise ValueError("the first line is empty; write the names of the columns there")
    try:
        delimiter = delimiter or max(_DELIMITERS, key=lambda mark: len(_first_row(text, mark)[0]))
        header, lines = _first_row(text, delimiter)
    except csv.Error as error:
        raise ValueError(f"line {skipped + 1}: {error}") from error
    if len(header) > 1 and is_photo_name(header[0]):
        return TableText(path, tuple(map(str, range(len(header)))), text, skipped + 1, delimiter)
    rest = text.split("\n", lines)[lines:]
    return TableText(path, tuple(header), "".join(rest), skipped + lines + 1, delimiter)


def _first_row(text: str, delimiter: str) -> tuple[list[str], int]:
    """Returns the cells of the first row, and the number of its lines. A cell in quotes may have several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [cell.strip() for cell in next(reader)], reader.line_num


def spreadsheet_text(path: Path) -> str:
    """Returns the text of the cells of an .xlsx file, to find out whether the file names photos.

    The text is empty if the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as package:
            parts = [
                name for name in package.namelist() if name.endswith(("sharedStrings.xml", "sheet1.xml"))
            ]
            return "\n".join(package.read(name).decode("utf-8", "replace") for name in parts)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        # the file is damaged or encrypted
        return ""


def _is_utf_16(content: bytes) -> bool:
    """Tells whether bytes seem to be UTF-16 text.

    UTF-16 text begins with a byte order mark, or nearly every second byte is 0 because the letters are Latin.
    """
    start = content[:_LOOKED_AT]
    return start.startswith((b"\xff\xfe", b"\xfe\xff")) or any(_zeros_at(start, place) for place in (0, 1))


def _zeros_at(content: bytes, place: int) -> bool:
    """Tells whether nearly every second byte is 0, beginning at position ``place``, and no byte in between is 0."""
    zeros, others = content[place::2], content[1 - place :: 2]
    return 0 not in others and zeros.count(0) >= _NEARLY_ALL * len(zeros)


def _decode(content: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if b"\0" in content[:_LOOKED_AT]:
        return content.decode("utf-16-le" if _zeros_at(content[:_LOOKED_AT], 1) else "utf-16-be", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        # Excel uses this encoding in western Europe and America
        return content.decode("cp1252", "replace")


def _normal(name: str) -> str:
    return " ".join(name.strip().strip("\ufeff").lower().split()).replace(" ", "_")
