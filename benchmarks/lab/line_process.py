"""Runs a child process, and exchanges lines of text with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, Self, cast

from dermedge.benchmarks.child import last_words

__all__ = ["LineProcess"]


class LineProcess:
    """A child process, as a context manager. The constructor starts it, and the end of the ``with`` block kills it.

    Args:
        command: the program and its arguments.
        environment: environment variables to change or add for the program.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        # standard error goes to a file; a pipe that nobody reads would fill up and block the program
        self._errors = TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._input, self._output = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write_line(self, text: str = "") -> None:
        """Sends a line to the program; does nothing if the program has ended."""
        with suppress(BrokenPipeError):
            self._input.write(f"{text}\n")
            self._input.flush()

    def read_line(self, timeout_s: float, prefix: str = "") -> str:
        """Returns the next output line that starts with ``prefix``.

        If there is no such line within ``timeout_s`` seconds, the program is killed and the result is "". The result is
        also "" if the program ends.
        """
        patience = Timer(timeout_s, self.process.kill)
        patience.start()
        try:
            return next((line for line in self._output if line.startswith(prefix)), "")
        finally:
            patience.cancel()

    def finish(self) -> str:
        """Closes the input of the program, waits for its end, and returns the rest of its output."""
        self._input.close()
        text = self._output.read()
        self.process.wait()
        return text

    def last_words(self) -> str:
        """Waits for the end of the program, and returns the last line of its standard error.

        If the program was killed or wrote nothing, a text with its exit status is returned.
        """
        status = self.process.wait()
        self._errors.seek(0)
        said = self._errors.read()
        return (
            last_words(said, status)
            if said.strip() and status > 0
            else f"the process died with status {status}"
        )

    def close(self) -> None:
        """Kills the program if it still runs."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        self._errors.close()
        with suppress(BrokenPipeError):
            self._input.close()
