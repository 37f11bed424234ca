"""The command line of the laboratory: lists the experiments, and runs one of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from dermedge import cli
from dermedge.benchmarks.status_line import status_cleared
from dermedge.edge.cli.arguments import Parser, make_parser

__all__ = ["COMMAND", "EXPERIMENTS", "command_line", "experiment_parser", "main"]

COMMAND = "python -m dermedge.benchmarks.lab"
# name -> its purpose. Each experiment is a module of this folder with `main(argv) -> int`.
EXPERIMENTS = {
    "anchors": "count the instructions of networks whose latency was published, for `dermedge benchmark --estimate`",
    "calibration": "compare choices of calibration photos and ranges for int8 conversion",
    "card": "write the tables of the model card from the evaluation on the test split",
    "converting": "time int8 conversion beside a bare TFLiteConverter script",
    "figures": "measure all figures of one machine that README.md and docs/ quote, and rewrite the tables",
    "growth": "measure how latency, size, training, audit and accuracy grow",
    "instructions": "count the arm64 instructions of an inference under emulation",
    "loop": "measure the costs of the live loop besides the network, against their limits",
    "mutants": "measure how many small mistakes in the code the tests notice",
    "official": "check the benchmark's latencies against LiteRT's own benchmark tool",
    "other-clinics": "score models on lesions of sources that they did not learn from",
    "peers": "time the same model and frames in other runtimes, side by side",
    "phone": "time the phone app from frame to answer in a browser",
    "quality": "measure how often the quality gate rejects good photos and passes bad ones",
    "readme": "write the table of latencies in README.md from one result per machine",
    "recipe": "train with one part of the recipe changed at a time, and compare",
    "recording": "record the demo as an animated image for README.md",
    "repeat": "check that repeated measurements agree within their stated intervals",
    "screenshots": "take screenshots of all pages at three sizes, light and dark",
    "training-speed": "compare the photos a second of training with those of the bare step of the same network",
    "unknown": "compare scores that should detect unknown photos, on a run's validation photos",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one experiment; returns its exit status, 2 for an error that the user can mend, or 130 for Ctrl-C."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help"):
        return cli.run_command(_list_experiments)
    name, *arguments = given
    if name not in EXPERIMENTS:
        return cli.fail(f"unknown experiment '{name}'. Known: {', '.join(EXPERIMENTS)}")
    return cli.run_command(_with_clear_line(lambda: _module_main(name)(arguments)))


def experiment_parser(name: str, description: str) -> Parser:
    """Returns a parser for ``python -m dermedge.benchmarks.lab NAME``."""
    parser = make_parser(name, description)
    parser.prog = f"{COMMAND} {name}"
    return parser


def command_line(name: str, argv: Sequence[str]) -> str:
    """Returns the command line of an experiment, for its results."""
    return shlex.join([*COMMAND.split(), name, *argv])


def _list_experiments() -> int:
    lines = (f"  {name:<14}  {purpose}" for name, purpose in EXPERIMENTS.items())
    usage = f"usage: {COMMAND} NAME [options]      ({COMMAND} NAME --help lists the options)"
    print("\n".join([usage, "", *lines]))
    return 0


def _module_main(name: str) -> Callable[[Sequence[str]], int]:
    main_of: Callable[[Sequence[str]], int] = import_module(f"{__package__}.{name.replace('-', '_')}").main
    return main_of


def _with_clear_line(command: Callable[[], int]) -> Callable[[], int]:
    """Runs the command, and clears the progress line, so that an error message begins on an empty line."""

    def run() -> int:
        with status_cleared():
            return command()

    return run
