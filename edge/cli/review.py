"""`dermedge review`: serves a page on which the user labels the photos that `dermedge run --record` wrote."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.printable import printable
from dermedge.edge.review.review import Review, ReviewStatus
from dermedge.edge.review.table import CONFIRMED, CORRECTED, DISCARDED
from dermedge.edge.views.web import DEFAULT_ADDRESS

__all__ = ["main", "parser"]

_STEP_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Serves the page until Ctrl-C or SIGTERM. The exit status is 0, because all labels are already on the disk."""
    options = parser().parse_args(argv)
    # imported here, because these modules need the packages of the optional extra "serve"
    from dermedge.edge.review.app import make_review_app
    from dermedge.edge.views.web.server import WebServer

    review = Review(options.folder)
    for note in review.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    with WebServer(options.serve, partial(make_review_app, review)) as server:
        status = review.status()
        photos = "1 photo" if status.total == 1 else f"{status.total} photos"
        print(f"{photos}, {status.decided} reviewed. The labels are written to {_shown(review.table_path)}.")
        print(f"Open {server.url} in a browser. Press Ctrl-C here to end the review.", flush=True)
        _wait()
    print(_summary(review, review.status()))
    return 0


def _wait() -> None:
    """Waits for Ctrl-C or SIGTERM."""
    # A signal handler may put an item into a SimpleQueue at any moment. An Event is not safe here. `Event.wait` holds a
    # lock for short moments. If a signal arrives in such a moment, `Event.set` in the handler waits for ever for this
    # lock.
    signals: SimpleQueue[int] = SimpleQueue()

    def end(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # waits in steps, because on Windows a signal does not interrupt a wait
        while True:
            with suppress(Empty):
                signals.get(timeout=_STEP_S)
                return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(review: Review, status: ReviewStatus) -> str:
    counts = ", ".join(f"{status.decisions[name]} {name}" for name in (CONFIRMED, CORRECTED, DISCARDED))
    lines = [f"{status.decided} of {status.total} photos reviewed: {counts}."]
    if status.decisions[CONFIRMED] + status.decisions[CORRECTED]:
        table = printable(shlex.quote(str(review.table_path)))
        groups = "1 group" if status.groups == 1 else f"{status.groups} groups"
        lines.append(f"The labelled photos form {groups}. All photos of a group go into the same split.")
        lines.append(f"Next: dermedge data audit {table}, then dermedge train --data {table}")
    return "\n".join(lines)


def _shown(path: Path) -> str:
    return printable(str(path))


def parser() -> Parser:
    """Returns the options of `dermedge review`."""
    made = make_parser(
        "review",
        "Label the photos that `dermedge run --record` wrote. A page in the browser shows them; the least certain come "
        "first.",
        ("dermedge review sessions/", "dermedge review sessions/ --serve 127.0.0.1:9000"),
    )
    made.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="review the photos in this folder: the DIR that you gave to dermedge run --record",
    )
    made.add_argument(
        "--serve",
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="serve the page at this address; a browser on another machine needs the token that is printed",
    )
    return made
