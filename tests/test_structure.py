"""Rules for all code of the product: unique names of classes, public names in each module, and short functions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("dermedge", "edge", "train", "convert", "benchmarks")
LABORATORY = ROOT / "benchmarks" / "lab"
MOST_LINES = 50


def product_files() -> list[Path]:
    """Returns the modules of the product. Each occurs once, although dermedge/ holds links to the other folders."""
    files = list((ROOT / "dermedge").glob("*.py"))
    for folder in FOLDERS[1:]:
        files += [path for path in (ROOT / folder).rglob("*.py") if LABORATORY not in path.parents]
    return sorted(path for path in files if "node_modules" not in path.parts)


def nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def test_the_product_has_files() -> None:
    assert len(product_files()) > 200


def test_no_two_classes_have_one_name() -> None:
    found = defaultdict(list)
    for path in product_files():
        for node in nodes(path, ast.ClassDef):
            found[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_every_public_module_names_what_it_offers() -> None:
    without = [
        str(path.relative_to(ROOT))
        for path in product_files()
        if not path.name.startswith("_") and "__all__" not in path.read_text(encoding="utf-8")
    ]
    assert without == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_long(folder: str) -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in product_files()
        if path.relative_to(ROOT).parts[0] == folder
        for node in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno + 1 > MOST_LINES
    ]
    assert long == []


def opened_loudly(path: Path) -> list[str]:
    """The calls of `Interpreter` that use XNNPACK and are not within `without_native_log`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    quiet = {
        call
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
        and "without_native_log()" in {ast.unparse(item.context_expr) for item in block.items}
        for call in ast.walk(block)
    }
    return [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).split(".")[-1] == "Interpreter"
        and "WITHOUT_DEFAULT_DELEGATES" not in ast.unparse(call)
        and call not in quiet
    ]


def test_no_interpreter_prints_that_it_made_a_delegate() -> None:
    assert [line for path in product_files() for line in opened_loudly(path)] == []
