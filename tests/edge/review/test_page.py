"""The page of `dermedge review` in a real Chromium, by the keyboard alone."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.review.app import make_review_app
from dermedge.edge.review.review import Review
from dermedge.edge.views.web.server import WebServer


@pytest.fixture
def serve() -> Iterator[Callable[[Path], WebServer]]:
    servers: list[WebServer] = []

    def start(folder: Path) -> WebServer:
        servers.append(WebServer("127.0.0.1:0", partial(make_review_app, Review(folder))).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def wait_for(browser: Any, decided: int, total: int) -> None:
    browser.wait(
        f"document.getElementById('counter').textContent.startsWith('{decided} of {total} ') && "
        "document.getElementById('main').getAttribute('aria-busy') === 'false'"
    )


def test_photos_are_confirmed_corrected_discarded_and_taken_back_by_keys_alone(
    browser: Any, serve: Callable[[Path], WebServer], make_recording: Callable[..., Path]
) -> None:
    folder = make_recording(2, 3)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    browser.open(serve(folder).url)
    wait_for(browser, 0, 5)
    assert browser.text("title") == "nevus"
    for decided, key in enumerate(["Enter", "1", "x"], start=1):
        browser.press(key)
        wait_for(browser, decided, 5)
    assert [(row["label"], row["decision"]) for row in rows(folder)] == [
        ("nevus", "confirmed"),
        ("melanoma", "corrected"),
        ("", "discarded"),
    ]
    browser.press("u")
    wait_for(browser, 2, 5)
    assert len(rows(folder)) == 2
    browser.press("o")
    browser.type("angioma")
    browser.press("Enter")
    wait_for(browser, 3, 5)
    browser.press("l")
    browser.type("left arm, x1")
    browser.press("Enter")
    assert len(rows(folder)) == 3, "a name alone decides nothing"
    browser.press("Enter")
    wait_for(browser, 4, 5)
    browser.press("x")
    wait_for(browser, 5, 5)
    browser.wait("!document.getElementById('end').hidden")
    assert browser.text("counter") == "5 of 5 reviewed: 2 confirmed, 2 corrected, 1 discarded"
    assert [(row["label"], row["lesion"]) for row in rows(folder)][2:] == [
        ("angioma", "left arm, x1"),
        ("nevus", "left arm, x1"),
        ("", "left arm, x1"),
    ]
    browser.press("u")
    wait_for(browser, 4, 5)
    assert {path: path.read_bytes() for path in before} == before, "no photo and no line is changed"
    assert browser.errors == []


def click(browser: Any, selector: str, count: int) -> None:
    """Clicks on an element. ``count`` is the number of quick clicks at this place so far, including this one."""
    place = f"(({{x, y}}) => [x + 9, y + 9])(document.querySelector('{selector}').getBoundingClientRect())"
    x, y = browser.evaluate(place)
    for kind in ("mousePressed", "mouseReleased"):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=count
        )


def test_a_double_click_decides_on_one_photo_only_and_quick_clicks_take_back_several_decisions(
    browser: Any, serve: Callable[[Path], WebServer], make_recording: Callable[..., Path]
) -> None:
    folder = make_recording(3)
    browser.open(serve(folder).url)
    wait_for(browser, 0, 3)
    for count in (1, 2):
        click(browser, "#classes button", count)
        wait_for(browser, 1, 3)
    assert [row["label"] for row in rows(folder)] == ["melanoma"]
    browser.press("x")
    wait_for(browser, 2, 3)
    for count in (1, 2):
        click(browser, "#undo", count)
        wait_for(browser, 2 - count, 3)
    assert rows(folder) == []


def test_a_second_start_goes_on_where_the_first_one_stopped(
    browser: Any, serve: Callable[[Path], WebServer], make_recording: Callable[..., Path]
) -> None:
    folder = make_recording(3)
    Review(folder).decide("20261129T200000Z/000000.jpg", "melanoma")
    browser.open(serve(folder).url)
    wait_for(browser, 1, 3)
    browser.press("u")
    wait_for(browser, 0, 3)
    assert rows(folder) == []


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_nothing_overflows_and_every_control_has_a_name_and_a_visible_focus(
    width: int, browser: Any, serve: Callable[[Path], WebServer], make_recording: Callable[..., Path]
) -> None:
    browser.show_at(width, 800)
    browser.open(serve(make_recording(2)).url)
    wait_for(browser, 0, 2)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    names = {}
    for _ in range(8):
        browser.press("Tab")
        name, style, thickness = browser.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            "return [e.labels?.[0]?.textContent ?? e.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
        )
        names[name] = (style, thickness)
    assert list(names)[:7] == [
        "Confirm nevus Enter",
        "Discard x",
        "1melanoma40 %",
        "2nevus50 %",
        "3none of these10 %",
        "A class that is not listed o",
        "Name of the lesion, optional l",
    ]
    assert all(style == "solid" and thickness >= 2 for style, thickness in list(names.values())[:7])
