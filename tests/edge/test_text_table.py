"""Tables as text, Markdown and CSV, letter for letter."""

from __future__ import annotations

import csv
import io

import pytest

from dermedge.edge.text_table import TextTable, aligned_lines, csv_of, measured, shorten_middle

TABLE = TextTable("Two models", ("model", "ms", "share"), (("a", "12.5", "9 %"), ("long name", "3", "100 %")))


def test_a_table_is_aligned() -> None:
    assert TABLE.to_text() == "\n".join(
        [
            "Two models",
            "model        ms  share",
            "----------------------",
            "a          12.5    9 %",
            "long name     3  100 %",
        ]
    )


def test_a_table_in_markdown_has_a_rule_for_each_column() -> None:
    assert TABLE.to_markdown() == "\n".join(
        [
            "Two models",
            "",
            "| model | ms | share |",
            "| --- | ---: | ---: |",
            "| a | 12.5 | 9 % |",
            "| long name | 3 | 100 % |",
        ]
    )


def test_a_name_is_shortened_in_its_middle_to_a_hundred_characters() -> None:
    name = "a" * 60 + "b" * 60
    table = TextTable("t", ("model", "ms"), ((name, "12.5"),))
    *_, line = table.to_text().splitlines()
    assert len(line) == 100
    # The name has 94 characters. One is the "…", and 62 of the other 93 show the end of the name.
    assert line == "a" * 31 + "…" + "aa" + "b" * 60 + "  12.5"
    # the name keeps at least twelve characters, even if the other columns are too wide
    assert aligned_lines([("abcdefghijklmnop", "x" * 30)], 20) == ["abcd…jklmnop  " + "x" * 30]


@pytest.mark.parametrize(
    ("width", "expected"), [(10, "abcdefghij"), (9, "abc…fghij"), (4, "a…ij"), (12, "abcdefghij")]
)
def test_a_text_is_cut_only_where_it_is_too_long(width: int, expected: str) -> None:
    assert shorten_middle("abcdefghij", width) == expected


def test_what_was_not_measured_is_said() -> None:
    assert measured(1.2345, ".2f") == "1.23"
    assert measured(0.0, ".1f") == "0.0"
    assert measured(None, ".2f") == "not measured"


def test_csv_has_a_header_and_an_empty_cell_for_none() -> None:
    lines = [{"a": 1, "b": "x, y"}, {"a": None, "b": 2.5}]
    assert csv_of(("b", "a"), lines) == 'b,a\n"x, y",1\n2.5,\n'


def test_a_control_character_of_a_name_does_not_reach_the_terminal() -> None:
    [line] = aligned_lines([("a\x1b[31mb\n", "1")])
    assert "\x1b" not in line
    assert "\n" not in line


def test_csv_has_a_row_for_each_line_whatever_a_value_holds() -> None:
    names = ["a,b", "carriage\rreturn", "line\nend", 'quote"', None]
    text = csv_of(["name", "number"], [{"name": name, "number": 1.5} for name in names])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["name"] for row in rows] == [*names[:-1], ""]
    assert [row["number"] for row in rows] == ["1.5"] * len(names)


def test_a_cell_of_markdown_ends_at_no_other_place() -> None:
    table = TextTable("title", ("name", "n"), (("a|b\nc\x1b", "1"),))
    assert table.to_markdown().splitlines()[-1] == r"| a\|b\nc\x1b | 1 |"
