"""Sessions on the disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

import dermedge
from dermedge.edge.drift import SessionDrift, Shares, drift_to_json
from dermedge.edge.errors import StorageError
from dermedge.edge.model.decision import Headline
from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views import record
from dermedge.edge.views.record import LINES_NAME, SESSION_NAME, RecordView, mend

SESSION = {"model": "some.tflite", "model_sha256": "abc", "settings": {"source": "demo"}}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of `dermedge.edge.views.record`, as the only item of a list. It passes only if the test changes it."""
    now = [100.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: now[0])
    return now


def lines(view: RecordView) -> list[dict]:
    return [json.loads(line) for line in (view.path / LINES_NAME).read_text().splitlines()]


def test_the_end_of_a_session_tells_what_has_changed_and_keeps_the_rest(
    tmp_path: Path, make_result: Callable[..., FrameResult]
) -> None:
    drift = SessionDrift(Shares(90, {Defect.MOVING: 0.5}, {"nevus": 1.0}, 0.75), None)
    with RecordView(tmp_path, SESSION, 100) as view:
        view.show(make_result(drift=drift))
    assert json.loads((view.path / "session.json").read_text()) == {**SESSION, "drift": drift_to_json(drift)}


def test_a_session_holds_model_and_settings_lines_and_the_picture_of_each_answer(
    tmp_path: Path, make_result: Callable[..., FrameResult], now: list[float]
) -> None:
    with RecordView(tmp_path / "kept", SESSION, 100) as view:
        for state in (State.READING, State.ANSWER, State.ANSWER, State.SEARCHING):
            view.show(make_result(state=state))
        assert json.loads((view.path / "session.json").read_text()) == SESSION
    assert [line["state"] for line in lines(view)] == ["reading", "answer", "searching"]
    assert [line["picture"] for line in lines(view)] == [None, "000007.jpg", None]
    picture = cv2.imread(str(view.path / "000007.jpg"))
    assert picture.shape == (480, 640, 3)
    assert abs(int(picture[5, 5, 0]) - 120) <= 1, "the frame as the camera saw it, with nothing drawn on it"


def test_an_answer_that_changes_to_another_class_gets_a_line_and_a_photo_too(
    tmp_path: Path,
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
    now: list[float],
) -> None:
    other = make_classification(headline=Headline("melanoma"))
    frame = replace(other.frame, number=8)
    with RecordView(tmp_path, SESSION, 100) as view:
        view.show(make_result())
        for _ in range(2):
            view.show(make_result(classification=other, frame=frame))
    assert [(line["headline"], line["picture"]) for line in lines(view)] == [
        ("nevus", "000007.jpg"),
        ("melanoma", "000008.jpg"),
    ]


def test_an_alert_that_comes_on_with_the_same_headline_gets_a_line_and_a_photo_too(
    tmp_path: Path,
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
    now: list[float],
) -> None:
    quiet = make_classification()
    loud = make_classification(number=8, prediction=replace(quiet.prediction, alert="melanoma"))
    with RecordView(tmp_path, SESSION, 100) as view:
        for one in (quiet, loud, loud):
            view.show(make_result(classification=one))
    assert [(line["headline"], line["alert"], line["picture"]) for line in lines(view)] == [
        ("nevus", None, "000007.jpg"),
        ("nevus", "melanoma", "000008.jpg"),
    ]


def test_each_photo_of_a_folder_gets_a_line_and_each_answered_one_is_stored(
    tmp_path: Path, make_result: Callable[..., FrameResult], now: list[float]
) -> None:
    """Earlier, a photo was left out if it had the same answer as the photo before it."""
    frame = replace(make_result().frame, is_photo=True)
    with RecordView(tmp_path, SESSION, 100) as view:
        for number in range(3):
            view.show(make_result(frame=replace(frame, number=number)))
        for number in (3, 4):
            rejected = {"state": State.SEARCHING, "classification": None, "defect": Defect.DARK}
            view.show(make_result(frame=replace(frame, number=number), **rejected))
    assert [(line["frame"], line["picture"]) for line in lines(view)] == [
        (0, "000000.jpg"),
        (1, "000001.jpg"),
        (2, "000002.jpg"),
        (3, None),
        (4, None),
    ]


