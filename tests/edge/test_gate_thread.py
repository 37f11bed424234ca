"""Checks of the quality gate that run in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dermedge.edge.gate_thread import ACCEPTED, GateThread
from dermedge.edge.quality import Defect

PATIENCE_S = 5


@pytest.fixture
def thread() -> Iterator[GateThread]:
    with GateThread() as thread:
        yield thread


def test_checks_run_in_the_order_of_their_start_and_in_one_other_thread(thread: GateThread) -> None:
    ran: list[tuple[int, threading.Thread]] = []
    defects = (Defect.DARK, None, Defect.MOVING)

    def check(number: int) -> Defect | None:
        ran.append((number, threading.current_thread()))
        return defects[number]

    verdicts = [thread.start(lambda number=number: check(number)) for number in range(3)]  # type: ignore[misc]
    assert [verdict.wait() for verdict in reversed(verdicts)] == list(reversed(defects))
    assert [number for number, _ in ran] == [0, 1, 2]
    [worker] = {worker for _, worker in ran}
    assert worker is not threading.current_thread()


def test_a_check_that_is_not_finished_does_not_hold_up_its_caller(thread: GateThread) -> None:
    may_end = threading.Event()
    verdict = thread.start(lambda: Defect.DARK if may_end.wait(PATIENCE_S) else None)
    may_end.set()
    assert verdict.wait() == Defect.DARK


def test_a_check_runs_once_however_often_its_verdict_is_asked_for(thread: GateThread) -> None:
    runs: list[int] = []
    verdict = thread.start(lambda: runs.append(1))
    assert [verdict.wait(), verdict.wait()] == [None, None]
    assert runs == [1]


def test_an_error_of_a_check_is_raised_where_its_verdict_is_awaited(thread: GateThread) -> None:
    def fail() -> Defect | None:
        raise ValueError("no such image")

    broken, whole = thread.start(fail), thread.start(lambda: Defect.DARK)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such image"):
            broken.wait()
    assert whole.wait() == Defect.DARK


def test_leaving_the_block_ends_the_thread_after_the_checks_that_were_started() -> None:
    workers: list[threading.Thread] = []
    with GateThread() as thread:
        thread.start(lambda: workers.append(threading.current_thread()))
    [worker] = workers
    assert not worker.is_alive()


def test_outside_of_the_block_a_check_runs_at_once() -> None:
    thread, runs = GateThread(), []
    verdict = thread.start(lambda: runs.append(threading.current_thread()))
    assert runs == [threading.current_thread()]
    assert verdict.wait() is None


def test_without_a_gate_every_frame_is_accepted() -> None:
    assert [ACCEPTED.wait(), ACCEPTED.wait()] == [None, None]
