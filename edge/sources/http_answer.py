"""Asks a web server why it does not deliver a video, because OpenCV does not report the reason."""

from __future__ import annotations

import base64
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

__all__ = ["http_advice"]

_TIMEOUT_S = 2.0


def http_advice(address: str) -> str | None:
    """Asks the server at an address that OpenCV could not open; returns its answer, and what to do.

    Args:
        address: an ``http://`` or ``https://`` address, with a name and a password if the server asks for them.

    Returns:
        A line that does not name the address; None if the answer does not tell the reason.
    """
    try:
        parts = urlsplit(address)
        with urlopen(_request(parts), timeout=_TIMEOUT_S) as response:
            kind = response.headers.get_content_type()
    except HTTPError as error:
        with error:
            return _refused(error, has_name=bool(parts.username))
    except (OSError, ValueError, HTTPException):
        return None
    if not kind.startswith("text/"):
        return None
    return f"its server sends a page ({kind}); give the address of the camera's video stream"


def _request(parts: SplitResult) -> Request:
    """Returns a request for an address; its name and password are sent in a header."""
    host = parts.netloc.rpartition("@")[2]
    request = Request(urlunsplit(parts._replace(netloc=host, fragment="")))
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


def _refused(error: HTTPError, has_name: bool) -> str | None:
    if error.code != HTTPStatus.UNAUTHORIZED:
        return f"its server answers {error.code}{_phrase(error.code)}; is the address right?"
    if not has_name:
        return "its server asks for a name and a password; write them as http://NAME:PASSWORD@…"
    # FFmpeg can log in by other methods than the one that was tried here
    is_basic = error.headers.get("WWW-Authenticate", "").lower().startswith("basic")
    return "its server refuses the name or the password" if is_basic else None


def _phrase(code: int) -> str:
    """Returns the standard words for a status code, after a space; empty for an unknown code."""
    try:
        return f" {HTTPStatus(code).phrase}"
    except ValueError:
        return ""
