"""The web server in a thread of its own, on Uvicorn, as a view of the loop."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import uvicorn

from dermedge.edge.errors import OptionError
from dermedge.edge.results import FrameResult
from dermedge.edge.views.web import DEFAULT_ADDRESS
from dermedge.edge.views.web.app import make_app
from dermedge.edge.views.web.board import Board
from dermedge.edge.views.web.places import PlacedProtocol, Places

__all__ = ["WebView", "parse_address"]

_TOKEN_VARIABLE = "DERMEDGE_TOKEN"
_TOKEN_BYTES = 16
# More connections at once are refused. Those that have not proved anything have fewer places, and never fill these.
_MAX_CONNECTIONS = 128
_STOP_S = 2


class WebView:
    """Serves the results that it is shown, from entry to exit.

    Bound to another address than the loopback, it asks for a token: that of the environment variable
    DERMEDGE_TOKEN, or a new one at each start.

    Args:
        address: ``HOST:PORT``; the port 0 is any that is free.
        facts: of the run, as `Board` takes them.
        has_heat_map: as `Board` takes it.

    Raises:
        OptionError: the address cannot be bound, or the token cannot stand in an address.
    """

    def __init__(self, address: str, facts: dict[str, str], has_heat_map: bool) -> None:
        host, port = parse_address(address)
        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.token = None if _is_loopback(host) else _token()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")
        self.board = Board(facts, Path(), has_heat_map)
        places = Places()
        config = uvicorn.Config(
            make_app(self.board, self.token, places),
            http=partial(PlacedProtocol, places),  # type: ignore[arg-type]
            proxy_headers=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="web", daemon=True
        )

    def __enter__(self) -> WebView:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.is_closed = True
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def show(self, result: FrameResult) -> bool:
        self.board.put(result)
        return True

    def finish(self) -> None:
        pass


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``HOST`` or ``:PORT``.

    Raises:
        OptionError: it is none of these.
    """
    default_host, default_port = DEFAULT_ADDRESS.split(":")
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = host or port, default_port
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise OptionError(f"--serve is '{text}', and not HOST:PORT such as {DEFAULT_ADDRESS}")
    return host.strip("[]") or default_host, int(port)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise OptionError(
            f"cannot serve at '{host}:{port}': {_reason(error)}; name another --serve HOST:PORT"
        ) from error


def _reason(error: OSError) -> str:
    """Why, without the address, which `socket.create_server` adds."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token() -> str:
    token = os.environ.get(_TOKEN_VARIABLE) or secrets.token_urlsafe(_TOKEN_BYTES)
    if quote(token, safe="") != token:
        # it stands in an address and in a cookie
        raise OptionError(
            f"{_TOKEN_VARIABLE} may have letters of ASCII, digits and - . _ ~ alone; choose another"
        )
    return token
