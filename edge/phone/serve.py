"""A web server for a built app: over HTTP for this machine, or over HTTPS for phones in the same network."""

from __future__ import annotations

import errno
import gzip
import mimetypes
import shlex
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dermedge.edge.errors import OptionError
from dermedge.edge.phone.authority import Authority

__all__ = [
    "AUTHORITY_PATH",
    "HEADERS",
    "LOOPBACK",
    "FileHandler",
    "ServedFile",
    "load_files",
    "make_file",
    "make_server",
    "trust_files",
]

LOOPBACK = "127.0.0.1"
_TRUST_PAGE = Path(__file__).resolve().parent / "trust.html"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".tflite": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
HEADERS = {
    # this policy is sent with each file and not only with the page, because a worker obeys the policy that is sent with
    # the worker's own script
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
_READ_TIMEOUT_S = 30
# If the server cannot listen because of one of these errors, the error message recommends another port. For other
# values of errno, the error message recommends another host.
_OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES)
AUTHORITY_PATH = "/dermedge-ca.crt"


@dataclass(frozen=True)
class ServedFile:
    """One file that the server can send.

    Attributes:
        content: the bytes of the file.
        gzipped: the bytes of the gzip-compressed file, or None if the file is never sent compressed.
        type: the media type of the file, for the header Content-Type.
    """

    content: bytes
    gzipped: bytes | None
    type: str


def load_files(folder: Path) -> dict[str, ServedFile]:
    """Returns all files of a built app. Each key of the dict is the path in the URL.

    Raises:
        OptionError: if the folder contains no built app, or if a file of the app cannot be read.
    """
    try:
        _check_app(folder)
        files = {
            f"/{path.relative_to(folder).as_posix()}": make_file(path.read_bytes(), path.suffix)
            for path in folder.rglob("*")
            if path.is_file()
        }
    except OSError as error:
        reason = error.strerror or error
        raise OptionError(f"cannot read '{error.filename}': {reason}; build the app again") from error
    return {"/": files["/index.html"], **files}


def _check_app(folder: Path) -> None:
    """Raises OptionError if a folder contains no built app. Raises OSError if the folder cannot be read."""
    if not all((folder / name).is_file() for name in ("index.html", "files.js")):
        cure = (
            "name the folder that `dermedge phone build` wrote"
            if folder.exists()
            else f"build one with: dermedge phone build {shlex.quote(str(folder))}"
        )
        raise OptionError(f"'{folder}' holds no built app; {cure}")


def make_file(content: bytes, suffix: str) -> ServedFile:
    """Returns a file to serve. The media type is derived from the suffix of the file name, for example ``.html``."""
    gzipped = gzip.compress(content, 6)
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return ServedFile(content, gzipped if len(gzipped) < len(content) else None, kind)


class FileHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection with the files at the requested paths."""

    protocol_version = "HTTP/1.1"
    timeout = _READ_TIMEOUT_S

    def __init__(self, files: Mapping[str, ServedFile], *connection: Any) -> None:
        # the files are set first, because __init__ of the base class answers the requests
        self._files = files
        super().__init__(*connection)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self, with_body: bool) -> None:
        file = self._files.get(unquote(self.path.partition("?")[0]))
        status = HTTPStatus.OK if file else HTTPStatus.NOT_FOUND
        file = file or make_file(b"there is no such file\n", ".txt")
        accepted = file.gzipped is not None and "gzip" in self.headers.get("Accept-Encoding", "")
        body = file.gzipped if accepted and file.gzipped is not None else file.content
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", file.type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Vary", "Accept-Encoding")
        if accepted:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # a phone that disconnects, or does not trust the certificate yet, causes an OSError. This is no server error
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_server(
    files: Mapping[str, ServedFile],
    host: str,
    port: int,
    context: ssl.SSLContext | None = None,
    handler: type[FileHandler] = FileHandler,
) -> ThreadingHTTPServer:
    """Returns a server that is bound to an address. Call ``serve_forever`` of the server to answer requests.

    Args:
        files: the files to serve. Each key is the path in the URL.
        host: IP address or host name of this machine.
        port: the TCP port. Port 0 stands for any free port.
        context: the TLS context for HTTPS. None means HTTP.
        handler: the class that answers the requests.

    Raises:
        OptionError: if the server cannot be bound to the address.
    """
    try:
        server = _Server((host, port), partial(handler, files))
    except (OSError, OverflowError) as error:
        is_port = isinstance(error, OverflowError) or error.errno in _OF_THE_PORT
        cure = "choose another --port" if is_port else "give an address of this machine as --host"
        raise OptionError(f"cannot listen on {host}, port {port}: {error}; {cure}") from error
    if context is not None:
        # each connection does its TLS handshake in its own thread, so that a silent client does not block other clients
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def trust_files(authority: Authority, app_url: str) -> dict[str, ServedFile]:
    """Returns the certificate of the authority, and a page that explains how a phone can trust the certificate."""
    text = _TRUST_PAGE.read_text(encoding="utf-8").format(app=escape(app_url), mark=authority.fingerprint)
    return {
        "/": make_file(text.encode(), ".html"),
        AUTHORITY_PATH: ServedFile(authority.certificate, None, "application/x-x509-ca-cert"),
    }
