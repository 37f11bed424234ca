"""A recording of drawn lesions, and a page in a real Chromium, whose keys a test presses."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

# Debian: `apt install chromium`
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 30.0
LABELS = ("melanoma", "nevus", "none of these")
# The text that the keyboard sends with a key. Chromium's own actions need it.
TEXTS = {"Enter": "\r", "Tab": "", "Escape": ""}
CODES = {"Enter": 13, "Tab": 9, "Escape": 27}


def _pipe() -> tuple[int, int]:
    """Returns a pipe. Its file descriptors are not 3 and 4, because Chromium uses these two for its protocol."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


class Browser:
    """One page of a headless Chromium, which is controlled by its debugging protocol over pipes."""

    def __init__(self, profile: Path) -> None:
        read_end, self._write_end = _pipe()
        self._read_end, write_end = _pipe()
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{read_end} 4>&{write_end}', *command],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self._buffer = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        os.close(self._write_end)
        os.close(self._read_end)
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the protocol, and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(json.dumps(answer["params"]))

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium is silent"
            received = os.read(self._read_end, 1 << 20)
            assert received, "Chromium has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def show_at(self, width: int, height: int, scheme: str = "light") -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.005)

    def press(self, key: str) -> None:
        text = TEXTS.get(key, key)
        common = {"key": key, "windowsVirtualKeyCode": CODES.get(key, ord(key[0].upper()))}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def text(self, element: str) -> str:
        return str(self.evaluate(f"document.getElementById('{element}').textContent"))

    def shoot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def line(state: str, picture: str | None, probabilities: Sequence[float] | None, **more: Any) -> str:
    """A line of frames.jsonl."""
    values: dict[str, Any] = {"at": "2026-11-29T20:00:01.000+00:00", "state": state, "picture": picture}
    if probabilities is not None:
        values["probabilities"] = dict(zip(LABELS, probabilities, strict=True))
        values["label"] = LABELS[int(np.argmax(probabilities))]
        values["uncertain"] = max(probabilities) < 0.5
    return json.dumps(values | more) + "\n"


def write_photo(path: Path, number: int) -> None:
    image = np.full((240, 320, 3), (158, 180, 222), np.uint8)
    cv2.circle(image, (160, 120), 30 + number % 60, (60, 80, 60 + number % 120), -1, cv2.LINE_AA)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())  # OpenCV cannot write to every name


@pytest.fixture
def make_recording(tmp_path: Path) -> Callable[..., Path]:
    """A function (number of photos of each session...) that writes sessions as `run --record` does.

    It returns the folder of all sessions.

    Each photo is answered "nevus". The probability grows with the number of the photo, from 0.5.
    """

    def make(*counts: int, folder: str = "recorded") -> Path:
        root = tmp_path / folder
        number = 0
        for session, count in enumerate(counts):
            place = root / f"20261129T2000{session:02d}Z"
            place.mkdir(parents=True)
            facts = {"model": "some.tflite", "model_sha256": f"{session}" * 64, "labels": LABELS}
            (place / "session.json").write_text(json.dumps(facts))
            lines = [line("searching", None, None)]
            for _ in range(count):
                write_photo(place / f"{number:06d}.jpg", number)
                top = 0.5 + number / 10_000
                lines.append(line("answer", f"{number:06d}.jpg", (0.9 - top, top, 0.1)))
                number += 1
            (place / "frames.jsonl").write_text("".join(lines))
        return root

    return make
