"""Replaces sections of documents that a command writes. A section lies between a mark with the command and `END`."""

from __future__ import annotations

import re

from dermedge.edge.errors import DataError

__all__ = ["END", "begin", "replace_section"]

END = "<!-- end -->"


def begin(command: str) -> str:
    """Returns the mark above a section that a command writes."""
    return f"<!-- written by {command} -->"


def replace_section(document: str, command: str, text: str) -> str:
    """Returns the document with a new text between the marks of a command.

    Raises:
        DataError: the document does not have exactly one pair of these marks.
    """
    pattern = f"{re.escape(begin(command))}.*?{re.escape(END)}"
    new = f"{begin(command)}\n{text}\n{END}"
    written, count = re.subn(pattern, lambda found: new, document, flags=re.DOTALL)
    if count != 1:
        raise DataError(
            f"the document must have exactly one section between '{begin(command)}' and '{END}'; it has {count}"
        )
    return written
