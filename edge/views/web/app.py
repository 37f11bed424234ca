"""The web application of `dermedge run --serve`: the live page and `POST /predict`. It is built with Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dermedge.edge.errors import StorageError
from dermedge.edge.views.web.board import Board, EncodedFrame
from dermedge.edge.views.web.guard import Guard, PrintableJSON, require_own_script
from dermedge.edge.views.web.photos import PhotoService

__all__ = ["MOST_VIEWERS", "make_app"]

# The largest number of viewers who can watch the live video at the same time.
MOST_VIEWERS = 16

_PAGE = Path(__file__).resolve().parent / "page"
_FILES = {
    "/": "index.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/favicon.svg": "favicon.svg",
    "/openapi.json": "openapi.json",
}
_POLL_S = 0.02
_BOUNDARY = "frame"


def make_app(board: Board, photos: PhotoService, guard: Guard) -> Starlette:
    """Returns the web application.

    The application answers GET requests for ``/``, ``/video.mjpg``, ``/state``, ``/metrics``, ``/saved/NAME`` and
    ``/openapi.json``. It answers POST requests to ``/save`` and ``/predict``.
    """

    async def file(request: Request) -> Response:
        return FileResponse(_PAGE / _FILES[request.url.path])

    async def video(request: Request) -> Response:
        if board.viewers >= MOST_VIEWERS:
            return PlainTextResponse(
                f"{MOST_VIEWERS} viewers already watch the live video, which is the limit; close one of their pages",
                503,
            )
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(_stream(board, _wants_heat(request)), media_type=kind)

    async def state(request: Request) -> Response:
        return PrintableJSON(board.state())

    async def metrics(request: Request) -> Response:
        text = "".join(f"{line}\n" for line in board.metrics())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    routes = [Route(path, guard.page(file)) for path in _FILES]
    routes += [
        Route("/video.mjpg", guard.page(video)),
        Route("/state", guard.page(state)),
        Route("/metrics", guard.page(metrics)),
        Route("/save", guard.service(partial(_save, board)), methods=["POST"]),
        Route("/saved/{name}", guard.page(partial(_saved, board))),
        Route("/predict", guard.service(photos.answer), methods=["POST"]),
    ]
    return Starlette(routes=routes)


async def _save(board: Board, request: Request) -> Response:
    """Saves the newest result as an image on the device.

    A request without the header that the page's own script sends is refused.
    """
    require_own_script(request)
    try:
        name = await asyncio.to_thread(board.save, _wants_heat(request))
    except StorageError as error:
        return PrintableJSON({"error": str(error)}, 507)
    if name is None:
        return PrintableJSON({"error": "the camera has not sent a frame yet; try again"}, 409)
    return PrintableJSON({"saved": name})


async def _saved(board: Board, request: Request) -> Response:
    """Returns a saved image. With ``?thumbnail=1``, returns a small version of the image."""
    name = request.path_params["name"]
    path = board.saves.path(name)
    if request.query_params.get("thumbnail") == "1":
        small = await asyncio.to_thread(board.saves.thumbnail, name)
        return Response(small, media_type="image/jpeg") if small else _no_image()
    if path is None or not path.is_file():
        return _no_image()
    return FileResponse(path, media_type="image/png")


def _no_image() -> Response:
    return PlainTextResponse("no saved image has this name", 404)


def _wants_heat(request: Request) -> bool:
    """Tells whether the request asks for the heat map, with ``?heat=1``."""
    return request.query_params.get("heat") == "1"


async def _stream(board: Board, heat: bool) -> AsyncIterator[bytes]:
    """Yields the parts of a Motion JPEG stream. When a viewer has received one frame, the newest frame is sent next.

    A slow viewer misses frames, but does not delay other viewers.
    """
    shown = 0
    with _counting_viewer(board):
        while not board.is_closed:
            if not board.has_news(shown, heat):
                await asyncio.sleep(_POLL_S)
                continue
            frame = await asyncio.to_thread(board.frame, heat)
            if frame is not None:
                shown = frame.number
                yield _part(frame)


def _part(frame: EncodedFrame) -> bytes:
    """Returns a frame as one part of a Motion JPEG stream."""
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n\r\n"
    return head.encode() + frame.jpeg + b"\r\n"


@contextmanager
def _counting_viewer(board: Board) -> Iterator[None]:
    """Counts one more viewer until the ``with`` block ends."""
    board.count_viewer(1)
    try:
        yield
    finally:
        board.count_viewer(-1)
