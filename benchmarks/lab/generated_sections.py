"""Replaces generated sections of documents. A section begins with a mark that names a command, and ends with `END`."""

from __future__ import annotations

import re

from dermedge.edge.errors import DataError

__all__ = ["END", "begin", "replace_section"]

END = "<!-- end -->"


def begin(command: str) -> str:
    """Returns the mark at the beginning of a section that a command generates."""
    return f"<!-- written by {command} -->"


def replace_section(document: str, command: str, text: str) -> str:
    """Replaces the text between the marks of a command, and returns the new document.

    Raises:
        DataError: the document does not have exactly one section of ``command``.
    """
    pattern = f"{re.escape(begin(command))}.*?{re.escape(END)}"
    new = f"{begin(command)}\n{text}\n{END}"
    written, count = re.subn(pattern, lambda found: new, document, flags=re.DOTALL)
    if count != 1:
        raise DataError(
            f"the document must have exactly one section between '{begin(command)}' and '{END}'; it has {count}"
        )
    return written
