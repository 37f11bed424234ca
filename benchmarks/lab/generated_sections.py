"""Parts of documents that a command writes, between two marks that name it."""

from __future__ import annotations

import re

from dermedge.edge.errors import DataError

__all__ = ["END", "begin", "replace_section"]

END = "<!-- end -->"


def begin(command: str) -> str:
    """The mark above what a command writes."""
    return f"<!-- written by {command} -->"


def replace_section(document: str, command: str, text: str) -> str:
    """The document with this text between the marks of the command.

    Raises:
        DataError: it has not one pair of such marks.
    """
    pattern = f"{re.escape(begin(command))}.*?{re.escape(END)}"
    new = f"{begin(command)}\n{text}\n{END}"
    written, count = re.subn(pattern, lambda found: new, document, flags=re.DOTALL)
    if count != 1:
        raise DataError(
            f"the document must have '{begin(command)}' and, below it, '{END}' once; it has {count}"
        )
    return written
