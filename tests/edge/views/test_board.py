"""What the board serves to viewers: its metrics line by line, its history, and how often it encodes a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.drift import SessionDrift, Shares
from dermedge.edge.model.decision import Headline
from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views.web import board as board_module
from dermedge.edge.views.web.board import Board

DRIFT = SessionDrift(
    Shares(100, {Defect.MOVING: 0.25}, {"nevus": 1.0}, 0.5), Shares(200, {}, {"melanoma": 0.75}, None)
)


@pytest.fixture
def clock(stopped_clock: Callable[[ModuleType], list[float]]) -> list[float]:
    return stopped_clock(board_module)


def test_a_counter_counts_every_frame_of_a_long_run(
    make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    """If a counter is rounded to six digits, it seems to stand still for most of the time."""
    board = Board({}, tmp_path, True)
    board.put(make_result(counts=FrameCounts(12_345_678, {Defect.DARK: 1_000_001}, 2_345_679, 3_456_789)))
    lines = list(board.metrics())
    assert "dermedge_frames_classified_total 12345678" in lines
    assert "dermedge_frames_dropped_total 2345679" in lines
    assert "dermedge_frames_repeated_total 3456789" in lines
    assert 'dermedge_frames_rejected_total{defect="too dark"} 1000001' in lines


def test_the_metrics_have_their_names_types_labels_and_units(
    make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    board = Board({"model": 'a "model"', "sha256": "abc"}, tmp_path, True)
    assert list(board.metrics()) == [
        "# TYPE dermedge_info gauge",
        r'dermedge_info{model="a \"model\"",sha256="abc"} 1',
        "# TYPE dermedge_viewers gauge",
        "dermedge_viewers 0",
    ]
    counts = FrameCounts(
        classified=5, rejected={Defect.MOVING: 2, Defect.DARK: 1}, dropped=3, repeated=7, outages=4
    )
    board.put(make_result(counts=counts, temperature_c=61.5, drift=DRIFT, state=State.UNCERTAIN))
    board.count_viewer(1)
    board.count_viewer(1)
    board.count_viewer(-1)
    lines = list(board.metrics())
    assert [line for line in lines if line.startswith("# ")] == [
        f"# TYPE dermedge_{name}"
        for name in (
            "info gauge",
            "viewers gauge",
            "state gauge",
            "frames_classified_total counter",
            "frames_dropped_total counter",
            "frames_repeated_total counter",
            "outages_total counter",
            "rejected_share gauge",
            "answers_share gauge",
            "mean_probability gauge",
            "frames_rejected_total counter",
            "fps gauge",
            "temperature_celsius gauge",
            "invoke_seconds gauge",
            "frame_age_seconds gauge",
        )
    ]
    states = [line for line in lines if line.startswith("dermedge_state")]
    assert len(states) == len(State)
    assert [line for line in states if line.endswith(" 1")] == ['dermedge_state{state="uncertain"} 1']
    assert [
        line for line in lines if line[0] != "#" and not line.startswith(("dermedge_state", "dermedge_info"))
    ] == [
        "dermedge_viewers 1",
        "dermedge_frames_classified_total 5",
        "dermedge_frames_dropped_total 3",
        "dermedge_frames_repeated_total 7",
        "dermedge_outages_total 4",
        'dermedge_rejected_share{period="first_hour",defect="moving"} 0.25',
        'dermedge_answers_share{period="first_hour",label="nevus"} 1',
        'dermedge_answers_share{period="latest_hour",label="melanoma"} 0.75',
        'dermedge_mean_probability{period="first_hour"} 0.5',
        'dermedge_frames_rejected_total{defect="moving"} 2',
        'dermedge_frames_rejected_total{defect="too dark"} 1',
        "dermedge_fps 29.5",
        "dermedge_temperature_celsius 61.5",
        # these are 2.5 and 6.25 ms
        "dermedge_invoke_seconds 0.0025",
        "dermedge_frame_age_seconds 0.00625",
    ]


def test_a_headline_stands_for_a_second_before_another_follows_it(
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
    clock: list[float],
    tmp_path: Path,
) -> None:
    board = Board({}, tmp_path, False)

    def put(title: str | None, secs: float) -> list[str]:
        """Shows a result, and returns the headlines of the history, the newest first. Then ``secs`` seconds pass."""
        if title is None:
            board.put(make_result(classification=None, state=State.SEARCHING))
        else:
            board.put(make_result(classification=make_classification(headline=Headline(title))))
        clock[0] += secs
        return [one["headline"] for one in board.state()["history"]]

    assert put("nevus", 0.9) == ["nevus"]
    # nevus was shown for less than a second, so melanoma replaces it
    assert put("melanoma", 0.5) == ["melanoma"]
    assert put("melanoma", 0.5) == ["melanoma"]
    assert put("nevus", 5.0) == ["nevus", "melanoma"]
    assert put(None, 0.1) == ["nevus", "melanoma"]
    # between the two answers, there was a result without an answer, so nevus is a new entry
    assert put("nevus", 0.1) == ["nevus", "nevus", "melanoma"]
    [first, *_] = board.state()["history"]
    assert {key: first[key] for key in ("state", "label", "probability", "alert", "view")} == {
        "state": "answer",
        "label": "nevus",
        "probability": 0.7,
        "alert": None,
        "view": None,
    }
    for number in range(60):
        put(f"class {number}", 2.0)
    history = board.state()["history"]
    assert (len(history), history[0]["headline"], history[-1]["headline"]) == (50, "class 59", "class 10")


def test_a_frame_is_encoded_ten_times_a_second_for_all_viewers_and_the_heat_map_apart(
    make_result: Callable[..., FrameResult],
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    painted: list[bool] = []

    def paint(result: FrameResult, heat: bool) -> Any:
        painted.append(heat)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(board_module, "paint_frame", paint)
    board = Board({}, tmp_path, True)
    assert board.frame(False) is None
    assert not board.has_news(0, False)

    def number(heat: bool = False) -> int:
        found = board.frame(heat)
        assert found is not None
        assert cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (8, 8, 3)
        return found.number

    board.put(make_result())
    assert board.has_news(0, False)
    assert [number(), number()] == [1, 1]
    assert not board.has_news(1, False)
    board.put(make_result())
    clock[0] += 0.09
    assert not board.has_news(1, False)
    assert number() == 1
    clock[0] += 0.02
    assert board.has_news(1, False)
    assert number() == 2
    # a viewer that has seen only an earlier frame gets the newer one at once
    assert board.has_news(1, False)
    assert painted == [False, False]
    assert number(heat=True) == 2
    assert painted == [False, False, True]
    plain = Board({}, tmp_path, False)
    plain.put(make_result())
    assert plain.frame(True) is not None
    assert painted[-1] is False


def test_nothing_is_saved_before_the_first_frame_and_then_with_the_heat_map_if_there_is_one(
    make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    painted: list[bool] = []
    monkeypatch.setattr(
        board_module,
        "paint_result",
        lambda result, heat: painted.append(heat) or np.zeros((8, 8, 3), np.uint8),
    )
    monkeypatch.setattr("dermedge.edge.views.saves._LEAST_INTERVAL_S", 0)
    board = Board({}, tmp_path, True)
    assert board.save(True) is None
    board.put(replace(make_result(), frame=None))
    assert board.save(True) is None
    board.put(make_result())
    names = [board.save(heat) for heat in (True, False)]
    assert painted == [True, False]
    state = board.state()
    assert (state["saved"], state["heat_map"]) == (names[::-1], True)
    plain = Board({}, tmp_path, False)
    plain.put(make_result())
    plain.save(True)
    assert painted[-1] is False
    assert plain.state()["heat_map"] is False
