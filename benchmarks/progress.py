"""One line on the terminal that tells how far a measurement is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ShowProgress", "clear_progress", "progress_cleared", "show_progress"]

ShowProgress = Callable[[str], None]

_WIDTH = 78


def show_progress(text: str) -> None:
    """Writes one line on standard error over the line before; silent where this is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<{_WIDTH}}", end="", file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Empties the line of `show_progress`."""
    if sys.stderr.isatty():
        print("\r" + " " * _WIDTH, end="\r", file=sys.stderr, flush=True)


@contextmanager
def progress_cleared() -> Iterator[None]:
    """Empties the line of `show_progress` when the block ends, also by an error."""
    try:
        yield
    finally:
        clear_progress()
