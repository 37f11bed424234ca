"""The grammar of --source, and what each kind does when something is missing."""

from __future__ import annotations

import sys
import types
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import MissingExtra, OptionError, PictureError, SourceError
from edge.sources import KNOWN, FrameSource, open_source


def read_all(source: FrameSource) -> list:
    with closing(source):
        return list(iter(source.read, None))


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(SourceError) as raised:
        open_source("rstp://camera")
    assert str(raised.value) == f"Unknown source 'rstp://camera'. Known: {KNOWN}."


def test_a_path_that_does_not_exist_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file or folder '.*lesion\.jpg'"):
        open_source(str(tmp_path / "lesion.jpg"))


@pytest.mark.parametrize("spec", ["63", "/dev/video63"])
def test_a_missing_camera_is_one_clear_error(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=f"cannot open '{spec}'"):
        open_source(spec)
    assert capfd.readouterr().err == "", "OpenCV's own warnings must not clutter the screen"


@pytest.mark.parametrize("spec", ["http://127.0.0.1:9/stream", "rtsp://127.0.0.1:9/stream"])
def test_a_server_that_does_not_answer_is_one_clear_error(
    spec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match=f"cannot open '{spec}'"):
        open_source(spec)
    assert capfd.readouterr().err == ""


def test_a_picture_is_one_frame_and_then_the_end(pictures: Path) -> None:
    [frame] = read_all(open_source(str(pictures / "b.png")))
    assert frame.name == str(pictures / "b.png")
    assert (frame.number, frame.image_bgr.shape, frame.image_bgr.dtype) == (0, (48, 64, 3), np.uint8)


def test_a_folder_delivers_its_pictures_in_order_at_any_depth(pictures: Path) -> None:
    frames = read_all(open_source(str(pictures)))
    assert [Path(frame.name).name for frame in frames] == ["b.png", "c.jpg"]
    assert [frame.number for frame in frames] == [0, 1]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture in the folder"):
        open_source(str(tmp_path))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with (
        closing(open_source(str(tmp_path / "bad.png"))) as source,
        pytest.raises(PictureError, match=r"bad\.png"),
    ):
        source.read()


def test_a_video_delivers_every_frame_in_order(video: Path) -> None:
    frames = read_all(open_source(str(video)))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [round(frame.image_bgr.mean() / 40) for frame in frames] == [0, 1, 2, 3, 4]


def test_a_file_that_is_no_video_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"clip\.mp4' is not a video"):
        open_source(str(tmp_path / "clip.mp4"))
    assert capfd.readouterr().err == ""


def test_a_camera_that_goes_silent_stops_with_its_name(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: recorded)
    source = open_source("0")
    assert source.is_live
    for number in range(5):
        frame = source.read()
        assert frame is not None
        assert frame.number == number
    with pytest.raises(SourceError, match="'0' stopped delivering frames after 5"):
        source.read()


@pytest.mark.parametrize("option", ["width", "height", "fps"])
def test_a_size_for_a_source_that_has_its_own_is_refused(option: str) -> None:
    with pytest.raises(OptionError, match="'demo' has its own size and rate"):
        open_source("demo", **{option: 30})


def test_a_missing_picamera2_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtra, match=r"system-site-packages.*dermedge\[pi\]"):
        open_source("picamera2")


class FakePicamera2:
    """What PiCamera uses of picamera2 0.3.38; the configured format is what the camera made of it."""

    delivers = "RGB888"
    silent = False

    def create_video_configuration(self, main: dict, controls: dict) -> dict:
        return {"main": main, "controls": controls}

    def configure(self, configuration: dict) -> None:
        self.configuration = configuration

    def camera_configuration(self) -> dict:
        return {"main": {**self.configuration["main"], "format": self.delivers}}

    def start(self) -> None:
        self.started = True

    def capture_array(self, name: str, wait: float) -> np.ndarray:
        if self.silent:
            raise TimeoutError
        width, height = self.configuration["main"]["size"]
        colours = {"RGB888": (1, 2, 3), "BGR888": (3, 2, 1), "XRGB8888": (1, 2, 3, 255)}[self.delivers]
        return np.full((height, width, len(colours)), colours, np.uint8)

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("delivers", ["RGB888", "BGR888", "XRGB8888"])
def test_picamera2_frames_are_blue_first_whatever_the_format(
    delivers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = type("Fake", (FakePicamera2,), {"delivers": delivers})
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=fake))
    with closing(open_source("picamera2", width=320, height=240)) as source:
        frame = source.read()
    assert frame is not None
    assert frame.image_bgr.shape == (240, 320, 3)
    assert frame.image_bgr[0, 0].tolist() == [1, 2, 3]


def test_a_silent_picamera2_stops_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type("Fake", (FakePicamera2,), {"silent": True})
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=fake))
    with closing(open_source("picamera2")) as source, pytest.raises(SourceError, match="'picamera2' stopped"):
        source.read()


def test_a_format_of_picamera2_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type("Fake", (FakePicamera2,), {"delivers": "YUV420"})
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=fake))
    with pytest.raises(SourceError, match="delivers YUV420"):
        open_source("picamera2")
