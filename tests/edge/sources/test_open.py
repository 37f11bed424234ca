"""The grammar of --source, and what each kind of source does if something is missing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import OptionError, PictureError, SourceError
from dermedge.edge.sources import camera
from dermedge.edge.sources import frame as frame_module
from dermedge.edge.sources.camera import CameraCapture, CameraMode, CameraOpener, StreamCapture
from dermedge.edge.sources.capture import as_bgr
from dermedge.edge.sources.frame import Delivery, FrameSource
from dermedge.edge.sources.open import KNOWN, open_source


def read_all(source: FrameSource) -> list:
    with closing(source):
        return list(iter(source.read, None))


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(SourceError) as raised:
        open_source("rstp://camera")
    assert str(raised.value) == f"Unknown source 'rstp://camera'. Known: {KNOWN}."


def test_a_name_that_is_longer_than_those_of_files_is_an_unknown_source() -> None:
    with pytest.raises(SourceError, match="Unknown source 'xxx"):
        open_source("x" * 5000)


def test_a_path_that_does_not_exist_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file or folder '.*lesion\.jpg'; check the path$"):
        open_source(str(tmp_path / "lesion.jpg"))


@pytest.mark.parametrize("spec", ["63", 63, "/dev/video63"])
def test_a_missing_camera_is_one_clear_error(spec: str | int, capfd: pytest.CaptureFixture[str]) -> None:
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


def test_a_path_need_not_be_text(pictures: Path) -> None:
    assert len(read_all(open_source(pictures))) == 2


@pytest.mark.parametrize("framing", [{"zoom": 0.5}, {"zoom": 0}, {"zoom": float("nan")}, {"flip": "left"}])
def test_a_framing_that_does_not_exist_is_an_error(framing: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"zoom is .* 1 or more|unknown flip 'left'. Known: horizontal,"):
        open_source("demo", **framing)


def test_a_folder_delivers_its_pictures_in_order_at_any_depth(pictures: Path) -> None:
    frames = read_all(open_source(str(pictures)))
    assert [Path(frame.name).name for frame in frames] == ["b.png", "c.jpg"]
    assert [frame.number for frame in frames] == [0, 1]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no photo in the folder"):
        open_source(str(tmp_path))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with (
        open_source(str(tmp_path / "bad.png")) as source,
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
    with pytest.raises(
        SourceError, match="'0' stopped delivering frames after 5 frames; check that the camera is on"
    ):
        source.read()


@pytest.mark.parametrize("option", ["width", "height", "fps"])
def test_a_size_for_a_source_that_has_its_own_is_refused(option: str) -> None:
    with pytest.raises(OptionError, match="'demo' is not a camera"):
        open_source("demo", **{option: 30})


class FakeCapture:
    """Has the methods of cv2.VideoCapture that LiveCapture calls. The properties in ``refused`` cannot be set."""

    def __init__(self, refused: tuple[int, ...] = ()) -> None:
        self.refused = refused
        self.properties: dict[int, float] = {cv2.CAP_PROP_EXPOSURE: 157, cv2.CAP_PROP_WB_TEMPERATURE: 4600}
        self.released = False
        self.count = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        self.count += 1
        return True, np.full((48, 64, 3), self.count % 256, np.uint8)

    def get(self, key: int) -> float:
        return self.properties.get(key, 0.0)

    def set(self, key: int, value: float) -> bool:
        if key in self.refused:
            return False
        self.properties[key] = value
        return True

    def release(self) -> None:
        self.released = True


@pytest.fixture
def make_capture(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCapture]:
    """A function that replaces OpenCV's capture by a FakeCapture, which needs no time to settle."""

    def make(refused: tuple[int, ...] = ()) -> FakeCapture:
        capture = FakeCapture(refused)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: capture)
        monkeypatch.setattr("dermedge.edge.sources.camera.SETTLE_S", 0)
        return capture

    return make


def test_a_camera_is_asked_for_size_rate_and_fixed_focus(make_capture: Callable[..., FakeCapture]) -> None:
    asked = make_capture().properties
    open_source("0", 320, 240, 15, focus=40)
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (320, 240)
    assert asked[cv2.CAP_PROP_FPS] == 15
    assert (asked[cv2.CAP_PROP_AUTOFOCUS], asked[cv2.CAP_PROP_FOCUS]) == (0, 40)


def test_a_camera_is_asked_for_its_format_before_size_and_rate(
    make_capture: Callable[..., FakeCapture],
) -> None:
    """The available sizes and rates depend on the pixel format."""
    asked = make_capture().properties
    asked.clear()
    open_source("0", 1920, 1080, 30, pixel_format="MJPG")
    assert next(iter(asked)) == cv2.CAP_PROP_FOURCC
    assert asked[cv2.CAP_PROP_FOURCC] == int.from_bytes(b"MJPG", "little")


