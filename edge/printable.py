"""Text that is safe to print in a terminal."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["printable", "printable_json", "printable_lines"]


def printable(text: str) -> str:
    """Returns the text with its control and format characters written out, as in ``\\x1b``; the rest stays as it is.

    A label or a file name may hold escape codes, which move a terminal's cursor, clear it, or make it type.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def printable_lines(text: str) -> str:
    """Text of several lines with its control codes written out; the line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> str:
    """JSON in one line, whose control and format characters are written out as JSON does it, as in ``\\u009b``."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped_in_json, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _escaped_in_json(character: str) -> str:
    """Such characters occur only within strings, where JSON may write any character by its number."""
    return character if character.isprintable() else json.dumps(character)[1:-1]
