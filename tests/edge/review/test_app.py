"""The server of `dermedge review`, over real HTTP on the loopback."""

from __future__ import annotations

import http.client
import json
import os
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.review.app import make_review_app
from dermedge.edge.review.review import Review
from dermedge.edge.views.web.server import WebServer

OWN = {"X-Dermedge": "1"}


@pytest.fixture
def folder(make_recording: Callable[..., Path]) -> Path:
    return make_recording(2)


@pytest.fixture
def server(folder: Path) -> Iterator[WebServer]:
    with WebServer("127.0.0.1:0", partial(make_review_app, Review(folder))) as opened:
        yield opened


def ask(
    server: WebServer, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body if body is None else json.dumps(body), headers or {})
    response = connection.getresponse()
    text = response.read().decode("latin-1")
    assert response.status == 405 or response.headers["Content-Security-Policy"].startswith(
        "default-src 'none'"
    )
    connection.close()
    return response.status, text


def current(server: WebServer) -> str:
    return str(json.loads(ask(server, "/status")[1])["photo"]["path"])


def test_the_page_and_the_photos_are_served_and_no_other_file(server: WebServer, folder: Path) -> None:
    for path in ("/", "/page.css", "/page.js", "/favicon.svg", f"/photos/{current(server)}"):
        assert ask(server, path)[0] == 200, path
    session = current(server).split("/")[0]
    for path in ("session.json", "frames.jsonl", "../review.csv", "..%2f..%2freview.csv", "nothing.jpg"):
        assert ask(server, f"/photos/{session}/{path}")[0] == 404, path


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has names that are not valid UTF-8")
def test_a_folder_whose_name_is_not_valid_utf_8_is_reviewed(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(1, folder=os.fsdecode(b"caf\xe9"))
    with WebServer("127.0.0.1:0", partial(make_review_app, Review(folder))) as server:
        decision = {"photo": current(server), "label": "nevus", "lesion": ""}
        assert ask(server, "/decide", "POST", decision, OWN)[0] == 200
        (folder / "review.csv").write_text("")
        status, text = ask(server, "/undo", "POST", {}, OWN)
        assert status == 507
        assert "caf\\udce9" in text


def test_the_next_command_is_one_that_a_shell_understands(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(1, folder="my recording")
    with WebServer("127.0.0.1:0", partial(make_review_app, Review(folder))) as server:
        command = json.loads(ask(server, "/status")[1])["command"]
    assert shlex.split(command) == ["dermedge", "train", "--data", str(folder / "review.csv")]


def test_no_get_changes_anything(server: WebServer, folder: Path) -> None:
    for path in ("/decide", "/undo"):
        assert ask(server, path)[0] == 405
    for path in ("/", "/status", f"/photos/{current(server)}"):
        ask(server, path)
    assert not (folder / "review.csv").exists()


def test_a_decision_needs_the_page_s_own_header_and_origin(server: WebServer, folder: Path) -> None:
    decision = {"photo": current(server), "label": "nevus", "lesion": ""}
    assert ask(server, "/decide", "POST", decision)[0] == 403
    assert ask(server, "/decide", "POST", decision, OWN | {"Origin": "http://evil.example"})[0] == 403
    assert ask(server, "/decide", "POST", decision, OWN | {"Host": "evil.example"})[0] == 403
    assert not (folder / "review.csv").exists()
    assert ask(server, "/decide", "POST", decision, OWN)[0] == 200
    assert (folder / "review.csv").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"photo": "other.jpg", "label": "nevus", "lesion": ""}, 409),
        ({"label": "nevus"}, 400),
        ({"photo": 1, "label": None, "lesion": []}, 400),
        ([], 400),
        ({"photo": "x" * 20_000, "label": "", "lesion": ""}, 413),
    ],
)
def test_what_is_wrong_with_a_decision_is_json(
    body: Any, status: int, server: WebServer, folder: Path
) -> None:
    got, text = ask(server, "/decide", "POST", body, OWN)
    assert got == status
    assert json.loads(text)["error"]
    assert not (folder / "review.csv").exists()


def test_other_machines_need_the_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMEDGE_TOKEN", "open-sesame-please")
    with WebServer("0.0.0.0:0", partial(make_review_app, Review(folder))) as server:
        for path in ("/", "/status", "/photos/x"):
            assert ask(server, path)[0] == 401
        assert ask(server, "/undo", "POST", {}, OWN)[0] == 401
        assert ask(server, "/status", headers={"Authorization": "Bearer open-sesame-please"})[0] == 200