def test_what_a_camera_delivers_is_read_back(make_capture: Callable[..., FakeCapture]) -> None:
    capture = make_capture()
    source = open_source("0", 1920, 1080, 30, pixel_format="Y16")
    assert source.delivery() == Delivery(1920, 1080, 30, "Y16")
    assert str(source.delivery()) == "1920x1080, 30 frames a second, Y16"
    # a camera for time-lapse may deliver less than one frame a second
    capture.properties[cv2.CAP_PROP_FPS] = 0.5
    capture.set = lambda key, value: True  # type: ignore[method-assign]
    assert open_source("0", fps=1).delivery() == Delivery(1920, 1080, 0.5, "Y16")
    # V4L2 may choose other values, although OpenCV says that it has set the requested ones
    capture.properties = {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}
    silent = open_source("0", 1920, 1080, 30, pixel_format="MJPG", flip="both")
    assert silent.delivery() == Delivery(640, 480, None, "")
    assert str(silent.delivery()) == "640x480"


def test_a_source_that_is_no_camera_tells_no_delivery(video: Path) -> None:
    with open_source(str(video)) as source:
        assert source.delivery() is None


def test_an_automatic_focus_is_turned_on(make_capture: Callable[..., FakeCapture]) -> None:
    asked = make_capture().properties
    open_source("0", focus="auto")
    assert asked[cv2.CAP_PROP_AUTOFOCUS] == 1


def test_locks_keep_what_the_automatics_had_found(make_capture: Callable[..., FakeCapture]) -> None:
    asked = make_capture().properties
    open_source("0", lock_exposure=True, lock_white_balance=True)
    assert (asked[cv2.CAP_PROP_AUTO_EXPOSURE], asked[cv2.CAP_PROP_EXPOSURE]) == (1, 157)
    assert (asked[cv2.CAP_PROP_AUTO_WB], asked[cv2.CAP_PROP_WB_TEMPERATURE]) == (0, 4600)


