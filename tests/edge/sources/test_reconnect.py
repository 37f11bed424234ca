"""A live source freezes, dies and comes back. It is scripted, or a real server on the loopback address."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError, SourceLost
from dermedge.edge.sources import reconnect
from dermedge.edge.sources.frame import Frame, live_frame
from dermedge.edge.sources.latest import Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.reconnect import FIRST_WAIT_S, FROZEN_S, LONGEST_WAIT_S, Reconnecting

FRAME_S = 0.1


def noisy(seed: int) -> NDArray[np.uint8]:
    """Returns a frame of a grey wall with the noise of a sensor. No two frames are equal."""
    return np.random.default_rng(seed).integers(90, 110, (48, 64, 3)).astype(np.uint8)


class Clock:
    """A clock whose time passes only while the program sleeps, and with each frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(reconnect.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(reconnect.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Camera:
    """Delivers these images, ten in each second of the clock, and then dies."""

    is_live = True

    def __init__(self, clock: Clock, images: Sequence[NDArray[np.uint8]]) -> None:
        self.clock, self.images = clock, list(images)
        self.number = 0
        self.closed = False

    def read(self) -> Frame:
        if self.number == len(self.images):
            raise SourceError(f"'0' stopped delivering frames after {self.number}")
        self.clock.now += FRAME_S
        self.number += 1
        return live_frame(self.images[self.number - 1], self.number - 1, "0")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def until_frame(source: Reconnecting) -> tuple[Frame | None, list[str]]:
    """Reads until a frame comes, and returns it with the reasons of the outages before it."""
    reasons: list[str] = []
    while True:
        try:
            return source.read(), reasons
        except SourceLost as error:
            reasons.append(str(error))


def test_a_camera_that_died_is_opened_again_and_its_frames_are_counted_on(clock: Clock) -> None:
    first, second = Camera(clock, [noisy(1), noisy(2)]), Camera(clock, [noisy(3)])
    source = Reconnecting(first, lambda: second)
    assert [source.read().number for _ in range(2)] == [0, 1]
    frame, reasons = until_frame(source)
    assert frame is not None
    assert (frame.number, first.closed) == (2, True)
    expected = "'0' stopped delivering frames after 2; attempt 1 to open it again follows in 0.5 s"
    assert set(reasons) == {expected}
    source.close()
    assert second.closed


def test_attempts_wait_twice_as_long_each_time_up_to_a_limit(clock: Clock) -> None:
    attempts: list[float] = []

    def reopen() -> Camera:
        attempts.append(clock.now)
        if len(attempts) < 8:
            raise SourceError("cannot open '0'")
        return Camera(clock, [noisy(2)])

    source = Reconnecting(Camera(clock, []), reopen)
    started = clock.now
    until_frame(source)
    waits = np.diff([started, *attempts])
    assert waits == pytest.approx([min(FIRST_WAIT_S * 2**index, LONGEST_WAIT_S) for index in range(8)])


def test_a_camera_that_is_gone_for_a_night_is_found_again(clock: Clock) -> None:
    """Earlier, the run ended with an OverflowError after 1,024 attempts, which take 2.3 hours."""
    night_s = 12 * 3600

    def reopen() -> Camera:
        if clock.now < started + night_s:
            raise SourceError("cannot open '0'")
        return Camera(clock, [noisy(2)])

    source = Reconnecting(Camera(clock, []), reopen)
    started = clock.now
    frame, reasons = until_frame(source)
    assert frame is not None
    assert night_s <= clock.now - started <= night_s + LONGEST_WAIT_S + 1
    assert reasons[-1].endswith(f"follows in {LONGEST_WAIT_S:g} s")


def test_a_read_of_a_lost_source_comes_back_soon(clock: Clock) -> None:
    source = Reconnecting(Camera(clock, []), lambda: Camera(clock, []))
    for _ in range(40):
        before = clock.now
        with pytest.raises(SourceLost):
            source.read()
        assert clock.now - before <= 0.25


def test_after_a_fresh_frame_the_waits_begin_anew(clock: Clock) -> None:
    source = Reconnecting(Camera(clock, [noisy(1)]), lambda: Camera(clock, [noisy(int(10 * clock.now))]))
    for _ in range(5):
        _, reasons = until_frame(source)
    assert "attempt 1 to open it again follows in 0.5 s" in reasons[-1]


def test_a_repeated_picture_is_left_out_and_counted(clock: Clock) -> None:
    images = [noisy(1), noisy(1), noisy(1), noisy(2), noisy(2)]
    source = Reconnecting(Camera(clock, images), lambda: Camera(clock, []))
    frames = [source.read() for _ in range(2)]
    assert [(frame.number, frame.repeated) for frame in frames if frame] == [(0, 0), (3, 2)]
    with pytest.raises(SourceLost):
        source.read()
    assert source.repeated() == 3, "also the frame at the end"


def test_a_single_other_pixel_is_another_picture(clock: Clock) -> None:
    other = noisy(1).copy()
    other[5, 7, 1] ^= 1
    source = Reconnecting(Camera(clock, [noisy(1), other]), lambda: Camera(clock, []))
    frames = [source.read() for _ in range(2)]
    assert [frame.number for frame in frames if frame] == [0, 1]


def test_a_frozen_picture_is_a_lost_camera_that_says_so(clock: Clock) -> None:
    source = Reconnecting(Camera(clock, [noisy(1)] * 100), lambda: Camera(clock, [noisy(2)]))
    source.read()
    before = clock.now
    with pytest.raises(SourceLost, match="'0' is frozen"):
        source.read()
    assert FROZEN_S <= clock.now - before <= FROZEN_S + 2 * FRAME_S
    frame, _ = until_frame(source)
    assert frame is not None


def test_a_picture_that_is_still_frozen_after_opening_again_stays_lost(clock: Clock) -> None:
    source = Reconnecting(Camera(clock, [noisy(1)] * 100), lambda: Camera(clock, [noisy(1)] * 100))
    source.read()
    for _ in range(200):
        with pytest.raises(SourceLost, match="'0' is frozen"):
            source.read()


@pytest.mark.parametrize("level", [0, 255])
def test_a_clipped_sensor_repeats_itself_and_is_not_frozen(level: int, clock: Clock) -> None:
    flat = np.full((48, 64, 3), level, np.uint8)
    source = Reconnecting(Camera(clock, [flat] * 50), lambda: Camera(clock, []))
    frames = [source.read() for _ in range(50)]
    assert [frame.number for frame in frames if frame] == list(range(50))


def test_a_live_source_that_ends_ends(camera: type) -> None:
    source = Reconnecting(camera(2), lambda: camera(2))
    assert [frame.number for frame in iter(source.read, None)] == [0, 1]


class Stream:
    """An MJPEG server on the loopback.

    Attributes:
        mode: what the server sends to its viewers. ``live``: 50 different noise images a second. ``frozen``: the same
            image over and over. ``corrupt``: only damaged images. ``glitching``: every third image is damaged.
            ``stalled``: nothing more. ``photo``: one JPEG for each request. ``dead``: it closes the connections.
    """

    def __init__(self) -> None:
        self.mode = "live"
        self.photos = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                if stream.mode == "photo":
                    stream.photos += 1
                    content = cv2.imencode(".jpg", noisy(stream.photos))[1].tobytes()
                    self.send_header("Content-Type", "image/jpeg")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    return
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                number = 0
                while stream.mode != "dead":
                    if stream.mode != "stalled":
                        number += stream.mode in ("live", "corrupt", "glitching", "cut off")
                        part = cv2.imencode(".jpg", noisy(number))[1].tobytes()
                        if stream.mode == "corrupt" or (stream.mode == "glitching" and number % 3 == 0):
                            part = bytes(byte ^ 0x5A for byte in part)
                        if stream.mode == "cut off":
                            part = part[: len(part) // 2]
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
                        try:
                            self.wfile.write(head.encode() + part + b"\r\n")
                        except OSError:
                            return
                    time.sleep(0.02)

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.mode = "dead"
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/video.mjpg"


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    stream.start()
    yield stream
    stream.stop()


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("dead", "stopped delivering"),
        ("stalled", "sent no frame"),
        ("corrupt", "stopped delivering"),
        ("frozen", "is frozen"),
    ],
)
def test_a_stream_that_fails_is_told_and_comes_back_with_its_server(
    mode: str, reason: str, stream: Stream, next_of: Callable[..., Any]
) -> None:
    with open_source(stream.address) as source, LatestFrame(source) as latest:
        next_of(latest)
        stream.mode = mode
        # on a busy machine, an outage because of silence may be reported before the expected one
        next_of(latest, lambda found: isinstance(found, Outage) and reason in found.reason)
        stream.mode = "live"
        assert isinstance(next_of(latest), Arrival)


def test_a_server_that_is_gone_for_a_while_is_found_again(
    stream: Stream, next_of: Callable[..., Any]
) -> None:
    with open_source(stream.address) as source, LatestFrame(source) as latest:
        next_of(latest)
        stream.stop()
        next_of(latest, lambda found: isinstance(found, Outage) and "cannot open" in found.reason)
        stream.mode = "live"
        stream.start()
        assert isinstance(next_of(latest), Arrival)


def test_a_part_that_cannot_be_decoded_is_no_outage(stream: Stream, next_of: Callable[..., Any]) -> None:
    stream.mode = "glitching"
    found: list[object] = []
    with open_source(stream.address) as source, LatestFrame(source) as latest:
        for _ in range(20):
            found.append(next_of(latest, lambda one: found.append(one) or True))
    assert not [one for one in found if isinstance(one, Outage)]


def test_frames_whose_lower_half_is_missing_are_not_delivered(
    stream: Stream, next_of: Callable[..., Any]
) -> None:
    """Earlier, such frames, which are green below, were classified."""
    stream.mode = "cut off"
    with open_source(stream.address) as source, LatestFrame(source) as latest:
        assert isinstance(latest.read(), Outage)
        next_of(latest, lambda found: isinstance(found, Outage) and "stopped delivering" in found.reason)
        stream.mode = "live"
        next_of(latest)


def test_a_slow_camera_that_repeats_a_frame_is_not_frozen(clock: Clock) -> None:
    clock_camera = Camera(clock, [noisy(1), noisy(1), noisy(2), noisy(2), noisy(2), noisy(3)])
    real_read = clock_camera.read

    def read_slowly() -> Frame:
        clock.now += 0.9
        return real_read()

    clock_camera.read = read_slowly  # type: ignore[method-assign]
    source = Reconnecting(clock_camera, lambda: Camera(clock, []))
    frames = [source.read() for _ in range(3)]
    assert [(frame.number, frame.repeated) for frame in frames if frame] == [(0, 0), (2, 1), (5, 3)]


def test_a_camera_of_one_frame_a_second_behind_a_fast_stream_is_not_frozen(clock: Clock) -> None:
    images = [noisy(number) for number in range(5) for _ in range(10)]
    source = Reconnecting(Camera(clock, images), lambda: Camera(clock, []))
    assert [frame.number for frame in (source.read() for _ in range(5)) if frame] == [0, 10, 20, 30, 40]


def test_the_address_of_a_photo_is_named_as_one_and_read_again_and_again(
    stream: Stream, next_of: Callable[..., Any]
) -> None:
    stream.mode = "photo"
    with open_source(f"{stream.address}/photo.jpg") as source, LatestFrame(source) as latest:
        first = next_of(latest)
        outage = next_of(latest, lambda found: isinstance(found, Outage))
        again = next_of(latest)
    assert "sent one frame and stopped. Is it the URL of a photo?" in outage.reason
    assert again.frame.number > first.frame.number
