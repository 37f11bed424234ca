"""A line on the terminal that shows what is being measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ShowStatus", "clear_status", "show_status", "status_cleared"]

ShowStatus = Callable[[str], None]

_WIDTH = 78


def show_status(text: str) -> None:
    """Writes one line on standard error over the line before; silent where this is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<{_WIDTH}}", end="", file=sys.stderr, flush=True)


def clear_status() -> None:
    """Empties the line of `show_status`."""
    if sys.stderr.isatty():
        print("\r" + " " * _WIDTH, end="\r", file=sys.stderr, flush=True)


@contextmanager
def status_cleared() -> Iterator[None]:
    """Empties the line of `show_status` when the block ends, also by an error."""
    try:
        yield
    finally:
        clear_status()