def test_a_camera_settles_for_a_second_before_its_exposure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a simulated clock, the camera delivers four frames a second. Its exposure rises with each frame."""
    clock = [50.0]

    class Settling(FakeCapture):
        def read(self) -> tuple[bool, np.ndarray]:
            clock[0] += 0.25
            self.properties[cv2.CAP_PROP_EXPOSURE] += 1
            return super().read()

    monkeypatch.setattr(camera, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    capture = Settling()
    source = CameraCapture("0", capture, "", CameraMode(lock_exposure=True))
    assert capture.count == 4
    assert capture.properties[cv2.CAP_PROP_EXPOSURE] == 161
    # the frames of the first second are not counted, so the number of this frame is 0
    frame = source.read()
    assert frame is not None
    assert frame.number == 0


def test_a_stream_may_take_five_seconds_to_open_and_three_for_a_frame_and_two_threads_decode_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def open_capture(*given: Any) -> FakeCapture:
        asked.append(given)
        return FakeCapture()

    monkeypatch.setattr(camera, "open_capture", open_capture)
    source = open_source("RTSP://me:Secret@Camera/One")
    frame = source.read()
    assert frame is not None
    assert frame.name == "RTSP://Camera/One"
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 3000]
    # FFmpeg knows schemes only in lower case. With each further thread, its frames come one frame later.
    threads = [cv2.CAP_PROP_N_THREADS, 2]
    assert asked == [("rtsp://me:Secret@Camera/One", cv2.CAP_FFMPEG, limits + threads)]
    monkeypatch.delattr(cv2, "CAP_PROP_N_THREADS")
    open_source("rtsp://Camera")
    assert asked[1][2] == limits


@pytest.mark.parametrize(
    ("bad", "secs", "is_lost"),
    [
        (5, 0.0, False),
        (6, 0.0, True),
        # fewer parts are damaged, and the stream is lost only if this lasts for a second
        (2, 0.4, False),
        (2, 0.5, True),
    ],
)
def test_a_stream_is_lost_after_six_bad_parts_in_a_row_or_a_second(
    bad: int, secs: float, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [50.0]

    class Damaged(FakeCapture):
        def read(self) -> tuple[bool, Any]:
            found = super().read()
            is_bad = 2 < self.count <= 2 + bad
            clock[0] += secs * is_bad
            return (False, None) if is_bad else found

    monkeypatch.setattr(camera, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    source = StreamCapture("a stream", Damaged(), "")
    assert source.read() is not None
    if is_lost:
        with pytest.raises(SourceError, match="a stream' stopped delivering frames after 2 frames"):
            source.read()
    else:
        frame = source.read()
        assert frame is not None
        assert frame.number == 2


@pytest.mark.parametrize(
    ("level", "same", "said"),
    [(7, 6, None), (7, 7, "the same frame again and again"), (0, 7, "black frames only")],
)
def test_a_stream_is_frozen_if_its_first_frame_stays_for_a_second_and_a_half(
    level: int, same: int, said: str | None, stopped_clock: Callable[[ModuleType], list[float]]
) -> None:
    """Four frames arrive in a second. The first frame comes at 50.25 s and the seventh at 51.75 s."""
    clock = stopped_clock(frame_module)

    class Still(FakeCapture):
        def read(self) -> tuple[bool, np.ndarray]:
            self.count += 1
            clock[0] += 0.25
            return True, np.full((48, 64, 3), level if self.count <= same else 200, np.uint8)

    source = StreamCapture("a stream", Still(), "")
    if said:
        with pytest.raises(SourceError, match=f"'a stream' is frozen: it sends {said}. Either"):
            source.read()
        assert clock == [51.75]
    else:
        frame = source.read()
        assert frame is not None
        assert (frame.number, int(frame.image_bgr[0, 0, 0])) == (6, 200)


@pytest.mark.parametrize(("rows", "is_missing"), [(14, False), (15, True), (480, True)])
def test_a_few_green_rows_at_the_lower_edge_are_no_missing_part(rows: int, is_missing: bool) -> None:
    class Green(FakeCapture):
        def read(self) -> tuple[bool, Any]:
            image = np.random.default_rng(self.count).integers(0, 256, (480, 640, 3), np.uint8)
            image[480 - rows :] = (0, 135, 0)
            self.count += 1
            return True, image

    source = StreamCapture("a stream", Green(), "")
    if is_missing:
        with pytest.raises(SourceError, match="stopped delivering"):
            source.read()
    else:
        assert source.read() is not None


@pytest.mark.parametrize(
    ("platform", "backend"), [("linux", cv2.CAP_V4L2), ("darwin", cv2.CAP_ANY), ("win32", cv2.CAP_ANY)]
)
def test_v4l2_is_asked_for_a_camera_only_where_there_is_v4l2(
    platform: str, backend: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, no camera could be opened on macOS."""
    asked: list[tuple[int, int]] = []

    def open_capture(target: int, backend: int) -> FakeCapture:
        asked.append((target, backend))
        return FakeCapture()

    monkeypatch.setattr(camera, "open_capture", open_capture)
    monkeypatch.setattr(camera.sys, "platform", platform)
    CameraOpener("0", CameraMode())()
    assert asked == [(0, backend)]


def test_a_link_to_a_camera_is_followed_at_each_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def open_capture(target: int, backend: int) -> FakeCapture:
        asked.append(target)
        return FakeCapture()

    monkeypatch.setattr(camera, "open_capture", open_capture)
    monkeypatch.setattr(camera, "identify", lambda node: SimpleNamespace(bus="usb-1"))
    monkeypatch.setattr(camera, "identified", list)
    monkeypatch.setattr(camera, "find_again", lambda identity, others: pytest.fail("searched"))
    link = tmp_path / "by-id"
    opener = CameraOpener(str(link), CameraMode())
    for number in (0, 2):
        link.unlink(missing_ok=True)
        (tmp_path / f"video{number}").touch()
        link.symlink_to(tmp_path / f"video{number}")
        opener()
    assert asked == [0, 2]


@pytest.mark.parametrize(
    ("asked", "refused", "option"),
    [
        ({"width": 640}, cv2.CAP_PROP_FRAME_WIDTH, "--width"),
        ({"fps": 90}, cv2.CAP_PROP_FPS, "--fps"),
        ({"pixel_format": "MJPG"}, cv2.CAP_PROP_FOURCC, "--pixel-format MJPG"),
        ({"focus": "auto"}, cv2.CAP_PROP_AUTOFOCUS, "--focus auto"),
        ({"focus": 3.5}, cv2.CAP_PROP_FOCUS, "--focus 3.5"),
        ({"lock_exposure": True}, cv2.CAP_PROP_AUTO_EXPOSURE, "--lock-exposure"),
        ({"lock_white_balance": True}, cv2.CAP_PROP_AUTO_WB, "--lock-white-balance"),
        ({"height": 480}, cv2.CAP_PROP_FRAME_HEIGHT, "--height"),
        ({"focus": 3.5}, cv2.CAP_PROP_AUTOFOCUS, "--focus 3.5"),
        ({"lock_exposure": True}, cv2.CAP_PROP_EXPOSURE, "--lock-exposure"),
        ({"lock_white_balance": True}, cv2.CAP_PROP_WB_TEMPERATURE, "--lock-white-balance"),
    ],
)
def test_what_a_camera_refuses_is_named_and_the_camera_is_let_go(
    asked: dict, refused: int, option: str, make_capture: Callable[..., FakeCapture]
) -> None:
    capture = make_capture((refused,))
    with pytest.raises(SourceError, match=f"'0' refuses {option}: .*v4l2-ctl"):
        open_source("0", **asked)
    assert capture.released


