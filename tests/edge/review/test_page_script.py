"""The script of the review page, run by Node: what each key asks of the server, and what the answers show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import dermedge.edge.review

SCRIPT = Path(dermedge.edge.review.__file__).resolve().parent / "page" / "page.js"
POST = {"Content-Type": "application/json", "X-Dermedge": "1"}
LABELS = ["melanoma", "nevus", "none of these"]

PHOTO: dict[str, Any] = {
    "path": "a/000001.jpg",
    "label": "nevus",
    "headline": "uncertain; nearest: nevus",
    "alert": "melanoma",
    "probabilities": {"melanoma": 0.296, "nevus": 0.604},
    "captured_at": "2026-11-29T22:36:02+00:00",
}


def status(decided: int = 0, photo: dict[str, Any] | None = PHOTO, **more: Any) -> dict[str, Any]:
    return {
        "photo": photo,
        "following": "a/000002.jpg",
        "last": None if decided == 0 else {"path": "a/000000.jpg"},
        "lesion": "left arm",
        "total": 5,
        "decided": decided,
        "decisions": {"confirmed": decided, "corrected": 2, "discarded": 0},
        "groups": 4,
        "labels": LABELS,
        "command": "dermedge train --data 'my rec/review.csv'",
        **more,
    }


@pytest.fixture
def visit(run_page_script: Callable[..., Any]) -> Callable[..., Any]:
    """A function (answers of the server, pressed keys) that returns what the page requested and showed."""

    def load(answers: Sequence[Any], *keys: dict[str, Any]) -> Any:
        harness = Path(__file__).with_name("page_script.mjs")
        return run_page_script(harness, SCRIPT, {"answers": answers, "keys": keys})

    return load


def test_a_photo_is_shown_with_its_answer_its_classes_and_its_time(visit: Callable[..., Any]) -> None:
    told = visit([status()])
    [seen] = told["seen"]
    assert told["asked"] == [["status", None, None]]
    assert (seen["title"], seen["notes"]) == ("uncertain; nearest: nevus", "melanoma alert")
    assert seen["confirm"] == [False, "Confirm nevus"]
    assert seen["counter"] == "0 of 5 reviewed: 0 confirmed, 2 corrected, 0 discarded"
    assert seen["progress"] == [0, 5]
    # a class without a probability has neither a percentage nor a bar
    assert seen["classes"] == [
        ["", "1", "1", "melanoma", "30 %", 0.296],
        ["answered", "2", "2", "nevus", "60 %", 0.604],
        ["", "3", "3", "none of these", "", None],
    ]
    assert seen["labels"] == LABELS
    assert seen["photo"] == ["photos/a/000001.jpg", "Photo a/000001.jpg"]
    assert seen["caption"] == f"a/000001.jpg, taken {told['local']}"
    assert told["fetched"] == ["photos/a/000002.jpg"]
    assert (seen["lesion"], seen["undo"], seen["focus"], seen["isBusy"]) == (
        "left arm",
        True,
        "title",
        "false",
    )
    assert seen["end"][:2] == [True, False]


def test_a_photo_in_a_folder_with_an_unusual_name_is_asked_for_by_that_name(
    visit: Callable[..., Any],
) -> None:
    told = visit([status(photo={**PHOTO, "path": "arm #2/100%?.jpg"}, following="arm #2/2.jpg")])
    assert told["seen"][0]["photo"][0] == "photos/arm%20%232/100%25%3F.jpg"
    assert told["fetched"] == ["photos/arm%20%232/2.jpg"]


def test_of_many_classes_the_nine_most_probable_have_keys(visit: Callable[..., Any]) -> None:
    labels = [f"class {number}" for number in range(12)]
    shares = {label: 0.01 * number for number, label in enumerate(labels)}
    [seen] = visit([status(photo={**PHOTO, "probabilities": shares}, labels=labels)])["seen"]
    assert [row[3] for row in seen["classes"]] == [f"class {number}" for number in range(11, 2, -1)]
    nine = labels[:9]
    [seen] = visit([status(photo={**PHOTO, "probabilities": shares}, labels=nine)])["seen"]
    assert [row[3] for row in seen["classes"]] == nine


def test_each_key_asks_for_its_decision(visit: Callable[..., Any]) -> None:
    keys = [
        {"key": "Enter"},
        {"key": "1"},
        {"key": "X"},
        {"key": "u"},
        {"key": "2", "repeat": True},
        {"key": "9"},
    ]
    told = visit([status(number) for number in range(5)], *keys)
    one = {"photo": "a/000001.jpg", "lesion": "left arm"}
    assert told["asked"][1:] == [
        ["decide", {**one, "label": "nevus"}, POST],
        ["decide", {**one, "label": "melanoma"}, POST],
        ["decide", {**one, "label": ""}, POST],
        ["undo", {}, POST],
    ]
    assert [seen["progress"][0] for seen in told["seen"]] == [0, 1, 2, 3, 4, 4, 4]
    assert not told["seen"][1]["undo"]
    # a key that is held down decides nothing
    assert told["seen"][5]["isPrevented"]


def test_keys_with_ctrl_and_undo_without_a_decision_ask_for_nothing(visit: Callable[..., Any]) -> None:
    keys = [{"key": "x", "ctrlKey": True}, {"key": "1", "metaKey": True}, {"key": "u"}]
    assert len(visit([status()], *keys)["asked"]) == 1


def test_a_class_that_is_not_listed_and_a_lesion_are_typed(visit: Callable[..., Any]) -> None:
    keys = [
        {"key": "o"},
        {"key": "x", "id": "other"},
        {"key": "Enter", "id": "other", "value": "  angioma "},
        {"key": "l"},
        {"key": "Enter", "id": "lesion", "value": "right arm"},
        {"key": "Escape", "id": "lesion", "value": "nothing"},
        {"key": "Escape", "id": "other", "value": "nothing"},
        {"key": "Enter", "id": "other", "value": " "},
    ]
    told = visit([status(), status(1)], *keys)
    assert told["asked"][1:] == [
        ["decide", {"photo": "a/000001.jpg", "label": "angioma", "lesion": "left arm"}, POST]
    ]
    seen = told["seen"][1:]
    assert [one["focus"] for one in seen[:2]] == ["other", "other"]
    assert [one["isPrevented"] for one in seen[:3]] == [True, False, True]
    assert (seen[3]["focus"], seen[4]["focus"], seen[4]["lesion"]) == ("lesion", "title", "right arm")
    # Escape restores the lesion that the server has stored
    assert (seen[5]["lesion"], seen[5]["focus"]) == ("left arm", "title")


def test_a_photo_without_an_answer_cannot_be_confirmed(visit: Callable[..., Any]) -> None:
    photo = {**PHOTO, "label": "", "headline": "", "alert": None, "captured_at": ""}
    told = visit([status(photo=photo, following=None)], {"key": "Enter"})
    first, second = told["seen"]
    assert (first["title"], first["notes"], first["confirm"]) == ("no answer", "", [True, ""])
    assert first["caption"] == "a/000001.jpg"
    assert told["fetched"] == []
    assert len(told["asked"]) == 1
    assert second["message"].startswith("The model gave no answer for this photo.")


def test_what_the_server_refuses_is_said_and_a_lost_server_has_a_cure(visit: Callable[..., Any]) -> None:
    told = visit([status(), {"error": "the disk is full"}, None, status(1)], *[{"key": "x"}] * 3)
    messages = [seen["message"] for seen in told["seen"]]
    assert messages[:2] == ["", "the disk is full"]
    assert messages[2].startswith("No connection. Start dermedge review again.")
    assert messages[3] == ""
    assert [seen["isBusy"] for seen in told["seen"]] == ["false"] * 4
    assert [seen["progress"][0] for seen in told["seen"]] == [0, 0, 0, 1]


def test_the_end_tells_how_many_photos_have_a_label_and_the_next_command(visit: Callable[..., Any]) -> None:
    done = status(5, photo=None, following=None, decisions={"confirmed": 3, "corrected": 1, "discarded": 1})
    told = visit([done, status(4)], {"key": "Enter"}, {"key": "u"})
    first, ended, undone = told["seen"]
    assert ended["message"] == "", "Enter has nothing to confirm here"
    is_hidden, is_panel_hidden, groups, command = first["end"]
    assert (is_hidden, is_panel_hidden, first["focus"]) == (False, True, "end-title")
    assert groups.startswith("Photos with a label: 4. Groups of these photos: 4.")
    assert command == "dermedge train --data 'my rec/review.csv'"
    assert told["asked"][1:] == [["undo", {}, POST]]
    assert undone["end"][:2] == [True, False]
