"""The newest frame wins, drops are counted, and nothing hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Queue
from types import FrameType, SimpleNamespace

import numpy as np
import pytest

import dermedge
from dermedge.edge.errors import SourceError, SourceLost
from dermedge.edge.sources import latest as latest_module
from dermedge.edge.sources.frame import Frame, live_frame
from dermedge.edge.sources.latest import Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source


def test_a_slow_consumer_gets_the_newest_frame_and_the_number_of_lost_ones(camera: type) -> None:
    source = camera(5)
    with LatestFrame(source) as latest:
        assert source.ended.wait(5)
        arrival = latest.read()
        assert arrival is not None
        assert (arrival.frame.number, arrival.dropped) == (4, 4)
        assert latest.read() is None


def test_a_fast_consumer_loses_nothing(camera: type) -> None:
    gates = [threading.Event() for _ in range(4)]
    with LatestFrame(camera(4, gates=gates)) as latest:
        seen = []
        for gate in gates:
            gate.set()
            arrival = latest.read()
            assert arrival is not None
            seen.append((arrival.frame.number, arrival.dropped))
    assert seen == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_a_frame_that_came_since_replaces_the_one_that_was_read(camera: type) -> None:
    first, later = threading.Event(), threading.Event()
    first.set()
    source = camera(2, gates=[first, later])
    with LatestFrame(source) as latest:
        assert latest.read() is not None
        assert latest.newer() is None
        later.set()
        assert source.ended.wait(5)
        newer = latest.newer()
        assert newer is not None
        assert (newer.frame.number, newer.dropped) == (1, 1)
        assert latest.read() is None


def test_the_camera_s_error_reaches_the_consumer_after_its_last_frame(camera: type) -> None:
    source = camera(2, error=SourceError("'0' stopped"))
    with LatestFrame(source) as latest:
        assert source.ended.wait(5)
        arrival = latest.read()
        assert arrival is not None
        assert arrival.frame.number == 1
        with pytest.raises(SourceError, match="'0' stopped"):
            latest.read()
        assert latest.read() is None, "a consumer that goes on after the error comes to an end"


def test_leaving_ends_the_thread_even_when_the_consumer_fails(camera: type) -> None:
    source = camera(10**9)

    def consume() -> None:
        with LatestFrame(source) as latest:
            latest.read()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert source.readers
    assert not any(reader.is_alive() for reader in source.readers)


def test_a_signal_at_any_moment_ends_the_consumer() -> None:
    """With `threading.Condition`, one of about 250 sessions hung for ever, or ended with a RuntimeError."""
    script = Path(__file__).with_name("interrupted_frames.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(dermedge.__file__).resolve().parents[1])}
    finished = subprocess.run(
        [sys.executable, script, "1000"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (finished.returncode, finished.stdout.strip()) == (0, "1000"), finished.stderr


class Interrupted(BaseException):
    """A signal raises this exception."""


class Stuck:
    """A live source whose `read` ends a moment after a signal, like that of a stalled stream."""

    is_live = True

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.is_interrupted = threading.Event()
        self.thread: threading.Thread | None = None

    def read(self) -> Frame | None:
        self.thread = threading.current_thread()
        self.is_read.set()
        assert self.is_interrupted.wait(20)
        time.sleep(0.2)
        self.is_read.clear()
        raise SourceLost("gone")

    def close(self) -> None: ...


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_a_signal_at_the_exit_does_not_close_a_source_that_the_thread_still_reads() -> None:
    """Earlier, pressing Ctrl-C twice while a stream stalled caused a segmentation fault."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        source.is_interrupted.set()
        raise Interrupted

    def leave() -> None:
        with LatestFrame(source):  # type: ignore[arg-type]
            assert source.is_read.wait(5)
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, interrupt)
    source = Stuck()
    try:
        with pytest.raises(Interrupted):
            leave()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not source.is_read.is_set()
    assert source.thread is not None
    assert not source.thread.is_alive()