def test_any_source_can_be_flipped_and_zoomed(pictures: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[12, 16] = 255  # the upper left corner of the middle half
    cv2.imwrite(str(pictures / "b.png"), image)
    [frame] = read_all(open_source(str(pictures / "b.png"), zoom=2, flip="both"))
    assert frame.image_bgr.shape == (24, 32, 3)
    assert np.argwhere(frame.image_bgr[..., 0]).tolist() == [[23, 31]]


def test_a_pipeline_without_gstreamer_names_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda backend: False)
    with pytest.raises(SourceError, match=r"cannot run GStreamer.*apt install python3-opencv"):
        open_source("videotestsrc ! videoconvert ! appsink")


def test_a_pipeline_is_opened_by_gstreamer_and_is_live(
    monkeypatch: pytest.MonkeyPatch, make_capture: Callable[..., FakeCapture]
) -> None:
    capture = make_capture()
    opened: list[tuple] = []
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda backend: backend == cv2.CAP_GSTREAMER)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: opened.append(arguments) or capture)
    source = open_source("videotestsrc ! videoconvert ! appsink")
    assert opened[0][:2] == ("videotestsrc ! videoconvert ! appsink", cv2.CAP_GSTREAMER)
    assert source.is_live


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("rtsp://user:secret@10.0.0.5:554/stream", "rtsp://10.0.0.5:554/stream"),
        ("http://10.0.0.5/a@b.mjpg", "http://10.0.0.5/a@b.mjpg"),
        ("rtspsrc location=rtsp://u:p@cam/1 ! appsink", "rtspsrc location=rtsp://cam/1 ! appsink"),
    ],
)
def test_a_password_in_an_address_is_shown_nowhere(
    spec: str, shown: str, make_capture: Callable[..., FakeCapture], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_capture()
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda backend: True)
    frame = open_source(spec).read()
    assert frame is not None
    assert frame.name == shown


def test_a_video_in_realtime_is_live_and_takes_as_long_as_it_is(video: Path) -> None:
    source = open_source(str(video), realtime=True)
    assert source.is_live
    started = time.monotonic()
    frames = read_all(source)
    assert time.monotonic() - started >= 0.4, "five frames, ten a second"
    assert [frame.at_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("spec", ["demo", "{pictures}"])
def test_realtime_is_for_videos(spec: str, pictures: Path) -> None:
    with pytest.raises(OptionError, match="--realtime is for videos"):
        open_source(spec.format(pictures=pictures), realtime=True)


def test_the_clock_of_a_video_is_its_own_and_a_picture_has_none(video: Path, pictures: Path) -> None:
    assert [frame.at_s for frame in read_all(open_source(str(video)))] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )
    assert {frame.at_s for frame in read_all(open_source(str(pictures)))} == {None}


def test_a_broken_link_and_a_named_pipe_exist_but_are_no_source(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("link.mp4", "pipe.mp4"):
        with pytest.raises(SourceError, match="neither a file nor a folder"):
            open_source(str(tmp_path / name))


def test_images_of_one_and_of_four_channels_become_blue_green_red() -> None:
    colour = np.full((2, 3, 4), (10, 20, 30, 255), np.uint8)
    assert as_bgr(colour).tolist() == np.full((2, 3, 3), (10, 20, 30)).tolist()
    for grey in (np.full((2, 3), 9, np.uint8), np.full((2, 3, 1), 9, np.uint8)):
        assert as_bgr(grey).tolist() == np.full((2, 3, 3), 9).tolist()
    plain = np.full((2, 3, 3), (10, 20, 30), np.uint8)
    assert as_bgr(plain) is plain


def test_a_source_that_cannot_be_played_at_its_speed_is_closed(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(
        "dermedge.edge.sources.photo_files.PhotoFiles.close", lambda source: closed.append(True)
    )
    with pytest.raises(OptionError, match="--realtime is for videos"):
        open_source(str(pictures), realtime=True)
    assert closed == [True]
