"""Tells systemd that the loop is ready, that it is still running, and which state it shows (see sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from types import TracebackType

from dermedge.edge.printable import printable
from dermedge.edge.results import FrameResult

__all__ = ["ServiceView", "is_service"]

_SOCKET_VARIABLE = "NOTIFY_SOCKET"
_WATCHDOG_VARIABLE = "WATCHDOG_USEC"
_US_PER_S = 1e6
# If systemd has no watchdog for this service, a status message is sent whenever this many seconds have passed.
_STATUS_INTERVAL_S = 5.0


def is_service() -> bool:
    """Tells whether systemd started this process as a service that must report when the service is ready."""
    return _SOCKET_VARIABLE in os.environ


class ServiceView:
    """Reports results to systemd.

    The loop itself notifies the watchdog. If the loop hangs, the notifications stop, and systemd restarts the service.
    """

    def __init__(self) -> None:
        address = os.environ[_SOCKET_VARIABLE]
        # a leading @ stands for the zero byte with which the address of an abstract socket begins
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog_us = os.environ.get(_WATCHDOG_VARIABLE, "")
        watchdog_s = int(watchdog_us) / _US_PER_S if watchdog_us.isdecimal() else 0
        self._interval_s = watchdog_s / 3 if watchdog_s else _STATUS_INTERVAL_S
        self._due_s = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> ServiceView:
        self._notify("READY=1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notify("STOPPING=1")
        self._socket.close()

    def show(self, result: FrameResult) -> bool:
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + self._interval_s
            status = ": ".join(filter(None, (result.state, printable(result.hint))))
            self._notify(f"WATCHDOG=1\nSTATUS={status}")
        return True

    def finish(self) -> None:
        pass

    def _notify(self, message: str) -> None:
        # The live loop goes on if the message cannot be sent. systemd restarts a service that sends no messages. A
        # process that has inherited NOTIFY_SOCKET from a service may have no access to the socket.
        with suppress(OSError):
            self._socket.sendto(message.encode(), self._address)
