"""Drops the numbers in front of the names in a label file, as Teachable Machine and Coral write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["numbers_in_front", "without_numbers"]

# A number, followed by a colon or a space, and a name.
_NUMBERED = re.compile(r"([0-9]+)(?:\s*:\s*|\s+)(\S.*)")


def without_numbers(lines: Sequence[str]) -> tuple[str, ...]:
    """Returns the names without their numbers, if each line begins with its own index, counted from 0.

    Otherwise, returns the lines unchanged. A number can be a part of a name, as in "7 point lesion".
    """
    if numbers_in_front(lines) != [*range(len(lines))]:
        return tuple(lines)
    return tuple(match[2] for line in lines if (match := _NUMBERED.fullmatch(line)))


def numbers_in_front(lines: Sequence[str]) -> list[int] | None:
    """Returns the numbers with which the lines begin. Returns None if the lines are not numbered.

    A number can also state an amount, as in "0 spots", "1 spot" and "2 spots". Therefore, lines count as numbered only
    if the texts after the numbers differ: the number of different texts must be more than half of the number of lines.
    """
    found = [_NUMBERED.fullmatch(line) for line in lines]
    matches = [match for match in found if match]
    if len(matches) < len(lines) or 2 * len({match[2] for match in matches}) <= len(lines):
        return None
    return [int(match[1]) for match in matches]
