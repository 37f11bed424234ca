"""The pages of `dermedge run --serve`, and `POST /predict`; on Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dermedge.edge.errors import StorageError
from dermedge.edge.views.web.board import Board, EncodedFrame
from dermedge.edge.views.web.guard import Guard, require_own_script
from dermedge.edge.views.web.photos import PhotoService

__all__ = ["MOST_VIEWERS", "make_app"]

# At most this many viewers can watch the live video at a time.
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
    """Returns the application.

    GET: ``/``, ``/video.mjpg``, ``/state``, ``/metrics``, ``/saved/NAME``, ``/openapi.json``. POST: ``/save``,
    ``/predict``.
    """

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

    routes = [Route(path, guard.page(file)) for path in _FILES]
    routes += [
        Route("/video.mjpg", guard.page(video)),
        Route("/state", guard.page(state)),
        Route("/metrics", guard.page(metrics)),
        Route("/save", guard.page(partial(_save, board)), methods=["POST"]),
        Route("/saved/{name}", guard.page(partial(_saved, board))),
        Route("/predict", guard.service(photos.answer), methods=["POST"]),
    ]
    return Starlette(routes=routes)


async def _save(board: Board, request: Request) -> Response:
    """Saves the newest result on the device; only the page's own script may ask for it."""
    require_own_script(request)
    try:
        name = await asyncio.to_thread(board.save, _wants_heat(request))
    except StorageError as error:
        return JSONResponse({"error": str(error)}, 507)
    return JSONResponse({"saved": name}) if name else JSONResponse({"error": "no frame yet"}, 409)


async def _saved(board: Board, request: Request) -> Response:
    """Returns a saved image, or with ``?thumbnail=1`` a small version of it."""
    name = request.path_params["name"]
    path = board.saves.path(name)
    if request.query_params.get("thumbnail") == "1":
        small = await asyncio.to_thread(board.saves.thumbnail, name)
        return Response(small, media_type="image/jpeg") if small else _no_image()
    if path is None or not path.is_file():
        return _no_image()
    return FileResponse(path, media_type="image/png")


def _no_image() -> Response:
    return PlainTextResponse("there is no such image", 404)


def _wants_heat(request: Request) -> bool:
    """Tells whether this viewer wants the heat map: ``?heat=1``."""
    return request.query_params.get("heat") == "1"


async def _stream(board: Board, heat: bool) -> AsyncIterator[bytes]:
    """Yields parts of a motion JPEG: the newest frame, each time that the viewer has received the previous one.

    A slow viewer misses frames, and does not delay other viewers.
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
    """Returns a frame as a part of a motion JPEG."""
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n\r\n"
    return head.encode() + frame.jpeg + b"\r\n"


@contextmanager
def _counting_viewer(board: Board) -> Iterator[None]:
    """Counts a viewer while it is connected."""
    board.count_viewer(1)
    try:
        yield
    finally:
        board.count_viewer(-1)
