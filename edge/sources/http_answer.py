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
    """Requests a URL that OpenCV could not open, and returns advice for the user.

    Args:
        address: a URL that begins with ``http://`` or ``https://``. It may contain a user name and a password.

    Returns:
        One line with the server's answer and a cure, without the URL. The function returns None if the server's answer
        does not tell the reason.
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
    return f"the server sends a web page ({kind}); give the URL of the camera's video stream"


def _request(parts: SplitResult) -> Request:
    """Returns a request for a URL. A user name and a password in the URL are moved to a header."""
    host = parts.netloc.rpartition("@")[2]
    request = Request(urlunsplit(parts._replace(netloc=host, fragment="")))
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


def _refused(error: HTTPError, has_name: bool) -> str | None:
    if error.code != HTTPStatus.UNAUTHORIZED:
        return f"the server answers {error.code}{_phrase(error.code)}; check the URL"
    if not has_name:
        return (
            "the server asks for a user name and a password; write them into the URL: http://NAME:PASSWORD@…"
        )
    # This request tried only Basic authentication. FFmpeg supports others, such as Digest. If the server asks for one
    # of them, this answer does not mean that the user name or the password is wrong.
    is_basic = error.headers.get("WWW-Authenticate", "").lower().startswith("basic")
    return "the server rejects the user name or the password; check both" if is_basic else None


def _phrase(code: int) -> str:
    """Returns a space and the standard phrase for a status code, or an empty text for an unknown code."""
    try:
        return f" {HTTPStatus(code).phrase}"
    except ValueError:
        return ""
