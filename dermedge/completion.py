"""`dermedge completion`: prints a script that lets a shell complete verbs, options, names of models and files."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import shtab

from dermedge import cli
from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.model.shipped import SHIPPED, model_path

__all__ = ["SHELLS", "completion_script", "main", "parser"]

SHELLS = ("bash", "zsh", "fish")
# For `--source`, a shell offers these values in addition to the names of files.
_SOURCES = ("demo", "picamera2")
_EXAMPLES = (
    "dermedge completion bash > ~/.local/share/bash-completion/completions/dermedge",
    "dermedge completion zsh > ~/.zfunc/_dermedge    # ~/.zfunc must be in your fpath",
    "dermedge completion fish > ~/.config/fish/completions/dermedge.fish",
)


def parser() -> Parser:
    """Returns the options of `dermedge completion`."""
    made = make_parser(
        "completion", "Print a script that completes commands of dermedge in your shell.", _EXAMPLES
    )
    made.add_argument("shell", choices=SHELLS, help="print the script for this shell")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the script."""
    print(completion_script(parser().parse_args(argv).shell))
    return 0


def completion_script(shell: str) -> str:
    """Returns the completion script for a shell, which must be one of `SHELLS`."""
    return shtab.complete(_all_verbs(), shell)


def _all_verbs() -> argparse.ArgumentParser:
    """Returns a parser with a subparser for each verb.

    The attribute ``complete`` of an option tells shtab how a shell completes the value of the option.
    """
    made = Parser(prog="dermedge")
    verbs = made.add_subparsers()
    for verb, (module, what) in cli.VERBS.items():
        verbs.add_parser(verb, help=what, parents=[import_module(module).parser()], add_help=False)
    for action in _actions(made):
        if action.choices is None and action.nargs != 0:
            action.complete = _completed(action)  # type: ignore[attr-defined]
    return made


def _actions(made: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the options and arguments of a parser and of its subparsers."""
    for action in made._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _actions(one)


def _completed(action: argparse.Action) -> dict[str, Any]:
    """Returns how a shell completes the value of an option: with names and files, with files only, or not at all."""
    if action.type is model_path:
        return _names_and_files(SHIPPED)
    if action.dest == "source":
        return _names_and_files(_SOURCES)
    return shtab.FILE if action.type is Path else {}


def _names_and_files(names: Iterable[str]) -> dict[str, Any]:
    """Returns the shell code that offers these names, and also the files that begin with the typed word.

    The dict has the format that shtab expects. It has a key for each shell, and the key ``preamble`` for functions that
    the code calls.
    """
    words = shlex.join(names)
    # If "_file" is part of the function's name, shtab makes bash add a slash to a completed folder.
    offer = f"_dermedge_file_{'_'.join(names)}".replace("-", "_")
    return {
        "bash": offer,
        "zsh": f"{{compadd -- {words}; _files}}",
        "fish": f"(printf '%s\\n' {words}; __fish_complete_path (commandline -ct))",
        "preamble": {"bash": f'{offer}() {{ compgen -W "{words}" -- "$1"; _shtab_compgen_files "$1"; }}'},
    }
