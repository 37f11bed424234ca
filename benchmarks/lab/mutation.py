"""Makes mutants of Python source. A mutant is a copy with one small, realistic mistake.

Neither mutmut 3.8 nor cosmic-ray 8.7 works for dermedge. mutmut runs the tests once, and then forks. A process may fork
after the import of TensorFlow, but not after the first operation of TensorFlow, and the tests execute such operations.
mutmut also names modules by their folders, which are links here, and does not mutate module constants and decorated
classes. cosmic-ray has one test command for a whole session, and has no operator that removes a statement or a keyword
argument.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Mutant", "mutable_lines", "mutants_of", "users_of"]

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
# Calls of these functions are replaced by the first argument of the call.
_LEFT_OUT = {"abs", "clip", "int", "list", "maximum", "minimum", "round", "set", "sorted", "sqrt", "tuple"}
# The arguments of these functions are not swapped, because this would change nothing, or always cause an error.
_NOT_SWAPPED = {"getattr", "isinstance", "max", "min", "next"}
# Matches strings that a program compares or looks up. User-facing sentences do not match, because they have spaces.
_KEY = re.compile(r"[A-Za-z0-9_.%/-]+")
_GREATER = 1.1


@dataclass(frozen=True)
class Mutant:
    """The source of a module with one mistake.

    Attributes:
        line: number of the line with the mistake; the first line is 1.
        statement: lines of the statement with the mistake. The lines of a block inside the statement are not included.
        defines: names that the statement defines at the import of the module; None if the statement is in a function.
        what: kind of the mistake.
        before: the source text that was replaced.
        after: the new source text.
        source: the whole source of the mutant.
    """

    line: int
    statement: range
    defines: frozenset[str] | None
    what: str
    before: str
    after: str
    source: str


@dataclass(frozen=True)
class _Change:
    """A change to one node of the syntax tree: the node gets another source text.

    Attributes:
        node: the node that is replaced.
        what: kind of the mistake.
        after: the new source text.
    """

    node: ast.expr | ast.stmt
    what: str
    after: str


def mutants_of(source: str, line: int | None = None) -> list[Mutant]:
    """Returns the mutants of a module, ordered by line.

    Does not mutate docstrings, annotations, decorators, imports, ``__all__``, user-facing strings, ``if TYPE_CHECKING``
    blocks, ``raise`` statements or the argument ``strict=True``.

    Args:
        source: source of the module.
        line: number of the line whose mutants are returned; the first line is 1. None returns the mutants of all lines.

    Raises:
        SyntaxError: the source is not Python.
    """
    module = _module(source)
    made = (module.mutant(change) for change in module.changes if line in (None, change.node.lineno))
    return sorted(
        {one.source: one for one in made if _compiles(one.source)}.values(), key=lambda one: one.line
    )


def mutable_lines(source: str) -> set[int]:
    """Returns the lines of a module that may have mutants, without making the mutants."""
    return {change.node.lineno for change in _module(source).changes}


class _Module:
    """The source of a module, with the positions of the statements, functions and classes in the source."""

    def __init__(self, source: str) -> None:
        self._content = source.encode()
        tree = ast.parse(source)
        self.changes = list(_changes(tree))
        # the columns of syntax tree nodes count bytes of UTF-8, not characters
        self._starts = [0]
        for line in self._content.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self.lines = source.splitlines()
        nodes = list(ast.walk(tree))
        self._statements = [
            (_own_lines(node), node) for node in nodes if isinstance(node, ast.stmt | ast.ExceptHandler)
        ]
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        self._functions = [_body_lines(node) for node in functions]
        self._classes = [(_body_lines(node), node.name) for node in nodes if isinstance(node, ast.ClassDef)]

    def statement_at(self, line: int) -> range:
        """Returns the lines of the statement at a line. The lines of a block inside the statement are not included."""
        return next((lines for lines, _ in self._statements if line in lines), range(line, line + 1))

    def in_function(self, line: int) -> bool:
        """Tells whether a line is in the body of a function. Such a line does not run when the module is imported."""
        return any(line in lines for lines in self._functions)

    def names_at(self, line: int) -> frozenset[str]:
        """Returns the names that the statement at a line defines, and the names of the classes that hold the line."""
        node = next((node for lines, node in self._statements if line in lines), None)
        names = {name for lines, name in self._classes if line in lines}
        return frozenset(names | (_defined(node) if node else set()))

    def uses(self, words: re.Pattern[str]) -> Iterator[int]:
        """Yields the numbers of the lines that contain a name that ``words`` matches.

        If ``words`` matches the name of a class, all lines of the class are included.
        """
        for number, text in enumerate(self.lines, 1):
            if words.search(text) or any(
                number in lines and words.fullmatch(name) for lines, name in self._classes
            ):
                yield number

    def mutant(self, change: _Change) -> Mutant:
        node, line = change.node, change.node.lineno
        start = self._starts[line - 1] + node.col_offset
        end = self._starts[(node.end_lineno or line) - 1] + (node.end_col_offset or 0)
        # parentheses keep the precedence of the expression
        after = f"({change.after})" if isinstance(node, ast.expr) else change.after
        return Mutant(
            line=line,
            statement=self.statement_at(line),
            defines=None if self.in_function(line) else self.names_at(line),
            what=change.what,
            before=self._content[start:end].decode(),
            after=change.after,
            source=(self._content[:start] + after.encode() + self._content[end:]).decode(),
        )


def _own_lines(node: ast.stmt | ast.ExceptHandler) -> range:
    """Returns the lines of a statement up to the first block inside the statement."""
    blocks = getattr(node, "body", None) or [case.pattern for case in getattr(node, "cases", ())]
    end = max(blocks[0].lineno - 1, node.lineno) if blocks else node.end_lineno or node.lineno
    return range(node.lineno, end + 1)


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> range:
    return range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)


def _defined(node: ast.AST) -> set[str]:
    """Returns the names that a module-level statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name for alias in aliases}
    stored = {
        one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    return stored - {"__all__"}


def users_of(names: frozenset[str], sources: Mapping[Path, str]) -> dict[Path, set[int]]:
    """Returns, for each file, the lines in functions that use at least one of ``names``, directly or indirectly.

    A line uses a name X indirectly if the line uses another name whose definition uses X.

    Args:
        names: names that statements outside of functions define.
        sources: the source text of each file.
    """
    modules = {path: _module(source) for path, source in sources.items()}
    found: dict[Path, set[int]] = defaultdict(set)
    new, known = set(names), set(names)
    while new:
        words = re.compile(rf"\b(?:{'|'.join(sorted(new))})\b")
        new = set()
        for path, module in modules.items():
            for line in module.uses(words):
                if module.in_function(line):
                    found[path].update(module.statement_at(line))
                else:
                    new |= module.names_at(line) - known
        known |= new
    return dict(found)


@cache
def _module(source: str) -> _Module:
    return _Module(source)


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
    """Yields the nodes below ``node`` that influence the behaviour of the program."""
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
        case ast.keyword():
            return _is_assertion(node)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _is_assertion(keyword: ast.keyword) -> bool:
    """Tells whether an argument is ``strict=True``. In correct code, ``strict=True`` has no effect."""
    return keyword.arg == "strict" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def _of_statement(node: ast.stmt) -> Iterator[_Change]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield _Change(node, "statement left out", "pass")
        case ast.Continue():
            yield _Change(node, "break in place of continue", "break")
        case ast.Break():
            yield _Change(node, "continue in place of break", "continue")
        case ast.With(items=[ast.withitem(optional_vars=None)], body=[_, *_]):
            yield _Change(node, "context left out", _without_context(node))
        case ast.If(test=test) | ast.While(test=test):
            yield _Change(test, "condition inverted", f"not ({ast.unparse(test)})")


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
            yield _Change(
                node, "and swapped with or", word.join(f"({ast.unparse(value)})" for value in values)
            )
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield _Change(node, "operator left out", ast.unparse(operand))
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
        if keyword.arg and not _is_assertion(keyword):
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
