"""`dermedge run` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import dermedge
from dermedge import cli
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import digest
from dermedge.edge.photos import encode_image

ROOT = Path(dermedge.__file__).resolve().parents[1]
# If a terminal stays silent for this time, the test stops waiting, and fails.
READ_TIMEOUT_S = 30


def run(model: Path, *arguments: object) -> int:
    return cli.main(["run", "--model", str(model), *map(str, arguments)])


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Returns standard error, which must be one line of dermedge. Standard output must be empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("dermedge: error: ")
    return line


def test_a_video_is_classified_and_summed_up(
    model_path: Path, lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", lesion_video, "--view", "terminal") == 0
    output = capsys.readouterr().out
    assert re.search(r"^5 frames of 640x480 classified(, [\d.]+ a second)?, 0 dropped$", output, re.MULTILINE)
    assert "median ms: capture" in output


def test_a_folder_is_read_to_its_end_although_some_photos_cannot_be_decoded(
    model_path: Path,
    make_lesion: Callable[..., NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = encode_image(make_lesion(), ".jpg")
    for name, end in (("a.jpg", None), ("b.jpg", len(content) // 2), ("d.jpg", None)):
        (tmp_path / name).write_bytes(content[:end])
    # this link stands for a photo that was deleted after the folder was listed
    (tmp_path / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    assert run(model_path, "--source", tmp_path, "--json") == 1
    captured = capsys.readouterr()
    names = [Path(json.loads(line)["source"]).stem for line in captured.out.splitlines()]
    assert names == ["a", "d"]
    errors = [line for line in captured.err.splitlines() if line.startswith("dermedge: error: ")]
    assert len(errors) == 2
    assert f"'{tmp_path / 'b.jpg'}'" in errors[0]
    assert f"'{tmp_path / 'c.jpg'}'" in errors[1]


def test_a_folder_without_a_photo_that_can_be_decoded_ends_with_2(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("<html>log in</html>")
    assert run(model_path, "--source", tmp_path) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line[:16] for line in captured.err.splitlines()] == ["dermedge: error:"] * 2


def test_a_place_where_the_frame_cannot_be_saved_is_named_before_the_run(
    model_path: Path, lesion_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(model_path, "--source", lesion_video, "--save", tmp_path / "file" / "best.png") == 2
    assert "cannot write" in only_error(capsys)


@pytest.mark.parametrize("source", ["photos", "photos/a.png", "link.png"])
def test_a_photo_of_the_source_is_not_replaced_by_the_saved_frame(
    source: str,
    model_path: Path,
    make_lesion: Callable[..., NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, content = tmp_path / "photos" / "a.png", encode_image(make_lesion(), ".png")
    photo.parent.mkdir()
    photo.write_bytes(content)
    (tmp_path / "link.png").symlink_to(photo)
    assert run(model_path, "--source", tmp_path / source, "--save", photo) == 2
    assert f"--save '{photo}' is a photo of the source" in only_error(capsys)
    assert photo.read_bytes() == content
    new = photo.with_name("new.png")
    assert run(model_path, "--source", tmp_path / source, "--save", new) == 0
    assert new.is_file()


def test_a_photo_that_is_a_link_in_the_folder_of_the_source_is_not_replaced_by_the_saved_frame(
    model_path: Path,
    make_lesion: Callable[..., NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, link = tmp_path / "a.png", tmp_path / "photos" / "link.png"
    photo.write_bytes(encode_image(make_lesion(), ".png"))
    before = photo.read_bytes()
    link.parent.mkdir()
    link.symlink_to(photo)
    assert run(model_path, "--source", link.parent, "--save", link) == 2
    assert f"--save '{link}' is a photo of the source" in only_error(capsys)
    assert photo.read_bytes() == before


def test_a_folder_with_the_name_of_the_demo_is_not_its_source(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    for _ in range(2):
        assert run(model_path, "--source", "demo", "--max-frames", 2, "--save", "demo/best.png") == 0


def test_json_prints_one_object_a_frame_and_nothing_else_on_standard_output(
    model_path: Path, lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", lesion_video, "--json") == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["frame"] for line in captured.out.splitlines()] == [0, 1, 2, 3, 4]
    assert "5 frames" in captured.err


def test_max_frames_stops_the_demo(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_path, "--source", "demo", "--json", "--max-frames", 3) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_max_secs_stops_the_demo(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_path, "--source", "demo", "--json", "--max-secs", 0.2) == 0
    assert capsys.readouterr().out


def test_the_picture_of_the_surest_lesion_is_saved_and_named_last(
    model_path: Path, lesion_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "lesion.png"
    assert run(model_path, "--source", lesion_video, "--view", "terminal", "--save", target) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"saved {target}"
    assert cv2.imread(str(target)).shape[1] >= 480
    assert [path.name for path in target.parent.iterdir()] == ["lesion.png"]


def test_a_run_without_an_answer_says_that_it_saves_nothing(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier, the run said nothing. A file of an earlier run stayed, and seemed to be the result of this run."""
    black, saved = tmp_path / "black.png", tmp_path / "best.png"
    cv2.imwrite(str(black), np.zeros((480, 640, 3), np.uint8))
    saved.write_bytes(b"earlier")
    assert run(model_path, "--source", black, "--view", "terminal", "--save", saved) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"'{saved}' was not written, because no frame was classified"
    assert saved.read_bytes() == b"earlier"


