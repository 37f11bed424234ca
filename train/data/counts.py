"""Formats counts and lists of names for messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

__all__ = ["counted", "plural", "some_of"]

_SHOWN_NAMES = 12


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun: "1 file", "2,000 files", "3 classes"."""
    if count != 1:
        noun += "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}"


def some_of(names: Collection[str], shown: int = 3) -> str:
    """Returns the first names, with an ellipsis at the end if there are more names."""
    text = ", ".join(list(names)[:shown])
    return f"{text}, …" if len(names) > shown else text


def counted(counts: Counter[str], shown: int = _SHOWN_NAMES) -> str:
    """Returns the most frequent names with their counts, such as "nevus 6, bcc 2, and 3 more"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name} {count:,}" for name, count in ordered[:shown])
    return f"{text}, and {len(counts) - shown} more" if len(counts) > shown else text
