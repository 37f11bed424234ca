"""Text that is safe to print in a terminal."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["printable", "printable_json", "printable_lines"]


def printable(text: str) -> str:
    """Returns the text with control and format characters as escapes such as ``\\x1b``; all other characters are
    unchanged.

    A label or a file name may hold escape codes, which move a terminal's cursor, clear it, or make it type.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Returns a text of several lines with its control characters as escapes; line ends are unchanged."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """Returns JSON in one line, with control and format characters as JSON escapes such as ``\\u009b``."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped_in_json, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escaped_in_json(character: str) -> str:
    """Returns JSON with these characters as escapes.

    They only occur within strings, where JSON allows an escape for any character.
    """
    return character if character.isprintable() else json.dumps(character)[1:-1]
