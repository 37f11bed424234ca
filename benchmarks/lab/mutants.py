"""Measures how many small mistakes the tests notice: each mutant of a file is run against the tests of that file.

python -m dermedge.benchmarks.lab mutants train/fit convert/calibrate --count 60

Everything happens in a copy of the tree. The tests of a file are those that import it, and those of its folder that
import a user of it. Survivors are mistakes that these tests let pass, or mutants that change nothing.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from dermedge.benchmarks.child import ROOT, run_program
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.mutation import Mutant, mutants_of
from dermedge.edge.cli.arguments import positive_int, positive_number
from dermedge.edge.errors import OptionError, ToolError
from dermedge.edge.text_table import TextTable

__all__ = [
    "NOTICED",
    "STOPPED",
    "SURVIVED",
    "Limits",
    "Trial",
    "find_tests",
    "folder_table",
    "main",
    "sample_mutants",
    "try_mutants",
]

_PACKAGE = "dermedge"
# A mutant may take this many times as long as the tests take without it.
_SLOWER = 3.0
# On a busy machine, a test file may take this many times its processor time.
_LONGEST_WAITS = 10
_DEFAULT_COUNT = 60
NOTICED, SURVIVED, STOPPED = "noticed", "survived", "stopped"
# Exit status of tests that ran out of time.
_STOPPED = -signal.SIGKILL
# Exit status of pytest -> verdict; 5 means that no test was run. Any other status means that a test failed.
_VERDICTS = {0: SURVIVED, 5: SURVIVED, _STOPPED: STOPPED}


@dataclass(frozen=True)
class Limits:
    """How long tests may take.

    Attributes:
        mutant_s: seconds of all tests of a mutant; three times the time without a mutant if that is longer.
        test_file_s: processor seconds of one test file without a mutant; slower files are left out if there are
            others.
    """

    mutant_s: float = 120.0
    test_file_s: float = 60.0


@dataclass(frozen=True)
class _Duration:
    """How long a test file takes without a mutant, in seconds of the clock and of the processor."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Trial:
    """The result of the tests of one mutant.

    Attributes:
        path: path of the file, below the root of the tree.
        mutant: the mutant of the file.
        verdict: `NOTICED` by a test, `SURVIVED` all tests, or `STOPPED` where they took too long.
        tests: the files that were run, the fastest first.
        left_out: the number of slow test files that were not run.
        secs: how long they took.
    """

    path: Path
    mutant: Mutant
    verdict: str
    tests: tuple[Path, ...]
    left_out: int
    secs: float


def main(argv: Sequence[str]) -> int:
    """Samples mutants, runs their tests and prints what survived."""
    options = _parse(argv)
    files = _python_files(options.paths) if options.paths else _changed_files(options.since)
    sampled = sample_mutants(ROOT, files, options.count, options.seed)
    trials = []
    with TemporaryDirectory(prefix="dermedge-mutants-") as folder:
        tree = copy_tree(ROOT, Path(folder) / "tree")
        limits = Limits(options.timeout, options.longest)
        for number, trial in enumerate(try_mutants(tree, sampled, limits), 1):
            trials.append(trial)
            print(f"{number}/{len(sampled)} {_describe(trial)}", flush=True)
    print()
    print(folder_table(trials).to_text())
    for trial in trials:
        if trial.verdict != NOTICED:
            print(_describe(trial))
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser("mutants", "Measure how many small mistakes in the code the tests notice.")
    parser.add_argument(
        "paths",
        type=Path,
        nargs="*",
        metavar="PATH",
        help="Mutate these files and folders. Default: the files that differ from --since.",
    )
    parser.add_argument(
        "--since",
        default="HEAD",
        metavar="COMMIT",
        help="Mutate the files that have changed since this commit. Default: %(default)s.",
    )
    parser.add_argument(
        "--count",
        type=positive_int,
        default=_DEFAULT_COUNT,
        metavar="N",
        help="Try at most N mutants. Default: %(default)s.",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="Seed the sample. Default: %(default)s."
    )
    parser.add_argument(
        "--timeout",
        type=positive_number,
        default=Limits.mutant_s,
        metavar="SECONDS",
        help="Stop the tests of a mutant after this time, or after three times what they take without it if that is "
        "longer. Default: %(default)s.",
    )
    parser.add_argument(
        "--longest",
        type=positive_number,
        default=Limits.test_file_s,
        metavar="SECONDS",
        help="Leave out test files that take more processor time than this, where a file has others. "
        "Default: %(default)s.",
    )
    return parser.parse_args(argv)


