"""Decides who may use the web server: everyone on this machine, or everyone who has the token.

If the server listens on the loopback address, everyone on this machine may use it. The Host header of a request must
then be a loopback address or localhost. Other host names are refused, even if they resolve to the loopback address.
Otherwise, a web site could let its own name resolve to the loopback address, and read the pages (DNS rebinding).

If the server listens on another address, each request needs a token. A browser sends the token once, as ``?token=…``.
The server answers with a cookie, which the browser sends with each further request. A program sends the token in the
header ``Authorization: Bearer …`` of each request.

Pages of other web sites cannot use the server. The pages of this server load nothing from other sites.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from dermedge.edge.printable import printable_json
from dermedge.edge.views.web.places import Places

__all__ = [
    "Answer",
    "Guard",
    "PrintableJSON",
    "is_loopback",
    "read_body",
    "require_own_script",
    "without_foreign_pages",
]

Answer = Callable[[Request], Awaitable[Response]]

# The page's own script sends this header with POST requests. Browsers do not let scripts of other web sites send it.
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
        token: the token that each viewer needs, or None if the server listens on the loopback address. Without a token,
            the guard checks the Host header instead.
        places: the limits on connections. When the guard accepts a request, it calls `Places.prove` for the connection.
    """

    def __init__(self, token: str | None, places: Places) -> None:
        self._token = token
        self._places = places

    def page(self, answer: Answer) -> Answer:
        """Wraps a handler whose responses a browser shows. The response to a refused request is one line of text."""

        async def respond(request: Request) -> Response:
            try:
                response = self._redirection(request) or await self._answer(answer, request)
            except HTTPException as error:
                response = PlainTextResponse(error.detail, error.status_code, error.headers)
            response.headers.update(_HEADERS)
            return response

        return respond

    def service(self, answer: Answer) -> Answer:
        """Wraps a handler whose responses are for programs. If a request is refused, the response is ``{"error": …}``.

        A token in the URL is not accepted here, because a program needs the response itself. `page` accepts a token in
        the URL, but answers with a redirection to the URL without the token.
        """

        async def respond(request: Request) -> Response:
            try:
                response = await self._answer(answer, request)
            except HTTPException as error:
                response = PrintableJSON({"error": error.detail}, error.status_code, error.headers)
            response.headers.update(_HEADERS)
            return response

        return respond

    async def _answer(self, answer: Answer, request: Request) -> Response:
        self._check(request)
        self._places.prove(request.client)
        return await answer(request)

    def _redirection(self, request: Request) -> Response | None:
        """Returns a redirection that sets the cookie if the URL contains the right token, and None otherwise.

        The redirection leads to the same URL without the token.
        """
        given = request.query_params.get("token")
        if given is None or request.method not in _READS or not self._is_token(given):
            return None
        kept = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
        response = RedirectResponse(request.scope["path"] + (f"?{kept}" if kept else ""), 303)
        # The user may follow a link to this URL on a page of another site, such as web mail. The browser would then
        # not send a strict cookie when it follows the redirection. A lax cookie is safe, because other sites can use it
        # only to open pages, and no GET request changes anything.
        response.set_cookie(_cookie_name(request), given, httponly=True, samesite="lax")
        return response

    def _check(self, request: Request) -> None:
        """Raises HTTPException if a request must be refused."""
        if self._token is None:
            host = request.headers.get("host", "").lower()
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if not is_loopback(name):
                raise HTTPException(
                    403, f"the host '{host}' is not a loopback address; use localhost or 127.0.0.1"
                )
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(_cookie_name(request), "")
        if not self._is_token(cookie) and not (scheme.lower() == "bearer" and self._is_token(bearer.strip())):
            raise HTTPException(
                401,
                "the token is missing or wrong; open the complete URL that dermedge printed at its start, or send the "
                "header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def _is_token(self, given: str) -> bool:
        return self._token is not None and secrets.compare_digest(given.encode(), self._token.encode())


class PrintableJSON(JSONResponse):
    """A response in JSON that may contain any text.

    The name of a file may contain bytes that are not valid UTF-8. They become escapes such as ``\\udce9``.
    """

    def render(self, content: Any) -> bytes:
        return printable_json(content).encode()


def _cookie_name(request: Request) -> str:
    """Returns the name of the cookie for this server. It contains the port.

    A browser sends the cookies of a host to all ports of the host. With the same name, the pages of two servers on one
    machine, such as `dermedge run` and `dermedge review`, would replace each other's token.
    """
    return f"dermedge-{request.scope['server'][1]}"


def require_own_script(request: Request) -> None:
    """Raises HTTPException if a request lacks the header that the page's own script sends."""
    if _OWN_HEADER not in request.headers:
        raise HTTPException(403, f"the header {_OWN_HEADER} is missing; send it with any value")


def without_foreign_pages(request: Request) -> None:
    """Raises HTTPException if a page of another web site sent the request.

    A request without an Origin header is accepted, because it comes from a program that is not a browser.
    """
    origin = request.headers.get("origin")
    # an Origin header is SCHEME://HOST:PORT or null; a program can send any text
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(403, f"a page of '{origin}' may not use this server")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Returns the body of a request.

    A body that is too large is read to its end and discarded, because many clients read the response only after they
    have sent the whole body.

    Raises:
        HTTPException: if the body has more than ``most_bytes`` bytes. The status is 413. If the connection ends before
            the whole body has arrived, the status is 400.
    """
    declared = request.headers.get("content-length", "")
    is_too_large = declared.isdecimal() and int(declared) > most_bytes
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            is_too_large = is_too_large or size > most_bytes
            if is_too_large:
                parts.clear()
            else:
                parts.append(part)
    except ClientDisconnect as error:
        # nobody reads this answer; without it, the server would print a traceback
        raise HTTPException(400, "the connection ended within the body; send the request again") from error
    if is_too_large:
        raise HTTPException(
            413, f"the body has more than {most_bytes:,} bytes, which is the limit; send a smaller one"
        )
    return b"".join(parts)


def is_loopback(name: str) -> bool:
    """Tells whether a host is a loopback address or localhost, such as ``localhost``, ``127.0.0.2`` or ``[::1]``."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
