"""Changes over a run, on scripted clocks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from dermedge.edge.cli.session import Session, summary
from dermedge.edge.drift import NO_DRIFT, DriftMeter, SessionDrift, Shares, drift_line, drift_to_json
from dermedge.edge.quality import Defect
from dermedge.edge.results import FrameResult

HOUR_S = 3600


def feed(
    meter: DriftMeter, from_s: int, to_s: int, label: str, probability: float, blurred_of_10: int
) -> None:
    """Adds one frame per second. Of ten frames, ``blurred_of_10`` are out of focus, and the others get the label."""
    for second in range(from_s, to_s):
        if second % 10 < blurred_of_10:
            meter.rejected(Defect.BLURRED, second)
        else:
            meter.classified(label, probability, second)


def test_the_first_hour_and_the_latest_are_told_apart() -> None:
    meter = DriftMeter()
    feed(meter, 0, 2 * HOUR_S, "nevus", 0.875, blurred_of_10=1)
    feed(meter, 2 * HOUR_S, 3 * HOUR_S + 60, "melanoma", 0.625, blurred_of_10=4)
    first, latest = meter.drift.first, meter.drift.latest
    assert first == Shares(HOUR_S, {Defect.BLURRED: 0.1}, {"nevus": 1.0}, 0.875)
    assert latest is not None
    assert latest.frames == HOUR_S
    assert latest.rejected == pytest.approx({Defect.BLURRED: 0.4})
    assert latest.answers == {"melanoma": 1.0}
    assert latest.probability == pytest.approx(0.625)
    assert drift_line(meter.drift) == (
        "latest hour compared with the first hour: rejected from 10% to 40%, out of focus from 10% to 40%, "
        "answered melanoma from 0% to 100%, answered nevus from 100% to 0%, mean probability from 88% to 62%"
    )


def test_within_the_first_hour_there_is_nothing_to_compare() -> None:
    meter = DriftMeter()
    feed(meter, 0, 59, "nevus", 0.75, 0)
    assert meter.drift is NO_DRIFT
    feed(meter, 59, HOUR_S, "nevus", 0.75, 0)
    assert meter.drift.first is not None
    assert meter.drift.latest is None
    assert drift_line(meter.drift) == ""


def test_small_changes_are_said_to_be_none() -> None:
    first = Shares(100, {Defect.MOVING: 0.1}, {"nevus": 0.5, "melanoma": 0.5}, 0.8)
    latest = Shares(100, {Defect.MOVING: 0.13}, {"nevus": 0.52, "melanoma": 0.48}, 0.79)
    line = drift_line(SessionDrift(first, latest))
    assert line == "latest hour compared with the first hour: no share changed by 5 percentage points or more"


def test_an_hour_without_an_answer_has_no_probability() -> None:
    meter = DriftMeter()
    feed(meter, 0, HOUR_S, "nevus", 0.75, 0)
    feed(meter, HOUR_S, 2 * HOUR_S, "nevus", 0.75, 10)
    feed(meter, 2 * HOUR_S, 2 * HOUR_S + 1, "nevus", 0.75, 0)
    assert meter.drift.latest == Shares(HOUR_S, {Defect.BLURRED: 1.0}, {}, None)
    assert "answered nevus from 100% to 0%" in drift_line(meter.drift)
    assert drift_to_json(meter.drift) == {
        "first_hour": {"frames": HOUR_S, "rejected": {}, "answers": {"nevus": 1.0}, "probability": 0.75},
        "latest_hour": {
            "frames": HOUR_S,
            "rejected": {"out of focus": 1.0},
            "answers": {},
            "probability": None,
        },
    }


def test_a_night_without_frames_leaves_the_latest_minutes_that_had_some() -> None:
    meter = DriftMeter()
    feed(meter, 0, HOUR_S + 60, "nevus", 0.75, 0)
    feed(meter, 10 * HOUR_S, 10 * HOUR_S + 61, "melanoma", 0.5, 0)
    assert meter.drift.latest is not None
    assert meter.drift.latest.answers == pytest.approx({"nevus": 0.5, "melanoma": 0.5}, abs=0.01)


def test_memory_does_not_grow_with_the_run() -> None:
    meter = DriftMeter()
    sizes = []
    for hour in range(0, 40, 10):
        feed(meter, hour * HOUR_S, hour * HOUR_S + 2 * HOUR_S, "nevus", 0.75, 1)
        sizes.append(sum(sys.getsizeof(one) for one in vars(meter).values()) + len(meter._latest))
    assert sizes[1:] == sizes[1:2] * 3


def test_the_summary_ends_with_what_has_changed(make_result: Callable[..., FrameResult]) -> None:
    meter = DriftMeter()
    feed(meter, 0, HOUR_S, "nevus", 0.75, 0)
    feed(meter, HOUR_S, 2 * HOUR_S + 1, "nevus", 0.75, 5)
    session = Session(None)
    session.add(replace(make_result(), drift=meter.drift))
    assert summary(session).splitlines()[-1] == (
        "latest hour compared with the first hour: rejected from 0% to 50%, out of focus from 0% to 50%"
    )
    short = Session(None)
    short.add(make_result())
    assert "latest hour" not in summary(short)
