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
# The name and the purpose of each experiment. Each experiment is a module of this folder with `main(argv) -> int`.
EXPERIMENTS = {
    "anchors": "count the instructions of networks with a published latency, for `dermedge benchmark --estimate`",
    "calibration": "compare calibration photos and activation ranges for int8 conversion",
    "card": "write the tables of the model card from the evaluations on the test splits",
    "converting": "compare the time and memory of int8 conversion with those of a bare TFLiteConverter script",
    "figures": "measure everything that README.md and docs/ quote about this machine, and rewrite the tables",
    "growth": "measure how cost and accuracy grow with the size of the network and the number of photos",
    "instructions": "count the arm64 instructions of an inference under emulation",
    "loop": "measure the overhead, frame age, memory and start of the live loop, and compare them with limits",
    "mutants": "measure how many small mistakes in the code the tests notice",
    "official": "compare the latencies of the benchmark with those of LiteRT's own benchmark tool",
    "other-clinics": "score models on lesions from sources that the models did not learn from",
    "peers": "time the same model on the same frames in other runtimes",
    "phone": "time the phone app in a browser, from frame to answer",
    "quality": "measure how often the quality gate rejects good photos and accepts bad ones",
    "readme": "write the tables of models and latencies in README.md and docs/how-good.md",
    "recipe": "train with one part of the recipe changed at a time, and compare the results",
    "recording": "record the demo as an animated image for README.md",
    "repeat": "check that repeated measurements agree within their stated intervals",
    "screenshots": "take screenshots of all pages at three sizes, in the light and the dark theme",
    "training-speed": "compare the speed of training with the speed of the bare training step",
    "unknown": "compare scores that should detect unknown photos, on the validation photos of a run",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one experiment, or lists all experiments if none is named.

    Returns:
        The exit status of the experiment; 2 after an error that the user can correct; 130 after Ctrl-C.
    """
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
    """Returns the command line of an experiment, which is stored in the result files."""
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
    """Returns a function that runs the command and then clears the status line.

    The status line is cleared so that an error message begins on an empty line.
    """

    def run() -> int:
        with status_cleared():
            return command()

    return run
