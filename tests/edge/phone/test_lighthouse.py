"""Lighthouse's findings on the page: accessibility, best practices, and what search engines want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_lighthouse_finds_nothing(browse: Callable[..., dict[str, Any]], chromium: str) -> None:
    seen = browse("lighthouse.mjs", program=chromium)
    assert seen["findings"] == seen["warnings"] == []
    assert seen["scores"] == {"accessibility": 1, "best-practices": 1, "seo": 1}
