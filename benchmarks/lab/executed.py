"""Records which tests execute each line of the product. A mutant is tried only on the tests that execute its line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage

import dermedge.train
from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.line_process import LineProcess
from dermedge.edge.errors import ToolError

__all__ = ["ExecutedLines", "RecordedTest", "TestRunner"]

_PROGRAM = Path(__file__).parent / "children" / "forked_tests.py"
# This many seconds are added to the time limit of the tests, so that the libraries can be imported and killed tests can
# end.
_PATIENCE_S = 600.0
# Settings of coverage. The context of a process is the test that started the process; pytest names this test in the
# environment variable PYTEST_CURRENT_TEST.
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
        secs: duration of the test in seconds, without fixtures that several tests share.
        fixtures: names of all fixtures of the test.
    """

    secs: float
    fixtures: tuple[str, ...]


@dataclass(frozen=True)
class ExecutedLines:
    """The lines that each test executes.

    Attributes:
        tree: root of the copied tree.
        tests: the recorded tests. The keys are node ids.
        failed: node ids of the tests that fail without a mutant.
        shared: duration in seconds of each fixture that several tests share. The keys are the names of the fixtures.
        data: coverage data of the executed lines. The contexts are tests and shared fixtures.
    """

    tree: Path
    tests: Mapping[str, RecordedTest]
    failed: tuple[str, ...]
    shared: Mapping[str, float]
    data: coverage.CoverageData

    def that_execute(self, path: Path, lines: Collection[int]) -> set[str]:
        """Returns the tests that execute at least one of ``lines`` of a file, directly or in a shared fixture."""
        by_line = self.data.contexts_by_lineno(str((self.tree / path).resolve()))
        contexts = {_test_of(context) for line in lines for context in by_line.get(line, ())}
        return {
            name
            for name, test in self.tests.items()
            if name in contexts or contexts.intersection(test.fixtures)
        }

    def secs(self, tests: Sequence[str]) -> float:
        """Returns the total duration of ``tests`` in seconds. Shared fixtures are included, each counted once."""
        shared = {
            fixture for test in tests for fixture in self.tests[test].fixtures if fixture in self.shared
        }
        return sum(self.tests[test].secs for test in tests) + sum(self.shared[one] for one in shared)


def _test_of(context: str) -> str:
    """Returns the name of the test or fixture that executed a line.

    The package ``coverage`` stores the name as the context of the line. If a test started another process, the
    contexts of that process end with the phase of the test, such as " (call)". The phase is removed.
    """
    for phase in (" (setup)", " (call)", " (teardown)"):
        context = context.removesuffix(phase)
    return context


class TestRunner(LineProcess):
    """Runs the tests of a tree in a process of `children.forked_tests`, which forks itself for each run.

    The operating system must have `os.fork`; Linux and macOS have it.

    Attributes:
        tree: root of the copied tree.
    """

    # Without this line, pytest would treat this class as a class of tests, because of its name.
    __test__ = False

    def __init__(self, tree: Path) -> None:
        self.tree = tree.resolve()
        super().__init__([sys.executable, _PROGRAM, self.tree], _environment(self.tree))

    def close(self) -> None:
        # after SIGTERM, the process can still end the running tests; after SIGKILL, it could not
        self.process.terminate()
        self.process.wait()
        super().close()

    def run(self, tests: Sequence[str], limit_s: float) -> int:
        """Runs tests up to the first failure.

        Args:
            tests: node ids of the tests.
            limit_s: seconds after which the tests are killed.

        Returns:
            The exit status of pytest, or `forked_tests.STOPPED` if the tests were killed.

        Raises:
            ToolError: the process that runs the tests has died.
        """
        return self._ask(tests, limit_s, None)

    def record(self, files: Sequence[Path], folder: Path, limit_s: float) -> ExecutedLines:
        """Runs test files, and records which lines each test executes.

        Args:
            files: the test files, relative to the tree.
            folder: an empty folder for the recorded data.
            limit_s: seconds after which the tests are killed.

        Raises:
            ToolError: pytest did not finish.
        """
        (folder / "coverage.ini").write_text(_SETTINGS.format(folder=folder, tree=self.tree))
        status = self._ask([str(file) for file in files], limit_s, str(folder))
        if not (folder / "tests.json").is_file():
            raise ToolError(
                f"the tests ended with status {status} before the executed lines were recorded; run pytest on the test "
                "files to see why"
            )
        return read_recording(folder, self.tree)

    def _ask(self, tests: Sequence[str], limit_s: float, record: str | None) -> int:
        self.write_line(json.dumps({"tests": list(tests), "limit_s": limit_s, "record": record}))
        answer = self.read_line(limit_s + _PATIENCE_S)
        if not answer:
            raise ToolError(
                f"the process that runs the tests has ended: {self.last_words()}; run pytest on the test files to see "
                "why"
            )
        return int(answer)


def read_recording(folder: Path, tree: Path) -> ExecutedLines:
    """Reads the data that `TestRunner.record` wrote to ``folder``. ``tree`` is the root of the copied tree."""
    told = json.loads((folder / "tests.json").read_text())
    tests = {name: RecordedTest(one["secs"], tuple(one["fixtures"])) for name, one in told["passed"].items()}
    # each process has written its own file of coverage data, so the files are combined
    measured = coverage.Coverage(data_file=folder / ".coverage", config_file=False)
    measured.combine([str(folder)])
    return ExecutedLines(tree, tests, tuple(told["failed"]), told["shared"], measured.get_data())


def _environment(tree: Path) -> dict[str, str]:
    """Returns the environment variables with which Python imports the copied tree instead of the checkout.

    One variable keeps Python from storing bytecode, because mutants change the source.
    """
    # the import of dermedge.train has set variables that TensorFlow and OpenCV read; the process of the tests gets them
    assert dermedge.train
    return {
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        # the copied tree has no photos; this variable tells the tests where the photos of the checkout are
        "DERMEDGE_DATA": os.environ.get("DERMEDGE_DATA", str(ROOT.parent / "shared" / "data")),
        "PYTEST_CURRENT_TEST": "",
    }
