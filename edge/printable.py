"""Text that is safe to print in a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """The text with its control and format characters written out, as in ``\\x1b``; the rest stays as it is.

    A label or a file name may hold escape codes, which move a terminal's cursor, clear it, or make it type.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
