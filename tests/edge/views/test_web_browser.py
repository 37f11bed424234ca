"""The web page in a real Chromium, where there is one (Debian: `apt install chromium`)."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views import web as web_package
from dermedge.edge.views.web.server import WebView

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The stream of frames never ends, so the page never finishes loading. Chromium stops waiting after this time.
PATIENCE_MS = 5000
# The page is open for this time, which is enough for several requests of the state.
VIRTUAL_MS = 3000
BAR = '<div class="bar"><span>{}</span><progress></progress><span>100 %</span></div>'
# Stores by how many pixels each frame of a page is too wide.
MEASURE = (
    "document.body.dataset.overflow = [...document.querySelectorAll(`iframe`)].map((frame) => "
    "frame.contentDocument.documentElement).map((page) => page.scrollWidth - page.clientWidth)"
)


@pytest.fixture
def web(make_result: Callable[..., FrameResult]) -> Iterator[WebView]:
    """A server that gets an answer to show ten times a second."""
    stop = threading.Event()
    with WebView("127.0.0.1:0", {}, True) as view:

        def show() -> None:
            view.show(make_result(state=State.SEARCHING, classification=None))
            while not stop.wait(0.1):
                view.show(make_result())

        thread = threading.Thread(target=show)
        thread.start()
        yield view
        stop.set()
        thread.join()


def browse(web: WebView, folder: Path, *options: str, hash_: str = "") -> subprocess.CompletedProcess[str]:
    return browse_address(web.url + hash_, folder, *options)


def browse_address(address: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        f"--timeout={PATIENCE_MS}",
        f"--virtual-time-budget={VIRTUAL_MS}",
        *options,
        address,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_page_tells_the_answer_its_bars_and_its_history(web: WebView, tmp_path: Path) -> None:
    done = browse(web, tmp_path, "--dump-dom")
    page = done.stdout
    assert re.search(r'<h2 id="title">nevus 70 %</h2>', page)
    assert re.search(r'class="bar chosen"><span>nevus</span>', page)
    assert re.search(r"<td>nevus</td><td>70 %</td>", page)
    assert "Content Security Policy" not in done.stderr, "the page keeps its own policy"
    assert "Uncaught" not in done.stderr


def test_the_page_fits_into_narrow_screens_and_phones_held_sideways(tmp_path: Path) -> None:
    label, folder = "dermatofibroma", Path(web_package.__file__).parent / "page"
    page = (folder / "index.html").read_text()
    for old, new in (
        ('<link rel="stylesheet" href="page.css">', f"<style>{(folder / 'page.css').read_text()}</style>"),
        ('<script src="page.js" defer></script>', ""),
        ('<div id="bars"></div>', BAR.format(label)),
        ('<tbody id="history"></tbody>', f"<tr><td>23:11:34</td><td>{label}</td><td>100 %</td></tr>"),
    ):
        assert old in page
        page = page.replace(old, new)
    frames = (
        f'<iframe width="{width}" height="{height}" srcdoc="{html.escape(page)}"></iframe>'
        for width, height in ((320, 568), (568, 320), (656, 375), (700, 500), (896, 600))
    )
    (tmp_path / "all.html").write_text(f"<body onload='{MEASURE}'>{''.join(frames)}</body>")
    done = browse_address((tmp_path / "all.html").as_uri(), tmp_path, "--dump-dom")
    assert 'data-overflow="0,0,0,0,0"' in done.stdout


def test_a_close_up_is_noted_and_only_the_headline_and_its_notes_are_announced(
    noted_classification: Classification, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    prediction = replace(noted_classification.prediction, view="close-up")
    with WebView("127.0.0.1:0", {}, True) as view:
        view.show(
            make_result(
                classification=replace(noted_classification, prediction=prediction), hint="hold still"
            )
        )
        page = browse(view, tmp_path, "--dump-dom").stdout
    notes = "melanoma alert, close-up: less certain"
    assert re.search(rf'<p id="hint">{notes}, hold still</p>', page)
    assert re.search(rf"<td>uncertain; nearest: nevus, {notes}</td>", page)
    assert re.search(rf'<p id="spoken" role="status">uncertain; nearest: nevus, {notes}</p>', page)
    assert "aria-live" not in page


def test_the_address_with_its_token_opens_from_a_page_of_another_site(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A user may open the address from a terminal in the browser, from a mail or from a chat."""
    monkeypatch.setenv("DERMEDGE_TOKEN", "open-sesame-please")
    with WebView("0.0.0.0:0", {}, True) as view:
        other = tmp_path / "other.html"
        other.write_text(f"<script>location = 'http://127.0.0.1:{view.port}/?token={view.token}'</script>")
        page = browse_address(other.as_uri(), tmp_path, "--dump-dom").stdout
    assert '<ul id="links">' in page
    assert "the token is missing" not in page


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_the_live_picture_is_seen_at_the_size_of_a_phone_and_of_a_desk(
    size: tuple[int, int], web: WebView, tmp_path: Path
) -> None:
    width, height = size
    shot = tmp_path / "shot.png"
    started = time.monotonic()
    browse(web, tmp_path, f"--window-size={width},{height}", "--hide-scrollbars", f"--screenshot={shot}")
    assert time.monotonic() - started < 100
    image = cv2.imread(str(shot))
    assert image.shape[:2] == (height, width)
    # within the crop, the frame is grey, and its level is 120
    grey = (abs(image.astype(int) - 120) <= 3).all(axis=2)
    assert grey.mean() > 0.08


def test_with_the_heat_map_the_live_picture_shows_where_the_evidence_lies(
    web: WebView, tmp_path: Path
) -> None:
    """The evidence of the results lies in the upper left. Only this part of the image is coloured; the rest is grey."""
    shots = {}
    for hash_ in ("", "#hot"):
        shot = tmp_path / "shot.png"
        browse(web, tmp_path, "--window-size=1280,800", f"--screenshot={shot}", hash_=hash_)
        picture = cv2.imread(str(shot)).astype(int)[100:500, 100:500]
        shots[hash_] = float(((picture.max(axis=2) - picture.min(axis=2)) > 40).mean())
    assert shots["#hot"] > shots[""] + 0.05
    done = browse(web, tmp_path, "--dump-dom", hash_="#hot")
    assert re.search(r'<button id="heat" type="button" aria-pressed="true">Heat map</button>', done.stdout)
    assert "Content Security Policy" not in done.stderr, "the page keeps its own policy"
