"""Limits the connections of the web server, so that nobody can lock its owner out.

A connection is proved once one of its requests was accepted (with the token, if one is needed). A connection must
send each request within `HEAD_TIMEOUT_S`; a proved one within `BODY_TIMEOUT_S`, because it may send a photo. The
number of unproved connections is limited, for each client and in all: a new one closes the oldest.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = [
    "BODY_TIMEOUT_S",
    "HEAD_TIMEOUT_S",
    "MOST_OF_A_CLIENT",
    "MOST_UNPROVED",
    "PlacedProtocol",
    "Places",
]

HEAD_TIMEOUT_S = 5.0
BODY_TIMEOUT_S = 60.0
MOST_UNPROVED = 32
MOST_OF_A_CLIENT = 16

# Host and port of the other end.
_Client = tuple[str, int]


class Places:
    """The connections that are not proved yet. Only the server's event loop uses it."""

    def __init__(self) -> None:
        self._unproved: dict[_Client, asyncio.Transport] = {}  # the oldest first

    def enter(self, client: _Client, transport: asyncio.Transport) -> None:
        """Adds a new connection. If there are too many, closes the oldest one of the same client, or of all."""
        of_client = [other for other in self._unproved if other[0] == client[0]]
        if len(of_client) >= MOST_OF_A_CLIENT:
            self._unproved.pop(of_client[0]).abort()
        elif len(self._unproved) >= MOST_UNPROVED:
            self._unproved.pop(next(iter(self._unproved))).abort()
        self._unproved[client] = transport

    def prove(self, client: _Client | None) -> None:
        """Notes that a request of this connection was accepted; the connection then stays until it ends."""
        if client is not None:
            self._unproved.pop((client[0], client[1]), None)

    def has_proved(self, client: _Client) -> bool:
        """Tells whether a request of this connection was accepted."""
        return client not in self._unproved

    def leave(self, client: _Client) -> None:
        """Notes that a connection has ended."""
        self._unproved.pop(client, None)


class PlacedProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 with `Places` and with a time limit for each request."""

    def __init__(self, places: Places, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._places = places
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:
            self._places.enter(self.client, transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        if self.client is not None:
            self._places.leave(self.client)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._start_deadline()
        else:
            self._stop_deadline()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._expire)

    def _expire(self) -> None:
        """Closes the connection, unless it is proved and still sending."""
        is_sending = self.conn.their_state is h11.SEND_BODY
        if is_sending and self.client is not None and self._places.has_proved(self.client):
            self._deadline = self.loop.call_later(BODY_TIMEOUT_S - HEAD_TIMEOUT_S, self.transport.abort)
        else:
            self.transport.abort()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
