"""What a run tells at its end, line by line, and which frame it calls the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dermedge.edge.cli import session as session_module
from dermedge.edge.cli.session import Session, counts_line, frames_of, rejected_line, summary
from dermedge.edge.drift import SessionDrift, Shares
from dermedge.edge.model.prediction import Timing
from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.sources.frame import Delivery, Frame

COUNTS = FrameCounts(
    classified=3, rejected={Defect.DARK: 1, Defect.MOVING: 4}, dropped=7, repeated=2, outages=1
)


@pytest.fixture
def make(make_classification: Callable[..., Classification]) -> Callable[..., Classification]:
    """A function (number) that makes a classification. Its steps take ``number`` times 1, 2, 3, 4 and 5 ms."""

    def give(
        number: float, probabilities: tuple[float, ...] = (0.2, 0.7, 0.1), **changes: Any
    ) -> Classification:
        usual = make_classification()
        timing = Timing(2.0 * number, 3.0 * number, 4.0 * number)
        prediction = replace(usual.prediction, timing=timing, probabilities=probabilities)
        frame = Frame(np.zeros((30, 40, 3), np.uint8), int(number), 0.0, "a camera")
        times = {"capture_ms": 1.0 * number, "frame_age_ms": 4.0 * number}
        return replace(usual, frame=frame, prediction=prediction, **times, **changes)

    return give


@pytest.fixture
def clock(stopped_clock: Callable[[ModuleType], list[float]]) -> list[float]:
    return stopped_clock(session_module)


def test_a_summary_has_rate_counts_medians_and_the_last_answer(
    make: Callable[..., Classification], make_result: Callable[..., FrameResult], clock: list[float]
) -> None:
    session = Session("none of these")
    assert summary(session) == ""
    for number in (1, 2, 9):
        session.add(make_result(classification=make(number), counts=COUNTS))
        clock[0] += 2.0
    session.add(make_result(classification=None, counts=COUNTS, answer=None))
    # there are two intervals of two seconds between the three frames, so the rate is 0.5
    assert summary(session).splitlines() == [
        "3 frames of 40x30 classified, 0.5 a second, 7 dropped, 2 repeated, camera lost once",
        "5 frames rejected: 4 moving, 1 too dark",
        "median ms: capture 2.0, preprocess 4.0, invoke 6.0, postprocess 8.0, end to end 10.0",
        "last: nevus  70%",
    ]
    session.delivery = Delivery(640, 480, 30, "MJPG")
    noted = make(1, prediction_set=("melanoma", "nevus"))
    noted = replace(noted, prediction=replace(noted.prediction, alert="melanoma", view="close-up"))
    drift = SessionDrift(Shares(10, {}, {"nevus": 1.0}, 0.9), Shares(10, {}, {"nevus": 1.0}, 0.5))
    session.add(make_result(classification=noted, counts=FrameCounts(classified=4), drift=drift))
    lines = summary(session).splitlines()
    assert lines[0] == "4 frames of 40x30 classified, 0.5 a second, 0 dropped"
    assert lines[2:4] == [
        "last: nevus  70%, melanoma alert, close-up: less certain, set {melanoma, nevus}",
        "camera: 640x480, 30 frames a second, MJPG",
    ]
    assert len(lines) == 5


def test_one_frame_has_no_rate_and_none_has_no_times(
    make: Callable[..., Classification], make_result: Callable[..., FrameResult], clock: list[float]
) -> None:
    session = Session(None)
    rejected = FrameCounts(rejected={Defect.DARK: 1}, outages=2)
    session.add(make_result(classification=None, counts=rejected))
    assert summary(session).splitlines() == [
        "no frame classified, 0 dropped, camera lost 2 times",
        "1 frame rejected: 1 too dark",
    ]
    session.add(make_result(classification=make(1), counts=FrameCounts(classified=1)))
    assert summary(session).splitlines()[0] == "1 frame of 40x30 classified, 0 dropped"


def test_the_best_frame_has_the_most_probable_lesion_and_none_of_these_is_none(
    make: Callable[..., Classification], make_result: Callable[..., FrameResult]
) -> None:
    shares = [(0.2, 0.6, 0.2), (0.05, 0.05, 0.9), (0.7, 0.2, 0.1), (0.1, 0.7, 0.2)]
    for none_label, best in (("none of these", 2), (None, 1)):
        session = Session(none_label)
        for number, probabilities in enumerate(shares):
            session.add(make_result(classification=make(number, probabilities)))
        assert session.best is not None
        assert session.best.frame.number == best
        assert session.last is not None
        assert session.last.frame.number == 3


def test_a_run_of_weeks_keeps_its_last_9000_times(
    make: Callable[..., Classification], make_result: Callable[..., FrameResult]
) -> None:
    session, result = Session(None), make_result(classification=make(1))
    session.splits.extend([(9.0,) * 5] * 9000)
    session.add(result)
    assert len(session.splits) == 9000
    assert session.splits[-1] == (1, 2, 3, 4, 5)


def test_counts_in_words() -> None:
    assert counts_line(FrameCounts()) == "0 dropped"
    assert (
        counts_line(FrameCounts(dropped=3, repeated=1, outages=2))
        == "3 dropped, 1 repeated, camera lost 2 times"
    )
    assert rejected_line(FrameCounts()) == ""
    assert frames_of(COUNTS) == 8
