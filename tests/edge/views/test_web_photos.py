"""`POST /predict`, over real HTTP on the loopback."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.edge.cli import predict
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.views.web import photos, places
from dermedge.edge.views.web.photos import PhotoClassifier
from dermedge.edge.views.web.server import WebView

JPEG = {"Content-Type": "image/jpeg"}


def png_header(width: int, height: int) -> bytes:
    """The first bytes of a PNG that claims this size."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(40)


BOUNDARY = "b0undary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(scope="module")
def web() -> Iterator[WebView]:
    with WebView("127.0.0.1:0", {}, True, PhotoClassifier(lambda: Classifier("dermedge-128"))) as view:
        yield view


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebView]:
    """A server that asks for a token."""
    monkeypatch.setenv("DERMEDGE_TOKEN", "open-sesame-please")
    with WebView("0.0.0.0:0", {}, True, PhotoClassifier(lambda: Classifier("dermedge-128"))) as view:
        yield view


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    """A drawn lesion that the quality gate lets pass, 640 x 480."""
    image = np.full((480, 640, 3), (158, 180, 222), np.uint8)
    cv2.circle(image, (320, 240), 120, (60, 80, 120), -1, cv2.LINE_AA)
    structure = cv2.resize(np.random.default_rng(0).normal(0, 9, (160, 213)), (640, 480))
    return encoded(np.clip(image + structure[..., None], 0, 255).astype(np.uint8), ".jpg")


def encoded(image_bgr: NDArray[np.uint8], suffix: str) -> bytes:
    return cv2.imencode(suffix, image_bgr)[1].tobytes()


