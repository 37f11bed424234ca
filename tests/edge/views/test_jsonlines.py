"""One JSON object a line."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.views.open import open_jsonlines
from dermedge.edge.views.view import View

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_json_line_holds_the_whole_decision(
    make_result: Callable[..., FrameResult], capsys: pytest.CaptureFixture[str]
) -> None:
    with open_jsonlines() as view:
        view.show(make_result())
    [line] = capsys.readouterr().out.splitlines()
    values = json.loads(line)
    for name in ("at", "captured_at"):
        assert re.search(r":\d\d\.\d{3}(\+|Z)", values[name]), "to the millisecond"
        stamp = datetime.fromisoformat(values.pop(name))
        assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60
        assert stamp.utcoffset() is not None
    assert values == {
        "state": "answer",
        "hint": "",
        "defect": None,
        "frame": 7,
        "frame_age_ms": 6.25,
        "dropped": 3,
        "repeated": 0,
        "temperature_c": None,
        "source": "a camera",
        "headline": "nevus",
        "nearest": None,
        "label": "nevus",
        "uncertain": False,
        "alert": None,
        "view": None,
        "probability": 0.7,
        "probabilities": {"melanoma": 0.2, "nevus": 0.7, "none of these": 0.1},
        "set": None,
        "latency_ms": {
            "capture": 12.5,
            "preprocess": 1.5,
            "invoke": 2.5,
            "postprocess": 0.5,
            "end_to_end": 18.75,
        },
        "fps": 29.5,
    }


def test_a_label_below_the_confidence_is_uncertain_also_for_programs(
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_jsonlines() as view:
        view.show(make_result(classification=make_classification(label="uncertain")))
    assert json.loads(capsys.readouterr().out)["label"] == "uncertain"


def test_json_tells_a_lost_camera_once_and_again_when_there_is_news(
    make_lost: Callable[..., FrameResult],
    make_result: Callable[..., FrameResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_jsonlines() as view:
        for reason in ("gone", "gone", "gone, attempt 2", "gone, attempt 2"):
            view.show(make_lost(reason))
        view.show(make_result())
        view.show(make_lost("gone, attempt 2"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["state"], line["hint"]) for line in lines] == [
        ("camera lost", "gone"),
        ("camera lost", "gone, attempt 2"),
        ("answer", ""),
        ("camera lost", "gone, attempt 2"),
    ]


def test_a_slow_reader_of_a_live_source_misses_results_holds_nothing_up_and_gets_new_ones(
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()

    def show_many(view: View) -> None:
        for number in range(1000):
            view.show(make_result(classification=make_classification(number=number)))

    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with open_jsonlines(is_live=True) as view:
            showing = threading.Thread(target=show_many, args=[view], daemon=True)
            showing.start()
            showing.join(60)
            assert not showing.is_alive(), "it waits for a reader that never reads"
            late = reader.read(1_000_000).splitlines()
            assert [json.loads(line)["frame"] for line in late] == list(range(len(late)))
            assert 1 <= len(late) <= (1 if sys.platform == "linux" else 50)
            view.show(make_result(classification=make_classification(number=1001)))
            assert json.loads(reader.read(100_000))["frame"] == 1001
        monkeypatch.undo()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the writer how full a pipe is")
@pytest.mark.parametrize("length", [1000, 5000, 13000, 40000])
def test_a_long_line_is_not_waited_for_and_a_short_last_line_is_not_lost(
    length: int,
    make_result: Callable[..., FrameResult],
    make_lost: Callable[..., FrameResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Earlier, a model with many classes waited for a reader that had stopped reading."""
    reading, writing = os.pipe()

    def show_all() -> None:
        with open_jsonlines(is_live=True) as view:
            for hint in ("first", "second", "last"):
                view.show(replace(make_result(), hint=hint + " " * (length - len(hint))))
            view.show(make_lost("gone"))
            view.show(make_lost("gone"))

    with open(reading, "rb", buffering=0) as reader:
        with open(writing, "w") as output:
            monkeypatch.setattr(sys, "stdout", output)
            showing = threading.Thread(target=show_all, daemon=True)
            showing.start()
            showing.join(60)
            assert not showing.is_alive(), "it waits for a reader that never reads"
            monkeypatch.undo()
        hints = [json.loads(line)["hint"].strip() for line in reader.read(1_000_000).splitlines()]
    assert hints == ["first", "gone"]


def test_a_reader_that_closes_the_pipe_before_it_has_read_a_line_ends_the_run(
    make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as pipe, io.TextIOWrapper(pipe, write_through=True) as output:
        monkeypatch.setattr(sys, "stdout", output)
        view = open_jsonlines(is_live=True)
        for _ in range(2):
            view.show(make_result())
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            view.show(make_result())
        monkeypatch.undo()
