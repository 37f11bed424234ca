"""A thread reads a capture that may hang. If it hangs, the thread is abandoned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import SourceError
from dermedge.edge.sources import gstreamer
from dermedge.edge.sources.gstreamer import AbandonableCapture, PipelineCapture


class FakeCapture:
    """A capture that counts its frames. At one of them, it hangs until the test releases it."""

    def __init__(self, hangs_at: int | None = None) -> None:
        self.hangs_at, self.number, self.is_released = hangs_at, 0, False
        self.let_go = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, Any]:
        self.number += 1
        if self.number == self.hangs_at:
            self.let_go.wait(30)
        return True, self.number

    def get(self, key: int) -> float:
        return 240.0 if key == cv2.CAP_PROP_FRAME_HEIGHT else 0.0

    def release(self) -> None:
        self.is_released = True


def opens(capture: FakeCapture) -> Callable[[], cv2.VideoCapture]:
    return lambda: cast(cv2.VideoCapture, capture)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "OPEN_TIMEOUT_S", 10.0)
    monkeypatch.setattr(gstreamer, "READ_TIMEOUT_S", 10.0)
    monkeypatch.setattr(AbandonableCapture, "_abandoned", 0)


def test_frames_come_in_order_and_the_thread_ends_with_the_release() -> None:
    fake = FakeCapture()
    capture = AbandonableCapture(opens(fake))
    assert capture.isOpened()
    assert [capture.read() for _ in range(3)] == [(True, 1), (True, 2), (True, 3)]
    assert capture._thread.is_alive()
    capture.release()
    assert not capture._thread.is_alive()
    assert fake.is_released
    assert AbandonableCapture._abandoned == 0


def test_a_capture_that_hangs_is_abandoned_and_released_when_it_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeCapture(hangs_at=2)
    capture = AbandonableCapture(opens(fake))
    assert capture.read() == (True, 1)
    monkeypatch.setattr(gstreamer, "READ_TIMEOUT_S", 0.1)
    assert capture.read() == (False, None)
    assert AbandonableCapture._abandoned == 1
    capture.release()
    assert not fake.is_released, "it still hangs"
    assert capture._thread.daemon, "Python would wait at its end for a thread that is no daemon"
    fake.let_go.set()
    capture._thread.join(10)
    assert fake.is_released
    assert AbandonableCapture._abandoned == 0


def test_after_eight_that_hang_no_more_are_opened() -> None:
    AbandonableCapture._abandoned = 7
    AbandonableCapture(opens(FakeCapture())).release()
    AbandonableCapture._abandoned = 8
    with pytest.raises(SourceError, match="8 earlier attempts to open or read a pipeline still hang; start"):
        AbandonableCapture(opens(FakeCapture()))


@pytest.mark.parametrize(
    ("shape", "end", "is_read"),
    [
        ((240, 320, 3), "", True),
        ((240, 320), "video/x-raw,format=GRAY8 ! ", True),
        ((240, 320, 4), "video/x-raw, format=(string)BGRx ! ", True),
        ((240, 320, 4), "video/x-raw,format=BGRA ! videoconvert ! video/x-raw,format=RGBA ! ", False),
        ((240, 320, 4), "", False),
        ((360, 320), "video/x-raw,format=NV12 ! ", False),
        ((240, 320, 2), "", False),
        ((1, 9000), "jpegenc ! ", False),
    ],
)
def test_a_frame_of_a_pipeline_is_read_only_if_its_colours_are_known(
    shape: tuple[int, ...], end: str, is_read: bool
) -> None:
    """Earlier, NV12 was read as gray, RGBA was read as BGRA, and YUY2 ended in a traceback."""

    class Pipeline(FakeCapture):
        def read(self) -> tuple[bool, Any]:
            return True, np.zeros(shape, np.uint8)

    with PipelineCapture(f"v4l2src ! {end}appsink", AbandonableCapture(opens(Pipeline()))) as source:
        if is_read:
            frame = source.read()
            assert frame is not None
            assert frame.image_bgr.shape == (240, 320, 3)
        else:
            with pytest.raises(
                SourceError, match="end the pipeline in `videoconvert ! video/x-raw,format=BGR"
            ):
                source.read()
