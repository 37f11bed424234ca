"""Writes tables as text for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermedge.edge.printable import printable

__all__ = [
    "NOT_MEASURED",
    "TABLE_WIDTH",
    "TextTable",
    "aligned_lines",
    "csv_line",
    "csv_of",
    "measured",
    "shorten_middle",
]

NOT_MEASURED = "not measured"
TABLE_WIDTH = 100

_MIN_NAME_WIDTH = 12
_GAP = "  "
_CSV_LINE_END = "\r\n"


@dataclass(frozen=True)
class TextTable:
    """A table with a title. The first column is aligned to the left, the others to the right."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_text(self) -> str:
        """Returns the title, and below the title the table as text in aligned columns.

        If a line would be longer than TABLE_WIDTH, the cells of the first column are shortened in their middle.
        """
        lines = aligned_lines([self.head, *self.rows], TABLE_WIDTH)
        return "\n".join([textwrap.fill(self.title, TABLE_WIDTH), lines[0], "-" * len(lines[0]), *lines[1:]])

    def to_markdown(self) -> str:
        """Returns the title, and below the title the table in Markdown."""
        rule = ("---", *["---:"] * (len(self.head) - 1))
        rows = [self.head, rule, *self.rows]
        lines = ["| " + " | ".join(map(_markdown_cell, cells)) + " |" for cells in rows]
        return "\n".join([self.title, "", *lines])


def aligned_lines(rows: Sequence[Sequence[str]], max_width: int | None = None) -> list[str]:
    """Returns rows of cells as printable lines with aligned columns.

    The first column is aligned to the left, the others to the right.

    Args:
        rows: at least one row. All rows have the same number of cells.
        max_width: the largest number of characters in a line. To fit, the cells of the first column are shortened in
            their middle, but not below `_MIN_NAME_WIDTH` characters. None sets no limit.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if max_width is not None:
        others = sum(widths[1:]) + len(_GAP) * (len(widths) - 1)
        widths[0] = min(widths[0], max(_MIN_NAME_WIDTH, max_width - others))
    return [_line(cells, widths) for cells in rows]


def csv_of(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Returns CSV with a header, which pandas can read. The value None becomes an empty cell."""
    rows = [columns, *([line.get(column) for column in columns] for line in lines)]
    return "".join(f"{csv_line(row)}\n" for row in rows)


def csv_line(values: Sequence[Any]) -> str:
    """Returns the values as one line of CSV, without a line end."""
    buffer = io.StringIO()
    # A value that contains a carriage return must be quoted. In Python 3.11, csv.writer quotes such a value only if the
    # line end contains a carriage return too.
    csv.writer(buffer, lineterminator=_CSV_LINE_END).writerow(values)
    return buffer.getvalue().removesuffix(_CSV_LINE_END)


def measured(value: float | None, form: str) -> str:
    """Returns the number in a format such as ``.1f``, or "not measured" for None."""
    return NOT_MEASURED if value is None else format(value, form)


def _markdown_cell(text: str) -> str:
    return printable(text).replace("|", "\\|")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = shorten_middle(cells[0], widths[0]).ljust(widths[0])
    others = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return _GAP.join([first, *others])


def shorten_middle(text: str, width: int) -> str:
    """Returns the text in at most ``width`` characters.

    If the text has more characters, the middle is replaced by "…". Both ends stay, because names often differ there.
    """
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"
