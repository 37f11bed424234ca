"""Videos that OpenCV reads wrongly or not to their end, and the time in a video."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge import cli
from dermedge.edge.errors import SourceError
from dermedge.edge.sources.edit_list import presented_s
from dermedge.edge.sources.frame import Frame
from dermedge.edge.sources.framing import Flip
from dermedge.edge.sources.latest import LatestFrame, Outage
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.video import VideoFile

HERE = Path(__file__).parent
# Two interlaced videos with 50 and 12 frames of 160 x 120 pixels. A player shows different frames. FFmpeg wrote the
# videos with its flags ilme and ildct.
INTERLACED = (HERE / "interlaced.ts", HERE / "interlaced.mp4")
# 12 frames. The intervals between them are 200, 40 and 40 ms, over and over.
VARIABLE = HERE / "variable_rate.mp4"
# 50 frames. Ten of them, in the middle, were cut out of the file.
HOLE = HERE / "hole.ts"
# 40 frames. An edit list hides the first 15.
TRIMMED = HERE / "trimmed.mp4"
# 3 frames of HDR video. The index of the file states the transfer function HLG.
HDR = HERE / "hdr.mov"
# 3 frames in AV1, which OpenCV's own wheels do not decode.
AV1 = HERE / "av1.mp4"


def decodes(path: Path) -> bool:
    """Tells whether this OpenCV decodes a video. Version 5.0.0 returns the same memory for each interlaced frame."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    first, second = capture.read()[1], capture.read()[1]
    return not np.array_equal(first, second)


old_memory = pytest.mark.skipif(decodes(INTERLACED[0]), reason="this OpenCV decodes interlaced video")
Images = list[np.ndarray]


