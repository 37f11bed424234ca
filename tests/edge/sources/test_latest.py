"""The newest frame wins, drops are counted, and nothing hangs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

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


def test_files_are_read_in_order_in_the_consumer_s_own_thread(video: Path) -> None:
    before = threading.active_count()
    with LatestFrame(open_source(str(video))) as latest:
        arrivals = list(iter(latest.read, None))
        assert threading.active_count() == before
    assert [arrival.frame.number for arrival in arrivals] == [0, 1, 2, 3, 4]
    assert {arrival.dropped for arrival in arrivals} == {0}


class Slow:
    """A live source whose frames come after these pauses, and which then stays silent."""

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
    assert set(reasons) == {"the source has been silent for 0.3 s", "gone"}
