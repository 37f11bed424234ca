"""Argument types and checks that the command lines of the benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.cli.arguments import number, positive_int
from dermedge.edge.errors import OptionError

__all__ = ["check_different", "names_with_commas", "seconds", "thread_counts"]


def seconds(text: str) -> float:
    """An argparse type: a number above 0; ``inf`` is allowed."""
    value = number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def names_with_commas(text: str) -> tuple[str, ...]:
    """An argparse type: names separated by commas. A repeated name is left out."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def thread_counts(text: str) -> tuple[int, ...]:
    """An argparse type: different whole numbers of 1 or more, separated by commas."""
    counts = tuple(positive_int(part) for part in text.split(","))
    if len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(f"'{text}' has a number twice; give each number once")
    return counts


def check_different(models: Sequence[Path]) -> None:
    """Checks that no file is given twice, even under different paths. Files that do not exist are ignored.

    Raises:
        OptionError: two of the paths lead to the same file.
    """
    known: dict[tuple[int, int], Path] = {}
    for model in models:
        if not model.exists():
            continue
        identity = (model.stat().st_dev, model.stat().st_ino)
        if identity in known:
            raise OptionError(f"'{model}' is the same file as '{known[identity]}'; give each model once")
        known[identity] = model
