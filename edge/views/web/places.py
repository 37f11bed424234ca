"""Limits the connections to the web server, so that a stranger who opens many connections cannot lock the owner out.

A connection counts as proved as soon as the server has accepted one request on it. If the server needs a token, it
accepts only requests with the token.

A client must send each request within `HEAD_TIMEOUT_S` seconds. Otherwise, the connection is closed. There is one
exception: on a proved connection, if the head of a request arrives in this time, the client may take `BODY_TIMEOUT_S`
seconds for the whole request. A body may hold a photo, which takes longer to send. The server accepts or refuses a
request as soon as it has the head, without waiting for the body. So the first request of a connection can prove the
connection, and then has more time for its own body.

A client must also receive what the server sends. If data for a client has waited for `SEND_TIMEOUT_S` seconds, the
connection is closed. Otherwise, a phone that has left the network would keep its place among the viewers for a quarter
of an hour. When the server stops, each client has `STOP_TIMEOUT_S` seconds to receive the rest.

A new connection waits until its first request is accepted. This module limits how many connections may wait, both for
each client and in total. If a new connection would exceed a limit, the connection that has waited longest is closed.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = [
    "BODY_TIMEOUT_S",
    "HEAD_TIMEOUT_S",
    "MOST_OF_A_CLIENT",
    "MOST_UNPROVED",
    "SEND_BUFFER_BYTES",
    "SEND_TIMEOUT_S",
    "STOP_TIMEOUT_S",
    "PlacedProtocol",
    "Places",
]

HEAD_TIMEOUT_S = 5.0
BODY_TIMEOUT_S = 60.0
SEND_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 2.0
# The size of the system's send buffer for each connection. By default, the buffer can grow to megabytes. On a slow
# network, a minute of live video would wait in it, and the viewer would see old frames beside new answers.
SEND_BUFFER_BYTES = 65_536
# All clients together may have at most MOST_UNPROVED connections on which no request has been accepted yet. One client
# may have at most MOST_OF_A_CLIENT such connections.
MOST_UNPROVED = 32
MOST_OF_A_CLIENT = 16

# Host and port of the client.
_Client = tuple[str, int]


class Places:
    """Holds the connections on which the server has not accepted a request yet.

    Only the event loop of the server may call the methods.
    """

    def __init__(self) -> None:
        self._unproved: dict[_Client, asyncio.Transport] = {}  # the oldest connection comes first

    def enter(self, client: _Client, transport: asyncio.Transport) -> None:
        """Adds a new connection. If the connection would exceed a limit, closes an older connection.

        A connection counts only until the server has accepted a request on it. If this client has too many
        connections, the oldest connection of this client is closed. Otherwise, if all clients together have too many
        connections, the oldest connection of all clients is closed.
        """
        of_client = [other for other in self._unproved if other[0] == client[0]]
        if len(of_client) >= MOST_OF_A_CLIENT:
            self._unproved.pop(of_client[0]).abort()
        elif len(self._unproved) >= MOST_UNPROVED:
            self._unproved.pop(next(iter(self._unproved))).abort()
        self._unproved[client] = transport

    def prove(self, client: _Client | None) -> None:
        """Marks a connection as proved, because the server has accepted a request on it.

        `enter` never closes a proved connection.
        """
        if client is not None:
            self._unproved.pop((client[0], client[1]), None)

    def has_proved(self, client: _Client) -> bool:
        """Tells whether the server has accepted a request on this connection."""
        return client not in self._unproved

    def leave(self, client: _Client) -> None:
        """Forgets a connection that has ended."""
        self._unproved.pop(client, None)


class PlacedProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 protocol, with limits on the number of connections and on the duration of each request."""

    def __init__(self, places: Places, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._places = places
        self._deadline: asyncio.TimerHandle | None = None
        self._send_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        # the next frame waits until the system has taken the previous one
        transport.set_write_buffer_limits(high=0)
        if self.client is not None:
            self._places.enter(self.client, transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._stop_send_deadline()
        if self.client is not None:
            self._places.leave(self.client)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._start_deadline()
        else:
            self._stop_deadline()

    def pause_writing(self) -> None:
        """Starts a time limit of `SEND_TIMEOUT_S`. asyncio calls this method if data waits for the client."""
        super().pause_writing()
        self._send_deadline = self.loop.call_later(SEND_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the time limit. asyncio calls this method when the system has taken all of the data."""
        self._stop_send_deadline()
        super().resume_writing()

    def shutdown(self) -> None:
        """Ends the connection within `STOP_TIMEOUT_S`. uvicorn calls this method when the server stops."""
        super().shutdown()
        self.loop.call_later(STOP_TIMEOUT_S, self.transport.abort)

    def _stop_send_deadline(self) -> None:
        if self._send_deadline is not None:
            self._send_deadline.cancel()
            self._send_deadline = None

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._expire)

    def _expire(self) -> None:
        """Closes the connection after the time limit, or gives the client more time.

        The client gets more time if the server has accepted a request on this connection, and the client is still
        sending the body of a request. This may be the body of the accepted request, because the server accepts a
        request as soon as it has the head.
        """
        is_sending = self.conn.their_state is h11.SEND_BODY
        if is_sending and self.client is not None and self._places.has_proved(self.client):
            self._deadline = self.loop.call_later(BODY_TIMEOUT_S - HEAD_TIMEOUT_S, self.transport.abort)
        else:
            self.transport.abort()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
