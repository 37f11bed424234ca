"""Runs programs and functions of this project in child processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import dermedge
from dermedge.edge.errors import DermedgeError, ToolError

__all__ = ["ROOT", "call_in_child", "last_words", "run_program", "with_our_packages"]

# The folder that holds the package `dermedge`.
ROOT = Path(dermedge.__file__).resolve().parents[1]

_Result = TypeVar("_Result")


def run_program(
    command: Sequence[str | Path],
    name: str,
    *,
    environment: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end.

    Args:
        command: the program and its arguments.
        name: name of the program, for error messages.
        environment: environment variables to change or add for the program.
        content: bytes that the program can read from standard input. If it is None, standard input is empty.
        timeout_s: seconds after which the program is killed; None sets no limit.

    Returns:
        The exit status, and the standard output and standard error as text.

    Raises:
        ToolError: the program is missing, fails, or does not end in time. If it fails, the message ends with the last
            line that the program wrote to standard error.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            input=content or b"",
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise ToolError(
            f"{name} cannot be started: {error.strerror or error}; check that the program is installed"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{name} did not end within {timeout_s:g} s, and was stopped; close other programs, and try again"
        ) from error
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode:
        raise ToolError(f"{name} failed: {last_words(errors, done.returncode)}")
    return subprocess.CompletedProcess(done.args, done.returncode, output, errors)


def call_in_child(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Calls a function in a new Python process, and returns the result of the function.

    Args:
        function: a function of a module that can be imported.
        arguments: arguments of the function. The arguments and the result must be picklable.

    Raises:
        DermedgeError: the function raised this error.
        ToolError: the process died, or the function raised another error.
    """
    with TemporaryDirectory(prefix="dermedge-") as folder:
        answer = Path(folder) / "answer"
        run_program(
            # without -P, modules in the current folder would be imported in place of installed ones
            [sys.executable, "-P", "-m", "dermedge.benchmarks.child", answer],
            "a child process",
            environment=with_our_packages(),
            content=pickle.dumps((function, arguments)),
        )
        result, error = pickle.loads(answer.read_bytes())
    if error is not None:
        kind, text = error
        # the error is created without its constructor, because the constructors of the error classes have different
        # parameters
        raise kind.__new__(kind, text)
    returned: _Result = result
    return returned


def with_our_packages() -> dict[str, str]:
    """Returns PYTHONPATH for another Python process, so that it imports the same `dermedge` as this process."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


def last_words(errors: str, status: int) -> str:
    """Returns the last line that a program wrote to standard error.

    If the program wrote nothing, returns the exit status as text.
    """
    return (errors.strip().splitlines() or [f"status {status}"])[-1]


def _answer(path: Path) -> None:
    function, arguments = pickle.load(sys.stdin.buffer)
    outcome: tuple[object, tuple[type[DermedgeError], str] | None]
    try:
        outcome = function(*arguments), None
    except DermedgeError as error:
        outcome = None, (type(error), str(error))
    path.write_bytes(pickle.dumps(outcome))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
