"""What marks a run as noisy or throttled."""

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
            "throttled: .* heat 2 times",
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
        ([10.0] * 200 + [11.0] * 200, "its second half took +10%"),
        ([10.0] * 8 + [30.0] * 2, "90th percentile"),
        ([10.0, 20.0, 14.0, 9.0, 16.0] * 3, "its median is known only to"),
    ],
)
def test_a_model_is_marked_for_times_that_stray(times_ms: list[float], said: str) -> None:
    assert any(said in fault for fault in faults_of_model(timed(times_ms)))


def test_throttled_outweighs_noisy() -> None:
    assert mark(["noisy: a", "throttled: b"]) == "throttled"
