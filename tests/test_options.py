"""The options of every verb are a promise: their names, metavars, types, defaults and choices are pinned.

If you change an option on purpose, write the table anew: python tests/test_options.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="the extra train is not installed")

import dermedge.benchmarks.cli
import dermedge.benchmarks.compare
import dermedge.completion
import dermedge.convert.cli
import dermedge.edge.cli.doctor
import dermedge.edge.cli.inspect
import dermedge.edge.cli.models
import dermedge.edge.cli.predict
import dermedge.edge.cli.review
import dermedge.edge.cli.run
import dermedge.edge.phone.cli
import dermedge.train.cli.data
import dermedge.train.cli.evaluate
import dermedge.train.cli.train

PINNED = Path(__file__).with_name("pinned_options.json")
MODULES = (
    dermedge.benchmarks.cli,
    dermedge.benchmarks.compare,
    dermedge.completion,
    dermedge.convert.cli,
    dermedge.edge.cli.doctor,
    dermedge.edge.cli.inspect,
    dermedge.edge.cli.models,
    dermedge.edge.cli.predict,
    dermedge.edge.cli.review,
    dermedge.edge.cli.run,
    dermedge.edge.phone.cli,
    dermedge.train.cli.data,
    dermedge.train.cli.evaluate,
    dermedge.train.cli.train,
)


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Returns all parsers: these, and those of the verbs below them."""
    waiting = [module.parser() for module in MODULES]
    while waiting:
        parser = waiting.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


def described(action: argparse.Action, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Returns what is pinned of an option. The help is left out, because its text may change."""
    group = next((one for one in parser._mutually_exclusive_groups if action in one._group_actions), None)
    values = {
        "kind": type(action).__name__.strip("_").removesuffix("Action"),
        "destination": action.dest,
        "metavar": action.metavar,
        "type": getattr(action.type, "__name__", None),
        "default": None if action.default in (None, argparse.SUPPRESS) else _relative(action.default),
        "constant": None if action.const is None else str(action.const),
        "choices": list(action.choices) if action.choices else None,
        "nargs": action.nargs,
        "required": action.required or None,
        "excludes": [one.dest for one in group._group_actions if one is not action] if group else None,
        "of several one is required": (group.required or None) if group else None,
        "hidden": True if action.help == argparse.SUPPRESS else None,
        "without help": None if action.help else True,
    }
    return {name: value for name, value in values.items() if value is not None}


def _relative(default: object) -> str:
    """Returns the text of a default. A path of this checkout is relative to the root of the checkout."""
    return str(default).removeprefix(f"{PINNED.parents[1]}/")


def options() -> dict[str, dict[str, Any]]:
    """Returns what is pinned of every option. A key is, for example, 'dermedge run --source'."""
    return {
        f"{parser.prog} {' '.join(action.option_strings) or action.dest}": described(action, parser)
        for parser in parsers()
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    }


def test_the_options_of_every_verb_are_those_that_were_promised() -> None:
    pinned, found = json.loads(PINNED.read_text()), options()
    assert sorted(found) == sorted(pinned)
    assert {name: found[name] for name in pinned if found[name] != pinned[name]} == {}, (
        "if these are meant: python tests/test_options.py"
    )


def test_every_option_that_is_shown_has_help() -> None:
    for name, option in options().items():
        assert option["kind"] == "SubParsers" or "without help" not in option, name


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(options().items())]
    PINNED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
