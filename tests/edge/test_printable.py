"""No escape code reaches a terminal."""

import pytest

from dermedge.edge.printable import printable
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
