"""The review reads recordings of `run --record`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dermedge.edge.errors import SourceError
from dermedge.edge.results import FrameResult
from dermedge.edge.review.recorded import read_recording
from dermedge.edge.states import State
from dermedge.edge.views.record import RecordView

LABELS = ["melanoma", "nevus", "none of these"]


def write_session(folder: Path, lines: list[dict[str, Any]], name: str = "20261129T200000Z") -> Path:
    """Writes a session. There is a photo for each line that names one."""
    session = folder / name
    session.mkdir(parents=True)
    (session / "session.json").write_text(json.dumps({"model_sha256": "ab", "labels": LABELS}))
    (session / "frames.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for line in lines:
        if line.get("picture"):
            (session / line["picture"]).write_bytes(b"photo")
    return session


def answer(picture: str | None, top: float = 0.7, **more: Any) -> dict[str, Any]:
    probabilities = dict(zip(LABELS, (0.9 - top, top, 0.1), strict=True))
    return {"state": "answer", "picture": picture, "probabilities": probabilities, "label": "nevus"} | more


def test_what_a_recording_writes_is_read(tmp_path: Path, make_result: Callable[..., FrameResult]) -> None:
    session = {"model": "some.tflite", "model_sha256": "abc", "labels": LABELS}
    with RecordView(tmp_path, session, 10) as view:
        view.show(make_result(state=State.SEARCHING, classification=None))
        view.show(make_result())
    recording = read_recording(tmp_path)
    [photo] = recording.photos
    assert (tmp_path / photo.path).is_file()
    assert (photo.label, photo.probability, photo.model_sha256) == ("nevus", 0.7, "abc")
    assert photo.headline == "nevus"
    assert recording.labels == tuple(LABELS)
    assert recording.notes == ()


def test_photos_between_which_the_camera_was_away_are_of_two_visits(tmp_path: Path) -> None:
    lines = [
        answer("1.jpg"),
        {"state": "hold still"},
        answer("2.jpg"),
        {"state": "searching"},
        answer("3.jpg"),
    ]
    lines += [{"state": "camera lost"}, answer("4.jpg", source="a"), answer("5.jpg", source="b")]
    write_session(tmp_path, lines)
    visits = [photo.visit for photo in read_recording(tmp_path).photos]
    assert visits[0] == visits[1]
    assert len(set(visits)) == 4


def test_the_word_for_a_low_probability_is_no_class(tmp_path: Path) -> None:
    write_session(tmp_path, [answer("1.jpg", 0.46, label="uncertain", state="uncertain")])
    [photo] = read_recording(tmp_path).photos
    assert (photo.label, photo.certainty) == ("nevus", 0.46)


def test_what_cannot_be_read_is_noted_and_no_photo_is_left_out(tmp_path: Path) -> None:
    session = write_session(tmp_path, [answer("1.jpg"), answer("2.jpg"), answer("../3.jpg")][:2])
    (session / "2.jpg").unlink()
    (session / "9.jpg").write_bytes(b"no line")
    with (session / "frames.jsonl").open("a") as lines:
        lines.write('{"state": "answer", "pict')
    (session / "session.json").write_text("{")
    recording = read_recording(tmp_path)
    assert [(Path(photo.path).name, photo.label) for photo in recording.photos] == [
        ("1.jpg", "nevus"),
        ("9.jpg", ""),
    ]
    assert [note for note in recording.notes if "No recorded line names the photo" in note]
    assert [note for note in recording.notes if "Line 3" in note]
    assert [note for note in recording.notes if "do not exist any more: 1" in note]
    assert [note for note in recording.notes if "the model of this session is not known" in note]
    assert (session / "frames.jsonl").read_text().endswith('"pict'), "a recording may go on"


def test_a_session_that_cannot_be_read_is_noted_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, _ = (write_session(tmp_path, [answer("1.jpg")], name) for name in ("a", "b"))
    entries = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    recording = read_recording(tmp_path)
    assert [photo.path for photo in recording.photos] == ["b/1.jpg"]
    [note] = recording.notes
    assert note.startswith(f"'{closed}' cannot be read (Permission denied)")


def test_a_session_whose_lines_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """A damaged memory card can cause such an error."""
    damaged = tmp_path / "a"
    (damaged / "frames.jsonl").mkdir(parents=True)
    with pytest.raises(SourceError, match="': Is a directory; check its permissions"):
        read_recording(tmp_path)
    write_session(tmp_path, [answer("1.jpg")], name="b")
    recording = read_recording(tmp_path)
    assert [photo.path for photo in recording.photos] == ["b/1.jpg"]
    assert f"'{damaged}' cannot be read (Is a directory), so its photos are left out" in recording.notes[-1]


def test_a_folder_that_cannot_be_read_is_one_line_about_reading() -> None:
    # from Python 3.14 on, Path.is_dir returns False for a name that is too long
    with pytest.raises(SourceError, match=r"cannot read the recording|no recorded photo"):
        read_recording(Path("x" * 300))


def test_a_line_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    session = write_session(tmp_path, [answer("1.jpg")])
    with (session / "frames.jsonl").open("a") as lines:
        lines.writelines(
            f"{json.dumps(answer(name))}\n" for name in ("../secret.jpg", os.path.abspath("x"), "..")
        )
    assert [photo.path for photo in read_recording(tmp_path).photos] == ["20261129T200000Z/1.jpg"]


def test_escape_codes_of_a_recording_are_written_out(tmp_path: Path) -> None:
    evil = "nevus\x1b[2J"
    write_session(
        tmp_path, [answer("1.jpg", label=evil, probabilities={evil: 1.0}, alert=evil, headline=evil)]
    )
    [photo] = read_recording(tmp_path).photos
    assert {photo.label, photo.alert, photo.headline, *photo.probabilities} == {"nevus\\x1b[2J"}


def test_a_folder_without_recorded_photos_is_one_line_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="record photos with: dermedge run --record"):
        read_recording(tmp_path / "nowhere")
    folder = tmp_path / "my recording"
    with pytest.raises(SourceError, match=f"dermedge run --record '{folder}'$"):
        read_recording(folder)
    session = write_session(folder, [answer("1.jpg")])
    with pytest.raises(SourceError, match=f"is one session; .*: dermedge review '{folder}'$"):
        read_recording(session)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has names that are not valid UTF-8")
def test_names_that_are_not_valid_utf_8_are_left_out_with_a_note(tmp_path: Path) -> None:
    """The table is UTF-8, and a browser can request only names that are valid UTF-8."""
    session = write_session(tmp_path, [answer("1.jpg")])
    (session / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"photo")
    write_session(tmp_path, [answer("2.jpg")], name=os.fsdecode(b"caf\xe9"))
    recording = read_recording(tmp_path)
    assert [photo.path for photo in recording.photos] == [f"{session.name}/1.jpg"]
    assert sum("is left out, because its name is not valid UTF-8" in note for note in recording.notes) == 2
