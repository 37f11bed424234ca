"""Runs the quality gate in a thread of its own, so that it can work while the network runs.

LiteRT and OpenCV do not hold Python's global lock while they compute. The gate then takes hardly any time of the
loop. A signal may end the loop at any moment. Therefore this module uses `SimpleQueue`, which is written in C, and not
`threading.Condition` or `concurrent.futures`, which could stay locked for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Self

from dermedge.edge.quality import Defect

__all__ = ["ACCEPTED", "GateThread", "Verdict"]

_Check = Callable[[], Defect | None]


class Verdict:
    """The result of one check of the quality gate, which may not be finished yet."""

    def __init__(self, check: _Check) -> None:
        self._check = check
        self._answers: SimpleQueue[Defect | Exception | None] = SimpleQueue()
        self._answer: Defect | Exception | None = None
        self._is_known = False

    def find(self) -> None:
        """Runs the check."""
        try:
            self._answers.put(self._check())
        except Exception as error:  # `wait` raises the error in the thread of the loop
            self._answers.put(error)

    def wait(self) -> Defect | None:
        """Waits until the check has ended, and returns the defect, or None. Later calls return the same.

        Raises:
            Exception: the check raised this error.
        """
        if not self._is_known:
            self._answer, self._is_known = self._answers.get(), True
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


# The verdict on all frames if there is no quality gate.
ACCEPTED = Verdict(lambda: None)
ACCEPTED.find()


class GateThread:
    """A thread that runs checks one after the other, in the order in which they were started.

    Use it in a ``with`` statement. Outside of the statement there is no thread, and each check runs in the thread that
    starts it.
    """

    def __init__(self) -> None:
        self._verdicts: SimpleQueue[Verdict | None] = SimpleQueue()
        self._thread = Thread(target=_work, args=(self._verdicts,), name="quality gate", daemon=True)
        self._is_running = False

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_running = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_running = False
        self._verdicts.put(None)
        self._thread.join()  # the checks that were started end within milliseconds

    def start(self, check: _Check) -> Verdict:
        """Starts a check, and returns its verdict without waiting for the end of the check."""
        verdict = Verdict(check)
        if self._is_running:
            self._verdicts.put(verdict)
        else:
            verdict.find()
        return verdict


def _work(verdicts: SimpleQueue[Verdict | None]) -> None:
    while (verdict := verdicts.get()) is not None:
        verdict.find()