def _python_files(paths: Sequence[Path]) -> list[Path]:
    """Returns the Python files at and below ``paths``, relative to the root."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise OptionError(f"'{path}' does not exist; give files or folders of this checkout")
        whole = path.resolve()
        if not whole.is_relative_to(ROOT):
            raise OptionError(f"'{path}' is not in '{ROOT}'")
        files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]
        found += [file.relative_to(ROOT) for file in files]
    return found


def _changed_files(commit: str) -> list[Path]:
    listed = run_program(["git", "-C", ROOT, "diff", "--name-only", "--diff-filter=d", commit], "git").stdout
    files = [
        Path(line) for line in listed.splitlines() if line.endswith(".py") and not line.startswith("tests/")
    ]
    if not files:
        raise OptionError(f"no Python file differs from {commit}; give files or folders, or another --since")
    return files


def sample_mutants(root: Path, files: Sequence[Path], count: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Returns at most ``count`` mutants, each on a different line; all lines are equally likely.

    Args:
        root: root of the tree.
        files: files, relative to the root.
        count: number of mutants.
        seed: seed of the sample.

    Raises:
        OptionError: nothing in the files can be mutated.
    """
    lines: dict[tuple[Path, int], list[Mutant]] = defaultdict(list)
    for path in files:
        for mutant in mutants_of((root / path).read_text()):
            lines[path, mutant.line].append(mutant)
    if not lines:
        raise OptionError(f"there is nothing to mutate in {', '.join(map(str, files)) or 'no file'}")
    chance = random.Random(seed)
    chosen = chance.sample(sorted(lines), min(count, len(lines)))
    return [(path, chance.choice(lines[path, line])) for path, line in sorted(chosen)]


def copy_tree(root: Path, target: Path) -> Path:
    """Copies the files that git knows or would add; links stay links."""
    listed = run_program(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], "git"
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_symlink() or (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name, follow_symlinks=False)
    return target


def try_mutants(tree: Path, mutants: Sequence[tuple[Path, Mutant]], limits: Limits) -> Iterator[Trial]:
    """Puts each mutant into the tree in turn, runs its tests, and takes it out again.

    Args:
        tree: a copy, which nobody else uses.
        mutants: the mutants, with the paths of their files below the tree.
        limits: how long tests may take.

    Raises:
        ToolError: the tests fail without a mutant.
    """
    imports = _imports(tree)
    duration_of = cache(lambda test: _duration(tree, test, limits.test_file_s))
    for path, mutant in mutants:
        known = sorted(find_tests(path, imports), key=lambda test: duration_of(test).cpu_s)
        tests = tuple(
            test for at, test in enumerate(known) if not at or duration_of(test).cpu_s <= limits.test_file_s
        )
        left_out = len(known) - len(tests)
        if not tests:
            yield Trial(path, mutant, SURVIVED, (), left_out, 0.0)
            continue
        limit = max(limits.mutant_s, _SLOWER * sum(duration_of(test).wall_s for test in tests))
        original = (tree / path).read_text()
        (tree / path).write_text(mutant.source)
        started = perf_counter()
        try:
            status = _run_tests(tree, tests, limit)
        finally:
            (tree / path).write_text(original)
        verdict = _VERDICTS.get(status, NOTICED)
        yield Trial(path, mutant, verdict, tests, left_out, perf_counter() - started)


def _duration(tree: Path, test: Path, longest_s: float) -> _Duration:
    """Returns the duration of a test file, which is stopped after `_LONGEST_WAITS` times ``longest_s``."""
    started, cpu_before = perf_counter(), _children_cpu_s()
    status = _run_tests(tree, [test], _LONGEST_WAITS * longest_s)
    if status not in _VERDICTS:
        raise ToolError(f"the tests fail without a mutant; mend them first: python -m pytest {test}")
    wall_s = perf_counter() - started
    return _Duration(wall_s, wall_s if status == _STOPPED else _children_cpu_s() - cpu_before)


