"""Measures how many small mistakes in the code the tests notice.

    python -m dermedge.benchmarks.lab mutants train/fit convert/calibrate --count 60

A mutant is a copy of a code file with one small mistake. The experiment works on a copy of the repository. First, it
finds the test files of each code file, as `find_tests` describes. These test files run once without a mutant, to record
which lines each test executes. Then each mutant is tried with the tests that execute the mutated line. A mutant
survives if all these tests pass. Some mutants survive because they do not change the behaviour.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from dermedge.benchmarks.child import ROOT, run_program
from dermedge.benchmarks.lab.children.forked_tests import STOPPED as STOPPED_STATUS
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.executed import ExecutedLines, TestRunner
from dermedge.benchmarks.lab.mutation import Mutant, mutable_lines, mutants_of, users_of
from dermedge.edge.cli.arguments import positive_int, positive_number
from dermedge.edge.errors import OptionError
from dermedge.edge.text_table import TextTable

__all__ = [
    "NOTICED",
    "STOPPED",
    "SURVIVED",
    "Limits",
    "Trial",
    "choose_tests",
    "copy_tree",
    "find_tests",
    "folder_table",
    "main",
    "record_tests",
    "sample_mutants",
    "try_mutants",
]

_PACKAGE = "dermedge"
# The tests may take this many times as long with a mutant as without a mutant.
_SLOWER = 3.0
# All test files together may take this long when their executed lines are recorded.
_LONGEST_RECORDING_S = 3 * 3600.0
_DEFAULT_COUNT = 60
NOTICED, SURVIVED, STOPPED = "noticed", "survived", "stopped"
# The verdict for an exit status of pytest. Status 5 means that no test was run. Statuses that are not listed mean that
# a test failed.
_VERDICTS = {0: SURVIVED, 5: SURVIVED, STOPPED_STATUS: STOPPED}
# The exit status of pytest if a requested test does not exist.
_NO_SUCH_TEST = 4


@dataclass(frozen=True)
class Limits:
    """The time limits of the tests of one mutant.

    Attributes:
        mutant_s: time limit of the tests in seconds. Slow tests have a longer limit: three times the duration of the
            tests without the mutant.
        tests_s: maximum total duration of the tests without the mutant, in seconds. If the tests take longer, the
            slowest tests are left out.
    """

    mutant_s: float = 120.0
    tests_s: float = 60.0


@dataclass(frozen=True)
class Trial:
    """The result of the tests of one mutant.

    Attributes:
        path: path of the mutated file, relative to the root of the tree.
        mutant: the mutant of the file.
        verdict: `NOTICED`: a test failed; `SURVIVED`: all tests passed; `STOPPED`: the tests took too long.
        tests: node ids of the tests that were run.
        left_out: number of slow tests that were not run.
        secs: duration of the tests in seconds.
    """

    path: Path
    mutant: Mutant
    verdict: str
    tests: tuple[str, ...]
    left_out: int
    secs: float


def main(argv: Sequence[str]) -> int:
    """Samples mutants, runs their tests, and prints the mutants that survived; returns the exit status."""
    options = _parse(argv)
    files = _python_files(options.paths) if options.paths else _changed_files(options.since)
    sampled = sample_mutants(ROOT, files, options.count, options.seed)
    trials = []
    with TemporaryDirectory(prefix="dermedge-mutants-") as folder:
        recorded = Path(folder) / "recorded"
        recorded.mkdir()
        tree = copy_tree(ROOT, Path(folder) / "tree")
        limits = Limits(options.timeout, options.longest)
        with TestRunner(tree) as runner:
            recording = record_tests(runner, {path for path, _ in sampled}, recorded)
            for number, trial in enumerate(try_mutants(runner, recording, sampled, limits), 1):
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
        help="Mutate these Python files, and the Python files in these folders. Default: the Python files that have "
        "changed since the commit of --since.",
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
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="Sample the mutants with this seed. Default: %(default)s.",
    )
    parser.add_argument(
        "--timeout",
        type=positive_number,
        default=Limits.mutant_s,
        metavar="SECONDS",
        help="Stop the tests of a mutant after this many seconds. The limit is at least three times the duration of "
        "the tests without the mutant. Default: %(default)s.",
    )
    parser.add_argument(
        "--longest",
        type=positive_number,
        default=Limits.tests_s,
        metavar="SECONDS",
        help="Skip the slowest tests for a mutant if its tests together would take more than this many seconds. "
        "Default: %(default)s.",
    )
    return parser.parse_args(argv)


def _python_files(paths: Sequence[Path]) -> list[Path]:
    """Returns the Python files at and below ``paths``, relative to the root of the checkout.

    Raises:
        OptionError: a path does not exist, or is outside the checkout.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise OptionError(f"'{path}' does not exist; give files or folders of this checkout")
        whole = path.resolve()
        if not whole.is_relative_to(ROOT):
            raise OptionError(f"'{path}' is outside this checkout; give files or folders below '{ROOT}'")
        files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]
        found += [file.relative_to(ROOT) for file in files]
    return found


