"""No escape code reaches a terminal."""

import json

import pytest

from dermedge.edge.printable import printable, printable_json, printable_lines
from dermedge.edge.text_table import aligned_lines


@pytest.mark.parametrize("text", ["", "nevus", "naevus bleu, déjà vu", "黑色素瘤 84 %"])
def test_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("photo\udcff.jpg", "photo\\udcff.jpg"),
        ("\x07\x00\x7f", "\\x07\\x00\\x7f"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_tables_are_printable() -> None:
    assert all(line.isprintable() for line in aligned_lines([("a\x1b[2J", "1"), ("b", "\x9b3")]))


def test_the_ends_of_lines_stay() -> None:
    assert printable_lines("a\x1b[2J\nb\r\n") == "a\\x1b[2J\nb\\r\n"


def test_json_reads_back_and_is_printable() -> None:
    value = {"path": "\x1b[2J\x9b31m\u202e黑.jpg", "label": "\U000e0001\udcff", "n": [1, None]}
    text = printable_json(value)
    assert text.isprintable()
    assert "黑" in text
    assert json.loads(text) == value
