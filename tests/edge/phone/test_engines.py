"""The page in other engines than Chromium's: Firefox's, and WebKit, which iPhones have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dermedge.edge.quality import HINTS

# The path of Debian's program. The asterisk stands for the folder of the processor's architecture.
MINI_BROWSER = "*/webkit2gtk-4.1/MiniBrowser"


def command_of(engine: str) -> tuple[str, tuple[str, ...]]:
    """Returns the path of a browser, and the command that the visit must run in. If it is missing, skips the test."""
    cure = "`make test-phone` installs it where it can"
    if engine == "firefox":
        firefox = shutil.which("firefox-esr")
        return (firefox, ()) if firefox else pytest.skip(f"no Firefox; {cure}")
    mini = next(Path("/usr/lib").glob(MINI_BROWSER), None)
    if mini is None or not all(map(shutil.which, ("WebKitWebDriver", "xvfb-run"))):
        pytest.skip(f"no WebKitGTK with WebKitWebDriver and xvfb-run; {cure}")
    return str(mini), ("xvfb-run", "--auto-servernum")


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def visit(request: pytest.FixtureRequest, browse: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What engines.mjs saw, with the engine's name."""
    program, around = command_of(request.param)
    seen = browse("engines.mjs", around=around, engine=request.param, program=program)
    return {"engine": request.param, **seen}


def test_the_levels_are_those_of_python(visit: dict[str, Any], classified: list[dict[str, Any]]) -> None:
    assert visit["classified"] == classified


def test_the_page_names_a_photo_also_when_the_server_is_gone(visit: dict[str, Any], first_title: str) -> None:
    assert visit["photo"] == visit["offline"] == first_title


def test_a_camera_s_picture_is_judged_and_a_missing_camera_is_named(visit: dict[str, Any]) -> None:
    title, hint = visit["camera"]
    if visit["engine"] == "firefox":
        # Firefox has a fake camera, whose images have a single colour
        assert title == "searching"
        assert hint in HINTS.values()
    else:
        assert (title, hint) == ("camera lost", "there is no camera: choose a photo")


def test_nothing_is_asked_of_anyone_else_and_the_policy_is_not_breached(visit: dict[str, Any]) -> None:
    assert visit["reports"] == []
    assert visit["asked"] == []
    # this breach was made on purpose, and shows that a breach would be reported
    assert visit["breach"] == "img-src: http://foreign.invalid/picture.png"