def test_leaving_waits_in_silence_for_a_thread_that_takes_longer_than_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latest_module, "_SIGNAL_S", 0.01)
    source = Stuck()
    with LatestFrame(source):  # type: ignore[arg-type]
        assert source.is_read.wait(5)
        source.is_interrupted.set()
    assert not source.is_read.is_set()
    assert source.thread is not None
    assert not source.thread.is_alive()


def test_files_are_read_in_order_in_the_consumer_s_own_thread(video: Path) -> None:
    before = threading.active_count()
    with LatestFrame(open_source(str(video))) as latest:
        arrivals = list(iter(latest.read, None))
        assert threading.active_count() == before
    assert [arrival.frame.number for arrival in arrivals] == [0, 1, 2, 3, 4]
    assert {arrival.dropped for arrival in arrivals} == {0}


class Slow:
    """A live source. Its frames come after the given pauses. After the last frame, no other comes."""

    is_live = True

    def __init__(self, pauses_s: list[float]) -> None:
        self.pauses_s = pauses_s
        self.number = 0

    def read(self) -> Frame | None:
        if self.number == len(self.pauses_s):
            time.sleep(0.05)
            raise SourceLost("gone")
        time.sleep(self.pauses_s[self.number])
        self.number += 1
        return live_frame(np.zeros((4, 4, 3), np.uint8), self.number, "slow")

    def close(self) -> None: ...


def test_a_slow_camera_is_silent_only_after_three_of_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    with LatestFrame(Slow([0.0, 0.4, 0.4, 0.4])) as latest:
        found = [latest.read() for _ in range(3)]
        monkeypatch.setattr(latest_module, "SILENT_S", 0.01)
        found.append(latest.read())
    assert all(isinstance(one, Arrival) for one in found)


def test_a_pause_does_not_make_a_fast_camera_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_module, "SILENT_S", 0.3)
    reasons: list[str] = []
    with LatestFrame(Slow([0.0, 0.0, 0.0, 1.5, 0.0, 1.5])) as latest:
        while "gone" not in reasons:
            found = latest.read()
            if isinstance(found, Outage):
                reasons.append(found.reason)
    assert len(reasons) > 5, "both pauses are told"
    assert set(reasons) == {"the source has sent no frame for 0.3 s", "gone"}


class Told:
    """A live source whose steps the test puts into a queue. A step is a frame, the loss of the source, or its end."""

    is_live = True

    def __init__(self) -> None:
        self.steps: Queue[Frame | SourceLost | None] = Queue()
        self.taken = threading.Semaphore(0)

    def read(self) -> Frame | None:
        # when the thread reads again, it has passed on all earlier steps
        self.taken.release()
        step = self.steps.get(timeout=30)
        if isinstance(step, SourceLost):
            raise step
        return step

    def say(self, *steps: Frame | SourceLost | None) -> None:
        """Returns when the reader has passed on all steps, and asks for the next one."""
        for step in steps:
            assert self.taken.acquire(timeout=5)
            self.steps.put(step)
        assert self.taken.acquire(timeout=5)
        self.taken.release()

    def close(self) -> None: ...


def a_frame(number: int) -> Frame:
    return live_frame(np.zeros((4, 4, 3), np.uint8), number, "told")


def test_a_frame_from_before_an_outage_is_never_delivered() -> None:
    source = Told()
    with LatestFrame(source) as latest:
        source.say(a_frame(1), SourceLost("gone"), a_frame(2))
        assert latest.read() == Outage("gone")
        arrival = latest.read()
        assert isinstance(arrival, Arrival)
        assert (arrival.frame.number, arrival.dropped) == (2, 1)
        source.say(a_frame(3), SourceLost("gone again"))
        assert latest.newer() is None
        source.steps.put(None)
        assert latest.read() == Outage("gone again")
        assert latest.read() is None


