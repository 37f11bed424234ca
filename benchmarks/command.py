"""What the command lines of all benchmarks share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dermedge import cli
from dermedge.edge.cli.arguments import Parser, make_parser, number
from dermedge.edge.errors import OptionError

PROGRESS_WIDTH = 78


def command_parser(module: str, description: str) -> Parser:
    """A parser for ``python -m dermedge.benchmarks.lab.MODULE``."""
    parser = make_parser(module, description)
    parser.prog = f"python -m dermedge.benchmarks.lab.{module}"
    return parser


def run_command(main: Callable[[], int]) -> int:
    """The exit status by `cli.run_command`; before an error the line of `show_progress` is emptied."""

    def cleared() -> int:
        with progress_cleared():
            return main()

    return cli.run_command(cleared)


def seconds(text: str) -> float:
    """An argparse type: a number above 0; ``inf`` is one."""
    value = number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def check_different(models: Sequence[Path]) -> None:
    """Raises OptionError where one file is given twice, under whatever name; missing ones are passed."""
    seen: dict[tuple[int, int], Path] = {}
    for model in models:
        if not model.exists():
            continue
        identity = (model.stat().st_dev, model.stat().st_ino)
        if identity in seen:
            raise OptionError(f"'{model}' is the same file as '{seen[identity]}': give each model once")
        seen[identity] = model


def show_progress(text: str) -> None:
    """One line on standard error, overwritten by the next; only on a terminal, so that logs stay short."""
    if sys.stderr.isatty():
        print(f"\r{text:<{PROGRESS_WIDTH}}", end="", file=sys.stderr, flush=True)


@contextmanager
def progress_cleared() -> Iterator[None]:
    """Empties the line of `show_progress` at the end, also before an error is told."""
    try:
        yield
    finally:
        clear_progress()


def clear_progress() -> None:
    """Makes the line of `show_progress` empty."""
    if sys.stderr.isatty():
        print("\r" + " " * PROGRESS_WIDTH, end="\r", file=sys.stderr, flush=True)
