"""Faults that are injected into a running loop: each ends in a named state, and nothing is lost or wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge import cli
from dermedge.edge.cli import run as run_cli
from dermedge.edge.errors import SourceLost
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.capture import as_bgr
from dermedge.edge.sources.frame import Frame, FrameSource, live_frame
from dermedge.edge.sources.latest import LatestFrame, Outage
from dermedge.edge.states import State
from dermedge.edge.views import record
from dermedge.edge.views.jsonlines import JsonLinesView


class Feed(FrameSource):
    """A live source that gives one image or error for each `read`. It repeats the last one for ever."""

    is_live = True

    def __init__(self, steps: list[NDArray[np.uint8] | Exception], interval_s: float = 0.005) -> None:
        self.steps, self.interval_s = steps, interval_s
        self.number = 0
        self.is_closed = False

    def read(self) -> Frame | None:
        time.sleep(self.interval_s)
        step = self.steps[min(self.number, len(self.steps) - 1)]
        self.number += 1
        if isinstance(step, Exception):
            raise step
        return live_frame(step, self.number - 1, "feed")

    def close(self) -> None:
        self.is_closed = True


def road_to(state: State, lesion: NDArray[np.uint8]) -> tuple[list[Any], dict[str, Any]]:
    """Returns images and errors that lead to a state, and the options that the model needs to reach this state."""
    roads: dict[State, tuple[list[Any], dict[str, Any]]] = {
        State.SEARCHING: ([np.zeros_like(lesion)], {}),
        State.HOLD_STILL: ([cv2.GaussianBlur(lesion, (0, 0), 12)], {}),
        State.READING: ([lesion], {}),
        State.ANSWER: ([lesion], {"has_none": False}),
        State.UNCERTAIN: ([lesion], {"none": 1, "uncertain": 1}),
        State.NONE: ([lesion], {"none": 0}),
        State.CAMERA_LOST: ([lesion, SourceLost("'feed' stopped; attempt 1")], {}),
    }
    return roads[state]


class Signalling(JsonLinesView):
    """A view that sends a signal to this process when it shows a given state."""

    def __init__(self, state: State, number: signal.Signals) -> None:
        super().__init__()
        self.state, self.number = state, number

    def show(self, result: FrameResult) -> bool:
        going_on = super().show(result)
        if result.state is self.state:
            os.kill(os.getpid(), self.number)
        return going_on


@pytest.mark.usefixtures("usual_hangup")
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)]
)
def test_a_signal_in_any_state_ends_with_whole_lines_a_closed_source_and_no_thread(
    state: State,
    number: signal.Signals,
    status: int,
    make_deciding_model: Callable[..., Path],
    make_lesion: Callable[..., NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    steps, options = road_to(state, make_lesion())
    feed = Feed(steps)
    monkeypatch.setattr(run_cli, "open_source", lambda *arguments, **named: feed)
    monkeypatch.setattr(run_cli, "open_jsonlines", lambda is_live: Signalling(state, number))
    model = make_deciding_model(**options)
    kept = ["--record", str(tmp_path / "kept")]
    arguments = ["run", "--model", str(model), "--json", "--max-secs", "60", *kept]
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert json.loads(captured.out.splitlines()[-1])["state"] == state
    [path] = (tmp_path / "kept").glob("*/frames.jsonl")
    assert [json.loads(line)["state"] for line in path.read_text().splitlines()][-1] == state
    assert feed.is_closed
    assert not any(thread.name == "capture" for thread in threading.enumerate())


def test_pictures_that_change_their_size_are_read_on(classifier: type) -> None:
    rng = np.random.default_rng(0)
    sizes = [(480, 640), (240, 320), (720, 1280), (1, 1), (48, 64)]
    steps = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    feed = Feed(steps)
    feed.is_live = False  # so that no image is dropped
    seen = []
    with Pipeline(feed, classifier()) as results:
        for result in results:
            assert result.frame is not None
            seen.append(result.frame.image_bgr.shape[:2])
            if len(seen) == len(sizes):
                break
    assert seen == sizes


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 4), (48, 64, 3)])
def test_grey_pictures_and_those_with_a_fourth_channel_become_bgr(shape: tuple[int, ...]) -> None:
    image = as_bgr(np.full(shape, 90, np.uint8))
    assert image.shape == (48, 64, 3)
    assert (image == 90).all()


def test_a_burst_after_a_pause_is_answered_by_its_newest_frame(classifier: type) -> None:
    class Bursting(Feed):
        def read(self) -> Frame | None:
            self.interval_s = 0.3 if self.number == 1 else 0
            if self.number == 50:
                done.set()
                time.sleep(0.05)
            return super().read()

    done = threading.Event()
    rng = np.random.default_rng(0)
    feed = Bursting([rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(60)])
    with Pipeline(feed, classifier(before=lambda: done.wait(5)), gated=False) as results:
        next(results)
        second = next(results)
    assert second.frame is not None
    assert second.frame.number >= 48


def test_a_slow_camera_is_not_a_lost_one(
    classifier: type, make_lesion: Callable[..., NDArray[np.uint8]]
) -> None:
    feed = Feed([make_lesion()], interval_s=0.4)
    with Pipeline(feed, classifier()) as results:
        states = [next(results).state for _ in range(3)]
    assert State.CAMERA_LOST not in states


def test_a_camera_that_hangs_is_told_lost_while_it_hangs(
    make_lesion: Callable[..., NDArray[np.uint8]],
) -> None:
    released = threading.Event()

    class Hanging(Feed):
        def read(self) -> Frame | None:
            released.wait(20)
            return super().read()

    with LatestFrame(Hanging([make_lesion()])) as latest:
        found = latest.read()
        released.set()
    assert isinstance(found, Outage)
    assert "sent no frame" in found.reason


def test_on_a_disk_that_fills_while_it_records_classification_goes_on(
    model_path: Path,
    lesion_video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = ["--source", str(lesion_video), "--json", "--record", str(tmp_path)]
    real = record.RecordView._keep

    def keep(view: record.RecordView, result: FrameResult, with_photo: bool) -> None:
        monkeypatch.setattr(record.os, "fsync", full)
        real(view, result, with_photo)

    monkeypatch.setattr(record.RecordView, "_keep", keep)
    assert cli.main(["run", "--model", str(model_path), *source]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 5
    [said] = [line for line in captured.err.splitlines() if "recording has stopped" in line]
    assert said.endswith("the disk is full; free some space and try again")
    [lines] = tmp_path.glob("*/frames.jsonl")
    assert lines.read_bytes() == b""