@pytest.mark.parametrize("step", [a_frame(7), SourceLost("gone"), None])
def test_a_consumer_that_waits_is_woken_at_once(
    step: Frame | SourceLost | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_module, "SILENT_S", 600)
    monkeypatch.setattr(latest_module, "_LONGEST_SILENT_S", 600)
    source, found = Told(), list[object]()
    with LatestFrame(source) as latest:
        consumer = threading.Thread(target=lambda: found.append(latest.read()), daemon=True)
        consumer.start()
        consumer.join(0.1)
        source.steps.put(step)
        consumer.join(10)
        assert not consumer.is_alive(), "nobody told it"
        source.steps.put(None)
    [first] = found
    expected = type(step) if step is None else Outage if isinstance(step, SourceLost) else Arrival
    assert isinstance(first, expected)


class Clock:
    """Takes the place of the module time. The time changes only if the test changes it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class Feed:
    """Delivers frames to a LatestFrame as its thread would, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(latest_module, "time", self.clock)
        self.latest = LatestFrame(Slow([]))
        self.number = 0

    def after(self, *intervals_s: float) -> list[int]:
        """Delivers a frame after each of these intervals. Returns the numbers of those that a fast consumer gets."""
        taken = []
        for interval_s in intervals_s:
            self.clock.now_s += interval_s
            image = np.zeros((4, 4, 3), np.uint8)
            self.latest._deliver(Arrival(Frame(image, self.number, self.clock.now_s, "feed"), 0.0, 0))
            self.number += 1
            taken += self.wait(0.0)
        return taken

    def wait(self, seconds: float) -> list[int]:
        """Lets this many seconds pass. Returns the number of the frame that may be delivered now, or an empty list."""
        self.clock.now_s += seconds
        arrival = self.latest.newer()
        return [arrival.frame.number] if arrival else []


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    return Feed(monkeypatch)


STEADY = (0.125,) * 8


def test_frames_of_a_steady_camera_are_delivered_at_once(feed: Feed) -> None:
    assert feed.after(*STEADY) == list(range(8))


def test_the_backlog_after_a_short_stall_is_dropped_but_for_its_newest_frame(feed: Feed) -> None:
    feed.after(*STEADY)
    assert feed.after(1.5, *[0.01] * 12) == []
    assert feed.wait(0.125) == [20]
    assert feed.after(0.1, *STEADY) == list(range(21, 30)), "as fast as before: nothing waits any more"


@pytest.mark.parametrize("rise", [1.5, 2, 16])
def test_a_camera_that_becomes_faster_after_a_stall_is_seen_again(rise: float, feed: Feed) -> None:
    """Earlier, no frame was delivered any more, and the camera was reported as lost."""
    feed.after(*STEADY)
    taken = feed.after(1.5, *[0.125 / rise] * 100)
    assert taken == list(range(taken[0], 109))
    assert taken[0] <= 8 + 1 + (1.5 / 0.125 + latest_module._SURPLUS) / (1 - 1 / rise)


def test_a_stall_ends_with_the_outage_that_follows_it(feed: Feed) -> None:
    feed.after(*STEADY)
    feed.after(1.5)
    feed.latest._report(Outage("gone"))
    assert feed.after(0.1, 0.05) == [9, 10]


def test_a_frame_after_a_pause_is_late_by_less_than_an_interval_and_not_lost(feed: Feed) -> None:
    feed.after(*STEADY)
    for number in range(8, 11):
        assert feed.after(1.5) == []
        assert feed.wait(0.1) == [number]


def test_a_camera_that_has_become_slow_is_waited_for_no_more(feed: Feed) -> None:
    feed.after(*STEADY)
    feed.after(*[1.0] * 4)
    assert feed.after(*[1.0] * 4) == list(range(12, 16))


def test_frames_that_come_unevenly_are_not_held_back(feed: Feed) -> None:
    feed.after(*STEADY)
    assert feed.after(*(0.05, 0.2) * 10) == list(range(8, 28))


def test_a_consumer_waits_until_a_frame_may_be_delivered() -> None:
    latest = LatestFrame(Slow([]))
    latest._deliver(Arrival(Frame(np.zeros((4, 4, 3), np.uint8), 7, 0.0, "slow"), 0.0, 0))
    latest._ready_s = time.monotonic() + 0.05
    arrival = latest.read()
    assert isinstance(arrival, Arrival)
    assert arrival.frame.number == 7
    assert time.monotonic() >= latest._ready_s


