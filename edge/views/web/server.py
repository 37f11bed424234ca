"""The web server (Uvicorn), which runs in a separate thread, and the view that shows results on the web page."""

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
from dermedge.edge.sources.redact import without_secrets
from dermedge.edge.views.web import DEFAULT_ADDRESS
from dermedge.edge.views.web.app import make_app
from dermedge.edge.views.web.board import Board
from dermedge.edge.views.web.guard import Guard, is_loopback
from dermedge.edge.views.web.photos import PhotoClassifier, PhotoService
from dermedge.edge.views.web.places import PlacedProtocol, Places

__all__ = ["WebServer", "WebView", "parse_address"]

_TOKEN_VARIABLE = "DERMEDGE_TOKEN"
# systemd's LoadCredential= puts files into a folder. The environment variable CREDENTIALS_DIRECTORY contains the path
# of the folder. The file dermedge-token in the folder contains the token.
_CREDENTIALS_VARIABLE, _CREDENTIAL_NAME = "CREDENTIALS_DIRECTORY", "dermedge-token"
_TOKEN_BYTES = 16
_LEAST_TOKEN_LENGTH = 16
# These addresses are reserved for documentation (RFC 5737 and RFC 3849). They are only used to find out which address
# this machine has in its network. Nothing is sent to them.
_ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
# The largest number of simultaneous connections. Further connections are refused. Strangers cannot use up all
# connections, because `MOST_UNPROVED`, the limit on connections without an accepted request, is lower.
_MAX_CONNECTIONS = 128
# The server stops as soon as all requests have ended. If a request has not ended after this time in seconds, uvicorn
# cancels it and prints a traceback. This happens only if dermedge has a fault, because each connection should end
# earlier, after `STOP_TIMEOUT_S`.
_STOP_S = 30


class WebServer:
    """Serves a web application in a separate thread, as long as the ``with`` block runs.

    If the address is not a loopback address, each viewer needs a token. The token is the systemd credential
    ``dermedge-token``. If there is no such credential, the token is the value of the environment variable
    DERMEDGE_TOKEN. If this variable is not set either, the server makes a new token at each start.

    Attributes:
        port: the port on which the server listens.
        token: the token that a viewer needs, or None if no token is needed.
        url: the URL to open in a browser. It includes the token if a token is needed. If the server listens on all
            addresses, the host in the URL is this machine's address in its network. Without a network, the host is
            0.0.0.0 or [::].

    Args:
        address: ``HOST:PORT``. Port 0 stands for any free port.
        make_app: the function that makes the application. Its argument is the guard that checks the requests.

    Raises:
        OptionError: in four cases: ``address`` is not ``HOST:PORT``; the server cannot listen on ``address``; the
            credential cannot be read; the token is too short, or contains characters other than ASCII letters, digits
            and - . _ ~.
    """

    def __init__(self, address: str, make_app: Callable[[Guard], Starlette]) -> None:
        host, port = parse_address(address)
        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.token = None if is_loopback(host) else _token()
        shown = _reachable(host, self._socket.family)
        self.url = f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")
        places = Places()
        config = uvicorn.Config(
            make_app(Guard(self.token, places)),
            http=partial(PlacedProtocol, places),  # type: ignore[arg-type]
            proxy_headers=False,
            log_config=None,
            # a warning about a request that is not HTTP would appear in the middle of the live view
            log_level="error",
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
    """A view that serves results as a web page, and classifies the photos that clients send to it.

    Attributes:
        port: the port on which the server listens.
        token: the token that a viewer needs, or None if no token is needed.
        url: the URL to open in a browser. `WebServer` describes it.

    Args:
        address: ``HOST:PORT``. Port 0 stands for any free port.
        facts: the labels of the metric ``dermedge_info``, such as the name and the digest of the model.
        has_heat_map: whether the model can compute a heat map.
        photos: the classifier for the photos of `POST /predict`. The view closes this classifier at the exit. If
            ``photos`` is None, the default model classifies the photos.

    Raises:
        OptionError: if the address or the token is not valid, or if the server cannot listen on the address.
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
    """Splits ``HOST:PORT``, ``HOST`` or ``:PORT`` into host and port. `DEFAULT_ADDRESS` supplies a missing part.

    Raises:
        OptionError: if the text is neither ``HOST:PORT`` nor ``HOST`` nor ``:PORT``.
    """
    default_host, default_port = DEFAULT_ADDRESS.split(":")
    if _is_address(text):
        return text, int(default_port)  # an IPv6 address such as ::1 contains colons, but no port
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = host or port, default_port
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise OptionError(
            f"--serve '{without_secrets(text)}' is not HOST:PORT; write for example --serve {DEFAULT_ADDRESS}"
        )
    return host.strip("[]") or default_host, int(port)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        raise OptionError(
            f"cannot serve at '{host}:{port}': {_reason(error)}; choose another address with --serve HOST:PORT"
        ) from error


def _reason(error: OSError | UnicodeError) -> str:
    """Returns the reason of an error, without the address that `socket.create_server` adds to the reason."""
    if isinstance(error, UnicodeError):  # a part of the name is empty or too long
        return "this is not a host name"
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno)


def _reachable(host: str, family: int) -> str:
    """Returns the host for the URL, with brackets around an IPv6 address.

    If the server listens on all addresses, this function returns the address of this machine in its network. Without a
    network, it returns 0.0.0.0 or [::].
    """
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


def _token() -> str:
    token, origin = _given_token()
    if token is None:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    if quote(token, safe="") != token:
        # other characters could not be used unchanged in a URL and in a cookie
        raise OptionError(
            f"{origin} may only contain ASCII letters, digits and - . _ ~; choose another token"
        )
    if len(token) < _LEAST_TOKEN_LENGTH:
        raise OptionError(
            f"{origin} has only {len(token)} characters, so that others could guess it; use at least "
            f"{_LEAST_TOKEN_LENGTH} characters, or remove {origin} to get a new token at each start"
        )
    return token


def _given_token() -> tuple[str | None, str]:
    """Returns two values: the token that the user chose, and the name of the credential or variable that contains it.

    The token is None if there is no credential, and the environment variable is missing or empty.

    Raises:
        OptionError: if the credential cannot be read.
    """
    folder = os.environ.get(_CREDENTIALS_VARIABLE)
    path = Path(folder or ".") / _CREDENTIAL_NAME
    if folder and path.is_file():
        try:
            return path.read_text(encoding="utf-8").strip(), f"the credential {_CREDENTIAL_NAME}"
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                f"cannot read the credential '{path}': {error}; store the token in a readable text file"
            ) from error
    return os.environ.get(_TOKEN_VARIABLE) or None, _TOKEN_VARIABLE
