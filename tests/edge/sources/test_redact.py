"""Names of sources with secrets in them: 40 addresses and pipelines, and each place that shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

import dermedge
from dermedge.edge.errors import DermedgeError
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.redact import without_secrets

# In each of them, the user is admin, and the password contains SECRET.
WITH_SECRETS = [
    ("rtsp://admin:SECRET@10.0.0.5:554/stream", "rtsp://10.0.0.5:554/stream"),
    ("rtsp://admin@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SEC@SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:@SECRET@@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SEC/SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SEC?SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SEC#SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:x@y/SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:12/SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:12#SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SECRET/stream", "rtsp://***/stream"),
    ("rtsp://10.0.0.5/0/admin:SECRET/main", "rtsp://10.0.0.5/0/***/main"),
    ("rtsp://admin:my SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("rtsp://admin:SECRET:1:2@[fe80::1]:554/stream", "rtsp://[fe80::1]:554/stream"),
    ("rtsp://admin:%40SECRET@10.0.0.5/stream", "rtsp://10.0.0.5/stream"),
    ("RTSP://admin:SECRET@10.0.0.5/stream", "RTSP://10.0.0.5/stream"),
    ("Rtsps://admin:SECRET@cam/1", "Rtsps://cam/1"),
    ("rtmp://admin:SECRET@10.0.0.5/live", "rtmp://10.0.0.5/live"),
    ("rtmps://10.0.0.5/live?user=admin&pass=SECRET", "rtmps://10.0.0.5/live?user=***&pass=***"),
    ("srt://10.0.0.5:9000?passphrase=SECRET&mode=caller", "srt://10.0.0.5:9000?passphrase=***&mode=caller"),
    ("HTTP://admin:SECRET@cam/video.mjpg", "HTTP://cam/video.mjpg"),
    ("http://cam/video?user=admin&password=SECRET", "http://cam/video?user=***&password=***"),
    ("http://cam/video?PASSWORD=SECRET&w=640", "http://cam/video?PASSWORD=***&w=640"),
    ("http://cam/video?w=640&pwd=SECRET", "http://cam/video?w=640&pwd=***"),
    ("http://cam/video?pass=SEC#SECRET", "http://cam/video?pass=***"),
    ("http://cam/video?pass=SEC;SECRET&x=1", "http://cam/video?pass=***&x=1"),
    ('http://cam/video?pass=SEC"SECRET', "http://cam/video?pass=***"),
    ("http://cam/video?pass=SEC=SECRET", "http://cam/video?pass=***"),
    ("http://cam/video?pass=SEC&SECRET&x=1", "http://cam/video?pass=***&x=1"),
    ("http://cam/video?u=admin&p=SECRET", "http://cam/video?u=***&p=***"),
    ("http://cam/video?x=1;token=SECRET", "http://cam/video?x=1;token=***"),
    ("https://cam/video?key=SECRET", "https://cam/video?key=***"),
    ("https://cam/video?api_key=SECRET", "https://cam/video?api_key=***"),
    ("https://cam/video#access_token=SECRET", "https://cam/video#access_token=***"),
    ("https://cam/video?X-Amz-Signature=SECRET", "https://cam/video?X-Amz-Signature=***"),
    ("http://cam/cgi?loginuse=admin&loginpas=SECRET", "http://cam/cgi?loginuse=***&loginpas=***"),
    ("http://admin:SECRET@cam/v?pwd=SECRET", "http://cam/v?pwd=***"),
    ("rtsp://cam/user=admin_password=SECRET_channel=1.sdp", "rtsp://cam/user=***"),
    ("rtsp:/admin:SECRET@cam/1", "rtsp:/cam/1"),
    ("admin:SECRET@10.0.0.5:554/stream", "10.0.0.5:554/stream"),
    ("admin:SEC@SECRET@cam", "cam"),
    ("10.0.0.5/video.cgi?user=admin&pwd=SECRET", "10.0.0.5/video.cgi?user=***&pwd=***"),
    ("//admin:SECRET@cam/1", "//cam/1"),
    ("rtsp//admin:SECRET@cam/1", "rtsp//cam/1"),
    ("rtspsrc user-id=admin user-pw=SECRET location=rtsp://cam/1",
     "rtspsrc user-id=*** user-pw=*** location=rtsp://cam/1"),
    ('rtspsrc location="rtsp://admin:my SECRET@cam/1" ! appsink', 'rtspsrc location="rtsp://cam/1" ! appsink'),
    ('souphttpsrc cookies={"a=1", SECRET} location=x ! appsink', "souphttpsrc cookies=*** location=x ! appsink"),
    ("rtspsrc location=rtsp://admin:SECRET@cam/1 ! appsink", "rtspsrc location=rtsp://cam/1 ! appsink"),
    ("rtspsrc location=rtsp://cam/1 user-id=admin user-pw=SECRET ! appsink",
     "rtspsrc location=rtsp://cam/1 user-id=*** user-pw=*** ! appsink"),
    ('rtspsrc user-pw="my ! SECRET" location=x ! appsink', "rtspsrc user-pw=*** location=x ! appsink"),
    ("rtspsrc user-pw = 'my SECRET' ! appsink", "rtspsrc user-pw=*** ! appsink"),
    (r"rtspsrc user-pw=my\ SECRET ! appsink", "rtspsrc user-pw=*** ! appsink"),
    ("rtspsrc USER-PW=a&SECRET ! appsink", "rtspsrc USER-PW=*** ! appsink"),
    ("souphttpsrc location=http://cam/v?pwd=SECRET proxy-pw=SECRET ! appsink",
     "souphttpsrc location=http://cam/v?pwd=*** proxy-pw=*** ! appsink"),
]  # fmt: skip
WITHOUT_SECRETS = [
    "0",
    "demo",
    "/dev/video0",
    "/photos/token=3/key=5.mp4",
    "C:/photos/a.mp4",
    "http://10.0.0.5/a@b.mjpg",
    "http://cam/a@b.mjpg?w=640&h=480",
    "http://cam:8080/a.mjpg?w=640&h=480",
    "photos//12:30.mp4",
    "/my photos/token=3.mp4",
    "rtsp://[fe80::1]:554/stream",
    "videotestsrc num-buffers=9 ! videoconvert ! video/x-raw,format=BGR ! appsink",
]


@pytest.mark.parametrize(("spec", "shown"), WITH_SECRETS)
def test_what_must_not_be_shown_is_removed(spec: str, shown: str) -> None:
    assert without_secrets(spec) == shown
    assert "SECRET" not in shown


@pytest.mark.parametrize("spec", WITHOUT_SECRETS)
def test_a_name_without_secrets_stays_as_it_is(spec: str) -> None:
    assert without_secrets(spec) == spec


@pytest.mark.parametrize(
    "spec", [spec for spec, _ in WITH_SECRETS if "cam" not in spec and "10." not in spec]
)
def test_no_error_of_a_pipeline_shows_one(spec: str) -> None:
    with pytest.raises(DermedgeError) as raised:
        open_source(spec)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("options", [{}, {"width": 640}, {"realtime": True}])
@pytest.mark.parametrize(
    "spec",
    [
        "rtsp://admin:SEC@SECRET@127.0.0.1:9/x",
        "RTSP://admin:SECRET@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?pwd=SECRET",
        "rtmp://admin:SECRET@127.0.0.1:9/x",
        "rtsp:/admin:SECRET@127.0.0.1:9/x",
        "admin:SECRET@127.0.0.1:9/x",
    ],
)
def test_no_error_of_an_address_shows_one(spec: str, options: dict) -> None:
    with pytest.raises(DermedgeError) as raised:
        open_source(spec, **options)
    assert "SECRET" not in str(raised.value)
    assert "admin" not in str(raised.value)


class Camera(BaseHTTPRequestHandler):
    """Sends noise as a motion JPEG. It asks for no password."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        random = np.random.default_rng(0)
        try:
            while True:
                part = cv2.imencode(".jpg", random.integers(0, 256, (96, 128, 3), dtype=np.uint8))[
                    1
                ].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
                self.wfile.write(head.encode() + part + b"\r\n")
                time.sleep(0.02)
        except OSError:
            return

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def camera_address() -> Iterator[str]:
    """The address of a camera with a password in front of its host and another one behind it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"HTTP://admin:SEC%40SECRET@127.0.0.1:{server.server_port}/v.mjpg?pwd=SECRET"
    server.shutdown()
    server.server_close()


def test_no_output_of_a_run_shows_one(camera_address: str, model_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    command = [
        sys.executable,
        "-m",
        "dermedge",
        "run",
        "--model",
        str(model_path),
        "--source",
        camera_address,
    ]
    process = subprocess.Popen(
        [*command, "--json", "--record", str(tmp_path), "--serve", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(dermedge.__file__).resolve().parents[1])},
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        told = ""
        while "serving " not in told:
            line = process.stderr.readline()
            assert line, "it ended"
            told += line
        url = told.rsplit("serving ", 1)[1].strip()
        shown = [process.stdout.readline()]
        for page in ("state", "metrics"):
            with urllib.request.urlopen(url + page, timeout=20) as response:
                shown.append(response.read().decode())
    finally:
        process.terminate()
        rest = process.communicate(timeout=30)
    shown += [told, *rest, *(path.read_text() for path in tmp_path.glob("*/*.json*"))]
    assert json.loads(shown[0])["source"].endswith("/v.mjpg?pwd=***")
    assert all("127.0.0.1" in one for one in shown[1:3]), "the source is named"
    assert not [one for one in shown if "SECRET" in one or "admin" in one]


SECRETS = (
    *("password", "pass", "pwd", "pw", "pas", "token", "api_key", "key", "secret", "auth", "sig", "session"),
    *("credential", "cookie", "extra-headers", "user", "usr", "login", "account", "proxy-id", "jwt", "hash"),
    *("nonce", "code", "pin"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_each_parameter_and_property_that_holds_a_secret_is_hidden(name: str) -> None:
    for spelled in (name, name.upper()):
        shown = without_secrets(f"http://camera/stream?size=2&{spelled}=x1y2&rate=5")
        assert shown == f"http://camera/stream?size=2&{spelled}=***&rate=5"
        shown = without_secrets(f"rtspsrc location=rtsp://camera/1 {spelled}=x1y2 ! appsink")
        assert shown == f"rtspsrc location=rtsp://camera/1 {spelled}=*** ! appsink"
