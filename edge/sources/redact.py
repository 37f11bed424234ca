"""Removes user names, passwords and keys from the name of a source, so that the name can be shown and stored."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "without_secrets"]

HIDDEN = "***"
# A pipeline has " ! " between its elements, or begins with an element and a property.
_PIPELINE = re.compile(r"[^/=]*\s[\w-]+\s*=|.* ! ", re.DOTALL)
# A URL begins with a scheme and "://". One of the slashes, or the colon, may have been forgotten.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/|[^/]*//", re.IGNORECASE)
# A parameter or property holds a secret if its name contains one of these parts, or is "u" or "p". Cameras, servers and
# GStreamer elements use such names.
_SECRET = (
    r"(?:pass|pwd|pw|pas|token|key|secret|auth|sig|session|credential|cookie|headers|user|usr|login|"
    r"account|proxy-id|jwt|hash|nonce|code|pin)"
)
_NAME = rf"(?<![\w.-])((?:[\w.-]*[_.-]?)?{_SECRET}[\w.-]*|[up])"
# In a URL, a value ends before the next & that a name follows. In a pipeline, it ends at its closing quote or bracket,
# or at the next space.
_IN_ADDRESS = re.compile(rf"{_NAME}=[^&]*(?:&(?![\w.-]+=)[^&]*)*", re.IGNORECASE)
_IN_PIPELINE = re.compile(
    rf"""{_NAME}\s*=\s*(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{{[^}}]*\}}|(?:\\.|[^\s"])*)""", re.IGNORECASE
)
# One word of a pipeline. In quotes, and after a backslash, it may contain spaces.
_WORD = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'])+""")
_AFTER_SCHEME = re.compile(r"(:/+|//+)(.+)", re.DOTALL)
_HOST = re.compile(r"\[[0-9a-f:.]*(?:%\w*)?\]|[^:@\[\]]*", re.IGNORECASE)
_HOST_AND_PORT = re.compile(rf"(?:{_HOST.pattern}):\d*", re.IGNORECASE)
# Some cameras expect the user name and the password in the path: /0/NAME:PASSWORD/main
_PAIR_IN_PATH = re.compile(r"(?<=/)[^/:]+:[^/]+")


def without_secrets(spec: str) -> str:
    """Returns the name of a source without user names, passwords and keys. Paths and camera indices are unchanged.

    The user name and the password before the host of a URL are removed. Values of parameters with names such as
    ``password``, ``pwd``, ``token`` and ``key`` are replaced by `HIDDEN`, and so is ``NAME:PASSWORD`` in the path of a
    URL. In a GStreamer pipeline, values of properties such as ``user-pw`` are replaced too. A password may contain any
    character. If it is unclear where a password ends, more than the password is removed.
    """
    if _PIPELINE.match(spec):
        shown = _WORD.sub(lambda word: _AFTER_SCHEME.sub(_without_user, word[0]), spec)
        return _IN_PIPELINE.sub(rf"\1={HIDDEN}", shown)
    if _ADDRESS.match(spec):
        shown = _AFTER_SCHEME.sub(_without_user, spec, count=1)
        return _IN_ADDRESS.sub(rf"\1={HIDDEN}", shown)
    # the name is not a URL with a scheme, but may be a URL whose scheme is missing
    address, mark, query = re.sub(r"^[^/]*:.*@", "", spec, flags=re.DOTALL).partition("?")
    return address + mark + _IN_ADDRESS.sub(rf"\1={HIDDEN}", query)


def _without_user(found: re.Match[str]) -> str:
    """Returns the part of a URL after the scheme, without user names and passwords.

    The user name and the password before the host end at the last @. Before an @, ``name:123`` may be a host and its
    port, or a user name and the first digits of a password. Therefore all text before the last @ is removed.
    """
    slashes, rest = found[1], found[2]
    host = _host_of(rest)
    if not _HOST.fullmatch(host):
        if "@" in rest:
            rest = rest.rpartition("@")[2]
            host = _host_of(rest)
        elif slashes[0] == ":" and not _HOST_AND_PORT.fullmatch(host):
            return f"{slashes}{HIDDEN}{rest[len(host) :]}"
    path = re.split(r"[?#]", rest[len(host) :], maxsplit=1)[0]
    return f"{slashes}{host}{_PAIR_IN_PATH.sub(HIDDEN, path)}{rest[len(host) + len(path) :]}"


def _host_of(rest: str) -> str:
    """Returns the part of a URL before its path, its query and its fragment."""
    return re.split(r"[/?#]", rest, maxsplit=1)[0]