@pytest.mark.parametrize(
    ("intervals", "silent_s"),
    [([], 2.0), ([0.5, 0.6], 2.0), ([1.0, 9.0, 9.0], 3.0), ([3.0, 3.5], 9.0), ([5.0], 10.0)],
)
def test_a_slow_source_may_be_silent_for_three_of_its_intervals_but_not_for_more_than_ten_seconds(
    intervals: list[float], silent_s: float, camera: type
) -> None:
    latest = LatestFrame(camera(1))
    latest._intervals.extend(intervals)
    assert latest._silent_s() == silent_s


def waits(latest: LatestFrame, *arrivals: float) -> list[float]:
    """Returns how many seconds each frame waits for a newer one. The frames arrive at the given times."""
    found = []
    for at_s in arrivals:
        found.append(round(latest._hold_back_s(at_s), 6))
        latest._arrived_s = at_s
    return found


def test_after_a_stall_frames_wait_until_they_come_as_usual_again(camera: type) -> None:
    latest = LatestFrame(camera(1))
    # the camera delivers ten frames a second
    assert waits(latest, 5.0, 5.1, 5.2, 5.3) == [0, 0, 0, 0]
    # After a stall of half a second, the first frame comes, and then two frames from a buffer. All three wait for three
    # quarters of the usual interval.
    assert waits(latest, 5.8, 5.81, 5.82) == [0.075] * 3
    assert waits(latest, 5.92, 6.02) == [0, 0]


def test_no_stall_is_shorter_than_three_tenths_of_a_second_and_three_intervals(camera: type) -> None:
    fast, slow = LatestFrame(camera(1)), LatestFrame(camera(1))
    assert waits(fast, 5.0, 5.05, 5.1, 5.39, 5.7) == [0, 0, 0, 0, 0.0375]
    assert waits(slow, 5.0, 5.2, 5.4, 5.99, 6.6) == [0, 0, 0, 0, 0.15]


def test_the_time_of_an_outage_is_no_interval(camera: type) -> None:
    latest = LatestFrame(camera(1))
    assert waits(latest, 5.0, 5.1, 5.2) == [0, 0, 0]
    latest._report(Outage("gone"))
    assert waits(latest, 9.0, 9.1) == [0, 0]
    assert latest._silent_s() == 2.0


def test_the_time_of_a_read_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [50.0]

    class Slow:
        is_live = False

        def read(self) -> Frame:
            clock[0] += 0.25
            return Frame(np.zeros((2, 2, 3), np.uint8), 0, clock[0], "slow")

    monkeypatch.setattr(latest_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    arrival = LatestFrame(Slow()).read()  # type: ignore[arg-type]
    assert isinstance(arrival, Arrival)
    assert (arrival.capture_ms, arrival.dropped) == (250, 0)


def test_a_frame_that_a_newer_one_or_an_outage_replaces_is_dropped(camera: type) -> None:
    first, second, third, fourth = (
        Arrival(Frame(np.zeros((2, 2, 3), np.uint8), number, 0.0, "made up"), 1.0, 0) for number in range(4)
    )
    latest = LatestFrame(camera(1))
    latest._deliver(first)
    arrival = latest.read()
    assert isinstance(arrival, Arrival)
    assert (arrival.frame.number, arrival.dropped) == (0, 0)
    latest._deliver(second)
    newer = latest.newer()
    assert newer is not None
    # the frame that was read before is dropped in favour of the newer one
    assert (newer.frame.number, newer.dropped) == (1, 1)
    assert latest.newer() is None
    latest._deliver(third)
    latest._report(Outage("gone"))
    assert latest.read() == Outage("gone")
    latest._deliver(fourth)
    arrival = latest.read()
    assert isinstance(arrival, Arrival)
    assert (arrival.frame.number, arrival.dropped) == (3, 2)
    # a frame that waits for a newer one is not taken yet
    latest._deliver(first)
    latest._ready_s = time.monotonic() + 3600
    assert latest.newer() is None
