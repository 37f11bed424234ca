"""The script of the web page, run by Node: what it makes of a state, of a broken connection, and of its buttons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dermedge.edge.views

SCRIPT = Path(dermedge.edge.views.__file__).resolve().parent / "web" / "page" / "page.js"

ANSWER: dict[str, Any] = {
    "state": "answer",
    "hint": "",
    "headline": "nevus",
    "nearest": None,
    "label": "nevus",
    "alert": None,
    "view": "dermoscopic",
    "probability": 0.704,
    "probabilities": {"melanoma": 0.196, "nevus": 0.704, "none of these": 0.1},
    "set": None,
    "fps": 29.46,
    "frame_age_ms": 31.6,
    "latency_ms": {"invoke": 4.26},
    "temperature_c": 61.6,
    "dropped": 0,
    "source": "0",
}
DOUBT = {
    **ANSWER,
    "state": "uncertain",
    "headline": "uncertain; nearest: melanoma",
    "nearest": "melanoma",
    "alert": "melanoma",
    "view": "close-up",
    "set": ["melanoma", "nevus"],
    "hint": "hold still",
}
SEARCHING = {
    **dict.fromkeys(ANSWER),
    "state": "searching",
    "hint": "bring a lesion into the circle",
    "dropped": 3,
    "source": "0",
}
OLD = {
    "at": "2026-11-29T22:36:02+00:00",
    "headline": "nevus",
    "alert": None,
    "view": None,
    "probability": 0.846,
}
NEW = {**OLD, "headline": "melanoma", "alert": "melanoma", "view": "close-up", "probability": 0.5}


def state(
    result: dict[str, Any] | None, history: list[dict[str, Any]], saved: list[str], heat: bool
) -> dict[str, Any]:
    return {"result": result, "history": history, "saved": saved, "heat_map": heat}


HARNESS = Path(__file__).with_name("page_script.mjs")


@pytest.fixture(scope="module")
def visit(run_page_script: Callable[..., Any]) -> Any:
    names = [f"dermedge-20261129T2236{number:02d}.123Z.png" for number in range(2, 14)]
    states = [
        state(None, [], [], False),
        state(ANSWER, [OLD], ["an-image.png"], True),
        state(DOUBT, [NEW, OLD], names, True),
        state({**ANSWER, "state": "reading"}, [NEW, OLD], names, True),
        state(SEARCHING, [NEW, OLD], names, True),
        None,
        state(ANSWER, [OLD], [], True),
        state(ANSWER, [OLD], [], True),
        state(ANSWER, [OLD], [], True),
    ]
    return run_page_script(HARNESS, SCRIPT, {"states": states, "isOld": False})


def test_an_answer_is_shown_with_its_bars_and_figures(visit: dict[str, Any]) -> None:
    first, answer, *_ = visit["seen"]
    assert (first["title"], first["isHistoryEmpty"]) == ("", True)
    assert not first["isHeatOffered"]
    assert answer["isHeatOffered"]
    assert (answer["title"], answer["hint"], answer["spoken"]) == ("nevus 70 %", "", "nevus")
    assert answer["bars"] == [
        ["bar", "melanoma", 0.196, "melanoma", "20 %"],
        ["bar chosen", "nevus", 0.704, "nevus", "70 %"],
        ["bar", "none of these", 0.1, "none of these", "10 %"],
    ]
    assert not answer["areBarsEmpty"]
    figures = ["frames a second", "29.5", "frame age", "32 ms", "inference", "4.3 ms", "processor", "62 °C"]
    assert answer["figures"] == [*figures, "dropped", "0", "source", "0"]


def test_a_doubtful_answer_names_the_nearest_class_with_its_own_probability_and_all_notes(
    visit: dict[str, Any],
) -> None:
    doubt = visit["seen"][2]
    assert doubt["title"] == "uncertain; nearest: melanoma 20 %"
    notes = "melanoma alert, close-up: less certain"
    assert doubt["hint"] == f"{notes}, * not ruled out, hold still"
    assert doubt["spoken"] == f"uncertain; nearest: melanoma, {notes}"
    assert [row[1] for row in doubt["bars"]] == ["* melanoma", "* nevus", "none of these"]


def test_a_state_without_an_answer_is_shown_as_such_and_the_bars_keep_their_place(
    visit: dict[str, Any],
) -> None:
    reading, searching = visit["seen"][3:5]
    assert (reading["title"], reading["spoken"], reading["areBarsEmpty"]) == ("reading", "reading", False)
    assert (searching["title"], searching["hint"]) == ("searching", "bring a lesion into the circle")
    assert searching["areBarsEmpty"]
    assert len(searching["bars"]) == 3
    assert searching["figures"] == [
        "frame age",
        "\u2013",
        "inference",
        "\u2013",
        "dropped",
        "3",
        "source",
        "0",
    ]


def test_the_history_and_the_ten_newest_images_are_listed(visit: dict[str, Any]) -> None:
    answer, doubt = visit["seen"][1:3]
    assert answer["history"] == [["22:36:02", "nevus", "85 %"]]
    assert not answer["isHistoryEmpty"]
    assert doubt["history"][0] == ["22:36:02", "melanoma, melanoma alert, close-up: less certain", "50 %"]
    assert len(doubt["history"]) == 2
    assert answer["links"] == [
        ["saved/an-image.png", "saved/an-image.png?thumbnail=1", "an-image.png", "noopener"]
    ]
    assert answer["areImagesShown"]
    assert len(doubt["links"]) == 10
    name = "saved/dermedge-20261129T223602.123Z.png"
    assert doubt["links"][0] == [name, f"{name}?thumbnail=1", visit["local"], "noopener"]
    assert not visit["seen"][-1]["areImagesShown"]


def test_a_hint_that_equals_the_state_is_shown_once(run_page_script: Callable[..., Any]) -> None:
    moving = state({**SEARCHING, "state": "hold still", "hint": "hold still"}, [], [], True)
    [seen, _] = run_page_script(HARNESS, SCRIPT, {"states": [moving, moving], "isOld": False})["seen"]
    assert (seen["title"], seen["hint"], seen["spoken"]) == ("hold still", "", "hold still")


def test_a_broken_connection_greys_the_page_until_it_is_back(visit: dict[str, Any]) -> None:
    before, gone, back = visit["seen"][4:7]
    assert (before["isStale"], gone["isStale"], back["isStale"]) == (False, True, False)
    assert (gone["title"], gone["hint"], gone["spoken"]) == (
        "no connection",
        "the server is gone",
        "no connection",
    )
    assert back["title"] == "nevus 70 %"
    assert visit["waits"] == [500] * 9
    assert not visit["isPatient"], "a server that does not answer is waited for without an end"


def test_the_live_video_is_requested_again_after_a_broken_connection_and_after_a_sleep(
    visit: dict[str, Any],
) -> None:
    # A browser does not report that a video has ended. Its last frame would look like a live one.
    gone, back, still_there, awake = (one["video"] for one in visit["seen"][5:9])
    assert gone is None
    assert back == "video.mjpg?heat=0&at=3000"
    assert still_there == back
    assert awake == "video.mjpg?heat=0&at=63500"


def test_a_browser_without_a_time_limit_for_requests_shows_the_answers(
    run_page_script: Callable[..., Any],
) -> None:
    states = [state(ANSWER, [OLD], [], True)] * 3
    old = run_page_script(HARNESS, SCRIPT, {"states": states, "isOld": True})
    assert [one["title"] for one in old["seen"]] == ["nevus 70 %"] * 3
    assert not any(one["isStale"] for one in old["seen"])
    assert old["isPatient"]


def test_the_buttons_save_and_show_the_heat_map(visit: dict[str, Any]) -> None:
    assert visit["saved"] == [
        "saved dermedge-1.png on the device",
        "the disk is full",
        "dermedge run does not answer: start it again, or connect this device to its network",
    ]
    saves = [one for one in visit["asked"] if one[0] != "state"]
    post = {"method": "POST", "headers": {"X-Dermedge": "1"}}
    assert saves == [["save?heat=0", post], ["save?heat=0", post], ["save?heat=1", post]]
    assert visit["views"] == [
        ["#hot", "true", False, "video.mjpg?heat=1"],
        ["", "false", True, "video.mjpg?heat=0"],
    ]
    assert visit["retry"] == 2000
