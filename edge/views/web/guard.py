"""Decides who may use the web server: everyone on this machine, or those who have the token.

On the loopback address, everyone on this machine may use it. The host in the browser's address must be a loopback one
too: a foreign name that resolves to it is refused, because any web site could read the pages through such a name. On
other addresses a token is needed, either once as ``?token=…``, which becomes a cookie, or as ``Authorization: Bearer
…``. Pages of other origins are refused, and our pages load nothing from elsewhere.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from dermedge.edge.views.web.places import Places

__all__ = ["Answer", "Guard", "read_body", "require_own_script", "without_foreign_pages"]

Answer = Callable[[Request], Awaitable[Response]]

_COOKIE = "dermedge"
# The header that the page's own script sends with POST requests; other origins cannot send it.
_OWN_HEADER = "x-dermedge"
_READS = ("GET", "HEAD")
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


class Guard:
    """Accepts or refuses requests.

    Args:
        token: the token that a viewer needs. None for the loopback address, where the host of a request must be a
            loopback name.
        places: gives a connection a lasting place when one of its requests is accepted.
    """

    def __init__(self, token: str | None, places: Places) -> None:
        self._token = token
        self._places = places

    def page(self, answer: Answer) -> Answer:
        """Wraps a handler for people: a refused request gets one line of text."""

        async def respond(request: Request) -> Response:
            try:
                response = self._redirection(request) or await self._answer(answer, request)
            except HTTPException as error:
                response = PlainTextResponse(error.detail, error.status_code, error.headers)
            response.headers.update(_HEADERS)
            return response

        return respond

    def service(self, answer: Answer) -> Answer:
        """Wraps a handler for programs: errors are JSON, ``{"error": …}``, and nothing is redirected."""

        async def respond(request: Request) -> Response:
            try:
                response = await self._answer(answer, request)
            except HTTPException as error:
                response = JSONResponse({"error": error.detail}, error.status_code, error.headers)
            response.headers.update(_HEADERS)
            return response

        return respond

    async def _answer(self, answer: Answer, request: Request) -> Response:
        self._check(request)
        self._places.prove(request.client)
        return await answer(request)

    def _redirection(self, request: Request) -> Response | None:
        """Returns a redirection to the same address without the token, and a cookie, if the token in the address is
        right.
        """
        given = request.query_params.get("token")
        if given is None or request.method not in _READS or not self._is_token(given):
            return None
        response = RedirectResponse(request.url.path, 303)
        response.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
        return response

    def _check(self, request: Request) -> None:
        """Raises HTTPException if a request must be refused."""
        if self._token is None:
            host = request.headers.get("host", "").lower()
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if not _is_loopback(name):
                raise HTTPException(403, f"'{host}' is not this machine")
            return
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._is_token(request.cookies.get(_COOKIE, "")) and not self._is_token(bearer):
            raise HTTPException(
                401,
                "open the address that dermedge printed at its start, with its token, or send the header "
                "Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def _is_token(self, given: str) -> bool:
        return self._token is not None and secrets.compare_digest(given.encode(), self._token.encode())


def require_own_script(request: Request) -> None:
    """Raises HTTPException if a request that changes something does not come from the page's own script."""
    if _OWN_HEADER not in request.headers:
        raise HTTPException(403, f"the header {_OWN_HEADER} is missing")


def without_foreign_pages(request: Request) -> None:
    """Raises HTTPException if a page of another web site sent the request. Programs send no origin."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"a page of '{origin}' may not use this server")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Returns the body of a request.

    A body that is too large is read to its end and dropped, so that its sender reads the answer.

    Raises:
        HTTPException: it has more than ``most_bytes``; status 413.
    """
    declared = request.headers.get("content-length", "")
    is_too_large = declared.isdecimal() and int(declared) > most_bytes
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        is_too_large = is_too_large or size > most_bytes
        if is_too_large:
            parts.clear()
        else:
            parts.append(part)
    if is_too_large:
        raise HTTPException(413, f"the body has more than {most_bytes:,} bytes, which is the limit")
    return b"".join(parts)


def _is_loopback(name: str) -> bool:
    """Tells whether a host in an address is this machine's loopback: ``localhost``, ``127.0.0.2``, ``[::1]``."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
