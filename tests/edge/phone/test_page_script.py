"""The script of the phone page, run by Node: camera, answers, history, measured times, and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dermedge.edge.phone.build import PAGE

# The orange, blue and green of Okabe and Ito's palette.
ORANGE, BLUE, GREEN = "#e69f00", "#56b4e9", "#009e73"
NOTES = "melanoma alert, close-up: less certain"


@pytest.fixture(scope="module")
def seen(run_page_script: Callable[..., Any]) -> Any:
    return run_page_script(Path(__file__).with_name("page_script.mjs"), PAGE / "page.js")


def test_a_loaded_page_names_its_model_and_offers_camera_and_photo(seen: dict[str, Any]) -> None:
    ready = seen["ready"]
    assert (ready["title"], ready["hint"]) == ("ready", "start the camera, or choose a photo")
    assert seen["facts"][-4:] == ["model", "a-network, 0123456789abcdef", "model's licence", "a licence"]
    assert ready["areBarsHidden"]
    names = [("melanoma", ORANGE), ("nevus", BLUE), ("none of these", GREEN)]
    assert ready["bars"] == [["", name, 0, colour, ""] for name, colour in names]
    assert seen["script"] == "worker.js"


def test_the_camera_is_asked_for_small_frames_from_behind_and_its_controls_are_offered(
    seen: dict[str, Any],
) -> None:
    video = {"facingMode": {"ideal": "environment"}, "width": {"ideal": 640}, "height": {"ideal": 480}}
    assert seen["wanted"] == {"audio": False, "video": video}
    assert seen["zoom"] == [1, 4, 0.5, 1]
    assert seen["offered"] == [False, False]
    started = seen["started"]
    assert (started["title"], started["run"], started["isKeepOff"]) == ("searching", "Freeze", True)
    # the worker is reset, and gets no frame before the video has one
    assert seen["posts"] == ["reset"]


def test_a_frame_is_sent_in_seconds_and_none_while_one_is_answered(seen: dict[str, Any]) -> None:
    assert seen["first"] == {"kind": "live", "atS": 1.2, "bitmap": "bitmap 1"}
    assert seen["whileBusy"] == 2


def test_an_answer_is_shown_with_its_notes_bars_and_colour(seen: dict[str, Any]) -> None:
    answer = seen["answer"]
    assert (answer["title"], answer["hint"]) == ("melanoma 62 %", NOTES)
    assert answer["spoken"] == f"melanoma, {NOTES}"
    assert answer["bars"] == [
        ["chosen", "melanoma", 0.616, ORANGE, "62 %"],
        ["", "nevus", 0.284, BLUE, "28 %"],
        ["", "none of these", 0.1, GREEN, "10 %"],
    ]
    assert (answer["areBarsHidden"], answer["colour"]) == (False, ORANGE)
    # the network sees 448 of the 480 rows
    assert answer["crop"] == pytest.approx(448 / 480)
    assert (answer["isKeepOff"], answer["isWhereOff"]) == (False, False)


def test_a_hint_that_equals_the_state_is_shown_once(seen: dict[str, Any]) -> None:
    moving = seen["moving"]
    assert (moving["title"], moving["hint"], moving["spoken"]) == ("hold still", "", "hold still")


def test_an_answer_that_stays_keeps_its_frame_and_an_old_result_is_ignored(seen: dict[str, Any]) -> None:
    held = seen["held"]
    assert (held["title"], held["hint"]) == ("melanoma 62 %", f"{NOTES}, hold still")
    assert held["bars"] == seen["answer"]["bars"]
    assert seen["bitmaps"] == [False, True]
    assert seen["old"] == held


def test_the_heat_map_goes_from_black_to_yellow_and_is_opaque_where_it_is_hot(seen: dict[str, Any]) -> None:
    is_hidden, pixels, is_hidden_again = seen["heat"]
    assert (is_hidden, is_hidden_again) == (False, True)
    # The colours are Inferno's at the heats 0, 1/2, 1 and 1/4. The largest opacity is 0.55 * 255.
    assert pixels == [*(0, 0, 4, 0), *(188, 55, 84, 70), *(252, 255, 164, 140), *(87, 16, 110, 35)]


def test_focus_torch_and_zoom_are_passed_to_the_camera(seen: dict[str, Any]) -> None:
    # The middle of the square is the middle of the frame. A quarter of its height is a quarter of the frame's height.
    focus = {"focusMode": "single-shot", "pointsOfInterest": [{"x": 0.5, "y": 0.25}]}
    assert seen["applied"] == [focus, {"torch": True}, {"torch": False}, {"zoom": 2.5}]


def test_torch_and_zoom_show_what_the_camera_does(seen: dict[str, Any]) -> None:
    # The states are those when the camera opened, after on, after off, after a refusal, and when it opened again.
    assert seen["torch"] == ["false", "true", "false", "false", "false"]
    assert seen["zoomAfterFreeze"] == "2.5", "the camera stayed open, and kept its zoom"


def test_a_frozen_frame_is_kept_with_its_answer_and_listed_exported_and_erased(seen: dict[str, Any]) -> None:
    frozen = seen["frozen"]
    assert (frozen["run"], frozen["isStillHidden"], frozen["title"]) == ("Continue", False, "melanoma 62 %")
    assert seen["square"] == [80, 0, 480, 480, 0, 0, 512, 512]
    assert (seen["kept"]["spoken"], seen["keep"]) == ("kept on this device", "Kept")
    assert seen["stored"] == [
        {
            "at": "string",
            "headline": {"title": "melanoma", "nearest": None},
            "label": "melanoma",
            "uncertain": False,
            "alert": "melanoma",
            "view": "close-up",
            "picture": "image/jpeg 0.9",
            "model": "0123456789abcdef0123",
            "probabilities": {"melanoma": 0.616, "nevus": 0.284, "none of these": 0.1},
        }
    ]
    # The newest entry comes first. The others have no headline, like the entries of earlier versions.
    assert [words for words, _ in seen["history"]] == ["nevus 70 %", "nevus 91 %", f"melanoma 62 %, {NOTES}"]
    assert seen["history"][1][1] == seen["local"]
    assert seen["exported"][1:] == [["nevus", "data:old"], ["melanoma", "data:image/jpeg 0.9"]]
    assert seen["erased"] == [0, False, True]


def test_a_kept_photo_that_cannot_be_read_any_more_hides_no_other_entry(seen: dict[str, Any]) -> None:
    assert seen["labels"] == ["the kept photo cannot be read", "the kept photo", "the kept photo"]
    assert seen["exported"][0] == ["nevus", ""]


def test_an_answer_that_the_browser_cannot_store_is_not_called_kept(seen: dict[str, Any]) -> None:
    full = seen["full"]
    assert full["title"] == "not kept"
    assert full["hint"].startswith("the browser cannot store the history (the disk is full): free some space")
    assert len(seen["stored"]) == 1


@pytest.mark.parametrize("button", ["open-history", "export", "erase"])
def test_a_history_that_the_browser_refuses_is_told(button: str, seen: dict[str, Any]) -> None:
    """Browsers refuse it if the user has blocked the data of web sites."""
    refused = seen[f"refused {button}"]
    assert refused["title"] == "no history"
    assert "allow this page to store data" in refused["hint"]


def test_the_times_of_a_hundred_answers_can_be_exported(seen: dict[str, Any]) -> None:
    assert seen["modes"] == ["Freeze"]
    assert [seen[name]["isExportOff"] for name in ("nearly", "enough")] == [True, False]
    # a dermoscopic answer has no note
    assert seen["nearly"]["hint"] == ""
    assert seen["nearly"]["title"] == "not clear; nearest: melanoma 30 %"
    total, invoke = seen["latency"]["total"], seen["latency"]["invoke"]
    # the first 32 of the 134 answers are the warm-up
    assert (total["n"], total["median"], invoke["median"]) == (102, 40, 7)


def test_a_camera_that_is_silent_for_two_seconds_is_lost(seen: dict[str, Any]) -> None:
    assert seen["every"] == 500
    reason = "the camera sends no frames: start it again"
    assert seen["silent"] == [1, "lost", reason, True, "Start camera"]
    lost = seen["lost"]
    assert (lost["title"], lost["hint"], lost["areBarsHidden"]) == ("camera lost", "why", True)
    assert (lost["isKeepOff"], lost["isWhereOff"], lost["colour"]) == (True, True, "#fff")


def test_a_camera_that_opens_when_it_is_no_longer_wanted_is_closed(seen: dict[str, Any]) -> None:
    assert seen["leftWhileOpening"] == [True, "Camera"]
    assert seen["chosenWhileOpening"] == [True, "Camera"]
    assert seen["startedTwice"] == [False, "Freeze"]


def test_what_goes_wrong_is_said_with_a_cure(seen: dict[str, Any]) -> None:
    assert seen["refused"].startswith("this page may not use the camera: allow the camera")
    assert seen["ended"] == "the camera has stopped: start it again"
    assert seen["reopened"] == 1
    hidden = seen["hidden"]
    assert (hidden["title"], hidden["hint"]) == ("paused", "start the camera again")
    assert seen["isStoppedWhenHidden"]
    assert seen["sent"] == "still"
    assert (seen["photo"]["title"], seen["photo"]["isStillHidden"], seen["photo"]["run"]) == (
        "reading",
        False,
        "Camera",
    )
    broken, failed = seen["broken"], seen["failed"]
    assert broken["hint"] == "'b.txt' cannot be read as a photo: choose another photo"
    assert (failed["title"], failed["hint"], seen["off"]) == ("cannot run", "no memory", [True] * 4)


def test_the_page_says_whether_the_app_is_stored(run_page_script: Callable[..., Any]) -> None:
    harness = Path(__file__).with_name("keep_app.mjs")
    for state, said in (
        ("activated", "works"),
        ("redundant", "does not work: the browser cannot store the app; load the page again"),
    ):
        assert run_page_script(harness, PAGE / "page.js", state) == ["without a network", said]
