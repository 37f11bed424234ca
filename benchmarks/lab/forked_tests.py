"""Runs tests, and records which lines each of them executes: the program that the experiment on mutants talks to.

    python forked_tests.py < requests

Each line of standard input is a request: a JSON object with the arguments of `_answer`. Each line of standard output is
the answer: the exit status of pytest, or `STOPPED`. The tests of a request run in a process of their own. It is forked
from this one, which has imported TensorFlow and the other large libraries but has run none of their code. dermedge is
not imported here, so that each process imports the files as they are at that time.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import coverage
import pytest

__all__ = ["STOPPED", "main"]

# Exit status of tests that ran out of time.
STOPPED = -signal.SIGKILL
_LIBRARIES = (
    "cv2",
    "hypothesis",
    "matplotlib.pyplot",
    "scipy.stats",
    "sklearn.metrics",
    "tensorflow",
    "tf_keras",
    "tensorflow_model_optimization",
)
# The limit of a request holds, and not that of pytest-timeout, which would end the process.
_PYTEST = ("-q", "-m", "not slow", "-p", "no:cacheprovider", "-o", "timeout=0")
_POLL_S = 0.01
_FAILED = 1


def main() -> int:
    """Answers requests until standard input ends."""
    # the end of this process ends the tests too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.path[0] = os.getcwd()
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            import_module(name)
    # the libraries stay where they are: the collector does not touch, and so copy, their pages in each process
    gc.freeze()
    for line in sys.stdin:
        print(_answer(**json.loads(line)), flush=True)
    return 0


def _answer(tests: list[str], limit_s: float, record: str | None) -> int:
    """The exit status of pytest.

    Args:
        tests: files and node ids.
        limit_s: seconds after which all processes of the tests are killed.
        record: a folder that holds coverage.ini, in which what each test executes is recorded. Without it, the first
            failure ends the run.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return _status(process, limit_s)
    status = _FAILED
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        _be_silent()
        status = int(_record(tests, Path(record)) if record else pytest.main([*_PYTEST, "-x", *tests]))
    finally:
        os._exit(status)


def _be_silent() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _status(process: int, limit_s: float) -> int:
    """The exit status of a process, whose group is killed when it has ended or after ``limit_s``."""
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(_POLL_S)
        return STOPPED
    finally:
        # what the tests have started may still wait or sleep
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def _record(tests: list[str], folder: Path) -> int:
    """Writes what each test executes to ``folder``: coverage data, whose contexts are tests, and tests.json."""
    settings = str(folder / "coverage.ini")
    # Python processes that a test starts measure themselves
    os.environ["COVERAGE_PROCESS_START"] = settings
    measured = coverage.Coverage(config_file=settings)
    measured.start()
    recorder = _Recorder(measured)
    status = pytest.main([*_PYTEST, *tests], plugins=[recorder])
    measured.stop()
    measured.save()
    (folder / "tests.json").write_text(json.dumps(recorder.summary()))
    return int(status)


class _Recorder:
    """A plugin of pytest that names to coverage the test, or the fixture of several tests, that runs."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self._context = ""
        self._passed: set[str] = set()
        self._failed: set[str] = set()
        self._secs: dict[str, float] = {}
        self._fixtures: dict[str, list[str]] = {}
        self._shared: dict[str, float] = {}

    def summary(self) -> dict[str, Any]:
        """For JSON: the tests that passed with their seconds and fixtures, those that failed, the shared fixtures."""
        passed = {
            test: {"secs": self._secs[test], "fixtures": self._fixtures[test]}
            for test in sorted(self._passed - self._failed)
        }
        return {"passed": passed, "failed": sorted(self._failed), "shared": self._shared}

    @contextlib.contextmanager
    def _in(self, context: str) -> Iterator[None]:
        before, self._context = self._context, context
        self._measured.switch_context(context)
        try:
            yield
        finally:
            self._context = before
            self._measured.switch_context(before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        _clear_caches()
        self._fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        self._secs[item.nodeid] = 0.0
        with self._in(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Any:
        if fixturedef.scope == "function":
            return (yield)
        started = time.perf_counter()
        try:
            with self._in(fixturedef.argname):
                return (yield)
        finally:
            secs = time.perf_counter() - started
            self._shared[fixturedef.argname] = secs
            if self._context in self._secs:
                self._secs[self._context] -= secs

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._secs[report.nodeid] += report.duration
        if report.failed:
            self._failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self._passed.add(report.nodeid)


def _clear_caches() -> None:
    """Makes the next test compute what functions keep: else only the first test seems to execute them."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "dermedge":
            for value in list(vars(module).values()):
                if hasattr(type(value), "cache_clear"):
                    value.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
