"""Work on many items by a few threads, whose results are taken in order and never pile up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["AHEAD", "THREADS", "ordered_map"]

THREADS = 2
# Number of items that may be computed ahead. ``Executor.map`` would start all at once, and could hold a whole set in
# memory.
AHEAD = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields ``function(item)`` of every item; what ``function`` raises is raised, and ends the work."""
    left = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            waiting = deque(pool.submit(function, item) for item in islice(left, AHEAD))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(left, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
