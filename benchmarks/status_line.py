"""Shows the current measurement on one line of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dermedge.edge.printable import printable
from dermedge.edge.text_table import shorten_middle

__all__ = ["ShowStatus", "clear_status", "print_above_status", "show_status", "status_cleared"]

ShowStatus = Callable[[str], None]

_WIDTH = 78


def show_status(text: str) -> None:
    """Overwrites the last line on standard error with a text; does nothing if standard error is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{shorten_middle(printable(text), _WIDTH):<{_WIDTH}}", end="", file=sys.stderr, flush=True)


def clear_status() -> None:
    """Clears the line that `show_status` has written."""
    if sys.stderr.isatty():
        print("\r" + " " * _WIDTH, end="\r", file=sys.stderr, flush=True)


def print_above_status(line: str) -> None:
    """Prints a line on standard error above the line of `show_status`."""
    clear_status()
    print(line, file=sys.stderr)


@contextmanager
def status_cleared() -> Iterator[None]:
    """Clears the line of `show_status` when the block ends, even if an error ends the block."""
    try:
        yield
    finally:
        clear_status()
