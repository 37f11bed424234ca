"""Makes text safe to print in a terminal."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["printable", "printable_json", "printable_lines"]


def printable(text: str) -> str:
    """Returns the text, in which escapes such as ``\\x1b`` replace control and format characters.

    A label or a file name may contain control codes. They could move the cursor of a terminal, clear its screen, or
    make it type text.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Returns a text of several lines, in which escapes replace control and format characters, but not line ends."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """Returns JSON in one line, in which JSON escapes such as ``\\u009b`` replace control and format characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped_in_json, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escaped_in_json(character: str) -> str:
    """Returns a character of a JSON text; a control or format character becomes a JSON escape.

    Such a character occurs only within a string, where JSON allows an escape for any character.
    """
    return character if character.isprintable() else json.dumps(character)[1:-1]
