"""The pages of the web server and who may see them; on Starlette.

On the loopback everyone on this machine may, as long as the address in the browser is one of the loopback: a
foreign name that resolves to it is refused, or any web site could read the page through it. Elsewhere a token
is needed, once as ``?token=…``, which becomes a cookie, or as ``Authorization: Bearer …``. No page of another
origin is let in, and ours load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from dermedge.edge.errors import StorageError
from dermedge.edge.views.web.board import Board, EncodedFrame
from dermedge.edge.views.web.places import Places

__all__ = ["MOST_VIEWERS", "make_app"]

# Live pictures that are sent at once.
MOST_VIEWERS = 16

_PAGE = Path(__file__).resolve().parent / "page"
_FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
_COOKIE = "dermedge"
# What the page's own script sends with a request that does something; other origins cannot.
_OWN_HEADER = "x-dermedge"
_POLL_S = 0.02
_BOUNDARY = "frame"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_Answer = Callable[[Request], Awaitable[Response]]


def make_app(board: Board, token: str | None, places: Places) -> Starlette:
    """The application: ``/``, ``/video.mjpg``, ``/state``, ``/metrics``, ``/saved/NAME``, and ``/save`` by POST.

    Args:
        token: what a viewer has to know; None for the loopback, where the name of the host must be its.
        places: where a connection keeps its place when a request of it is let in.
    """

    def guarded(answer: _Answer) -> _Answer:
        async def respond(request: Request) -> Response:
            response = _refusal(request, token)
            if response is None:
                places.prove(request.client)
                response = await answer(request)
            response.headers.update(_HEADERS)
            return response

        return respond

    async def file(request: Request) -> Response:
        return FileResponse(_PAGE / _FILES[request.url.path])

    async def video(request: Request) -> Response:
        if board.viewers >= MOST_VIEWERS:
            return PlainTextResponse(f"{MOST_VIEWERS} viewers watch already; close one of them", 503)
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(_stream(board, _wants_heat(request)), media_type=kind)

    async def state(request: Request) -> Response:
        return JSONResponse(board.state())

    async def metrics(request: Request) -> Response:
        text = "".join(f"{line}\n" for line in board.metrics())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    routes = [Route(path, guarded(file)) for path in _FILES]
    routes += [
        Route("/video.mjpg", guarded(video)),
        Route("/state", guarded(state)),
        Route("/metrics", guarded(metrics)),
        Route("/save", guarded(partial(_save, board)), methods=["POST"]),
        Route("/saved/{name}", guarded(partial(_saved, board))),
    ]
    return Starlette(routes=routes)


async def _save(board: Board, request: Request) -> Response:
    """Saves the newest result on the device, for the page's own script alone."""
    if _OWN_HEADER not in request.headers:
        return PlainTextResponse(f"the header {_OWN_HEADER} is missing", 403)
    try:
        name = await asyncio.to_thread(board.save, _wants_heat(request))
    except StorageError as error:
        return JSONResponse({"error": str(error)}, 507)
    return JSONResponse({"saved": name}) if name else JSONResponse({"error": "no picture yet"}, 409)


async def _saved(board: Board, request: Request) -> Response:
    """An image that was saved."""
    path = board.saves.path(request.path_params["name"])
    if path is None or not path.is_file():
        return PlainTextResponse("there is no such image", 404)
    return FileResponse(path, media_type="image/png")


def _refusal(request: Request, token: str | None) -> Response | None:
    """Why a request is not answered, or None; a token in the address becomes a cookie."""
    if token is None:
        host = request.headers.get("host", "").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return None if _is_loopback(name) else PlainTextResponse(f"'{host}' is not this machine", 403)
    given = request.query_params.get("token")
    if given is not None and _equal(given, token):
        response = RedirectResponse(request.url.path, 303)
        response.set_cookie(_COOKIE, token, httponly=True, samesite="strict")
        return response
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    if _equal(request.cookies.get(_COOKIE, ""), token) or _equal(bearer, token):
        return None
    return PlainTextResponse("open the address that dermedge printed at its start, with its token", 401)


def _is_loopback(name: str) -> bool:
    """Whether a host in an address is this machine's loopback: ``localhost``, ``127.0.0.2``, ``[::1]``."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


def _wants_heat(request: Request) -> bool:
    """Whether this viewer wants to see where the evidence lies: ``?heat=1``."""
    return request.query_params.get("heat") == "1"


async def _stream(board: Board, heat: bool) -> AsyncIterator[bytes]:
    """Parts of a motion JPEG: the newest picture each time that a viewer has taken the one before.

    A viewer that does not read is waited for by its own task alone, and misses what came meanwhile.
    """
    shown = 0
    with _counting_viewer(board):
        while not board.is_closed:
            if not board.has_news(shown, heat):
                await asyncio.sleep(_POLL_S)
                continue
            picture = await asyncio.to_thread(board.picture, heat)
            if picture is not None:
                shown = picture.number
                yield _part(picture)


def _part(picture: EncodedFrame) -> bytes:
    """A picture as a part of a motion JPEG."""
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
    return head.encode() + picture.jpeg + b"\r\n"


@contextmanager
def _counting_viewer(board: Board) -> Iterator[None]:
    """Counts a viewer as long as it is there."""
    board.count_viewer(1)
    try:
        yield
    finally:
        board.count_viewer(-1)


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())
