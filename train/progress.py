"""Progress of long work on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

STEPS = 50


def progress_line(what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that rewrites one line of a terminal, and is silent elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() and (done % max(1, total // STEPS) == 0 or done == total):
            print(f"\r{what}: {100 * done // total} %", end="\n" if done == total else "", file=sys.stderr)

    return show
