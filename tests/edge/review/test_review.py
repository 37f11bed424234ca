"""The review and its table."""

from __future__ import annotations

import csv
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dermedge.edge.errors import DataError, OptionError, StorageError
from dermedge.edge.review.review import Review, ReviewStatus


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def decide(review: Review, *labels: str, lesion: str = "") -> ReviewStatus:
    for label in labels:
        photo = review.status().photo
        assert photo is not None
        review.decide(photo.path, label, lesion)
    return review.status()


def test_the_least_certain_photo_comes_first(make_recording: Callable[..., Path]) -> None:
    review = Review(make_recording(1, 3))
    certainties = []
    while photo := review.status().photo:
        certainties.append(photo.certainty)
        review.decide(photo.path, photo.label)
    assert len(certainties) == 4
    assert certainties == sorted(certainties)


def test_a_row_keeps_what_the_model_said_and_its_digest(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(1)
    decide(Review(folder), "melanoma")
    [row] = rows(folder)
    assert row["reviewed_at"].endswith("+00:00")
    del row["reviewed_at"]
    assert row == {
        "path": "20261129T200000Z/000000.jpg",
        "label": "melanoma",
        "group": "20261129T200000Z",
        "lesion": "",
        "decision": "corrected",
        "lesion_told": "",
        "session": "20261129T200000Z",
        "visit": "20261129T200000Z/1",
        "model_label": "nevus",
        "model_probability": "0.500000",
        "model_sha256": "0" * 64,
        "captured_at": "2026-11-29T20:00:01.000+00:00",
    }


def test_undo_takes_decisions_of_earlier_starts_back_and_shows_their_photos_again(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(3)
    first = Review(folder).status().photo
    decide(Review(folder), "nevus", "")
    again = Review(folder)
    again.undo()
    status = again.undo()
    assert status.photo == first
    assert (status.decided, rows(folder)) == (0, [])
    with pytest.raises(OptionError, match="no decision to undo"):
        again.undo()


def test_the_photo_of_a_decision_that_is_taken_back_is_shown_though_a_less_certain_one_has_come(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(2)
    review = Review(folder)
    second = review.status().following
    assert second is not None
    decide(review, "nevus", "nevus")
    text = (folder / "review.csv").read_text().splitlines(keepends=True)
    # without its row, the first photo has no decision
    (folder / "review.csv").write_text(text[0] + text[2])
    review = Review(folder)
    assert review.undo().photo == second


def test_a_decision_never_falls_on_another_photo(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(2)
    review = Review(folder)
    photo = review.status().photo
    assert photo is not None
    review.decide(photo.path, "nevus")
    with pytest.raises(OptionError, match="is not the photo to review next"):
        review.decide(photo.path, "nevus")
    assert len(rows(folder)) == 1


def test_a_session_is_one_group(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(2, 3)
    status = decide(Review(folder), *["nevus"] * 5)
    assert [row["group"] for row in rows(folder)] == ["20261129T200000Z"] * 2 + ["20261129T200001Z"] * 3
    assert status.groups == 2


def test_names_of_lesions_join_sessions_and_split_one_whose_photos_all_have_names(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(1, 1, 1)
    review = Review(folder)
    assert decide(review, "nevus", lesion="left arm").groups == 1
    assert decide(review, "nevus", lesion=" left  arm ").groups == 1, "one lesion in two sessions"
    assert decide(review, "nevus").groups == 2
    assert Review(folder).status().groups == 2
    assert [(row["group"], row["lesion"]) for row in rows(folder)] == [
        ("", "left arm"),
        ("", "left arm"),
        ("20261129T200002Z", ""),
    ]


def test_a_photo_whose_session_was_removed_from_the_table_is_a_group_of_its_own(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(3)
    decide(Review(folder), "nevus", "nevus")
    table = folder / "review.csv"
    table.write_text(table.read_text().replace(",20261129T200000Z,", ",,"))
    assert Review(folder).status().groups == 2


def test_a_name_holds_for_the_visit_and_photos_without_one_keep_the_session_together(
    tmp_path: Path, make_recording: Callable[..., Path]
) -> None:
    folder = make_recording(4)
    path = folder / "20261129T200000Z" / "frames.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    # there are two photos, a frame without an answer, and two photos
    path.write_text("".join([*lines[:3], lines[0], *lines[3:]]))
    review = Review(folder)
    decide(review, "nevus")
    decide(review, "nevus", lesion="arm")
    assert [(row["group"], row["lesion"]) for row in rows(folder)] == [("", "arm")] * 2
    decide(review, "nevus")
    assert [(row["group"], row["lesion"]) for row in rows(folder)] == [
        ("20261129T200000Z", "arm"),
        ("20261129T200000Z", "arm"),
        ("20261129T200000Z", ""),
    ]
    assert decide(review, "nevus", lesion="leg").groups == 2
    review.undo()
    assert [row["lesion"] for row in rows(folder)] == ["arm", "arm", ""]
    review.undo()
    assert review.undo().lesion_name == "", "the name went with the decision that told it"


def test_another_program_s_change_of_the_table_is_never_overwritten(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(3)
    one, other = Review(folder), Review(folder)
    decide(one, "nevus")
    with pytest.raises(StorageError, match=r"another program has changed '.*review\.csv'"):
        decide(other, "melanoma")
    assert [row["label"] for row in rows(folder)] == ["nevus"]


def test_a_full_disk_loses_nothing_and_the_decision_can_be_made_again(
    make_recording: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_recording(2)
    review = Review(folder)
    decide(review, "nevus")
    before = (folder / "review.csv").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            decide(review, "melanoma")
    assert (folder / "review.csv").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["20261129T200000Z", "review.csv"]
    assert decide(review, "melanoma").decided == 2


def test_half_a_table_of_a_killed_review_is_removed_at_the_next_start(
    make_recording: Callable[..., Path],
) -> None:
    folder = make_recording(1)
    mine, killed = folder / f".review.{os.getpid()}.part.csv", folder / ".review.999999999.part.csv"
    for part in (mine, killed):
        part.write_text("path,la")
    Review(folder)
    assert (mine.exists(), killed.exists()) == (True, False)


def test_rows_of_photos_that_have_gone_stay_in_the_table(make_recording: Callable[..., Path]) -> None:
    folder = make_recording(2)
    decide(Review(folder), "nevus")
    (folder / rows(folder)[0]["path"]).unlink()
    status = decide(Review(folder), "nevus")
    assert len(rows(folder)) == 2
    assert (status.total, status.decided) == (1, 1)


def test_the_name_of_a_photo_may_contain_a_carriage_return(make_recording: Callable[..., Path]) -> None:
    """csv.writer of Python 3.11 quotes such a name only if its line end contains a carriage return too."""
    folder = make_recording(1)
    [session] = [path for path in folder.iterdir() if path.is_dir()]
    (session / "a\rb.jpg").write_bytes(next(session.glob("*.jpg")).read_bytes())
    decide(Review(folder), "nevus", "nevus")
    assert Review(folder).status().decided == 2


def test_a_row_with_a_cell_too_many_is_left_alone(make_recording: Callable[..., Path]) -> None:
    """The next decision would remove the cell, which the user may have written."""
    folder = make_recording(1)
    decide(Review(folder), "nevus")
    table = folder / "review.csv"
    table.write_text(table.read_text().rstrip("\n") + ",ask again\n")
    with pytest.raises(DataError, match="was not written by dermedge review, or is damaged"):
        Review(folder)


@pytest.mark.parametrize(
    "content",
    ["path,label\na.jpg,nevus\n", "\xff\xfe", "path;label\n", "{header}\na.jpg,nevus\n", "{header},mine\n"],
)
def test_a_table_of_another_kind_is_left_alone(content: str, make_recording: Callable[..., Path]) -> None:
    folder = make_recording(1)
    decide(Review(folder), "nevus")
    header = (folder / "review.csv").read_text().splitlines()[0]
    (folder / "review.csv").write_text(content.format(header=header), encoding="latin-1")
    before = (folder / "review.csv").read_bytes()
    with pytest.raises(DataError, match="was not written by dermedge review, or is damaged"):
        Review(folder)
    assert (folder / "review.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 101, "the name has 101 characters; use at most 100"),
        ("nevus\x1b[2J", r"the name 'nevus\\x1b\[2J' contains a character that cannot be printed"),
        ("\u202e", r"the name '\\u202e' contains a character that cannot be printed"),
    ],
)
def test_a_class_that_cannot_be_printed_is_refused(
    text: str, message: str, make_recording: Callable[..., Path]
) -> None:
    review = Review(make_recording(1))
    with pytest.raises(OptionError, match=message):
        decide(review, text)


@pytest.mark.parametrize(
    "act",
    [
        lambda review: review.status(),
        lambda review: review.decide(review._status().photo.path, "nevus"),
        lambda review: review.undo(),
    ],
    ids=["status", "decide", "undo"],
)
def test_of_two_reviewers_one_decides_at_a_time(
    act: Callable[[Review], object], make_recording: Callable[..., Path]
) -> None:
    review = Review(make_recording(3))
    decide(review, "nevus")
    thread = threading.Thread(target=act, args=(review,), daemon=True)
    with review._lock:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive(), "it waits while another thread decides"
    thread.join(10)
    assert not thread.is_alive()
