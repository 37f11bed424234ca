"""Every error message of the product says what the user can do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermedge.edge import errors

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("edge", "train", "convert", "benchmarks")
CLASSES = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.DermedgeError) and name != "MissingExtra"
}
# A message tells what to do if it contains one of these. Some of them come before the cure, others before a list of
# the allowed values. The names in braces are values for which the code around the message makes the cure.
CURE = re.compile(
    r"; |[.?] [A-Z]|Known: |There are: |must be |: run `|\{(_?cure|check|problem|reason|_seen_instead)\b"
)
# Messages with these beginnings have no cure of ours, because only the program that failed can tell what to do.
WITHOUT = (
    "cannot read the table '{text.path}': {error}",  # the error has the cure
    "{name} failed: ",
    "the cold start of '{model}' cannot be measured: ",
)


def text_of(node: ast.expr) -> str:
    """The text of a message, with the names of its values in braces; empty if the message is not a literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = (
        part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
        for part in node.values
    )
    return "".join(map(str, parts))


def messages(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and node.args and getattr(node.func, "id", "") in CLASSES:
            yield text_of(node.args[0])


def without_cure(code: str) -> list[str]:
    return [one for one in messages(code) if one and not CURE.search(one) and not one.startswith(WITHOUT)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_message_has_a_cure(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if "lab" not in path.relative_to(ROOT).parts]
    found = {path: path.read_text(encoding="utf-8") for path in files}
    assert sum(len(list(messages(code))) for code in found.values()) > 10
    assert {
        str(path.relative_to(ROOT)): lacking
        for path, code in found.items()
        if (lacking := without_cure(code))
    } == {}


def test_a_message_without_a_cure_is_found() -> None:
    lacking = "raise SourceError(f\"there is no photo in the folder '{folder}'\")"
    assert without_cure(lacking) == ["there is no photo in the folder '{folder}'"]
    assert without_cure(lacking.replace(" is no photo", " is no photo; give another folder than")) == []
