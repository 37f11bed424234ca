"""The rules that mark a run as noisy or throttled."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.latency import Latency, Measurement, latency
from dermedge.benchmarks.verdict import faults_of_model, faults_of_run, mark
from dermedge.edge.model.prediction import Timing

COOL = Conditions(45.0, 2400.0, "performance", (), 3)
SLOW_CLOCK = replace(COOL, clock_mhz=1500.0)


def timed(times_ms: list[float]) -> Latency:
    return latency([Timing(0, one, 0) for one in times_ms], cpu_ms=1)


QUIET = timed([10.0, 10.1] * 200)
RUN = Measurement((QUIET,), 64, True, 10.0, 0.01, 0.02, (COOL,) * 3)


def test_a_quiet_run_is_good() -> None:
    assert [*faults_of_run(RUN), *faults_of_model(QUIET)] == []
    assert mark([]) == "good"


def test_six_runs_are_enough_for_an_interval() -> None:
    assert faults_of_model(timed([10.0] * 6)) == []
    assert len(faults_of_model(timed([10.0] * 5))) == 1


def test_what_cannot_be_read_is_held_against_nobody() -> None:
    silent = Conditions(None, None, None, None, None)
    assert faults_of_run(replace(RUN, conditions=(silent,) * 3, others_cores=None)) == []


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (replace(RUN, others_cores=0.5), "noisy: other processes kept 0.50 cores busy"),
        (replace(RUN, is_steady=False), "noisy: after 64 warm-up runs"),
        (
            replace(RUN, conditions=(COOL, replace(COOL, throttling=("under-voltage",)), COOL)),
            "throttled: .*under-voltage",
        ),
        (
            replace(RUN, conditions=(COOL, COOL, replace(COOL, throttle_events=5))),
            "throttled: heat throttled the processor 2 times",
        ),
        (
            replace(RUN, conditions=(COOL, COOL, SLOW_CLOCK, COOL)),
            "throttled: the clock fell from 2400 to 1500 MHz",
        ),
    ],
)
def test_a_run_is_marked_for_what_happened_meanwhile(run: Measurement, said: str) -> None:
    [fault] = faults_of_run(run)
    assert re.match(said, fault)
    assert mark([fault]) == said.split(":")[0]


def test_a_low_clock_of_an_idle_machine_is_no_throttling() -> None:
    assert faults_of_run(replace(RUN, conditions=(SLOW_CLOCK, COOL, COOL, SLOW_CLOCK))) == []


@pytest.mark.parametrize(
    ("times_ms", "said"),
    [
        (
            [10.0] * 200 + [11.0] * 200,
            "from the first half of the run to the second, the median changed by +10%",
        ),
        ([10.0] * 8 + [30.0] * 2, "90th percentile"),
        ([10.0], "measured runs: 1; a 95 % interval needs at least 6"),
        ([10.0, 20.0, 14.0, 9.0, 16.0] * 3, "half the 95 % interval of the median is"),
    ],
)
def test_a_model_is_marked_for_times_that_stray(times_ms: list[float], said: str) -> None:
    assert any(said in fault for fault in faults_of_model(timed(times_ms)))


@pytest.mark.parametrize(
    ("total", "drift", "said"),
    [
        ({"low": 9.81, "high": 10.19}, 0.0, None),
        (
            {"low": 9.81, "high": 10.23},
            0.0,
            "noisy: half the 95 % interval of the median is 2.1% of the median",
        ),
        ({"p90": 12.49}, 0.0, None),
        ({"p90": 12.6}, 0.0, "noisy: the 90th percentile is 26% above the median"),
        ({}, 0.05, None),
        ({}, -0.05, None),
        ({}, 0.06, "noisy: from the first half of the run to the second, the median changed by +6%"),
        # if the machine becomes faster during a run, it was too slow at the beginning, so the run is marked too
        ({}, -0.06, "noisy: from the first half of the run to the second, the median changed by -6%"),
    ],
)
def test_a_model_is_noisy_just_above_the_border(
    total: dict[str, float], drift: float, said: str | None
) -> None:
    quiet = replace(QUIET.total, median=10.0, low=9.95, high=10.05, p90=10.5)
    faults = faults_of_model(replace(QUIET, total=replace(quiet, **total), drift=drift))
    assert faults == ([said] if said else [])


@pytest.mark.parametrize(
    ("run", "is_good"),
    [
        (replace(RUN, others_cores=0.1), True),
        (replace(RUN, others_cores=0.11), False),
        (replace(RUN, conditions=(COOL, COOL, replace(COOL, clock_mhz=2160.0), COOL)), True),
        (replace(RUN, conditions=(COOL, COOL, replace(COOL, clock_mhz=2159.0), COOL)), False),
        (replace(RUN, conditions=(COOL, COOL, replace(COOL, throttle_events=3))), True),
        (replace(RUN, conditions=(COOL, COOL, replace(COOL, throttle_events=4))), False),
    ],
)
def test_a_run_is_doubted_just_above_the_border(run: Measurement, is_good: bool) -> None:
    assert (faults_of_run(run) == []) is is_good


def test_throttled_outweighs_noisy() -> None:
    assert mark(["noisy: a", "throttled: b"]) == "throttled"
