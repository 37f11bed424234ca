"""The web server in a thread of its own, on Uvicorn, and the view of the loop that it serves."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette

from dermedge.edge.errors import OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.results import FrameResult
from dermedge.edge.views.web import DEFAULT_ADDRESS
from dermedge.edge.views.web.app import make_app
from dermedge.edge.views.web.board import Board
from dermedge.edge.views.web.guard import Guard
from dermedge.edge.views.web.photos import PhotoClassifier, PhotoService
from dermedge.edge.views.web.places import PlacedProtocol, Places

__all__ = ["WebServer", "WebView", "parse_address"]

_TOKEN_VARIABLE = "DERMEDGE_TOKEN"
# The environment variable that names the folder into which systemd's LoadCredential= puts files.
_CREDENTIALS_VARIABLE, _CREDENTIAL_NAME = "CREDENTIALS_DIRECTORY", "dermedge-token"
_TOKEN_BYTES = 16
_LEAST_TOKEN_LENGTH = 16
# Addresses of documentation (RFC 5737 and RFC 3849). Nothing is sent to them; they tell which address of this machine
# would be used.
_ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
# More connections at once are refused. Unproved connections have a lower limit, so that they never use up this one.
_MAX_CONNECTIONS = 128
_STOP_S = 2


class WebServer:
    """Serves an application in a thread of its own, from entry to exit.

    Bound to another address than the loopback, it asks for a token: that of systemd's credential ``dermedge-token``,
    that of the environment variable DERMEDGE_TOKEN, or a new one at each start.

    Attributes:
        port: the port at which it listens.
        token: the token that a viewer needs, or None.
        url: the address to open in a browser, with the token. If the server listens at all addresses, this is the
            machine's address in its network, if it has one.

    Args:
        address: ``HOST:PORT``; port 0 takes any free port.
        make_app: makes the application from the guard that checks its requests.

    Raises:
        OptionError: the address cannot be bound, or the token is too short or cannot stand in an address.
    """

    def __init__(self, address: str, make_app: Callable[[Guard], Starlette]) -> None:
        host, port = parse_address(address)
        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.token = None if _is_loopback(host) else _token()
        shown = _reachable(host, self._socket.family)
        self.url = f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")
        places = Places()
        config = uvicorn.Config(
            make_app(Guard(self.token, places)),
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

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class WebView:
    """A view that serves results as a web page, and classifies photos that are sent to it, from entry to exit.

    Attributes:
        port: as in `WebServer`.
        token: as in `WebServer`.
        url: as in `WebServer`.

    Args:
        address: as in `WebServer`.
        facts: facts of the run, as `Board` takes them.
        has_heat_map: as `Board` takes it.
        photos: classifies the photos of `POST /predict`; closed at the exit. None uses the default model.

    Raises:
        OptionError: as `WebServer`.
    """

    def __init__(
        self, address: str, facts: dict[str, str], has_heat_map: bool, photos: PhotoClassifier | None = None
    ) -> None:
        self.board = Board(facts, Path(), has_heat_map)
        self._photos = photos or PhotoClassifier(Classifier)
        self._server = WebServer(address, partial(make_app, self.board, PhotoService(self._photos)))
        self.port, self.token, self.url = self._server.port, self._server.token, self._server.url

    def __enter__(self) -> WebView:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.is_closed = True
        self._server.__exit__(kind, error, trace)
        self._photos.close()

    def show(self, result: FrameResult) -> bool:
        self.board.put(result)
        return True

    def finish(self) -> None:
        pass


def parse_address(text: str) -> tuple[str, int]:
    """Returns host and port of ``HOST:PORT``, ``HOST`` or ``:PORT``.

    Raises:
        OptionError: the address has another form.
    """
    default_host, default_port = DEFAULT_ADDRESS.split(":")
    if _is_address(text):
        return text, int(default_port)  # the last colon of ::1 does not precede a port
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = host or port, default_port
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise OptionError(f"--serve is '{text}', which is not HOST:PORT such as {DEFAULT_ADDRESS}")
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
    """Returns the reason of an error without the address, which `socket.create_server` adds."""
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno)


def _reachable(host: str, family: int) -> str:
    """Returns the host to use in an address that another machine can open."""
    if _is_address(host) and ipaddress.ip_address(host).is_unspecified:
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect(_ELSEWHERE[socket.AddressFamily(family)])
            host = str(probe.getsockname()[0])
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host == "localhost"


def _token() -> str:
    token, origin = _given_token()
    if token is None:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    if quote(token, safe="") != token:
        # the token is used in an address and in a cookie
        raise OptionError(f"{origin} may only contain ASCII letters, digits and - . _ ~; choose another one")
    if len(token) < _LEAST_TOKEN_LENGTH:
        raise OptionError(
            f"{origin} has {len(token)} characters, which can be guessed; choose {_LEAST_TOKEN_LENGTH} or "
            f"more, or leave it out: each start then makes a new token"
        )
    return token


def _given_token() -> tuple[str | None, str]:
    """Returns the token that the user chose, or None, and where it was set; raises OptionError."""
    folder = os.environ.get(_CREDENTIALS_VARIABLE)
    path = Path(folder or ".") / _CREDENTIAL_NAME
    if folder and path.is_file():
        try:
            return path.read_text(encoding="utf-8").strip(), f"the credential {_CREDENTIAL_NAME}"
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"cannot read the credential '{path}': {error}") from error
    return os.environ.get(_TOKEN_VARIABLE) or None, _TOKEN_VARIABLE
