"""Which tests execute a line of the product: recorded once, so that a mutant is tried on these tests alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import coverage

import dermedge.train
from dermedge.benchmarks.child import ROOT
from dermedge.edge.errors import ToolError

__all__ = ["ExecutedLines", "RecordedTest", "TestRunner"]

_PROGRAM = Path(__file__).with_name("forked_tests.py")
# The context of a process is the test that started it, which pytest names in the environment.
_SETTINGS = """[run]
core = ctrace
parallel = true
data_file = {folder}/.coverage
context = ${{PYTEST_CURRENT_TEST-}}
include = {tree}/*
omit = {tree}/tests/*
"""


@dataclass(frozen=True)
class RecordedTest:
    """A test that passed without a mutant.

    Attributes:
        secs: how long it took, without fixtures that it shares with other tests.
        fixtures: the names of all its fixtures.
    """

    secs: float
    fixtures: tuple[str, ...]


@dataclass(frozen=True)
class ExecutedLines:
    """What each test executes.

    Attributes:
        tree: the root of the tree.
        tests: node id -> the test.
        failed: the node ids of the tests that fail without a mutant.
        shared: fixture that several tests share -> seconds that it took.
        data: the lines that were executed; their contexts are tests and shared fixtures.
    """

    tree: Path
    tests: Mapping[str, RecordedTest]
    failed: tuple[str, ...]
    shared: Mapping[str, float]
    data: coverage.CoverageData

    def that_execute(self, path: Path, lines: Collection[int]) -> set[str]:
        """The tests that execute one of these lines of a file, themselves or in a fixture that they share."""
        by_line = self.data.contexts_by_lineno(str((self.tree / path).resolve()))
        contexts = {_test_of(context) for line in lines for context in by_line.get(line, ())}
        return {
            name
            for name, test in self.tests.items()
            if name in contexts or contexts.intersection(test.fixtures)
        }

    def secs(self, tests: Sequence[str]) -> float:
        """How long these tests took, with the fixtures that they share."""
        shared = {
            fixture for test in tests for fixture in self.tests[test].fixtures if fixture in self.shared
        }
        return sum(self.tests[test].secs for test in tests) + sum(self.shared[one] for one in shared)


def _test_of(context: str) -> str:
    """The test or fixture of a context; that of another process ends with the phase of its test."""
    for phase in (" (setup)", " (call)", " (teardown)"):
        context = context.removesuffix(phase)
    return context


class TestRunner:
    """A process that has imported the large libraries, and runs tests of a tree in forks of itself.

    A context manager. It needs `os.fork`: it works on Linux and macOS.

    Attributes:
        tree: the root of the tree.
    """

    # pytest takes it for a class of tests otherwise
    __test__ = False

    def __init__(self, tree: Path) -> None:
        self.tree = tree.resolve()
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)],
            cwd=self.tree,
            env=_environment(self.tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> TestRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def run(self, tests: Sequence[str], limit_s: float) -> int:
        """The exit status of pytest, which stops at the first failure, or that of SIGKILL after ``limit_s``."""
        return self._ask(tests, limit_s, None)

    def record(self, files: Sequence[Path], folder: Path, limit_s: float) -> ExecutedLines:
        """Runs test files and records what each test executes.

        Args:
            files: the test files, relative to the tree.
            folder: an empty folder for what is recorded.
            limit_s: seconds.

        Raises:
            ToolError: pytest did not come to an end.
        """
        (folder / "coverage.ini").write_text(_SETTINGS.format(folder=folder, tree=self.tree))
        status = self._ask([str(file) for file in files], limit_s, str(folder))
        if not (folder / "tests.json").is_file():
            raise ToolError(f"the tests ended with status {status} and left no record of what they execute")
        return read_recording(folder, self.tree)

    def _ask(self, tests: Sequence[str], limit_s: float, record: str | None) -> int:
        assert self._process.stdin
        assert self._process.stdout
        print(
            json.dumps({"tests": list(tests), "limit_s": limit_s, "record": record}), file=self._process.stdin
        )
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise ToolError("the process that runs the tests has ended; is there enough memory?")
        return int(answer)


def read_recording(folder: Path, tree: Path) -> ExecutedLines:
    """Reads what `TestRunner.record` wrote to ``folder``."""
    told = json.loads((folder / "tests.json").read_text())
    tests = {name: RecordedTest(one["secs"], tuple(one["fixtures"])) for name, one in told["passed"].items()}
    # each process has written a file
    measured = coverage.Coverage(data_file=folder / ".coverage", config_file=False)
    measured.combine([str(folder)])
    return ExecutedLines(tree, tests, tuple(told["failed"]), told["shared"], measured.get_data())


def _environment(tree: Path) -> dict[str, str]:
    """The tree is imported in place of the checkout; bytecode of a mutant is not kept."""
    # the import has set what TensorFlow and OpenCV read when they are imported
    assert dermedge.train
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DERMEDGE_DATA": os.environ.get("DERMEDGE_DATA", str(ROOT.parent / "shared" / "data")),
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    return environment
