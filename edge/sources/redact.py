"""Removes user names, passwords and keys from the name of a source, so that the name can be shown and stored."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "without_secrets"]

HIDDEN = "***"
_PIPELINE = " ! "
# A parameter or property whose name contains one of these parts holds a secret. Cameras, servers and GStreamer elements
# use such names.
_SECRET = (
    r"(?:pass|pwd|pw|pas|token|key|secret|auth|sig|session|credential|cookie|headers|user|usr|login|"
    r"account|proxy-id|jwt|hash|nonce|code|pin)"
)
_NAME = rf"(?<![\w.-])((?:[\w.-]*[_.-]?)?{_SECRET}[\w.-]*)"
# In a URL, a value ends at the next &. In a pipeline, it ends at its closing quote or at the next space.
_IN_ADDRESS = re.compile(rf"{_NAME}=[^&]*", re.IGNORECASE)
_IN_PIPELINE = re.compile(
    rf"""{_NAME}\s*=\s*(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|[^\s"])*)""", re.IGNORECASE
)
_HOST_AND_PORT = re.compile(r"(?:\[[0-9a-f:.%]*\]|[^:@\[\]]*)(?::\d*)?", re.IGNORECASE)


def without_secrets(spec: str) -> str:
    """Returns the name of a source without user names, passwords and keys. Paths and camera indices are unchanged.

    The user name and the password before the host of a URL are removed. Values of parameters with names such as
    ``password``, ``pwd``, ``token`` and ``key`` are replaced by `HIDDEN`. In a GStreamer pipeline, values of properties
    such as ``user-pw`` are replaced too. A password may contain any character. If it is unclear where a password ends,
    more than the password is removed.
    """
    if _PIPELINE in spec:
        shown = re.sub(r"(:/+)(\S+)", _without_user, spec)
        return _IN_PIPELINE.sub(rf"\1={HIDDEN}", shown)
    if re.match(r"[a-z][a-z0-9+.-]*:/", spec, re.IGNORECASE):
        shown = re.sub(r"(:/+)(.+)", _without_user, spec, count=1, flags=re.DOTALL)
        return _IN_ADDRESS.sub(rf"\1={HIDDEN}", shown)
    # the name is not a URL with a scheme, but may be a URL whose scheme is missing
    return re.sub(r"^[^/]*:.*@", "", spec, flags=re.DOTALL)


def _without_user(found: re.Match[str]) -> str:
    """Returns the part of a URL after the scheme, without the user name and the password.

    The user name and the password end at the last @.
    """
    slashes, rest = found[1], found[2]
    before_path = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _HOST_AND_PORT.fullmatch(before_path) or "@" not in rest:
        return f"{slashes}{rest}"
    return f"{slashes}{rest.rpartition('@')[2]}"
