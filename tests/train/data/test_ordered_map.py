"""Results come in order, and only a few are computed ahead."""

from __future__ import annotations

import time
from threading import Lock

import pytest

from dermedge.train.data.ordered_map import AHEAD, THREADS, ordered_map


def test_results_come_in_the_order_of_the_items() -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(ordered_map(work, range(100))) == [number * number for number in range(100)]
    assert list(ordered_map(work, [])) == []


def test_what_is_not_asked_for_is_not_made() -> None:
    made, lock = [], Lock()

    def work(number: int) -> int:
        with lock:
            made.append(number)
        return number

    results = ordered_map(work, range(10_000))
    for asked in range(1, 40):
        assert next(results) == asked - 1
        assert len(made) <= asked + AHEAD
    results.close()
    assert len(made) <= 40 + AHEAD


def test_a_failure_is_raised_and_ends_the_work() -> None:
    made: list[int] = []

    def work(number: int) -> int:
        made.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    with pytest.raises(ValueError, match="five"):
        list(ordered_map(work, range(10_000)))
    assert len(made) <= 6 + AHEAD + THREADS
