"""Runs tests for the experiment `mutants`, and records which lines each test executes.

    python forked_tests.py TREE < requests

TREE is the folder in which the tests run. Each line of standard input is a request: a JSON object with the arguments of
`_answer`. Each line of standard output is the answer to a request: the exit status of pytest, or `STOPPED`.

This program imports TensorFlow and the other large libraries, but does not call functions of these libraries. For each
request, the program forks itself, and the forked process runs the tests. This program never imports dermedge, so the
tests of each request import the current content of the files of dermedge.
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

# The exit status that is returned for tests that exceeded the time limit.
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
# pytest-timeout would end the process, so pytest-timeout is switched off. The time limit of the request is used
# instead.
_PYTEST = ("-q", "-m", "not slow", "-p", "no:cacheprovider", "-o", "timeout=0")
_POLL_S = 0.01
_FAILED = 1


def main() -> int:
    """Answers requests until standard input ends."""
    # SIGTERM raises an exception, so that `_status` can still end the tests
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.chdir(sys.argv[1])
    sys.path[0] = os.getcwd()
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            import_module(name)
    # after this call, the garbage collector ignores the objects of the libraries, so forks do not copy the memory of
    # these objects
    gc.freeze()
    for line in sys.stdin:
        print(_answer(**json.loads(line)), flush=True)
    return 0


def _answer(tests: list[str], limit_s: float, record: str | None) -> int:
    """Runs tests in a new process, and returns the exit status of pytest.

    Args:
        tests: test files and node ids.
        limit_s: seconds after which all processes of the tests are killed.
        record: a folder with a coverage.ini. The lines that each test executes are recorded in this folder. None
            records nothing, and ends the run at the first failure.
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
    """Waits at most ``limit_s`` seconds for a process, and then kills all processes that remain in the process group.

    Returns:
        The exit status of the process, or `STOPPED` if it did not end in time.
    """
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(_POLL_S)
        return STOPPED
    finally:
        # Kill the processes that the tests left running. If there are none, nothing is to be done.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def _record(tests: list[str], folder: Path) -> int:
    """Runs tests, and writes tests.json and coverage data to ``folder``.

    For each executed line, the coverage data name the tests and shared fixtures that executed the line.

    Returns:
        The exit status of pytest.
    """
    settings = str(folder / "coverage.ini")
    # with this variable, Python processes that a test starts also record their executed lines
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
    """A plugin of pytest that tells the package ``coverage`` which test or which shared fixture is running."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self._context = ""
        self._passed: set[str] = set()
        self._failed: set[str] = set()
        self._secs: dict[str, float] = {}
        self._fixtures: dict[str, list[str]] = {}
        self._shared: dict[str, float] = {}

    def summary(self) -> dict[str, Any]:
        """Returns the results and durations of the tests as a JSON-serializable dict.

        ``passed``: each test that passed, with the duration in seconds and the fixtures of the test. ``failed``: the
        tests that failed. ``shared``: each shared fixture, with the duration of the fixture in seconds.
        """
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
    """Empties the caches of all functions of dermedge.

    If the caches were kept, only the first test that calls a cached function would execute the lines of the function.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "dermedge":
            for value in list(vars(module).values()):
                if hasattr(type(value), "cache_clear"):
                    value.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
