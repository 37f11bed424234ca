"""Locks that a forked process can take, even if a thread of its parent held them during the fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakSet

__all__ = ["ForkLock"]

_locks: WeakSet[ForkLock] = WeakSet()


class ForkLock:
    """A lock for use in ``with lock.held():``. A forked process gets a new lock that no thread holds.

    Without the new lock, the process could wait for ever: the threads of its parent, which would release the lock, do
    not exist in it.

    Args:
        make: `threading.Lock` or `threading.RLock`.
    """

    def __init__(self, make: Callable[[], Any] = Lock) -> None:
        self._make = make
        self.renew()
        _locks.add(self)

    def held(self) -> Any:
        """Returns the lock of this process, as the context manager that takes and releases it."""
        return self._lock

    def renew(self) -> None:
        """Puts a new lock in the place of the old one."""
        self._lock = self._make()


def _renew_all() -> None:
    for lock in _locks:
        lock.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_all)
