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
        return _ask(urlsplit(address), with_password=False)
    except (OSError, ValueError, HTTPException):
        return None


def _ask(parts: SplitResult, with_password: bool) -> str | None:
    try:
        with urlopen(_request(parts, with_password), timeout=_TIMEOUT_S) as response:
            kind = response.headers.get_content_type()
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.UNAUTHORIZED and parts.username:
                return _refused_user(parts, error, with_password)
            return _refused(error)
    if not kind.startswith("text/"):
        return None
    return f"the server sends a web page ({kind}); give the URL of the camera's video stream"


def _request(parts: SplitResult, with_password: bool) -> Request:
    """Returns a request for a URL. The user name and the password in the URL are moved to a header, or left out."""
    host = parts.netloc.rpartition("@")[2]
    request = Request(urlunsplit(parts._replace(netloc=host, fragment="")))
    if with_password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


def _refused_user(parts: SplitResult, error: HTTPError, was_with_password: bool) -> str | None:
    """Returns advice for a URL with a user name, to which the server has answered 401 (Unauthorized).

    Basic authentication does not protect the password. So this function sends the password only if the server accepts
    no other method. If the server accepts another method, such as Digest, FFmpeg has already used that method. Then
    this function cannot tell why the server refused the request, and returns None.
    """
    if was_with_password:
        return "the server rejects the user name or the password; check both"
    challenges = ", ".join(error.headers.get_all("WWW-Authenticate", [])).lower()
    is_basic = challenges.startswith("basic") and "digest" not in challenges
    return _ask(parts, with_password=True) if is_basic else None


def _refused(error: HTTPError) -> str:
    if error.code == HTTPStatus.UNAUTHORIZED:
        return (
            "the server asks for a user name and a password; write them into the URL: http://NAME:PASSWORD@…"
        )
    return f"the server answers {error.code}{_phrase(error.code)}; check the URL"


def _phrase(code: int) -> str:
    """Returns a space and the standard phrase for a status code, or an empty text for an unknown code."""
    try:
        return f" {HTTPStatus(code).phrase}"
    except ValueError:
        return ""
