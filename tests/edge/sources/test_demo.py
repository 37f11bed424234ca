"""The generated demo.

If you change the demo on purpose, pin its frames anew: python tests/edge/sources/test_demo.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.preprocess import to_input
from dermedge.edge.quality import QualityGate
from dermedge.edge.sources import demo
from dermedge.edge.sources.open import open_source


def test_the_demo_is_a_live_source_of_640_by_480() -> None:
    source = open_source("demo")
    frames = [source.read() for _ in range(2)]
    source.close()
    assert source.is_live
    assert [frame.number for frame in frames if frame] == [0, 1]
    assert all(frame.image_bgr.shape == (480, 640, 3) for frame in frames if frame)


def test_the_frames_of_the_demo_follow_each_other_in_time_as_those_of_a_camera() -> None:
    with open_source("demo") as source:
        frames = [frame for frame in (source.read(), source.read()) if frame]
    # The first frame takes longer to paint than the second. This delay must not appear in the times of the frames,
    # because it would look like motion.
    assert [frame.at_s for frame in frames] == [0.0, 1 / 30]
    assert frames[0].captured_at < frames[1].captured_at
    assert not any(frame.is_photo for frame in frames), "its answers settle over time"


def test_two_demos_deliver_the_same_frames() -> None:
    one, other = open_source("demo"), open_source("demo")
    first, again = one.read(), other.read()
    assert first is not None
    assert again is not None
    assert np.array_equal(first.image_bgr, again.image_bgr)


def stations() -> list[int]:
    """The first frame of each station."""
    period = demo.FPS * (demo.DWELL_S + demo.TRAVEL_S)
    return [round(period * index) for index in range(len(demo.STATIONS))]


def colour_of(number: int) -> np.ndarray:
    """The mean of the middle of a frame."""
    return demo.generate(number)[160:320, 240:400].mean(axis=(0, 1))


def test_the_picture_moves() -> None:
    assert not np.array_equal(demo.generate(0), demo.generate(30))


def test_the_tour_ends_where_it_begins() -> None:
    tour = round(demo.FPS * (demo.DWELL_S + demo.TRAVEL_S) * len(demo.STATIONS))
    for number in (tour - 1, tour, 3 * tour + 5):
        assert demo.generate(number).std() > 10, "the window must not leave the strip"
    away = [np.abs(colour_of(tour) - colour_of(first)).max() for first in stations()]
    assert away.index(min(away)) == 0


def test_the_demo_starts_with_a_lesion_that_is_answered() -> None:
    gate = QualityGate()
    frames = range(0, round(demo.FPS * demo.DWELL_S), 10)
    defects = [gate.check(to_input(demo.generate(number), 192), number / demo.FPS) for number in frames]
    assert len(defects) == 8
    assert set(defects) == {None}


def test_every_station_looks_different() -> None:
    colours = {tuple(np.round(colour_of(first))) for first in stations()}
    assert len(colours) == len(demo.STATIONS)


def test_the_frames_say_that_they_are_generated() -> None:
    frame = open_source("demo").read()
    assert frame is not None
    assert "generated" in frame.name
    assert (demo.generate(0)[:, -30:-6] == 225).any(), "the notice is written along the right edge"


PINNED = Path(__file__).with_name("demo_frames.npz")
# With the same version of OpenCV, the mean of a block may differ by at most ROUNDING levels, because processors round
# differently. Another version may draw other fonts. With any version, at least the share MOST of the means must differ
# by at most A_LEVEL.
ROUNDING, A_LEVEL, MOST = 0.05, 1.0, 0.9


def block_means() -> NDArray[np.float64]:
    """Returns the mean colours of blocks of 40 x 40 pixels, float64 [16, 12, 16, 3].

    The first axis is the frames: for each station, one frame at the station, and one on the way to the next station.
    """
    numbers = [first + after for first in stations() for after in (40, 100)]
    frames = np.stack([demo.generate(number) for number in numbers]).astype(np.float64)
    return frames.reshape(len(numbers), 12, 40, 16, 40, 3).mean(axis=(2, 4))


def test_every_station_looks_as_it_did() -> None:
    pinned = np.load(PINNED)
    differences = np.abs(block_means() - pinned["means"] / 256)
    assert (differences <= A_LEVEL).mean() >= MOST
    if str(pinned["opencv"]) == cv2.__version__:
        assert differences.max() <= ROUNDING


if __name__ == "__main__":
    np.savez_compressed(PINNED, means=np.round(256 * block_means()).astype(np.uint16), opencv=cv2.__version__)
