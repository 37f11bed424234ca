"""Makes text safe to print in a terminal."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["printable", "printable_json", "printable_lines"]


def printable(text: str) -> str:
    """Returns the text with an escape such as ``\\x1b`` in place of each control or format character.

    A label or a file name may contain control codes. Control codes could move the cursor of a terminal, clear the
    screen, or make the terminal type text.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Returns a text of several lines with escapes in place of control and format characters. Line ends remain."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """Returns the value as one line of JSON, with escapes such as ``\\u009b`` for control and format characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped_in_json, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escaped_in_json(character: str) -> str:
    """Returns a character of a JSON text; a control or format character becomes a JSON escape.

    In a JSON text, a control or format character occurs only within a string, where JSON allows an escape for any
    character.
    """
    return character if character.isprintable() else json.dumps(character)[1:-1]