def _changed_files(commit: str) -> list[Path]:
    listed = run_program(["git", "-C", ROOT, "diff", "--name-only", "--diff-filter=d", commit], "git").stdout
    files = [
        Path(line) for line in listed.splitlines() if line.endswith(".py") and not line.startswith("tests/")
    ]
    if not files:
        raise OptionError(
            f"no Python file has changed since {commit}; name files or folders, or another commit with --since"
        )
    return files


def sample_mutants(root: Path, files: Sequence[Path], count: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Returns at most ``count`` mutants, each on a different line; all lines are equally likely.

    Args:
        root: root of the tree.
        files: files, relative to the root.
        count: number of mutants.
        seed: seed of the sample.

    Raises:
        OptionError: the files have no line that can be mutated.
    """
    sources = {path: (root / path).read_text() for path in files}
    lines = sorted((path, line) for path, source in sources.items() for line in mutable_lines(source))
    chance = random.Random(seed)
    chance.shuffle(lines)
    chosen: list[tuple[Path, Mutant]] = []
    for path, line in lines:
        if len(chosen) == count:
            break
        if mutants := mutants_of(sources[path], line):
            chosen.append((path, chance.choice(mutants)))
    if not chosen:
        raise OptionError(
            f"no line can be mutated in these files: {', '.join(map(str, files)) or 'no file was found'}; "
            "name other files"
        )
    return sorted(chosen, key=lambda one: (one[0], one[1].line))


def copy_tree(root: Path, target: Path) -> Path:
    """Copies the files of a repository to the folder ``target``, and returns the folder. Links stay links.

    Only the files that git tracks, and new files that git does not ignore, are copied.
    """
    listed = run_program(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], "git"
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_symlink() or (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name, follow_symlinks=False)
    return target


def record_tests(runner: TestRunner, paths: Iterable[Path], folder: Path) -> ExecutedLines:
    """Runs the test files of the code files in ``paths``, and records which lines each test executes.

    Prints the tests that fail without a mutant.

    Args:
        runner: runs the tests of the tree.
        paths: paths of the code files, relative to the root of the tree.
        folder: an empty folder for the recorded data.
    """
    imports = _imports(runner.tree)
    files = sorted({test for path in paths for test in find_tests(path, imports)})
    recording = runner.record(files, folder, _LONGEST_RECORDING_S)
    for test in recording.failed:
        print(f"left out, because it fails without a mutant: {test}", file=sys.stderr)
    return recording


def try_mutants(
    runner: TestRunner, recording: ExecutedLines, mutants: Sequence[tuple[Path, Mutant]], limits: Limits
) -> Iterator[Trial]:
    """For each mutant, replaces the file in the tree, runs the tests of the mutant, and restores the file.

    Args:
        runner: runs the tests of the tree. No other program may use this tree.
        recording: the lines that the tests execute.
        mutants: pairs of the path of a file, relative to the root of the tree, and a mutant of this file.
        limits: the time limits of the tests.
    """
    imports = _imports(runner.tree)
    sources = {path: (runner.tree / path).read_text() for path in imports if path.parts[0] != "tests"}
    for path, mutant in mutants:
        known = choose_tests(recording, path, mutant, find_tests(path, imports), sources)
        tests = _at_most(recording, known, limits.tests_s)
        limit_s = max(limits.mutant_s, _SLOWER * recording.secs(tests))
        file = runner.tree / path
        original = file.read_text()
        file.write_text(mutant.source)
        started = perf_counter()
        try:
            status = _status(runner, tests, limit_s)
        finally:
            file.write_text(original)
        verdict = _VERDICTS.get(status, NOTICED)
        yield Trial(path, mutant, verdict, tests, len(known) - len(tests), perf_counter() - started)


def choose_tests(
    recording: ExecutedLines, path: Path, mutant: Mutant, files: Collection[Path], sources: Mapping[Path, str]
) -> list[str]:
    """Returns the tests that execute the statement of a mutant, ordered by rising duration.

    A statement outside of functions runs when the module is imported, so almost every test executes it. For such a
    statement, the result is the tests that execute a line with a name that the statement defines, and all tests of each
    of ``files`` that contains such a name.

    If the result has tests of ``files``, its other tests are left out. If the result is empty, all tests of ``files``
    are returned.

    Args:
        recording: the lines that the tests execute.
        path: path of the mutated file, relative to the root of the tree.
        mutant: the mutant.
        files: the test files of the mutated file.
        sources: the text of each file of the tree, without test files.
    """
    belonging = {test for test in recording.tests if Path(test.partition("::")[0]) in files}
    lines: Mapping[Path, Collection[int]] = {path: mutant.statement}
    naming: set[Path] = set()
    if mutant.defines is not None:
        lines = users_of(mutant.defines, sources)
        naming = {file for file in files if _has_word(recording.tree / file, mutant.defines)}
    executing = {test for user, used in lines.items() for test in recording.that_execute(user, used)}
    executing |= {test for test in belonging if Path(test.partition("::")[0]) in naming}
    chosen = executing & belonging or executing or belonging
    return sorted(chosen, key=lambda test: (recording.secs([test]), test))


def _has_word(path: Path, words: Collection[str]) -> bool:
    return not set(re.findall(r"\w+", path.read_text(encoding="utf-8"))).isdisjoint(words)


def _at_most(recording: ExecutedLines, tests: Sequence[str], limit_s: float) -> tuple[str, ...]:
    """Returns the first tests that together take at most ``limit_s`` seconds, but at least one test.

    In the result, tests of the same file follow each other. Otherwise the fixtures of the file would be created several
    times.
    """
    total = 0.0
    by_file: dict[str, list[str]] = {}
    for number, test in enumerate(tests):
        total += recording.tests[test].secs
        if number and total > limit_s:
            break
        by_file.setdefault(test.partition("::")[0], []).append(test)
    return tuple(test for tests_of_file in by_file.values() for test in tests_of_file)


def _status(runner: TestRunner, tests: Sequence[str], limit_s: float) -> int:
    """Runs the tests; returns the exit status of pytest.

    A node id contains the parameters of the test. A mutant may change these parameters, so that a node id does not
    exist. Then each test is run with all parameters that it has now.
    """
    if not tests:
        return 0
    status = runner.run(tests, limit_s)
    if status == _NO_SUCH_TEST:
        status = runner.run(list(dict.fromkeys(test.partition("[")[0] for test in tests)), limit_s)
    return status


def find_tests(path: Path, imports: Mapping[Path, set[str]]) -> tuple[Path, ...]:
    """Returns the test files of a code file.

    The test files that import the code file belong to it. Test files in the corresponding folder of tests also belong
    to it if they import a module that imports the code file. If no test file imports the code file, the test files with
    the shortest chain of imports to the code file are returned, whatever their folder is.

    Args:
        path: path of the file, relative to the root of the tree.
        imports: the names of the modules that each file imports. The keys are the paths of the files.
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
    """Returns the name by which a file of the tree is imported."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == _PACKAGE else (_PACKAGE, *parts))


def _imports(tree: Path) -> dict[Path, set[str]]:
    """Returns, for each Python file of the tree, the dermedge modules in the imports and strings of the file."""
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
                # the string may be the target of a monkeypatch: the name of a module, followed by a name in the module
                parts = text.split(".")
                names |= {".".join(parts[:length]) for length in range(2, len(parts) + 1)}
    return {name for name in names if name.startswith(f"{_PACKAGE}.")}


def _describe(trial: Trial) -> str:
    mutant = trial.mutant
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    tests = f"{len(trial.tests)} of {len(trial.tests) + trial.left_out} tests"
    where = f"{trial.path}:{mutant.line}"
    return f"{trial.verdict} {where} {mutant.what}: {before} -> {after} ({trial.secs:.0f} s, {tests})"


def folder_table(trials: Sequence[Trial]) -> TextTable:
    """Returns a table with the fraction of the mutants that survived, for each folder and in total."""
    by_folder: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_folder[trial.path.parent.as_posix()].append(trial)
    rows = [(name, *_counts(by_folder[name])) for name in sorted(by_folder)]
    title = "survived: no test noticed the mutant. stopped: the tests of the mutant took too long."
    head = ("folder", "mutants", SURVIVED, STOPPED, "share that survived")
    return TextTable(title, head, (*rows, ("all", *_counts(trials))))


def _counts(trials: Sequence[Trial]) -> tuple[str, str, str, str]:
    survived, stopped = (sum(trial.verdict == one for trial in trials) for one in (SURVIVED, STOPPED))
    return str(len(trials)), str(survived), str(stopped), f"{survived / len(trials):.0%}"