def test_below_the_confidence_the_label_is_uncertain(
    model_path: Path, lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", lesion_video, "--json", "--conf", "1") == 0
    labels = {json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()}
    assert labels == {"uncertain"}


def test_the_thresholds_of_the_model_decide_and_show(
    make_deciding_model: Callable[..., Path], lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = {"label": "melanoma", "threshold": 0, "sensitivity": 0.9}
    model = make_deciding_model(none=1, uncertain=1, alert=alert)
    assert run(model, "--source", lesion_video, "--json") == 0
    for line in capsys.readouterr().out.splitlines():
        values = json.loads(line)
        assert values["label"] != "none of these"
        assert (values["uncertain"], values["alert"]) == (True, "melanoma")
    assert run(model, "--source", lesion_video, "--view", "terminal") == 0
    assert "melanoma alert" in capsys.readouterr().out.splitlines()[-1]


def test_sets_hold_the_classes_whose_smoothed_probability_reaches_their_threshold(
    make_deciding_model: Callable[..., Path],
    lesion_video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = Classifier(make_deciding_model()).labels
    least = {**dict.fromkeys(labels, 0.2), labels[0]: 0.0, labels[1]: 1.0}
    model = make_deciding_model(conformal={"coverage": 0.9, "thresholds": least})
    kept = tmp_path / "kept"
    assert run(model, "--source", lesion_video, "--json", "--sets", "--record", kept) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lines += [json.loads(line) for line in next(kept.glob("*/frames.jsonl")).read_text().splitlines()]
    for line in lines:
        assert line["set"] == [label for label in labels if line["probabilities"][label] >= least[label]]
        assert labels[0] in line["set"]


def test_sets_need_a_model_that_has_them(
    make_deciding_model: Callable[..., Path], lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(make_deciding_model(), "--source", lesion_video, "--json", "--sets") == 2
    assert "deciding.tflite' has none" in only_error(capsys)


def test_frames_that_are_not_worth_an_answer_are_not_classified_and_are_counted(
    model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", video, "--json") == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["defect"] for line in lines] == ["black", "too dark", "no lesion", "no lesion", "no lesion"]
    assert {line["state"] for line in lines} == {"searching"}
    assert {line["label"] for line in lines} == {None}
    assert captured.err.splitlines() == [
        "no frame classified, 0 dropped",
        "5 frames rejected: 3 no lesion, 1 black, 1 too dark",
    ]


def test_a_recorded_run_names_its_model_and_settings(
    model_path: Path, lesion_video: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    assert run(model_path, "--source", lesion_video, "--json", "--record", kept, "--max-fps", 500) == 0
    [folder] = kept.iterdir()
    session = json.loads((folder / "session.json").read_text())
    assert session["model_sha256"] == digest(model_path)
    assert session["settings"]["max_fps"] == 500
    assert session["settings"]["source"] == str(lesion_video)
    lines = (folder / "frames.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["source"] == str(lesion_video)


def test_tta_answers_as_the_classifier_with_it_does(
    model_path: Path, lesion_video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", lesion_video, "--json", "--tta", "--max-frames", 1) == 0
    said = json.loads(capsys.readouterr().out)["probabilities"]
    frame = cv2.VideoCapture(str(lesion_video)).read()[1]
    with Classifier(model_path, tta=True) as classifier:
        assert list(said.values()) == [round(one, 6) for one in classifier.predict(frame).probabilities]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "63"), "cannot open '63'"),
        (("--source", "rstp://x"), "Unknown source 'rstp://x'"),
        (("--source", "demo", "--width", "640"), "is not a camera"),
        (("--source", "demo", "--brightness", "3"), "unrecognized arguments"),
        (("--source", "demo", "--save", "a.gif"), "must end in"),
        (("--source", "demo", "--json", "--view", "window"), "not allowed with"),
        (("--source", "demo", "--conf", "70"), "not a probability"),
        (("--source", "demo", "--max-secs", "-1"), "not a number above 0"),
        (("--source", "demo", "--max-frames", "0"), "not a whole number"),
        (("--source", "demo", "--max-fps", "0.01"), "not a number of 0.1 or more"),
        (("--source", ""), "the source is empty"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: tuple[str, ...], message: str, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, *arguments) == 2
    assert message in only_error(capsys)


def test_an_empty_folder_is_one_line_and_nothing_is_written(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(model_path, "--source", tmp_path / "empty", "--save", tmp_path / "a.png") == 2
    assert "no photo in the folder" in only_error(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_unreadable_picture_stops_with_its_name(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    assert run(model_path, "--source", tmp_path, "--save", tmp_path / "a.png") == 2
    assert "bad.jpg' is not a photo" in only_error(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jpg"]


def test_a_truncated_model_is_one_line(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated = tmp_path / "truncated.tflite"
    truncated.write_bytes(model_path.read_bytes()[:2000])
    assert run(truncated, "--source", "demo") == 2
    assert "truncated.tflite' is damaged" in only_error(capsys)


def test_a_wrong_number_of_labels_is_one_line(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    assert run(model_path, "--source", "demo", "--labels", labels) == 2
    assert "2 labels were given" in only_error(capsys)


@contextmanager
def started(
    model: Path, *arguments: object, terminal: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `dermedge run --source demo` in a process of its own. The process is ended even if the test fails."""
    command = [sys.executable, "-m", "dermedge", "run", "--model", str(model), "--source", "demo"]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": ""},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_a_classification(process: subprocess.Popen[bytes]) -> None:
    """Reads JSON lines until a line is about a frame that the quality gate did not reject."""
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["defect"] is not None:
        pass


def test_ctrl_c_ends_with_130_after_the_summary_and_the_picture(model_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "lesion.png"
    with started(model_path, "--json", "--save", target) as process:
        wait_for_a_classification(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"saved {target}" in errors.decode()
    assert errors.decode().splitlines()[-1] == "dermedge: stopped"
    assert "Traceback" not in errors.decode()
    assert cv2.imread(str(target)) is not None


def test_ctrl_c_while_a_stalled_camera_is_waited_for_says_so_and_then_ends(model_path: Path) -> None:
    """At the exit, the run waits until the thread has left the camera. Earlier, no signal ended this wait."""
    program = f"""
import sys, time
from dermedge import cli
from dermedge.edge.cli import run
from dermedge.edge.sources.demo import Demo

class Stalled(Demo):
    is_answering = True

    def read(self):
        if not self.is_answering:
            time.sleep(60)
        self.is_answering = False
        return super().read()

run.open_source = lambda *arguments, **named: Stalled()
sys.exit(cli.main(["run", "--source", "rtsp://me:Secret@camera/1", "--json", "--model", {str(model_path)!r}]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "it ended"
        for _ in range(20):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        assert process.returncode == 130
    finally:
        process.kill()
        _, errors = process.communicate()
    [line] = errors.decode().splitlines()
    assert line.startswith("dermedge: 'rtsp://camera/1' has not answered yet")


def test_sigterm_ends_with_0(model_path: Path) -> None:
    with started(model_path, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "dropped" in errors.decode()


@pytest.mark.usefixtures("usual_hangup")
def test_a_closed_terminal_ends_with_0(model_path: Path) -> None:
    with started(model_path, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "dropped" in errors.decode()


def test_under_nohup_a_closed_terminal_ends_nothing(model_path: Path) -> None:
    command = (
        f"trap '' HUP; exec {sys.executable} -m dermedge run --source demo --json --model '{model_path}'"
    )
    process = subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        for _ in range(50):
            assert process.stdout.readline()
        process.terminate()
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-"])
def test_with_a_closed_standard_error_nothing_is_printed_into_another_file(
    closed: str, model_path: Path, tmp_path: Path
) -> None:
    run_it = f"{sys.executable} -m dermedge run --source demo --json --max-frames 3 --model '{model_path}'"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["sh", "-c", f"{run_it} --record '{tmp_path}' {closed}"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert ended.returncode == 0
    [kept] = tmp_path.glob("*/frames.jsonl")
    for line in (*ended.stdout.splitlines(), *kept.read_text().splitlines()):
        json.loads(line)
    # on a busy machine, this process may read too slowly, and lines are left out
    assert 1 <= len(ended.stdout.splitlines()) <= 3


def test_a_closed_standard_output_is_no_failure(model_path: Path) -> None:
    command = f"{sys.executable} -m dermedge run --source demo --max-frames 3 --model '{model_path}' >&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("asked", ["--help", "--version", "inspect --help"])
def test_help_to_a_full_disk_is_one_line(asked: str) -> None:
    command = f"{sys.executable} -m dermedge {asked} >/dev/full"
    # If Python buffers its output, the full disk is noticed only at the end. argparse itself ignores errors of writing.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, env=environment)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("dermedge: error: ")


def test_the_web_page_is_served_beside_the_view_until_sigterm(model_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    with started(model_path, "--json", "--serve", "127.0.0.1:0") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        while not (line := process.stderr.readline()).startswith(b"serving "):
            assert line, "it ended"
        process.stdout.readline()
        with urllib.request.urlopen(f"{line.split()[1].decode()}state", timeout=20) as response:
            assert json.load(response)["result"]["source"].startswith("demo")
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_without_the_web_library_serve_names_its_cure(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "dermedge.edge.views.web.server", raising=False)
    assert run(model_path, "--source", "demo", "--serve", "--max-frames", 1) == 2
    assert "[serve]'" in only_error(capsys)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_terminal_is_restored_when_a_signal_ends_it(
    number: signal.Signals, status: int, model_path: Path
) -> None:
    ours, theirs = pty.openpty()
    with started(model_path, "--view", "terminal", terminal=theirs) as process:
        os.close(theirs)
        shown = read_until(ours, b"\xe2\x96\x80")
        process.send_signal(number)
        rest = read_until(ours, b"last: ")
        assert process.wait(timeout=20) == status
    os.close(ours)
    assert shown.startswith(b"\x1b[?1049h")
    assert b"\x1b[?25h\x1b[?1049l" in rest


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Reads the output on a pseudo terminal until it contains ``wanted``, and returns the output."""
    content = b""
    while wanted not in content and select.select([descriptor], [], [], READ_TIMEOUT_S)[0]:
        content += os.read(descriptor, 65536)
    return content


class Webcam:
    """A webcam with a single mode, as OpenCV shows it: `set` returns True for every other mode, but changes nothing."""

    def __init__(self, *_: object) -> None:
        self._rng = np.random.default_rng(0)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.01)
        return True, self._rng.integers(0, 256, (480, 640, 3), np.uint8)

    def get(self, key: int) -> float:
        return {
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(b"YUYV", "little")),
        }[key]

    def set(self, key: int, value: float) -> bool:
        return True

    def release(self) -> None: ...


def test_what_a_camera_really_delivers_is_said_and_recorded(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    asked = ("--width", "1920", "--height", "480", "--pixel-format", "mjpg", "--max-frames", "3", "--json")
    assert run(model_path, "--source", "0", *asked, "--record", tmp_path) == 0
    said = capsys.readouterr().err
    assert (
        "'0' delivers 640x480, 30 frames a second, YUYV; the camera did not accept: --width 1920, --pixel-format MJPG\n"
        in said
    )
    [session] = tmp_path.glob("*/session.json")
    camera = json.loads(session.read_text())["camera"]
    assert camera == {"width": 640, "height": 480, "fps": 30.0, "pixel_format": "YUYV"}


@pytest.mark.parametrize(
    ("reported", "asked", "refused"),
    [
        (30000 / 1001, "29.97", ""),
        (30.0, "60", "; the camera did not accept: --fps 60.0"),
        # a driver that does not report its rate gives 0
        (0.0, "30", ""),
    ],
)
def test_a_rate_is_refused_only_if_the_camera_reports_another_one(
    reported: float,
    asked: str,
    refused: str,
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Other(Webcam):
        def get(self, key: int) -> float:
            return reported if key == cv2.CAP_PROP_FPS else super().get(key)

    monkeypatch.setattr(cv2, "VideoCapture", Other)
    assert run(model_path, "--source", "0", "--fps", asked, "--max-frames", "1", "--json") == 0
    [line] = [one for one in capsys.readouterr().err.splitlines() if "'0' delivers 640x480" in one]
    assert line.endswith(f", YUYV{refused}")


@pytest.mark.parametrize("text", ["MJPEG", "", "Y-8", "ÄÖÜ"])
def test_a_format_that_is_no_fourcc_is_one_line(
    text: str, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_path, "--source", "0", "--pixel-format", text) == 2
    assert f"'{text}' is not a pixel format of one to four letters and digits" in only_error(capsys)
