"""The web application of `dermedge review`. It is built with Starlette.

Only POST requests change the review. POST requests from pages of other web sites are refused.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from dermedge.edge.errors import OptionError, StorageError
from dermedge.edge.review.recorded import RecordedPhoto
from dermedge.edge.review.review import Review, ReviewStatus
from dermedge.edge.review.table import CONFIRMED, CORRECTED, DISCARDED
from dermedge.edge.views.web.guard import (
    Guard,
    PrintableJSON,
    read_body,
    require_own_script,
    without_foreign_pages,
)

__all__ = ["make_review_app"]

_PAGE = Path(__file__).resolve().parent / "page"
_FILES = {
    "/": "index.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/favicon.svg": "favicon.svg",
}
_MOST_BYTES = 10_000


def make_review_app(review: Review, guard: Guard) -> Starlette:
    """Returns the web application.

    The application answers GET requests for ``/``, ``/status`` and ``/photos/…``. It answers POST requests to
    ``/decide`` and ``/undo``.
    """

    async def file(request: Request) -> Response:
        return FileResponse(_PAGE / _FILES[request.url.path])

    async def status(request: Request) -> Response:
        return PrintableJSON(await asyncio.to_thread(lambda: _to_json(review, review.status())))

    return Starlette(
        routes=[
            *(Route(path, guard.page(file)) for path in _FILES),
            Route("/status", guard.service(status)),
            Route("/photos/{path:path}", guard.page(partial(_photo, review))),
            Route("/decide", guard.service(partial(_decide, review)), methods=["POST"]),
            Route("/undo", guard.service(partial(_undo, review)), methods=["POST"]),
        ]
    )


async def _photo(review: Review, request: Request) -> Response:
    """Returns a photo of the recording. A request for any other file is refused."""
    path = review.file_of(request.path_params["path"])
    if path is None or not path.is_file():
        raise HTTPException(404, "the recording has no photo with this path")
    return FileResponse(path)


async def _decide(review: Review, request: Request) -> Response:
    _check_origin(request)
    values = await _values(request, ("photo", "label", "lesion"))
    return await _changed(review, partial(review.decide, values["photo"], values["label"], values["lesion"]))


async def _undo(review: Review, request: Request) -> Response:
    _check_origin(request)
    return await _changed(review, review.undo)


def _check_origin(request: Request) -> None:
    require_own_script(request)
    without_foreign_pages(request)


async def _values(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    """Returns the values of the keys ``names`` in the JSON object that is the body of a request.

    Raises:
        HTTPException: if the body is not a JSON object, or if the value of a key is missing or not a string. The status
            is 400. If the body is too large, the status is 413.
    """
    try:
        values = json.loads(await read_body(request, _MOST_BYTES))
        texts = {name: values[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(
            400, f"the body must be a JSON object with the strings {', '.join(names)}"
        ) from error
    if not all(isinstance(text, str) for text in texts.values()):
        raise HTTPException(400, f"{', '.join(names)} must be strings")
    return texts


async def _changed(review: Review, change: Callable[[], ReviewStatus]) -> Response:
    """Changes the review, and returns the new status. Raises HTTPException if the change is refused or fails."""
    try:
        return PrintableJSON(_to_json(review, await asyncio.to_thread(change)))
    except OptionError as error:
        raise HTTPException(409, str(error)) from error
    except StorageError as error:
        raise HTTPException(507, str(error)) from error


def _to_json(review: Review, status: ReviewStatus) -> dict[str, Any]:
    return {
        "photo": _photo_to_json(status.photo) if status.photo else None,
        "following": status.following.path if status.following else None,
        "last": {"decision": status.last.decision, "label": status.last.label} if status.last else None,
        "lesion": status.lesion_name,
        "labels": review.labels,
        "total": status.total,
        "decided": status.decided,
        "decisions": {name: status.decisions[name] for name in (CONFIRMED, CORRECTED, DISCARDED)},
        "groups": status.groups,
        "command": f"dermedge train --data {shlex.quote(str(review.table_path))}",
    }


def _photo_to_json(photo: RecordedPhoto) -> dict[str, Any]:
    return {
        "path": photo.path,
        "session": photo.session,
        "captured_at": photo.captured_at,
        "headline": photo.headline or photo.label,
        "label": photo.label,
        "probability": photo.probability,
        "probabilities": photo.probabilities,
        "alert": photo.alert,
    }