def _children_cpu_s() -> float:
    """Returns the processor time of all child processes that have ended so far."""
    times = os.times()
    return times.children_user + times.children_system


def _run_tests(tree: Path, tests: Sequence[Path], limit_s: float) -> int:
    """Returns the exit status of pytest, without the tests that are marked slow, or `_STOPPED`."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider"]
    # a mutant may sleep, wait or start processes: all of its group is stopped together
    process = subprocess.Popen(
        [*command, *map(str, tests)],
        cwd=tree,
        env=os.environ | _environment(tree),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return _STOPPED
    finally:
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(tree: Path) -> dict[str, str]:
    """Returns the tree is imported in place of the checkout; bytecode of a mutant is not kept."""
    data = os.environ.get("DERMEDGE_DATA", str(ROOT.parent / "shared" / "data"))
    return {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "DERMEDGE_DATA": data}


def find_tests(path: Path, imports: Mapping[Path, set[str]]) -> tuple[Path, ...]:
    """Returns the test files of a file: those that import it, and those of its folder that import a module which
    imports it.

    Without any, the search goes on with the importers of these modules.

    Args:
        path: path of the file.
        imports: file -> the modules that it imports.
    """
    names, seen = {_module(path)}, {_module(path)}
    found = _tests_of(names, imports)
    while names:
        users = {_module(one) for one, imported in imports.items() if imported & names}
        names = users - seen
        seen |= names
        home = Path("tests") / path.parent
        found |= {one for one in _tests_of(names, imports) if not found or one.is_relative_to(home)}
        if found:
            break
    return tuple(sorted(found))


def _tests_of(modules: set[str], imports: Mapping[Path, set[str]]) -> set[Path]:
    return {path for path, names in imports.items() if path.name.startswith("test_") and names & modules}


def _module(path: Path) -> str:
    """Returns the name that a file of the tree is imported by."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == _PACKAGE else (_PACKAGE, *parts))


def _imports(tree: Path) -> dict[Path, set[str]]:
    """File -> the modules of this project that it imports or names, of all Python files of the tree."""
    found = {}
    for path in sorted(tree.rglob("*.py")):
        if not any(part.is_symlink() for part in (path, *path.parents)):
            found[path.relative_to(tree)] = _named_modules(ast.parse(path.read_text()))
    return found


def _named_modules(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {module, *(f"{module}.{alias.name}" for alias in aliases)}
            case ast.Constant(value=str(text)) if text.startswith(f"{_PACKAGE}."):
                # the target of a monkeypatch: the module and names in it
                parts = text.split(".")
                names |= {".".join(parts[:length]) for length in range(2, len(parts) + 1)}
    return {name for name in names if name.startswith(f"{_PACKAGE}.")}


def _describe(trial: Trial) -> str:
    mutant = trial.mutant
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    tests = f"{len(trial.tests)} of {len(trial.tests) + trial.left_out} test files"
    where = f"{trial.path}:{mutant.line}"
    return f"{trial.verdict} {where} {mutant.what}: {before} -> {after} ({trial.secs:.0f} s, {tests})"


def folder_table(trials: Sequence[Trial]) -> TextTable:
    """Returns the share of mutants that survived, by folder and in all."""
    by_folder: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_folder[trial.path.parent.as_posix()].append(trial)
    rows = [(name, *_counts(by_folder[name])) for name in sorted(by_folder)]
    title = "Mutants that no test noticed; stopped: those whose tests took too long."
    head = ("folder", "mutants", SURVIVED, STOPPED, "share that survived")
    return TextTable(title, head, (*rows, ("all", *_counts(trials))))


def _counts(trials: Sequence[Trial]) -> tuple[str, str, str, str]:
    survived, stopped = (sum(trial.verdict == one for trial in trials) for one in (SURVIVED, STOPPED))
    return str(len(trials)), str(survived), str(stopped), f"{survived / len(trials):.0%}"
