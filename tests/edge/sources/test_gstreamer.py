"""GStreamer pipelines through Debian's own OpenCV, which is built with it, on Debian's own Python.

apt install python3-opencv gstreamer1.0-plugins-base
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path("/usr/bin/python3")
HERE = Path(__file__).resolve().parent
NEEDS = "import cv2; assert cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)"
WIDTH, HEIGHT, FPS = 320, 240, 15
TEST_PICTURE = f"is-live=true pattern=ball ! video/x-raw,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
TO_BGR = "videoconvert ! video/x-raw,format=BGR ! appsink"
# The format of the raw frames that are written to standard input.
FROM_PIPE = f"fdsrc fd=0 ! rawvideoparse format=bgr width={WIDTH} height={HEIGHT} framerate={FPS}/1"


@pytest.fixture(scope="module", autouse=True)
def debian() -> None:
    found = PYTHON.exists() and subprocess.run([PYTHON, "-c", NEEDS], capture_output=True, check=False)
    if not found or found.returncode:
        pytest.skip("no OpenCV with GStreamer: apt install python3-opencv gstreamer1.0-plugins-base")


def start(pipeline: str, seconds: float) -> subprocess.Popen[bytes]:
    command = [str(PYTHON), str(HERE / "gstreamer_frames.py"), pipeline, str(seconds)]
    environment = {"PYTHONPATH": str(HERE.parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def events_of(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Returns the events until the program ends. It may print nothing but these lines."""
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    return [json.loads(line) for line in output.splitlines()]


def numbers(events: list[dict[str, Any]]) -> Iterator[int]:
    return (one["number"] for one in events if one["event"] == "frame")


def test_frames_of_a_pipeline_come_in_order_and_after_its_end_it_is_opened_again() -> None:
    """A pipeline counts as a camera, so its end is an outage."""
    events = events_of(start(f"videotestsrc num-buffers=20 {TEST_PICTURE} ! {TO_BGR}", 5))
    assert {tuple(one["shape"]) for one in events if one["event"] == "frame"} == {(HEIGHT, WIDTH, 3)}
    seen = list(numbers(events))
    assert seen == sorted(set(seen))
    assert seen[-1] > 20, "it was opened again, and its frames are counted on"
    lost = next(one["text"] for one in events if one["event"] == "lost")
    assert (
        "stopped delivering frames after 20 frames; check that the camera is on and connected; attempt 1 to open it"
        in lost
    )
    assert events[-1]["event"] == "end"


def test_a_pipeline_that_stalls_is_lost_within_seconds_and_does_not_hold_the_end_up() -> None:
    process = start(f"{FROM_PIPE} ! {TO_BGR}", 12)
    assert process.stdin is not None
    for level in range(10):
        process.stdin.write(bytes([20 * level]) * (3 * WIDTH * HEIGHT))
    process.stdin.flush()
    events = events_of_open(process)
    frames = [one for one in events if one["event"] == "frame"]
    assert frames[0]["mean"][0] % 20 == 0
    assert frames[-1]["number"] == len(range(10)) - 1
    lost = [one["text"] for one in events if one["event"] == "lost"]
    assert any("sent no frame for 2.0 s" in text for text in lost)
    assert any("stopped delivering frames after 10" in text for text in lost)
    assert any("cannot open" in text for text in lost), "to open it again would hang too"
    assert events[-1]["event"] == "end"
    assert events[-1]["after_s"] < 30


def events_of_open(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Does the same as `events_of`, but keeps standard input open."""
    assert process.stdin is not None
    stdin, process.stdin = process.stdin, None
    with stdin:
        return events_of(process)


def test_a_pipeline_that_cannot_be_is_one_line_with_what_to_look_at() -> None:
    [error, _] = events_of(start("videotestsrc ! no-such-element ! appsink", 5))
    assert error["event"] == "error"
    assert "check that `gst-launch-1.0` runs the pipeline" in error["text"]


@pytest.mark.parametrize("format_", ["BGR", "GRAY8", "BGRx", "BGRA"])
def test_the_colours_of_a_frame_are_right(format_: str) -> None:
    # The pattern is plain red. In gray, red is 76 or 81, depending on the range of the levels.
    picture = (
        f"videotestsrc num-buffers=3 pattern=solid-color foreground-color=0xffff0000 {TEST_PICTURE[25:]}"
    )
    events = events_of(start(f"{picture},format={format_} ! appsink", 3))
    first = next(one for one in events if one["event"] == "frame")
    assert first["shape"] == [HEIGHT, WIDTH, 3]
    blue, green, red = first["mean"]
    if format_ == "GRAY8":
        assert blue == green == red
        assert 70 <= red <= 90
    else:
        assert max(blue, green) < 5
        assert red > 250


@pytest.mark.parametrize(
    "end",
    ["format=NV12", "format=RGBx", "format=GRAY16_LE", "x=0 ! jpegenc"],
)
def test_frames_whose_colours_would_be_read_wrongly_are_refused(end: str) -> None:
    events = events_of(start(f"videotestsrc {TEST_PICTURE},{end} ! appsink", 2))
    assert not list(numbers(events))
    lost = next(one["text"] for one in events if one["event"] == "lost")
    assert "delivers frames in a format that cannot be read; end the pipeline in `videoconvert !" in lost
