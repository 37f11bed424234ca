"""Shows the progress of a long task on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic

__all__ = ["progress_line"]

# During a task, the progress line is updated about this many times, and at most twice this many times.
_UPDATES = 50
_MIN_SECONDS_TO_TELL = 5.0


def progress_line(what: str) -> Callable[[int, int], None]:
    """Returns a callback (done, total) that shows the progress and the remaining time in one line of the terminal.

    ``what`` is the text at the beginning of the line. The callback prints nothing if standard error is not a terminal.
    """
    started = monotonic()

    def show(done: int, total: int) -> None:
        if not sys.stderr.isatty() or (done % max(1, total // _UPDATES) and done != total):
            return
        text = f"{what}: {100 * done // max(total, 1)} %{_time_left(monotonic() - started, done, total)}"
        print(f"\r{text:<78}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def _time_left(spent_s: float, done: int, total: int) -> str:
    left = spent_s * (total - done) / done if done else 0.0
    if left < _MIN_SECONDS_TO_TELL:
        return ""
    return f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"
