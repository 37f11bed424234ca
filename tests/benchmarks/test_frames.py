"""The frames that models are shown while they are timed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermedge.benchmarks import frames
from dermedge.benchmarks.frames import FRAMES, camera_frame, frames_of_photos, frames_of_source
from dermedge.edge.errors import OptionError, PictureError, SourceError
from dermedge.edge.sources.frame import Frame, FrameSource


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 900))
def test_a_picture_of_any_size_fills_a_camera_frame(height: int, width: int) -> None:
    frame = camera_frame(np.full((height, width, 3), 77, np.uint8))
    assert (frame.shape, frame.dtype, frame.flags.c_contiguous) == ((480, 640, 3), np.uint8, True)
    assert np.all(frame == 77)


def test_a_square_picture_keeps_its_proportions_and_its_middle() -> None:
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[50:70, 50:70] = 255
    rows, columns = np.nonzero(camera_frame(picture)[..., 0] > 127)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    assert (rows.mean(), columns.mean()) == (pytest.approx(239.5, abs=1), pytest.approx(319.5, abs=1))


def test_of_a_folder_pictures_are_spread_over_all(tmp_path: Path) -> None:
    for number in range(2 * FRAMES):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), np.full((6, 8, 3), number, np.uint8))
    frames, origin = frames_of_source(str(tmp_path))
    levels = [int(frame[0, 0, 0]) for frame in frames]
    assert (len(levels), levels[0], levels[-1]) == (FRAMES, 0, 2 * FRAMES - 1)
    assert levels == sorted(set(levels))
    assert origin == "16 of 32 photos of --source resized to 640x480"


def test_a_source_whose_name_is_longer_than_a_path_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = f"v4l2src ! {'queue ! ' * 60}appsink"
    opened: list[str] = []

    def open_source(spec: str) -> FrameSource:
        opened.append(spec)
        raise SourceError("no camera")

    monkeypatch.setattr(frames, "open_source", open_source)
    with pytest.raises(SourceError, match="no camera"):
        frames_of_source(pipeline)
    assert opened == [pipeline]


def test_a_folder_that_is_called_like_a_source_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    cv2.imwrite(str(tmp_path / "demo" / "gray.png"), np.full((6, 8, 3), 127, np.uint8))
    monkeypatch.chdir(tmp_path)
    # for "demo", the whole loop opens the generated frames too, and not the folder of this name
    assert frames_of_source("demo")[1].startswith("16 generated frames")
    assert frames_of_source("./demo")[1].startswith("1 of 1 photos of --source")


def test_drawn_frames_are_named_as_what_they_are() -> None:
    frames, origin = frames_of_source("demo")
    assert len(frames) == FRAMES
    assert origin == "16 generated frames of 640x480, not photos"


def test_without_a_source_nothing_is_made_up() -> None:
    with pytest.raises(OptionError, match="--source demo"):
        frames_of_source(None)


@pytest.mark.parametrize("shape", [(120, 120), (100, 400), (400, 100)])
def test_a_picture_of_any_form_keeps_its_proportions_and_its_middle(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    rows, columns = (slice(side // 2 - 10, side // 2 + 10) for side in shape)
    picture[rows, columns] = 255
    seen, across = np.nonzero(camera_frame(picture)[..., 0] > 127)
    assert np.ptp(seen) == pytest.approx(np.ptp(across), abs=5)
    assert (seen.mean(), across.mean()) == (pytest.approx(239.5, abs=4), pytest.approx(319.5, abs=4))


def test_a_large_picture_is_averaged_and_not_thinned_out() -> None:
    picture = np.zeros((1920, 2560, 3), np.uint8)
    picture[:, ::4] = 200
    # one of 4 pixels is 200 and the others are 0, so the average is 50
    assert np.all(camera_frame(picture) == 50)


def test_of_a_stream_the_first_frames_are_taken_and_its_password_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stream(FrameSource):
        is_live = True
        number = -1

        def read(self) -> Frame:
            self.number += 1
            return Frame(np.full((480, 640, 3), self.number, np.uint8), self.number, 0.0, "a stream")

        def close(self) -> None:
            pass

    monkeypatch.setattr("dermedge.benchmarks.frames.open_source", lambda spec: Stream())
    frames, origin = frames_of_source("rtsp://me:secret@camera/1")
    assert [int(frame[0, 0, 0]) for frame in frames] == list(range(16))
    assert origin == "16 frames of 'rtsp://camera/1' resized to 640x480"


def test_of_photos_that_cannot_be_decoded_the_first_is_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(b"no photo")
    with pytest.raises(PictureError, match=r"0\.png"):
        frames_of_photos(paths)
    cv2.imwrite(str(paths[1]), np.full((6, 8, 3), 9, np.uint8))
    assert [int(frame[0, 0, 0]) for frame in frames_of_photos(paths)] == [9]


def test_a_photo_that_cannot_be_decoded_is_named_to_the_user_and_not_in_results(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((6, 8, 3), 9, np.uint8))
    for name in ("1.png", "2\x1b.png"):
        (tmp_path / name).write_bytes(b"no photo")
    said: list[str] = []
    frames, origin = frames_of_source(str(tmp_path), said.append)
    assert (len(frames), origin) == (1, "1 of 3 photos of --source resized to 640x480")
    assert said[0].startswith(f"photo left out: '{tmp_path / '1.png'}' is not a photo")
    assert [len(said), "2\\x1b.png" in said[1]] == [2, True]
