"""If a web server delivers no video, its answer tells the reason."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from dermedge.edge.errors import SourceError
from dermedge.edge.sources import http_answer
from dermedge.edge.sources.http_answer import http_advice
from dermedge.edge.sources.open import open_source

PAIR = base64.b64encode(b"me:p@ss").decode()


class Answers(BaseHTTPRequestHandler):
    """Answers /CODE/TYPE with this status code and content type; /secret and /digest ask for a password."""

    def log_message(self, format: str, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        code, _, kind = self.path.strip("/").partition("/")
        if code == "secret":
            code = "200" if self.headers["Authorization"] == f"Basic {PAIR}" else "401"
        way = "Digest realm=x" if code == "digest" else "Basic realm=x"
        self.send_response(int(code.replace("digest", "401")))
        self.send_header("WWW-Authenticate", way)
        self.send_header("Content-Type", kind or "image/jpeg")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """The address of a server, without its scheme."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("404", "the server answers 404 Not Found; check the URL"),
        ("599", "the server answers 599; check the URL"),
        (
            "200/text/html",
            "the server sends a web page (text/html); give the URL of the camera's video stream",
        ),
        ("200/image/jpeg", None),
        (
            "secret",
            "the server asks for a user name and a password; write them into the URL: http://NAME:PASSWORD@…",
        ),
    ],
)
def test_the_servers_answer_becomes_advice(host: str, path: str, advice: str | None) -> None:
    assert http_advice(f"http://{host}/{path}") == advice


@pytest.mark.parametrize(
    ("path", "pair", "advice"),
    [
        ("secret", "me:p%40ss", None),
        ("secret", "me:wrong", "the server rejects the user name or the password; check both"),
        (
            "digest",
            "me:p%40ss",
            None,
        ),  # the password may be right, because FFmpeg supports Digest, and this check does not
    ],
)
def test_the_password_of_an_address_is_tried(host: str, path: str, pair: str, advice: str | None) -> None:
    assert http_advice(f"http://{pair}@{host}/{path}") == advice


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://[::1/", "http://a b/"]
)
def test_an_address_without_a_server_gives_no_advice(address: str) -> None:
    assert http_advice(address) is None


def test_a_stream_that_does_not_open_says_what_its_server_answers_and_no_password(host: str) -> None:
    with pytest.raises(
        SourceError, match="the server rejects the user name or the password; check both"
    ) as raised:
        open_source(f"http://me:wrong@{host}/secret")
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    ("challenges", "is_sent"),
    [
        (["Basic realm=x"], True),
        (["Digest realm=x, nonce=y"], False),
        (["Basic realm=x", "Digest realm=x, nonce=y"], False),
        (["Basic realm=x, Digest realm=x, nonce=y"], False),
        ([], False),
    ],
)
def test_the_password_is_sent_only_to_a_server_that_accepts_nothing_but_basic_authentication(
    challenges: list[str], is_sent: bool
) -> None:
    """FFmpeg uses Digest, which hides the password. Earlier, this module then sent the password unprotected."""
    sent: list[str | None] = []

    class Camera(Answers):
        def do_GET(self) -> None:
            sent.append(self.headers["Authorization"])
            self.send_response(401)
            for challenge in challenges:
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        advice = http_advice(f"http://me:p%40ss@127.0.0.1:{server.server_port}/x")
        server.shutdown()
    assert sent == ([None, f"Basic {PAIR}"] if is_sent else [None])
    assert (advice is not None) == is_sent


def test_a_name_and_a_password_are_decoded_and_the_server_has_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str | None, float]] = []
    challenge = Message()
    challenge["WWW-Authenticate"] = "Basic realm=x"

    def open_url(request: Request, timeout: float) -> None:
        asked.append((request.full_url, request.get_header("Authorization"), timeout))
        if len(asked) > 1:
            raise OSError
        raise HTTPError(request.full_url, 401, "Unauthorized", challenge, BytesIO())

    monkeypatch.setattr(http_answer, "urlopen", open_url)
    assert http_advice("http://me%40home:p%3Ass@camera:81/a?b=1#c") is None
    pair = base64.b64encode(b"me@home:p:ss").decode()
    url = "http://camera:81/a?b=1"
    assert asked == [(url, None, 2.0), (url, f"Basic {pair}", 2.0)]
