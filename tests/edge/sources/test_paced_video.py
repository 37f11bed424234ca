"""A video is read at its own speed, here on a simulated clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dermedge.edge.errors import SourceLost
from dermedge.edge.sources import video
from dermedge.edge.sources.frame import Frame
from dermedge.edge.sources.video import PacedVideo


class SleepingClock:
    """Takes the place of the module ``time``. Only `sleep` lets time pass."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


class Frames:
    """A video whose frames have these times."""

    def __init__(self, *times_s: float | None) -> None:
        self._frames = [
            Frame(np.zeros((2, 2, 3), np.uint8), number, 1.0, "a video", at_s=at_s)
            for number, at_s in enumerate(times_s)
        ]
        self.is_closed = False

    def read(self) -> Frame | None:
        return self._frames.pop(0) if self._frames else None

    def notice(self) -> str:
        return "about the video"

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleepingClock:
    made = SleepingClock()
    monkeypatch.setattr(video, "time", made)
    return made


def paced(*times_s: float | None) -> PacedVideo:
    frames: Any = Frames(*times_s)
    return PacedVideo(frames)


def test_each_frame_comes_at_its_time_after_the_first(clock: SleepingClock) -> None:
    source = paced(5.0, 5.1, 5.5)
    captured = []
    while (frame := source.read()) is not None:
        captured.append((frame.number, round(frame.captured_at, 6), frame.at_s))
    assert captured == [(0, 100.0, 5.0), (1, 100.1, 5.1), (2, 100.5, 5.5)]
    assert clock.slept == [0, 0.1, 0.4]


def test_a_late_reader_does_not_wait_and_the_speed_stays(clock: SleepingClock) -> None:
    source = paced(0.0, 1.0, 2.0)
    source.read()
    clock.now += 1.75
    late = source.read()
    assert late is not None
    assert late.captured_at == 101.75
    last = source.read()
    assert last is not None
    assert last.captured_at == 102.0
    assert clock.slept == [0, 0, 0.25]


def test_a_frame_without_a_time_is_passed_on(clock: SleepingClock) -> None:
    frame = paced(None).read()
    assert frame is not None
    assert frame.captured_at == 1.0
    assert clock.slept == []


def test_it_is_live_and_closes_its_video() -> None:
    frames: Any = Frames(0.0)
    with PacedVideo(frames) as source:
        assert source.is_live
        assert source.notice() == "about the video"
        assert not frames.is_closed
    assert frames.is_closed


def test_a_read_within_a_long_pause_comes_back_soon_and_the_frame_comes_in_time(
    clock: SleepingClock,
) -> None:
    """Earlier, `--max-secs` and Ctrl-C had an effect only after the pause."""
    source = paced(0.0, 10.0, 310.0)
    numbers = [frame.number for frame in (source.read(), source.read()) if frame]
    for second in range(1, 291):
        with pytest.raises(SourceLost, match=r"'a video' pauses; its next frame follows at 310\.0 s"):
            source.read()
        assert clock.now == 110.0 + second
    last = source.read()
    assert last is not None
    assert [*numbers, last.number] == [0, 1, 2]
    assert last.captured_at == 410.0
    assert source.read() is None