def grainy(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(60, 200, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function (images, name) that writes a real video of these, ten a second."""

    def make(images: Images, name: str = "video.avi", codec: str = "MJPG") -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
        assert writer.isOpened()
        for image in images:
            writer.write(image)
        writer.release()
        return path

    return make


def frames_until_error(path: Path) -> tuple[list[Frame], str]:
    """The frames that a video delivers, and the error that ends it."""
    frames: list[Frame] = []
    with open_source(str(path)) as source, pytest.raises(SourceError) as raised:
        frames.extend(iter(source.read, None))
    return frames, str(raised.value)


def numbers(path: Path) -> list[int]:
    with open_source(str(path)) as source:
        return [frame.number for frame in iter(source.read, None)]


@old_memory
@pytest.mark.parametrize("path", INTERLACED, ids=lambda path: path.suffix)
def test_interlaced_video_gives_no_frame_and_a_command_that_converts_it(path: Path) -> None:
    frames, error = frames_until_error(path)
    assert frames == []
    assert "The video is either interlaced" in error
    command = shlex.split(error.split("Convert it with: ")[1])
    assert command == ["ffmpeg", "-i", str(path), "-vf", "yadif", str(HERE / "interlaced-progressive.mp4")]


@pytest.mark.parametrize("path", INTERLACED, ids=lambda path: path.suffix)
def test_interlaced_video_that_this_opencv_decodes_is_read(path: Path) -> None:
    if not decodes(path):
        pytest.skip("this OpenCV does not decode interlaced video")
    assert numbers(path) == list(range(50 if path.suffix == ".ts" else 12))


def test_black_frames_for_ever_are_called_black(write: Callable[..., Path]) -> None:
    frames, error = frames_until_error(write([np.zeros((48, 64, 3), np.uint8)] * 20))
    assert frames == []
    assert "all 20 frames are black. The video is either interlaced" in error


def test_a_name_with_spaces_can_be_copied_from_the_command(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write([grainy(1)] * 4, "my mole's.avi")
    _, error = frames_until_error(path)
    assert shlex.split(error.split("Convert it with: ")[1])[2] == str(path)


@pytest.mark.parametrize("name", ["12:30:05.avi", "concat:x.avi", "-y.avi", "%03d.avi"])
def test_a_name_is_never_taken_for_an_address_or_a_pattern(
    name: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write([grainy(number) for number in range(3)], name).parent)
    assert numbers(Path(name)) == [0, 1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any name")
def test_a_name_that_is_not_utf_8_is_an_error_because_opencv_would_crash(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write([grainy(1)] * 3).rename(tmp_path / os.fsdecode(b"\xff.avi"))
    with pytest.raises(SourceError, match="not valid UTF-8; rename the file"):
        open_source(str(path))
    with pytest.raises(SourceError, match="not valid UTF-8; rename the file"):
        open_source(os.fsdecode(b"http://127.0.0.1/\xff"))


@pytest.mark.parametrize(("transfer", "is_noted"), [(18, True), (16, True), (1, False)])
@pytest.mark.parametrize("realtime", [False, True])
def test_hdr_video_is_read_and_its_colours_are_doubted(
    transfer: int, is_noted: bool, realtime: bool, tmp_path: Path
) -> None:
    content = HDR.read_bytes()
    at = content.index(b"colrnclc") + 10
    path = tmp_path / "video.mov"
    path.write_bytes(content[:at] + transfer.to_bytes(2, "big") + content[at + 2 :])
    with open_source(str(path), realtime=realtime, flip="horizontal") as source:
        assert ("is an HDR video" in source.notice()) == is_noted
        assert source.read() is not None


def test_run_notes_hdr_video_in_a_line(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--model", str(model_path), "--source", str(HDR), "--json"]) == 0
    assert capsys.readouterr().err.startswith(f"dermedge: '{HDR}' is an HDR video: ")


@pytest.mark.parametrize(("aspect", "is_noted"), [("16:15", True), ("0:0", False), ("1216:1215", False)])
def test_video_whose_pixels_are_not_square_is_noted_with_a_command_that_converts_it(
    aspect: str, is_noted: bool, tmp_path: Path
) -> None:
    path = tmp_path / "grabbed video.y4m"
    frames = b"".join(b"FRAME\n" + bytes([level]) * (64 * 48 * 3 // 2) for level in (80, 120, 160))
    path.write_bytes(f"YUV4MPEG2 W64 H48 F25:1 Ip A{aspect} C420jpeg\n".encode() + frames)
    with open_source(str(path)) as source:
        notice = source.notice()
        assert source.read() is not None
    assert ("has pixels that are not square: " in notice) == is_noted
    if is_noted and shutil.which("ffmpeg"):
        command = notice.split("with: ")[1]
        subprocess.run(shlex.split(command), check=True, capture_output=True)
        with open_source(str(tmp_path / "grabbed video-square.mp4")) as source:
            assert source.notice() == ""
            frame = source.read()
        assert frame is not None
        assert frame.image_bgr.shape == (48, 68, 3)


def test_a_codec_that_cannot_be_decoded_is_named_with_a_command_that_converts_it() -> None:
    if cv2.VideoCapture(str(AV1), cv2.CAP_FFMPEG).read()[0]:
        pytest.skip("this OpenCV decodes AV1")
    frames, error = frames_until_error(AV1)
    assert frames == []
    assert "(its codec is av01)" in error.lower()
    assert shlex.split(error.split("convert it with: ")[1])[:3] == ["ffmpeg", "-i", str(AV1)]


def test_a_frame_that_equals_the_one_before_is_left_out_and_counted(write: Callable[..., Path]) -> None:
    path = write([grainy(number) for number in (1, 2, 2, 2, 3, 4, 4, 5)])
    with open_source(str(path)) as source:
        frames = list(iter(source.read, None))
    assert [frame.number for frame in frames] == [0, 1, 4, 5, 7]
    assert [frame.repeated for frame in frames] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize(
    ("grains", "answered"),
    [((1, 1, 1, 2, 3), [3, 4]), ((1, 2, 3, 4, 4, 4), [0, 1, 2, 3]), ((1, 1, 2, 2, 3, 4, 4), [2, 4, 5])],
)
@pytest.mark.parametrize("flip", [None, "both"])
def test_each_frame_of_a_video_is_answered_or_counted_as_repeated(
    grains: tuple[int, ...],
    answered: list[int],
    flip: Flip | None,
    write: Callable[..., Path],
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write([grainy(number) for number in grains])
    with open_source(str(path), flip=flip) as source:
        assert [frame.number for frame in iter(source.read, None)] == answered
        assert source.repeated() == len(grains) - len(answered)
    assert cli.main(["run", "--model", str(model_path), "--source", str(path), "--view", "terminal"]) == 0
    assert f", {len(grains) - len(answered)} repeated" in capsys.readouterr().out


def test_a_first_frame_that_stays_is_not_delivered_because_it_may_be_old_memory(
    write: Callable[..., Path],
) -> None:
    assert numbers(write([grainy(number) for number in (1, 1, 2, 3)])) == [2, 3]


def test_a_video_that_freezes_says_so_after_what_came_before(write: Callable[..., Path]) -> None:
    frames, error = frames_until_error(write([grainy(number) for number in (1, 2, 3)] + [grainy(4)] * 9))
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert "the last 9 of 12 frames are the same" in error


def test_a_long_frozen_video_is_not_read_to_its_end(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermedge.edge.sources.video._MOST_SAME_AT_START", 5)
    _, error = frames_until_error(write([grainy(1)] * 50))
    assert "the first 6 frames are the same" in error


@pytest.mark.parametrize("count", [1, 2])
def test_a_video_of_one_or_two_frames_is_read(count: int, write: Callable[..., Path]) -> None:
    assert numbers(write([grainy(number) for number in range(count)])) == list(range(count))


@pytest.mark.parametrize(
    ("name", "codec"), [("v.avi", "MJPG"), ("v.mkv", "MJPG"), ("v.mp4", "mp4v"), ("v.webm", "VP80")]
)
def test_whole_videos_of_each_container_end_without_an_error(
    name: str, codec: str, write: Callable[..., Path]
) -> None:
    assert len(numbers(write([grainy(number) for number in range(40)], name, codec))) == 40


@pytest.mark.parametrize(("name", "codec"), [("v.avi", "MJPG"), ("v.mkv", "MJPG"), ("v.webm", "VP80")])
def test_a_truncated_video_says_how_many_frames_are_missing(
    name: str, codec: str, write: Callable[..., Path]
) -> None:
    path = write([grainy(number) for number in range(40)], name, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, error = frames_until_error(path)
    assert 10 <= len(frames) <= 30
    assert f"is damaged or truncated: {len(frames)} of about 40 frames" in error


@pytest.mark.parametrize(("name", "codec"), [("v.avi", "MJPG"), ("v.mp4", "mp4v")])
def test_a_damaged_stretch_is_told_and_what_can_be_read_after_it_is(
    name: str, codec: str, write: Callable[..., Path]
) -> None:
    path = write([grainy(number) for number in range(40)], name, codec)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)
    frames, error = frames_until_error(path)
    assert 10 <= len(frames) < 40
    assert "is damaged or truncated" in error


def test_a_hole_in_a_transport_stream_is_told_although_its_end_is_there() -> None:
    """A transport stream does not state its number of frames, and OpenCV continues to read after the hole."""
    frames, error = frames_until_error(HOLE)
    assert f"is damaged or truncated: {frames[-1].number + 1} of about 50 frames" in error
    assert frames[-1].at_s == pytest.approx(1.96)


def test_time_in_a_video_is_that_of_its_stream() -> None:
    with open_source(str(VARIABLE)) as source:
        times = [frame.at_s for frame in iter(source.read, None)]
    assert times == pytest.approx([0, 0.2, 0.24, 0.28, 0.48, 0.52, 0.56, 0.76, 0.8, 0.84, 1.04, 1.08])


def test_a_trimmed_video_is_whole_although_its_container_states_more_frames() -> None:
    assert cv2.VideoCapture(str(TRIMMED), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert len(numbers(TRIMMED)) == 25


def test_a_trimmed_video_that_is_damaged_says_so(tmp_path: Path) -> None:
    content = bytearray(TRIMMED.read_bytes())
    start = content.index(b"mdat") + 4
    middle, end = start + (len(content) - start) // 2, content.index(b"moov")
    content[middle:end] = bytes(end - middle)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    assert "is damaged or truncated" in frames_until_error(path)[1]


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"\0\0\0\x08ftyp", b"\0\0\0\0moov", b"\0\0\1\0moov" + b"elst" * 9]
)
def test_what_has_no_edit_list_states_no_time(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "video"
    path.write_bytes(content)
    assert presented_s(path) is None


def test_run_answers_what_it_can_read_says_what_is_missing_and_ends_with_1(
    model_path: Path, lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lesion_video.write_bytes(lesion_video.read_bytes()[: lesion_video.stat().st_size // 2])
    assert cli.main(["run", "--model", str(model_path), "--source", str(lesion_video), "--json"]) == 1
    captured = capsys.readouterr()
    assert 2 <= len(captured.out.splitlines()) <= 3
    summary, error = captured.err.splitlines()[0], captured.err.splitlines()[-1]
    assert "frames of 640x480 classified" in summary
    assert error.startswith(f"dermedge: error: '{lesion_video}' is damaged or truncated")


@old_memory
def test_run_of_an_interlaced_video_answers_nothing_and_ends_with_2(
    model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--model", str(model_path), "--source", str(INTERLACED[0]), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [error] = captured.err.splitlines()
    assert "yadif" in error


class Broadcast(BaseHTTPRequestHandler):
    """Sends the interlaced transport stream at its own speed, again and again."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        content = INTERLACED[0].read_bytes()
        try:
            for _ in range(10):
                for start in range(0, len(content), 1880):
                    self.wfile.write(content[start : start + 1880])
                    time.sleep(0.02)
        except OSError:
            return

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def broadcast() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broadcast)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/live.ts"
    server.shutdown()
    server.server_close()


@old_memory
def test_an_interlaced_stream_is_a_lost_camera_that_says_why_and_gives_no_frame(
    broadcast: str, next_of: Callable[..., Any]
) -> None:
    seen: list[object] = []

    def is_explained(found: object) -> bool:
        seen.append(found)
        return isinstance(found, Outage) and "interlaced" in found.reason

    with open_source(broadcast) as source, LatestFrame(source) as latest:
        next_of(latest, is_explained)
    assert all(isinstance(one, Outage) for one in seen)


class Recorded:
    """A capture whose positions, frame rate and number of frames the test sets. A frame at None cannot be decoded."""

    def __init__(self, positions_s: Sequence[float | None], fps: float, count: int) -> None:
        self.left, self.at_s = list(positions_s), 0.0
        self.facts = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: float(count)}
        self.number = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, Any]:
        at_s = self.left.pop(0) if self.left else None
        if at_s is None:
            return False, None
        self.at_s = at_s
        self.number += 1
        return True, np.full((4, 4, 3), (self.number % 200, self.number // 200, 9), np.uint8)

    def get(self, key: int) -> float:
        return self.at_s * 1000 if key == cv2.CAP_PROP_POS_MSEC else self.facts.get(key, 0.0)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., VideoFile]:
    """A function (positions, fps, count) that gives a video of them."""

    def make(positions_s: Sequence[float | None], fps: float, count: int) -> VideoFile:
        monkeypatch.setattr(
            "dermedge.edge.sources.video.open_capture",
            lambda path, backend: Recorded(positions_s, fps, count),
        )
        (tmp_path / "a.mp4").touch()
        return VideoFile(tmp_path / "a.mp4")

    return make


def times(video: VideoFile) -> list[float | None]:
    return [frame.at_s for frame in iter(video.read, None)]


def test_a_video_without_times_and_rate_has_25_frames_a_second(recorded: Callable[..., VideoFile]) -> None:
    assert times(recorded([0.0] * 4, 0.0, 0)) == pytest.approx([0, 0.04, 0.08, 0.12])
    # if a time goes back, it is replaced by the time that the frame rate gives
    assert times(recorded([2.0, 2.1, 1.0, 2.5], 10.0, 0)) == pytest.approx([2, 2.1, 2.2, 2.5])


@pytest.mark.parametrize(
    ("decoded", "count", "is_whole"),
    [
        (19, 20, True),
        (17, 20, False),
        (91, 100, True),
        (88, 100, False),
        (991, 1000, True),
        (988, 1000, False),
    ],
)
def test_a_tenth_but_at_most_a_second_may_be_missing_at_the_end(
    decoded: int, count: int, is_whole: bool, recorded: Callable[..., VideoFile]
) -> None:
    video = recorded([0.1 * number for number in range(decoded)], 10.0, count)
    if is_whole:
        assert len(times(video)) == decoded
    else:
        with pytest.raises(
            SourceError, match=f"damaged or truncated: {decoded} of about {count} frames could"
        ):
            times(video)


def test_one_long_gap_is_damage_and_many_short_ones_are_a_lower_rate(
    recorded: Callable[..., VideoFile],
) -> None:
    every_other = [0.2 * number for number in range(50)]
    assert times(recorded(every_other, 10.0, 100)) == pytest.approx(every_other)
    gap = [0.1 * number for number in (*range(25), *range(75, 100))]
    with pytest.raises(SourceError, match=r"50 of about 100 frames could be decoded, the last one at 9\.9 s"):
        times(recorded(gap, 10.0, 100))
    # up to a tenth of the frames may be missing, even in one piece
    small = [0.1 * number for number in (*range(25), *range(34, 100))]
    assert len(times(recorded(small, 10.0, 100))) == 91


@pytest.mark.parametrize(("bad", "decoded"), [(49, 6), (50, 3)])
def test_fifty_reads_are_tried_to_get_past_damage(
    bad: int, decoded: int, recorded: Callable[..., VideoFile]
) -> None:
    positions = [0.0, 0.1, 0.2, *[None] * bad, 0.3, 0.4, 0.5]
    found: list[Frame] = []
    video = recorded(positions, 10.0, 0)
    if bad < 50:
        with pytest.raises(SourceError, match="damaged or truncated: 6 frames could be decoded"):
            found.extend(iter(video.read, None))
    else:
        found.extend(iter(video.read, None))
        assert len(found) == decoded
