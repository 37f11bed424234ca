"""Applies a function to many items in a few threads.

The results come in the order of the items. Only a few results are in memory at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["AHEAD", "THREADS", "ordered_map"]

THREADS = 2
# At most this many results are computed in advance. ``Executor.map`` would submit all items immediately, and could
# hold all results in memory.
AHEAD = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields ``function(item)`` for every item, in the order of the items.

    If ``function`` raises an exception, no further items are processed, and the exception is raised here.
    """
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