def post(
    web: WebView, body: bytes, headers: dict[str, str], path: str = "/predict"
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    values = json.loads(response.read())
    assert response.headers["Cache-Control"] == "no-store"
    connection.close()
    return response.status, values


def form(*files: tuple[str, bytes]) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def test_a_photo_is_answered_as_by_predict(
    web: WebView, jpeg: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg)
    predict.main([str(tmp_path / "photo.jpg"), "--model", "dermedge-128", "--format", "jsonl"])
    expected = json.loads(capsys.readouterr().out) | {"path": "photo", "defect": None, "hint": ""}
    assert post(web, jpeg, JPEG) == (200, expected)
    assert post(web, jpeg, {"Content-Type": "application/octet-stream"}) == (200, expected)
    assert post(web, form(("me and my arm.jpg", jpeg)), FORM) == (
        200,
        expected | {"path": "me and my arm.jpg"},
    )


def test_a_photo_that_the_quality_gate_rejects_has_no_answer_and_a_hint(web: WebView) -> None:
    status, values = post(web, encoded(np.full((200, 200, 3), 3, np.uint8), ".png"), JPEG)
    assert status == 200
    assert (values["defect"], values["hint"]) == ("black", "the image is black: uncover the lens")
    assert {key for key, value in values.items() if value is None} >= {
        "label",
        "probability",
        "probabilities",
    }
    assert values["model"] == "dermedge-128.tflite"
    assert values["model_sha256"] == digest(SHIPPED["dermedge-128"])


def test_a_photo_of_an_iphone_is_read_where_pi_heif_is_installed(web: WebView) -> None:
    pytest.importorskip("pi_heif")
    content = (Path(__file__).resolve().parents[1] / "photo.heic").read_bytes()
    assert post(web, content, {"Content-Type": "image/heic"})[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", JPEG, 400, "the body is empty"),
        (b"\xff\xd8\xff\xe0" + bytes(40), JPEG, 400, "header of the photo is damaged"),
        (png_header(0, 5), {"Content-Type": "image/png"}, 400, "it states no size"),
        (png_header(5, 0), {"Content-Type": "image/png"}, 400, "it states no size"),
        (b"{}", {"Content-Type": "application/json"}, 415, "the body has the type 'application/json'; send"),
        (b"x=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "send the bytes of a photo as image/jpeg"),
        (b"<svg width='9' height='9'/>", {"Content-Type": "image/svg+xml"}, 415, "not a photo; send JPEG, PNG"),
        (b"no form", FORM, 400, "the form"),
        (b"no form", {"Content-Type": "multipart/form-data"}, 400, "boundary"),
        (form(("a.jpg", b"1")), {"Content-Type": f"{FORM['Content-Type']}; charset=undefined"}, 400, "the form"),
        (form(), FORM, 400, "no files"),
        (form(("a.jpg", b"1"), ("b.jpg", b"2")), FORM, 400, "2 files; send one photo per request"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_json_and_prints_nothing(
    body: bytes,
    headers: dict[str, str],
    status: int,
    said: str,
    web: WebView,
    caplog: pytest.LogCaptureFixture,
) -> None:
    got, values = post(web, body, headers)
    assert got == status
    assert said in values["error"]
    assert not caplog.records


def test_a_name_that_is_no_text_in_utf_8_is_escaped(web: WebView, jpeg: bytes) -> None:
    headers = {"Content-Type": f"{FORM['Content-Type']}; charset=raw-unicode-escape"}
    assert post(web, form((r"\\udce9.jpg", jpeg)), headers)[1]["path"] == "\udce9.jpg"


def test_a_damaged_photo_is_named_and_the_next_one_is_answered(web: WebView, jpeg: bytes) -> None:
    png = encoded(np.zeros((64, 64, 3), np.uint8), ".png")
    status, values = post(web, png[:60], JPEG)
    assert (status, "cannot be decoded" in values["error"]) == (400, True) or "not a photo" in values["error"]
    assert post(web, jpeg, JPEG)[0] == 200


def test_a_photo_of_too_many_pixels_is_refused_by_its_header(web: WebView, oversized_png: bytes) -> None:
    status, values = post(web, oversized_png, JPEG)
    assert status == 413
    assert values["error"] == (
        "the photo has 40000 x 40000 pixels, and the limit is 50 million; send a smaller photo"
    )


def test_a_body_that_is_too_large_is_refused_and_its_sender_reads_why(
    web: WebView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "MOST_BYTES", 1000)
    for headers in (JPEG, FORM, JPEG | {"Transfer-Encoding": "chunked"}):
        body = bytes(300_000)
        if "Transfer-Encoding" in headers:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        status, values = post(web, body, headers)
        assert (status, values["error"]) == (
            413,
            "the body has more than 1,000 bytes, which is the limit; send a smaller one",
        )


def test_without_the_token_no_photo_is_classified(guarded: WebView, jpeg: bytes) -> None:
    for headers in (JPEG, JPEG | {"Authorization": "Bearer guessed"}):
        status, values = post(guarded, jpeg, headers)
        assert status == 401
        assert "Authorization: Bearer TOKEN" in values["error"]
    assert post(guarded, jpeg, JPEG | {"Authorization": "Bearer open-sesame-please"})[0] == 200


def test_a_page_of_another_site_cannot_have_photos_classified(web: WebView, jpeg: bytes) -> None:
    assert post(web, jpeg, JPEG | {"Origin": "http://evil.example"})[0] == 403
    assert post(web, jpeg, JPEG | {"Origin": "null"})[0] == 403
    assert post(web, jpeg, JPEG | {"Host": "evil.example"})[0] == 403
    assert post(web, jpeg, JPEG | {"Origin": "http://["})[0] == 403
    assert post(web, jpeg, JPEG | {"Origin": f"http://127.0.0.1:{web.port}"})[0] == 200


def test_more_photos_at_once_than_the_limit_are_told_to_come_again(jpeg: bytes) -> None:
    go_on = threading.Event()

    def slow() -> Classifier:
        go_on.wait(20)
        return Classifier("dermedge-128")

    statuses: list[int] = []
    with WebView("127.0.0.1:0", {}, True, PhotoClassifier(slow)) as web:
        threads = [
            threading.Thread(target=lambda: statuses.append(post(web, jpeg, JPEG)[0]))
            for _ in range(photos.MOST_PHOTOS)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while post(web, b"", JPEG)[0] != 503 and time.monotonic() < deadline:
            time.sleep(0.02)
        status, values = post(web, jpeg, JPEG)
        assert (status, values["error"]) == (
            503,
            "4 photos are already being classified, which is the limit; try again in a second",
        )
        go_on.set()
        for thread in threads:
            thread.join(30)
    assert statuses == [200] * photos.MOST_PHOTOS


def test_a_slow_sender_with_a_place_has_a_minute_for_its_photo(
    web: WebView, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "HEAD_TIMEOUT_S", 0.3)
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "image/jpeg")
    connection.putheader("Content-Length", str(len(jpeg)))
    connection.endheaders(jpeg[:1000])
    time.sleep(0.6)
    connection.send(jpeg[1000:])
    assert connection.getresponse().status == 200
    connection.close()


def test_a_sender_that_breaks_off_and_one_that_speaks_no_http_print_nothing(
    web: WebView, caplog: pytest.LogCaptureFixture
) -> None:
    for head in (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
        b"\x16\x03\x01\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", web.port)) as sender:
            sender.sendall(head)
    for _ in range(3):
        # when the server answers this request, it has noticed that the earlier connections ended
        assert post(web, b"", JPEG)[0] == 400
    assert not caplog.records


def test_the_openapi_description_names_what_is_answered(web: WebView, jpeg: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.request("GET", "/openapi.json")
    described = json.loads(connection.getresponse().read())
    connection.close()
    answer = described["components"]["schemas"]["Answer"]
    assert set(answer["required"]) == set(post(web, jpeg, JPEG)[1])
    assert set(answer["properties"]) == {*answer["required"], "set"}
    assert list(described["paths"]) == ["/predict"]


def test_leaving_closes_the_classifier_the_page_and_the_port(jpeg: bytes) -> None:
    opened: list[Classifier] = []

    def open_classifier() -> Classifier:
        opened.append(Classifier("dermedge-128"))
        return opened[-1]

    with WebView("127.0.0.1:0", {}, True, PhotoClassifier(open_classifier)) as web:
        assert post(web, jpeg, JPEG)[0] == 200
        assert not web.board.is_closed
        [classifier] = opened
        assert hasattr(classifier, "interpreter")
    assert web.board.is_closed
    assert not hasattr(classifier, "interpreter"), "its memory is freed"
    # the port is free, so another process may use it now
    with socket.create_server(("127.0.0.1", web.port)):
        pass