def test_while_a_state_stays_there_is_a_line_a_second_and_no_other_picture(
    tmp_path: Path, make_result: Callable[..., FrameResult], now: list[float]
) -> None:
    with RecordView(tmp_path, SESSION, 100) as view:
        for _ in range(31):
            view.show(make_result())
            now[0] += 0.1
    assert len(lines(view)) in (3, 4)
    assert len(list(view.path.glob("*.jpg"))) == 1


def test_pandas_reads_the_lines_in_one_line(tmp_path: Path, make_result: Callable[..., FrameResult]) -> None:
    pandas = pytest.importorskip("pandas")
    with RecordView(tmp_path, SESSION, 100) as view:
        view.show(make_result())
        view.show(make_result(state=State.CAMERA_LOST, classification=None, frame=None, crop=None))
    table = pandas.read_json(view.path / LINES_NAME, lines=True)
    assert table["state"].tolist() == ["answer", "camera lost"]
    assert table["probability"].tolist()[0] == pytest.approx(0.7)


def test_each_line_is_on_the_disk_before_the_next_frame(
    tmp_path: Path, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    with RecordView(tmp_path, SESSION, 100) as view:
        monkeypatch.setattr(record.os, "fsync", lambda number: (synced.append(number), real(number)))
        view.show(make_result(state=State.READING))
        assert view._descriptor in synced


KILLED = """
import os, signal, sys
from pathlib import Path
from dermedge.edge.views import record
from dermedge.edge.results import FrameCounts, FrameResult
from dermedge.edge.states import State

with record.RecordView(Path(sys.argv[1]), {}, 100) as view:
    for number in range(100):
        state = list(State)[number % 3]
        view.show(FrameResult(state, str(number), None, None, None, None, None, FrameCounts(), None, None))
        if number == 41:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_every_line_that_it_was_shown(tmp_path: Path) -> None:
    root = Path(dermedge.__file__).resolve().parents[1]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, timeout=60, check=False)
    [path] = tmp_path.glob(f"*/{LINES_NAME}")
    assert [json.loads(line)["hint"] for line in path.read_text().splitlines()] == [
        str(number) for number in range(42)
    ]


def earlier_lines(folder: Path) -> Path:
    """Makes an earlier session, and returns the path for its lines."""
    session = folder / "before" / SESSION_NAME
    session.parent.mkdir()
    session.write_text("{}")
    return session.with_name(LINES_NAME)


def test_half_a_line_is_cut_off_at_the_next_start_and_whole_ones_stay(tmp_path: Path) -> None:
    path = earlier_lines(tmp_path)
    for content, kept in ((b'{"a": 1}\n{"a', b'{"a": 1}\n'), (b'{"a": 1}\n', b'{"a": 1}\n'), (b"{", b"")):
        path.write_bytes(content)
        mend(tmp_path)
        assert path.read_bytes() == kept


def test_long_lines_are_mended_from_the_end_and_a_large_session_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, a session of a few weeks exceeded the memory limit of the boot service at each start."""
    path = earlier_lines(tmp_path)
    monkeypatch.setattr(record, "_BLOCK_BYTES", 7)
    for content, kept in (
        (b"0123456789\n" * 3 + b"x" * 40, 33),
        (b"0123456789\n" * 3, 33),
        (b"x" * 6 + b"\n" + b"y" * 7, 7),
        (b"x" * 40, 0),
        (b"", 0),
    ):
        path.write_bytes(content)
        mend(tmp_path)
        assert path.read_bytes() == content[:kept]
    monkeypatch.undo()
    with path.open("wb") as handle:
        handle.truncate(200_000_000)
        handle.seek(0, os.SEEK_END)
        handle.write(b'{"a": 1}\n')
    tracemalloc.start()
    mend(tmp_path)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size == 200_000_009
    assert most_bytes < 1_000_000


def test_a_folder_that_cannot_be_flushed_stops_the_recording_and_not_the_run(
    tmp_path: Path,
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with RecordView(tmp_path, SESSION, 100) as view:
        monkeypatch.setattr(record, "sync_folder", fail)
        assert view.show(make_result())
    assert "classification goes on, but recording has stopped: cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_session_that_is_deleted_or_moved_stops_the_recording_and_is_not_made_again(
    is_moved: bool,
    tmp_path: Path,
    make_result: Callable[..., FrameResult],
    now: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Earlier, the lines went into a deleted file, and the photos into a new folder without lines."""
    with RecordView(tmp_path / "kept", SESSION, 100) as view:
        view.show(make_result(state=State.READING))
        (tmp_path / "kept").rename(tmp_path / "moved")
        if not is_moved:
            shutil.rmtree(tmp_path / "moved")
        for _ in range(3):
            assert view.show(make_result())
            now[0] += 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("dermedge: classification goes on, but recording has stopped: cannot write")
    assert not (tmp_path / "kept").exists()
    moved = list((tmp_path / "moved").glob(f"*/{LINES_NAME}"))
    assert [len(path.read_bytes().splitlines()) for path in moved] == [1] * is_moved


def test_a_network_drive_that_is_gone_at_the_exit_is_no_error(
    tmp_path: Path, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: str | os.PathLike[str], *args: object, **kwargs: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    with RecordView(tmp_path, SESSION, 100) as view:
        view.show(make_result())
        monkeypatch.setattr(os, "stat", gone)
    monkeypatch.undo()
    assert len(list(tmp_path.glob(f"*/{LINES_NAME}"))) == 1


def test_half_photos_of_a_killed_run_are_removed_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "before").mkdir()
    dead, alive = (tmp_path / "before" / f".000042.{pid}.part.jpg" for pid in (ended.pid, os.getpid()))
    for path in (dead, alive, tmp_path / "before" / "000041.jpg"):
        path.write_bytes(b"photo")
    mend(tmp_path)
    assert {path.name for path in (tmp_path / "before").iterdir()} == {alive.name, "000041.jpg"}


def test_files_of_the_user_beside_the_sessions_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    files = {
        "labels.jsonl": b'{"a": 1}\n{"b": 2}',
        LINES_NAME: b'{"a": 1}\n{"b": 2}',
        ".film.mp4.part": b"film",
        ".settings.part.json": b"{}",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    mend(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_board_whose_clock_starts_anew_overwrites_nothing(
    tmp_path: Path, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(record.datetime):
        @classmethod
        def now(cls, zone: object = None) -> record.datetime:
            return cls(1970, 1, 1, tzinfo=record.UTC)

    monkeypatch.setattr(record, "datetime", Stopped)
    paths = set()
    for _ in range(3):
        with RecordView(tmp_path, SESSION, 100) as view:
            view.show(make_result())
        paths.add(view.path)
    assert len(paths) == 3
    assert all((path / LINES_NAME).stat().st_size for path in paths)


def at_the_limit(folder: Path, limit: str) -> str:
    """Returns the message about a folder that has reached its limit, which is in MB."""
    return (
        f"dermedge: nothing more is recorded, because '{folder}' has reached the limit of {limit} MB; "
        "delete old recordings, or set a higher --record-limit\n"
    )


def test_at_its_limit_it_stops_says_so_once_and_deletes_nothing(
    tmp_path: Path,
    make_result: Callable[..., FrameResult],
    now: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "earlier.bin").write_bytes(bytes(5000))
    with RecordView(tmp_path, SESSION, 0.02) as view:
        for _ in range(100):
            assert view.show(make_result())
            now[0] += 2
    assert capsys.readouterr().err == at_the_limit(tmp_path, "0.02")
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 15000 < size < 30000
    assert (tmp_path / "earlier.bin").stat().st_size == 5000
    assert lines(view), "the lines are whole"


@pytest.mark.parametrize("left", [1, 2500])
def test_the_lines_and_the_photos_fill_a_megabyte_of_a_million_bytes(
    left: int, tmp_path: Path, make_result: Callable[..., FrameResult], now: list[float]
) -> None:
    """The first line or photo that goes beyond the limit is still written, and it is the last one."""
    (tmp_path / "earlier.bin").write_bytes(bytes(1_000_000 - left))
    with RecordView(tmp_path, SESSION, 1) as view:
        for _ in range(20):
            view.show(make_result(state=State.SEARCHING, classification=None))
            now[0] += 2
    sizes = [len(line) for line in (view.path / LINES_NAME).read_bytes().splitlines(keepends=True)]
    assert sum(sizes[:-1]) < left <= sum(sizes)
    (view.path / LINES_NAME).unlink()
    (tmp_path / "earlier.bin").write_bytes(
        bytes(1_000_000 - 2500 - (view.path / "session.json").stat().st_size)
    )
    with RecordView(tmp_path, SESSION, 1) as view:
        for _ in range(20):
            view.show(make_result())
            now[0] += 2
    [photo] = view.path.glob("*.jpg")
    assert photo.stat().st_size > 2500
    assert len(lines(view)) == 1


def test_a_photo_and_its_name_are_on_the_disk_before_the_line_that_names_it(
    tmp_path: Path, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        record.os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}"))
    )
    with RecordView(tmp_path, SESSION, 100) as view:
        assert synced[-1] == str(view.path), "the name of the file of lines"
        synced.clear()
        view.show(make_result())
        part = view.path / f".000007.{os.getpid()}.part.jpg"
        assert synced == [str(part), str(view.path), str(view.path / LINES_NAME)]


def test_of_a_line_that_breaks_off_nothing_remains_and_the_next_recording_mends_what_does(
    tmp_path: Path,
    make_result: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write, room = os.write, [1000]

    def short(number: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(number, content[: room[0]])
        room[0] -= written
        return written

    reading = make_result(state=State.READING)
    with RecordView(tmp_path, SESSION, 100) as view, monkeypatch.context() as disk:
        disk.setattr(record.os, "write", short)
        view.show(reading)
        view.show(make_result(state=State.SEARCHING))
        view.show(reading)
    assert "the disk is full" in capsys.readouterr().err
    assert [line["state"] for line in lines(view)] == ["reading"]
    with (view.path / LINES_NAME).open("a") as handle:
        handle.write('{"state": "sea')
    with RecordView(tmp_path, SESSION, 100):
        assert [line["state"] for line in lines(view)] == ["reading"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here: it needs root")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path) -> None:
    """Writes a file that fills the disk."""
    with suppress(OSError), open(disk / "other.bin", "wb", buffering=0) as handle:
        while True:
            handle.write(bytes(4096))


def test_on_a_disk_that_fills_recording_stops_says_so_once_and_leaves_whole_lines(
    small_disk: Path,
    make_result: Callable[..., FrameResult],
    now: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RecordView(small_disk / "kept", SESSION, 100) as view:
        view.show(make_result(state=State.READING))
        fill(small_disk)
        for number in range(200):
            assert view.show(make_result(state=list(State)[number % len(State)]))
            now[0] += 2
        [said] = capsys.readouterr().err.splitlines()
        assert said.startswith("dermedge: classification goes on, but recording has stopped: cannot write")
        assert "the disk is full" in said
        (small_disk / "other.bin").unlink()
        view.show(make_result(state=State.READING))
    content = (view.path / LINES_NAME).read_bytes()
    assert content.endswith(b"\n")
    kept = [json.loads(line) for line in content.splitlines()]
    assert kept[0]["state"] == "reading"
    assert {path.name for path in view.path.iterdir()} == {
        "session.json",
        LINES_NAME,
        *(one["picture"] for one in kept if one["picture"]),
    }


def test_on_a_disk_that_is_full_from_the_start_there_is_no_session_and_the_run_goes_on(
    small_disk: Path, make_result: Callable[..., FrameResult], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(small_disk)
    with RecordView(small_disk / "kept", SESSION, 100) as view:
        assert view.show(make_result())
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("dermedge: classification goes on, but recording has stopped: cannot write")
    assert not list(small_disk.glob("kept/*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_recording_that_has_not_begun_closes_no_file_at_its_end(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[int] = []

    def fail(folder: Path) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(record, "_new_folder", fail)
    view = RecordView(tmp_path, SESSION, 100)
    with monkeypatch.context() as patch, view:
        patch.setattr(record.os, "close", closed.append)
    assert closed == []
    assert "recording has stopped: cannot write" in capsys.readouterr().err


def test_a_folder_that_is_full_from_the_start_is_told(
    tmp_path: Path, make_result: Callable[..., FrameResult], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "earlier.bin").write_bytes(bytes(5000))
    with RecordView(tmp_path, SESSION, 0.001) as view:
        view.show(make_result())
    assert capsys.readouterr().err == at_the_limit(tmp_path, "0.001")
    assert lines(view) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="file"), RecordView(tmp_path / "file", SESSION, 100):
        pass
