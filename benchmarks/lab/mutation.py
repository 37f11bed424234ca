"""Mutants of Python source: one small, realistic mistake each.

Neither mutmut 3.8 nor cosmic-ray 8.7 works for this project. mutmut forks after the imports, which TensorFlow does not
survive, names modules by their folders (ours are links), and mutates neither module constants nor decorated classes.
cosmic-ray has one test command for a session, and no operator that leaves out a statement or a keyword argument.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants_of"]

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">"),
    ast.LtE: ("<", ">="),
    ast.Gt: (">=", "<"),
    ast.GtE: (">", "<="),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
_OTHER_NAMES = {
    name: other
    for pair in (
        ("min", "max"),
        ("any", "all"),
        ("ceil", "floor"),
        ("sin", "cos"),
        ("argmin", "argmax"),
        ("mean", "median"),
        ("zeros", "ones"),
        ("log", "log2"),
        ("exp", "exp2"),
        ("union", "intersection"),
        ("startswith", "endswith"),
        ("removeprefix", "removesuffix"),
    )
    for name, other in (pair, pair[::-1])
}
# Calls that are replaced by their argument.
_LEFT_OUT = {"abs", "clip", "int", "list", "maximum", "minimum", "round", "set", "sorted", "sqrt", "tuple"}
# Calls in which another order of the arguments changes nothing, or fails at once.
_NOT_SWAPPED = {"getattr", "isinstance", "max", "min", "next"}
# A string that a program compares or looks up, and not one that a person reads.
_KEY = re.compile(r"[A-Za-z0-9_.%/-]+")
_GREATER = 1.1


@dataclass(frozen=True)
class Mutant:
    """A source with one mistake.

    Attributes:
        line: where it is, from 1.
        what: the kind of mistake.
        before: the source text that was replaced.
        after: the source text that replaced it.
        source: the whole of the mutant.
    """

    line: int
    what: str
    before: str
    after: str
    source: str


@dataclass(frozen=True)
class _Change:
    """The source text that replaces a node."""

    node: ast.expr | ast.stmt
    what: str
    after: str


def mutants_of(source: str) -> list[Mutant]:
    """Returns all mutants of a module, in the order of their lines.

    Docstrings, annotations, decorators, imports, ``__all__``, texts for people and blocks for type checkers are
    left alone.

    Args:
        source: the text of the module.

    Raises:
        SyntaxError: the source is not Python.
    """
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    made = (_mutant(source, starts, change) for change in _changes(ast.parse(source)))
    return sorted(
        {one.source: one for one in made if _compiles(one.source)}.values(), key=lambda one: one.line
    )


def _mutant(source: str, starts: list[int], change: _Change) -> Mutant:
    """Returns the source with the change; positions of nodes are in bytes of UTF-8."""
    node, content = change.node, source.encode()
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    # in parentheses, an expression keeps its place among its neighbours
    after = f"({change.after})" if isinstance(node, ast.expr) else change.after
    changed = content[:start] + after.encode() + content[end:]
    before = content[start:end].decode()
    return Mutant(node.lineno, change.what, before, change.after, changed.decode())


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _changes(tree: ast.Module) -> Iterator[_Change]:
    for node in _mutable(tree):
        if isinstance(node, ast.stmt):
            yield from _of_statement(node)
        elif isinstance(node, ast.expr):
            yield from _of_expression(node)


def _mutable(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below ``node`` that decide what the program does."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield child
                yield from _mutable(child)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Raise():
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _of_statement(node: ast.stmt) -> Iterator[_Change]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield _Change(node, "statement left out", "pass")
        case ast.Continue():
            yield _Change(node, "continue or break", "break")
        case ast.Break():
            yield _Change(node, "continue or break", "continue")
        case ast.With(items=[ast.withitem(optional_vars=None)], body=[_, *_]):
            yield _Change(node, "context left out", _without_context(node))
        case ast.If(test=test) | ast.While(test=test):
            yield _Change(test, "condition turned around", f"not ({ast.unparse(test)})")


def _without_context(node: ast.With) -> str:
    changed = ast.If(test=ast.Constant(value=True), body=node.body, orelse=[])
    indent = " " * node.col_offset
    first, *others = ast.unparse(ast.fix_missing_locations(changed)).splitlines()
    return "\n".join([first, *(indent + line for line in others)])


def _of_expression(node: ast.expr) -> Iterator[_Change]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _COMPARISONS[type(op)]:
                yield _Change(node, "comparison", f"{ast.unparse(left)} {other} {ast.unparse(right)}")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            after = f"({ast.unparse(left)}) {_ARITHMETIC[type(op)]} ({ast.unparse(right)})"
            yield _Change(node, "arithmetic", after)
        case ast.BoolOp(op=op, values=values):
            word = " or " if isinstance(op, ast.And) else " and "
            yield _Change(node, "and or or", word.join(f"({ast.unparse(value)})" for value in values))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield _Change(node, "sign or not left out", ast.unparse(operand))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            after = f"{ast.unparse(orelse)} if {ast.unparse(test)} else {ast.unparse(body)}"
            yield _Change(node, "branches swapped", after)
        case ast.Constant(value=value):
            yield from _of_constant(node, value)
        case ast.Call():
            yield from _of_call(node)
        case ast.Name(id=name, ctx=ast.Load()) if name in _OTHER_NAMES:
            yield _Change(node, "other function", _OTHER_NAMES[name])
        case ast.Attribute(value=value, attr=name) if name in _OTHER_NAMES:
            yield _Change(node, "other function", f"{ast.unparse(value)}.{_OTHER_NAMES[name]}")


def _of_constant(node: ast.Constant, value: object) -> Iterator[_Change]:
    if isinstance(value, bool):
        yield _Change(node, "other constant", str(not value))
    elif isinstance(value, int):
        yield _Change(node, "other constant", str(value + 1))
    elif isinstance(value, float):
        yield _Change(node, "other constant", repr(value * _GREATER if value else 1.0))
    elif isinstance(value, str) and _KEY.fullmatch(value):
        yield _Change(node, "other name", repr(f"{value}-x"))


def _of_call(node: ast.Call) -> Iterator[_Change]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg:
            others = [*node.keywords[:index], *node.keywords[index + 1 :]]
            yield _Change(node, "argument left out", ast.unparse(ast.Call(node.func, node.args, others)))
    is_plain = not (isinstance(node.func, ast.Name) and node.func.id in _NOT_SWAPPED)
    if is_plain and len(node.args) == 2 and not any(isinstance(one, ast.Starred) for one in node.args):
        swapped = ast.Call(node.func, node.args[::-1], node.keywords)
        yield _Change(node, "arguments swapped", ast.unparse(swapped))
    match node.func:
        case ast.Attribute(value=ast.Name(id="np" | "tf" | "math"), attr=name) if (
            name in _LEFT_OUT and node.args
        ):
            yield _Change(node, "call left out", ast.unparse(node.args[0]))
        case ast.Attribute(value=value, attr=name) if name in _LEFT_OUT:
            yield _Change(node, "call left out", ast.unparse(value))
        case ast.Name(id=name) if name in _LEFT_OUT and node.args:
            yield _Change(node, "call left out", ast.unparse(node.args[0]))
