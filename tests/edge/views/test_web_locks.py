"""What several threads of the web server must not do at once, and how many connections it holds."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.photos import encode_image
from dermedge.edge.results import FrameResult
from dermedge.edge.views.web import server
from dermedge.edge.views.web.board import Board
from dermedge.edge.views.web.photos import PhotoClassifier
from dermedge.edge.views.web.server import WebView


def waits_for(lock: threading.Lock, act: Callable[[], object]) -> bool:
    """Tells whether ``act`` waits while another thread has the lock, and ends after the thread has released it."""
    thread = threading.Thread(target=act, daemon=True)
    with lock:
        thread.start()
        thread.join(0.05)
        waited = thread.is_alive()
    thread.join(10)
    return waited and not thread.is_alive()


@pytest.mark.parametrize(
    "act",
    [
        lambda board, result: board.put(result),
        lambda board, result: board.state(),
        lambda board, result: board.frame(heat=False),
        lambda board, result: board.count_viewer(1),
    ],
    ids=["put", "state", "picture", "count_viewer"],
)
def test_the_board_is_changed_and_read_by_one_thread_at_a_time(
    act: Callable[[Board, FrameResult], object], make_result: Callable[..., FrameResult]
) -> None:
    board = Board({}, Path(), has_heat_map=True)
    board.put(make_result())
    assert waits_for(board._lock, lambda: act(board, make_result()))


def test_a_frame_is_encoded_by_one_thread_and_the_others_wait(
    make_result: Callable[..., FrameResult],
) -> None:
    board = Board({}, Path(), has_heat_map=True)
    board.put(make_result())
    for heat, encoder in ((False, board._plain), (True, board._hot)):
        assert waits_for(encoder.lock, lambda heat=heat: board.frame(heat))  # type: ignore[misc]
        assert encoder.frame is not None
        assert encoder.frame.number == 1


def test_viewers_are_counted_up_and_down() -> None:
    board = Board({}, Path(), has_heat_map=False)
    for more, viewers in ((1, 1), (1, 2), (-1, 1)):
        board.count_viewer(more)
        assert board.viewers == viewers


class OneAtATime:
    """Takes the place of the classifier. It cannot be opened, and counts how often this is tried."""

    def __init__(self) -> None:
        self.opened = 0

    def __call__(self) -> Any:
        self.opened += 1
        raise RuntimeError("no classifier here")


def test_photos_are_classified_and_the_classifier_is_closed_by_one_thread_at_a_time() -> None:
    opened = OneAtATime()
    jpeg = encode_image(np.zeros((8, 8, 3), np.uint8), ".jpg")
    photos = PhotoClassifier(opened)

    def classify() -> None:
        with pytest.raises(RuntimeError, match="no classifier here"):
            photos.classify(jpeg, "a.jpg")

    assert waits_for(photos._lock, classify)
    assert opened.opened == 1
    assert waits_for(photos._lock, photos.close)


def test_connections_beyond_the_limit_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server._MAX_CONNECTIONS == 128
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", 4)
    with WebView("127.0.0.1:0", {}, True) as web, ExitStack() as opened:
        answered = []
        for _ in range(5):
            connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
            opened.callback(connection.close)
            connection.request("GET", "/state")
            response = connection.getresponse()
            response.read()
            answered.append(response.status)
        assert answered == [200, 200, 200, 503, 503]
