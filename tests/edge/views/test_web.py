"""The web page, over real HTTP on the loopback."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.drift import SessionDrift, Shares
from dermedge.edge.errors import OptionError, StorageError
from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views import saves
from dermedge.edge.views.web import app, places
from dermedge.edge.views.web import board as board_module
from dermedge.edge.views.web.board import Board
from dermedge.edge.views.web.server import WebView, parse_address

FACTS = {"model": "some.tflite", "source": 'a "camera"'}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebView]:
    monkeypatch.chdir(tmp_path)
    with WebView("127.0.0.1:0", FACTS, True) as view:
        yield view


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebView]:
    """A server that asks for a token, as every server does that other machines can reach."""
    monkeypatch.setenv("DERMEDGE_TOKEN", "open-sesame-please")
    with WebView("0.0.0.0:0", FACTS, True) as view:
        yield view


def ask(
    web: WebView, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response, text


class Viewer:
    """A client that watches the live video."""

    def __init__(self, web: WebView, heat: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", web.port), timeout=20)
        head = f"GET /video.mjpg?heat={int(heat)} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n"
        token = f"Authorization: Bearer {web.token}\r\n" if web.token else ""
        self.socket.sendall(f"{head}{token}\r\n".encode())
        self.buffer = b""

    def picture(self) -> np.ndarray:
        """The next image."""
        while (found := re.search(rb"Content-Length: (\d+)\r\n\r\n", self.buffer)) is None or len(
            self.buffer
        ) < found.end() + int(found[1]):
            received = self.socket.recv(65536)
            assert received, "the stream ended"
            self.buffer += received
        end = found.end() + int(found[1])
        content, self.buffer = self.buffer[found.end() : end], self.buffer[end:]
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/favicon.svg", "/state", "/metrics"])
def test_each_page_comes_with_a_strict_policy_and_no_other_origin_is_let_in(path: str, web: WebView) -> None:
    response, text = ask(web, path, headers={"Origin": "http://evil.example"})
    assert response.status == 200
    assert text
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert [name for name in response.headers if name.lower().startswith("access-control")] == []


def test_the_page_loads_nothing_from_elsewhere_and_says_what_it_is_not(web: WebView) -> None:
    _, page = ask(web, "/")
    assert "://" not in page
    assert "style=" not in page
    assert "Not a medical device" in page


def test_a_name_that_is_not_the_loopback_s_is_refused(web: WebView) -> None:
    """A web site whose name leads to the loopback address could read the page through the browser of a user."""
    for host in ("evil.example", f"evil.example:{web.port}", "127.0.0.1.evil.example", ""):
        response, _ = ask(web, "/state", headers={"Host": host})
        assert response.status == 403, host
    for host in ("localhost", f"localhost:{web.port}", f"[::1]:{web.port}", "127.0.0.1"):
        assert ask(web, "/state", headers={"Host": host})[0].status == 200


def test_the_state_is_the_newest_moment_as_json(
    web: WebView, make_result: Callable[..., FrameResult]
) -> None:
    assert json.loads(ask(web, "/state")[1]) == {
        "result": None,
        "history": [],
        "saved": [],
        "heat_map": True,
    }
    web.show(make_result(state=State.READING))
    web.show(make_result())
    values = json.loads(ask(web, "/state")[1])
    assert (values["result"]["state"], values["result"]["label"]) == ("answer", "nevus")
    [answer] = values["history"]
    assert (answer["label"], answer["probability"]) == ("nevus", 0.7)


def test_a_viewer_sees_the_newest_picture(web: WebView, make_result: Callable[..., FrameResult]) -> None:
    viewer = Viewer(web)
    web.show(make_result())
    assert viewer.picture().shape == (480, 640, 3)
    for number in range(50):
        web.show(make_result(state=State.CAMERA_LOST, classification=None, hint=str(number)))
    assert viewer.picture()[240, 320].max() < 70, "the pictures between are left out"


def test_a_picture_is_encoded_once_for_all_viewers_and_not_at_all_without_any(
    web: WebView, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[bool] = []
    real = board_module.paint_frame
    monkeypatch.setattr(
        board_module, "paint_frame", lambda result, heat: encoded.append(heat) or real(result, heat)
    )
    web.show(make_result())
    assert encoded == []
    for viewer in [Viewer(web) for _ in range(3)]:
        viewer.picture()
        time.sleep(1.5 * board_module.INTERVAL_S)
    assert encoded == [False]
    for viewer in [Viewer(web, heat=True) for _ in range(3)]:
        viewer.picture()
        time.sleep(1.5 * board_module.INTERVAL_S)
    assert encoded == [False, True], "once a kind"


def test_each_viewer_has_the_heat_map_or_not(web: WebView, make_result: Callable[..., FrameResult]) -> None:
    """The evidence of the result lies in the upper left of the crop."""
    plain, hot = Viewer(web), Viewer(web, heat=True)
    web.show(make_result())
    plain_picture, hot_picture = plain.picture(), hot.picture()
    left, right = (slice(130, 180), slice(130, 180)), (slice(130, 180), slice(460, 510))
    assert plain_picture[left].std() < 4
    assert np.abs(hot_picture[left].astype(int) - plain_picture[left]).mean() > 20
    assert np.abs(hot_picture[right].astype(int) - plain_picture[right]).mean() < 4


def test_a_model_that_does_not_tell_where_has_no_heat_map(make_result: Callable[..., FrameResult]) -> None:
    board = Board(FACTS, Path(), has_heat_map=False)
    board.put(make_result())
    assert board.state()["heat_map"] is False
    assert board.frame(heat=True) is board.frame(heat=False)


@pytest.mark.slow
def test_a_viewer_that_never_reads_slows_neither_the_loop_nor_the_others(
    web: WebView, make_classification: Callable[..., Classification], make_result: Callable[..., FrameResult]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    classification = make_classification()
    frame = type(classification.frame)(noise, 0, 0.0, "noise")
    result = make_result(classification=None, frame=frame)
    deaf, viewer = Viewer(web), Viewer(web)
    slowest_s, stop = 0.0, threading.Event()

    def watch() -> None:
        for _ in range(30):
            viewer.picture()
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    deadline = time.monotonic() + 60
    while not stop.is_set() and time.monotonic() < deadline:
        started = time.monotonic()
        web.show(result)
        slowest_s = max(slowest_s, time.monotonic() - started)
        time.sleep(0.01)
    watcher.join(10)
    assert stop.is_set(), "the other viewer got its pictures, some 10 MB of them"
    assert slowest_s < 1
    deaf.socket.close()


def test_leaving_ends_the_server_although_someone_watches(make_result: Callable[..., FrameResult]) -> None:
    with WebView("127.0.0.1:0", FACTS, True) as view:
        view.show(make_result())
        viewer = Viewer(view)
        viewer.picture()
    assert not any(thread.name == "web" for thread in threading.enumerate())
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", view.port), timeout=5)


def test_the_save_button_writes_the_picture_on_the_device(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    own = {"X-Dermedge": "1"}
    assert ask(web, "/save", "POST", own)[0].status == 409
    web.show(make_result())
    name = json.loads(ask(web, "/save", "POST", own)[1])["saved"]
    assert re.fullmatch(r"dermedge-\d{8}T\d{6}\.\d{3}Z\.png", name)
    assert cv2.imread(str(tmp_path / name)).shape == (480, 640, 3)


def test_what_was_saved_is_linked_and_nothing_else_of_the_folder_is_served(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    (tmp_path / "dermedge-of-someone.png").write_bytes(b"private")
    web.show(make_result())
    name = json.loads(ask(web, "/save", "POST", {"X-Dermedge": "1"})[1])["saved"]
    assert json.loads(ask(web, "/state")[1])["saved"] == [name]
    with urllib.request.urlopen(f"{web.url}saved/{name}", timeout=20) as response:
        assert response.headers["Content-Type"] == "image/png"
        assert response.read() == (tmp_path / name).read_bytes()
    for other in ("dermedge-of-someone.png", "../secret", "%2e%2e%2fsecret", ""):
        assert ask(web, f"/saved/{other}")[0].status == 404


def test_what_was_saved_has_a_thumbnail(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    web.show(make_result())
    name = json.loads(ask(web, "/save", "POST", {"X-Dermedge": "1"})[1])["saved"]
    with urllib.request.urlopen(f"{web.url}saved/{name}?thumbnail=1", timeout=20) as response:
        assert response.headers["Content-Type"] == "image/jpeg"
        small = cv2.imdecode(np.frombuffer(response.read(), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (180, 240, 3)
    (tmp_path / name).unlink()
    for gone in (name, "other.png"):
        assert ask(web, f"/saved/{gone}?thumbnail=1")[0].status == 404


def test_a_saved_image_replaces_no_earlier_one_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(saves.datetime):
        @classmethod
        def now(cls, zone: object = None) -> saves.datetime:
            return cls(1970, 1, 1, tzinfo=saves.UTC)

    monkeypatch.setattr(saves, "datetime", Stopped)
    # the service is started three times within the same second
    names = [saves.Saves(tmp_path).add(bytes([number])) for number in range(3)]
    assert len(set(names)) == 3
    assert [(tmp_path / name).read_bytes() for name in names] == [b"\0", b"\1", b"\2"]


def test_a_held_save_button_saves_two_images_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(saves.time, "monotonic", lambda: now)
    images = saves.Saves(tmp_path)
    outcomes = []
    for _ in range(100):
        try:
            outcomes.append(images.add(b"image"))
        except StorageError as error:
            outcomes.append(str(error))
        now += 0.05
    assert outcomes.count("an image was saved a moment ago; try again") == 90
    assert len(list(tmp_path.iterdir())) == 10


def test_saved_images_have_a_quota_that_counts_those_of_earlier_starts(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saves, "LIMIT_MB", 0.5)
    (tmp_path / "dermedge-19700101T000000.000Z.png").write_bytes(bytes(499_999))
    web.show(make_result())
    response, text = ask(web, "/save", "POST", {"X-Dermedge": "1"})
    assert response.status == 507
    assert "have reached the limit of 0.5 MB; delete some of them" in json.loads(text)["error"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_fills_while_an_image_is_saved_keeps_no_half_file(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saves.os, "fsync", full)
    web.show(make_result())
    response, text = ask(web, "/save", "POST", {"X-Dermedge": "1"})
    assert response.status == 507
    assert "the disk is full" in json.loads(text)["error"]
    assert list(tmp_path.iterdir()) == []


def test_another_site_cannot_press_the_save_button(
    web: WebView, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    """A form of another site can send a POST request, but it cannot add a header."""
    web.show(make_result())
    assert ask(web, "/save", "POST")[0].status == 403
    assert ask(web, "/save")[0].status == 405
    assert list(tmp_path.iterdir()) == []


def test_the_metrics_are_what_prometheus_reads(web: WebView, make_result: Callable[..., FrameResult]) -> None:
    drift = SessionDrift(
        Shares(90, {Defect.MOVING: 0.25}, {"nevus": 1.0}, 0.75), Shares(90, {}, {"nevus": 0.5}, None)
    )
    web.show(make_result(temperature_c=51.5, drift=drift))
    response, text = ask(web, "/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    line = re.compile(r"(# TYPE \w+ (gauge|counter)|\w+(\{(\w+=\"([^\"\\]|\\.)*\",?)+\})? [\d.e+-]+)")
    assert [one for one in text.splitlines() if not line.fullmatch(one)] == []
    for expected in (
        'dermedge_info{model="some.tflite",source="a \\"camera\\""} 1',
        'dermedge_state{state="answer"} 1',
        'dermedge_state{state="camera lost"} 0',
        "dermedge_frames_classified_total 5",
        'dermedge_frames_rejected_total{defect="moving"} 2',
        "dermedge_frames_dropped_total 3",
        "dermedge_temperature_celsius 51.5",
        "dermedge_invoke_seconds 0.0025",
        'dermedge_rejected_share{period="first_hour",defect="moving"} 0.25',
        'dermedge_answers_share{period="latest_hour",label="nevus"} 0.5',
        'dermedge_mean_probability{period="first_hour"} 0.75',
    ):
        assert expected in text.splitlines()


def test_names_of_files_that_are_not_valid_utf_8_are_escaped(make_result: Callable[..., FrameResult]) -> None:
    name = os.fsdecode(b"caf\xe9")
    result = make_result()
    assert result.frame is not None
    with WebView("127.0.0.1:0", {"source": name}, True) as web:
        web.show(replace(result, frame=replace(result.frame, name=name)))
        assert json.loads(ask(web, "/state")[1])["result"]["source"] == name
        assert 'dermedge_info{source="caf\\\\udce9"} 1' in ask(web, "/metrics")[1].splitlines()


@pytest.fixture
def large_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a viewer receives nothing, these frames soon fill all buffers between it and the server."""
    monkeypatch.setattr(board_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(board_module, "encode_image", lambda *_: bytes(1_000_000))


@pytest.mark.usefixtures("large_frames")
def test_a_viewer_that_receives_nothing_loses_its_place(
    web: WebView, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone that leaves the network does not close its connection."""
    monkeypatch.setattr(places, "SEND_TIMEOUT_S", 0.3)
    viewer = Viewer(web)
    ends = time.monotonic() + 30
    while not web.board.viewers and time.monotonic() < ends:
        time.sleep(0.02)
    assert web.board.viewers == 1
    while web.board.viewers and time.monotonic() < ends:
        web.show(make_result())
        time.sleep(0.02)
    assert web.board.viewers == 0
    viewer.socket.close()


def test_few_frames_wait_for_a_viewer_that_is_too_slow(
    web: WebView, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that wait in a buffer are old when the viewer receives them, and stand beside a newer answer."""
    sent: list[int] = []

    def encode(*_: object) -> bytes:
        sent.append(20_000)
        return bytes(sent[-1])

    monkeypatch.setattr(board_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(board_module, "encode_image", encode)
    viewer = Viewer(web)
    before, ends = -1, time.monotonic() + 30
    while before != len(sent) and time.monotonic() < ends:
        before = len(sent)
        for _ in range(20):
            web.show(make_result())
            time.sleep(0.03)
    viewer.socket.close()
    assert 0 < sum(sent) < 600_000


@pytest.mark.usefixtures("large_frames")
def test_the_server_stops_beside_a_viewer_that_receives_nothing_and_prints_nothing(
    make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(places, "STOP_TIMEOUT_S", 0.3)
    with WebView("127.0.0.1:0", FACTS, True) as web:
        viewer = Viewer(web)
        for _ in range(100):
            web.show(make_result())
            time.sleep(0.02)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert not caplog.records
    viewer.socket.close()


def test_without_the_token_nothing_is_shown(
    guarded: WebView, make_result: Callable[..., FrameResult]
) -> None:
    guarded.show(make_result())
    for path in ("/", "/page.js", "/state", "/video.mjpg", "/metrics", "/?token=guessed", "/?token="):
        response, text = ask(guarded, path)
        assert response.status == 401, path
        assert "nevus" not in text
    response, text = ask(guarded, "/save", "POST", {"X-Dermedge": "1"})
    assert response.status == 401
    assert "the token is missing" in json.loads(text)["error"], "the page shows the reason beside its button"
    assert ask(guarded, "/state", headers={"Authorization": "Bearer guessed"})[0].status == 401


def test_the_scheme_of_the_token_is_read_in_any_case(guarded: WebView) -> None:
    """By RFC 9110, section 11.1, the scheme may be in lower case: "bearer"."""
    for scheme, status in (("Bearer", 200), ("bearer", 200), ("BEARER ", 200), ("Basic", 401)):
        headers = {"Authorization": f"{scheme} {guarded.token}"}
        assert ask(guarded, "/state", headers=headers)[0].status == status


def test_the_printed_address_opens_the_page_and_a_cookie_keeps_it_open(guarded: WebView) -> None:
    assert guarded.url.endswith(f":{guarded.port}/?token=open-sesame-please")
    response, _ = ask(guarded, "/?token=open-sesame-please")
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert ask(guarded, "/state", headers={"Cookie": cookie.split(";")[0]})[0].status == 200
    assert ask(guarded, "/metrics", headers={"Authorization": "Bearer open-sesame-please"})[0].status == 200


def test_the_token_in_an_address_leaves_the_rest_of_the_address_as_it_is(guarded: WebView) -> None:
    for path in ("/video.mjpg?heat=1&token={}", "/video.mjpg?token={}&heat=1", "/saved/a%20b?token={}"):
        response, _ = ask(guarded, path.format(guarded.token), headers={"Host": "["})
        assert response.status == 303
        expected = path.replace("token={}", "").replace("?&", "?").rstrip("?&")
        assert response.headers["Location"] == expected


def test_two_servers_of_one_machine_keep_their_tokens_apart(
    guarded: WebView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMEDGE_TOKEN", "another-long-token")
    # these are the cookies of a browser, which sends all cookies of a host to each port of the host
    jar: dict[str, str] = {}
    with WebView("0.0.0.0:0", FACTS, True) as other:
        for one in (guarded, other):
            response, _ = ask(one, f"/?token={one.token}")
            name, _, value = response.headers["Set-Cookie"].split(";")[0].partition("=")
            jar[name] = value
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        assert [ask(one, "/state", headers=cookies)[0].status for one in (guarded, other)] == [200, 200]


def test_a_token_is_made_at_each_start_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DERMEDGE_TOKEN", raising=False)
    tokens = set()
    for _ in range(2):
        with WebView("0.0.0.0:0", FACTS, True) as view:
            tokens.add(view.token)
    assert len(tokens) == 2
    assert all(token and len(token) >= 20 for token in tokens)


@pytest.mark.parametrize("token", ["two words", "a&b", "café", "50%"])
def test_a_token_that_cannot_stand_in_an_address_is_refused(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMEDGE_TOKEN", token)
    with pytest.raises(OptionError, match="DERMEDGE_TOKEN may only contain ASCII letters") as refused:
        WebView("0.0.0.0:0", FACTS, True)
    assert token not in str(refused.value)


def test_the_loopback_needs_no_token(web: WebView) -> None:
    assert web.token is None
    assert web.url == f"http://127.0.0.1:{web.port}/"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("0.0.0.0", ("0.0.0.0", 8000)),
        (":9000", ("127.0.0.1", 9000)),
        ("[::1]:80", ("::1", 80)),
        ("::1", ("::1", 8000)),
        ("fe80::1:80", ("fe80::1:80", 8000)),
        ("127.0.0.2", ("127.0.0.2", 8000)),
        ("raspberrypi", ("raspberrypi", 8000)),
        ("raspberrypi.local:80", ("raspberrypi.local", 80)),
        ("[::]", ("::", 8000)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_an_address_is_host_and_port_and_either_may_be_left_out(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:http", "host:99999", "host:-1"])
def test_another_address_is_one_line(text: str) -> None:
    with pytest.raises(OptionError, match="not HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("host", ["192.168.1..5", ".local", "x" * 64])
def test_a_host_that_no_name_can_be_is_one_line(host: str) -> None:
    with pytest.raises(
        OptionError, match=f"cannot serve at '{re.escape(host)}:0': this is not a host name; choose"
    ):
        WebView(f"{host}:0", FACTS, True)


def test_a_port_that_is_taken_is_one_line(web: WebView) -> None:
    with pytest.raises(OptionError, match=f"cannot serve at '127.0.0.1:{web.port}'"):
        WebView(f"127.0.0.1:{web.port}", FACTS, True)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
def test_each_loopback_serves_its_own_address_without_a_token(host: str) -> None:
    try:
        view = WebView(f"[{host}]:0" if ":" in host else f"{host}:0", FACTS, True)
    except OptionError:
        pytest.skip(f"this machine has no {host}")
    with view:
        assert view.token is None
        with urllib.request.urlopen(f"{view.url}state", timeout=20) as response:
            assert response.status == 200


def test_the_address_that_is_shown_can_be_opened(guarded: WebView) -> None:
    assert "0.0.0.0" not in guarded.url
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(guarded.url, timeout=20) as response:
            assert b"dermedge" in response.read()


def test_a_short_token_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMEDGE_TOKEN", "hunter2")
    with pytest.raises(OptionError, match="has only 7 characters, so that others could guess it") as refused:
        WebView("0.0.0.0:0", FACTS, True)
    assert "hunter2" not in str(refused.value)


def test_a_credential_of_systemd_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dermedge-token").write_text("from-a-credential\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DERMEDGE_TOKEN", "from-the-environment")
    with WebView("0.0.0.0:0", FACTS, True) as view:
        assert view.token == "from-a-credential"
    (tmp_path / "dermedge-token").unlink()
    with WebView("0.0.0.0:0", FACTS, True) as view:
        assert view.token == "from-the-environment"


def test_a_short_flicker_is_one_line_of_the_history(
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now)
    board = Board(FACTS, Path(), has_heat_map=True)
    for label, stay_s in (("nevus", 3), ("melanoma", 0.2), ("nevus", 0.3), ("melanoma", 5), ("nevus", 2)):
        board.put(make_result(classification=make_classification(label=label)))
        now += stay_s
        board.put(make_result(classification=make_classification(label=label)))
    board.put(make_result(state=State.SEARCHING, classification=None))
    board.put(make_result(classification=make_classification(label="nevus")))
    labels = [one["label"] for one in board.state()["history"][::-1]]
    assert labels == ["nevus", "melanoma", "nevus", "nevus"]


def test_the_history_is_bounded(
    make_result: Callable[..., FrameResult], make_classification: Callable[..., Classification]
) -> None:
    board = Board(FACTS, Path(), has_heat_map=True)
    for _ in range(3 * board_module.HISTORY):
        board.put(make_result())
        board.put(make_result(state=State.SEARCHING, classification=None))
    assert len(board.state()["history"]) == board_module.HISTORY


OWNER = {"Authorization": "Bearer open-sesame-please"}


@contextmanager
def idle_connections(web: WebView, count: int, head: bytes = b"") -> Iterator[list[socket.socket]]:
    """Opens this number of connections. Each sends only the beginning of a request."""
    with ExitStack() as opened:
        connections = []
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=20))
            connection.sendall(head)
            connections.append(connection)
        yield connections


def is_closed(connection: socket.socket) -> bool:
    """Tells whether the server closes a connection before the timeout of the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("head", [b"", b"GET /state HTTP/1.1\r\nX-Slow: "])
def test_connections_that_ask_nothing_do_not_keep_the_owner_out(head: bytes, guarded: WebView) -> None:
    with idle_connections(guarded, 100, head):
        for path in ("/", "/state", "/metrics"):
            assert ask(guarded, path, headers=OWNER)[0].status == 200


def test_connections_without_the_token_do_not_keep_the_owner_out(guarded: WebView) -> None:
    request = b"GET /video.mjpg HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guessed\r\n\r\n"
    with idle_connections(guarded, 100, request):
        assert ask(guarded, "/state", headers=OWNER)[0].status == 200


def test_who_has_shown_the_token_keeps_the_place(
    guarded: WebView, make_result: Callable[..., FrameResult]
) -> None:
    guarded.show(make_result())
    viewer = Viewer(guarded)
    viewer.picture()
    with idle_connections(guarded, 100):
        guarded.show(make_result(state=State.SEARCHING, classification=None))
        assert viewer.picture().shape == (480, 640, 3)


def test_a_request_has_a_deadline(guarded: WebView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "HEAD_TIMEOUT_S", 0.3)
    with idle_connections(guarded, 2) as [silent, slow]:
        slow.sendall(b"GET /state HTTP/1.1\r\n")
        assert is_closed(silent)
        assert is_closed(slow)


def test_a_second_request_of_a_connection_has_a_deadline_too(
    web: WebView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "HEAD_TIMEOUT_S", 0.3)
    with idle_connections(web, 1, b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n") as [connection]:
        received = b""
        while not received.endswith(b"}\n"):
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /state HT")
        assert is_closed(connection)


def test_a_stream_outlasts_the_deadline(
    web: WebView, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "HEAD_TIMEOUT_S", 0.2)
    viewer = Viewer(web)
    for state in (State.SEARCHING, State.READING):
        time.sleep(0.3)
        web.show(make_result(state=state, classification=None))
        assert viewer.picture().shape == (480, 640, 3)


def test_there_are_so_many_viewers_and_the_next_one_is_told(
    guarded: WebView, make_result: Callable[..., FrameResult]
) -> None:
    guarded.show(make_result())
    viewers = [Viewer(guarded) for _ in range(app.MOST_VIEWERS)]
    for viewer in viewers:
        viewer.picture()
    response, text = ask(guarded, "/video.mjpg", headers=OWNER)
    assert response.status == 503
    assert "16 viewers already watch the live video" in text
    assert ask(guarded, "/state", headers=OWNER)[0].status == 200
    for viewer in viewers:
        viewer.socket.close()
    ends_s = time.monotonic() + 20
    while guarded.board.viewers and time.monotonic() < ends_s:
        guarded.show(make_result())  # the server notices that a viewer has gone when it sends an image
        time.sleep(0.02)
    assert Viewer(guarded).picture().shape == (480, 640, 3), "there is room again"
