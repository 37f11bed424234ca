"""Two parts of the documentation that are made from the code: all options of the commands, and all error messages."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dermedge import cli
from dermedge.benchmarks import compare
from dermedge.edge import errors

__all__ = ["Message", "command_parsers", "messages", "setup"]

# For some commands, the parser of the verb does not contain the parser of the command. Their parsers are made by these
# modules.
_SEPARATE = (compare,)
_FOLDERS = {
    "edge": "On the device",
    "train": "Photos, training and evaluation",
    "convert": "Conversion",
    "benchmarks": "Benchmark",
}
_HOLE = "…"
_LEAST_LETTERS = 8
_ROOT = Path(cli.__file__).resolve().parent


@dataclass(frozen=True)
class Message:
    """A message with which a command may end.

    Attributes:
        folder: folder of the code that raises it.
        kind: the name of the error's class.
        text: the message with an ellipsis in place of what the message names.
    """

    folder: str
    kind: str
    text: str


def command_parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of each command: ``dermedge data audit`` follows ``dermedge data``."""
    for module in (*(import_module(name) for name, _ in cli.VERBS.values()), *_SEPARATE):
        yield from _with_subparsers(module.parser())


def messages() -> list[Message]:
    """All messages of the errors that a person can mend, in the order of the code."""
    kinds = {name for name in errors.__all__ if name != "DermedgeError"}
    found = {
        Message(folder, kind, text): None
        for folder in _FOLDERS
        for path in sorted((_ROOT / folder).rglob("*.py"))
        if "lab" not in path.relative_to(_ROOT).parts
        for kind, text in _raised(ast.parse(path.read_text(encoding="utf-8")), kinds)
    }
    return list(found)


def setup(app: Any) -> dict[str, bool]:
    """Registers the directives with Sphinx."""
    from sphinx.util.docutils import SphinxDirective

    class CommandReference(SphinxDirective):
        def run(self) -> list[Any]:
            self.env.note_reread()  # the code may have changed, and the page has not
            return self.parse_text_to_nodes(_commands_markdown(), allow_section_headings=True)

    class MessageReference(SphinxDirective):
        def run(self) -> list[Any]:
            self.env.note_reread()
            return self.parse_text_to_nodes(_messages_markdown(), allow_section_headings=True)

    app.add_directive("command-reference", CommandReference)
    app.add_directive("message-reference", MessageReference)
    return {"parallel_read_safe": True}


def _with_subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for choices in _subparsers(parser):
        for one in choices.values():
            yield from _with_subparsers(one)


def _subparsers(parser: argparse.ArgumentParser) -> list[Mapping[str, argparse.ArgumentParser]]:
    return [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]


def _commands_markdown() -> str:
    return "\n\n".join(map(_command_markdown, sorted(command_parsers(), key=lambda one: one.prog)))


def _command_markdown(parser: argparse.ArgumentParser) -> str:
    lines = [f"## {parser.prog}", "", parser.description or "", ""]
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if not isinstance(one, argparse._HelpAction)]
        if not actions:
            continue
        lines += [f"**{_heading(group.title or '')}**", ""]
        for action in actions:
            lines += [f"`{_invocation(formatter, action)}`", f": {_help(formatter, action)}", ""]
    return "\n".join(lines)


def _heading(title: str) -> str:
    return {"positional arguments": "Arguments", "options": "Options"}.get(title, title.capitalize())


def _invocation(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    if isinstance(action, argparse._SubParsersAction):
        return " | ".join(action.choices)
    return formatter._format_action_invocation(action)


def _help(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    text = formatter._expand_help(action) if action.help else "one of these commands"
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")


def _messages_markdown() -> str:
    found = messages()
    parts = []
    for folder, title in _FOLDERS.items():
        rows = sorted({(one.text, one.kind) for one in found if one.folder == folder}, key=_by_text)
        table = [f"| `{text.replace('|', '/')}` | {kind} |" for text, kind in rows]
        parts += [f"## {title}", "", "| message | kind |", "| --- | --- |", *table, ""]
    return "\n".join(parts)


def _by_text(row: tuple[str, str]) -> str:
    return row[0].strip("'… ").lower()


def _raised(tree: ast.AST, kinds: set[str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in kinds
            and node.args
        ):
            text = " ".join(_text_of(node.args[0]).replace("`", "'").split())
            if sum(letter.isalpha() for letter in text) >= _LEAST_LETTERS:
                yield node.func.id, text


def _text_of(node: ast.AST) -> str:
    """The literal text of an expression, with an ellipsis in place of the rest."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text_of, node.values)).replace(_HOLE * 2, _HOLE)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text_of(node.left) + _text_of(node.right)
    return _HOLE
