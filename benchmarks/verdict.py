"""Marks a run of the benchmark as good, noisy or throttled."""

from __future__ import annotations

from collections.abc import Sequence

from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.latency import STEADY_ROUNDS, STEADY_WITHIN, Latency, Measurement

__all__ = ["GOOD", "MAX_OTHERS_CORES", "NOISY", "faults_of_model", "faults_of_run", "mark"]

# A run is noisy if other processes use more cores than this. It is also noisy if the latencies did not become steady in
# the warm-up.
MAX_OTHERS_CORES = 0.1
# The latency of a model is noisy if one of the next three values exceeds its limit. Each limit is a fraction of the
# median latency. _MAX_HALF_INTERVAL: half the width of the 95 % confidence interval of the median. _MAX_DRIFT: the
# change of the median from the first half of the run to the second half. _MAX_TAIL: the distance from the median to the
# 90th percentile.
_MAX_HALF_INTERVAL = 0.02
_MAX_DRIFT = 0.05
_MAX_TAIL = 0.25
# With fewer measurements, no interval contains the true median with a probability of 95 %. The widest one, from the
# smallest to the largest of 5 values, contains it with a probability of 1 - 2 / 2**5 = 94 %.
_LEAST_RUNS = 6
# A run is throttled if the clock rate fell below this fraction of the highest clock rate during the measurement.
_LEAST_CLOCK = 0.9

GOOD, NOISY, _THROTTLED = "good", "noisy", "throttled"


def faults_of_run(run: Measurement) -> list[str]:
    """Returns reasons not to trust any result of a run. Each reason begins with ``noisy`` or ``throttled``."""
    found = [f"{_THROTTLED}: {reason}" for reason in _throttled(run.conditions)]
    if run.others_cores is not None and run.others_cores > MAX_OTHERS_CORES:
        found.append(f"{NOISY}: other processes kept {run.others_cores:.2f} cores busy")
    if not run.is_steady:
        found.append(
            f"{NOISY}: after {run.warmup_runs} warm-up runs, two successive medians over {STEADY_ROUNDS} runs still "
            f"differed by more than {STEADY_WITHIN:.0%}"
        )
    return found


def faults_of_model(latency: Latency) -> list[str]:
    """Returns reasons not to trust the latency of one model. Each reason begins with ``noisy``."""
    total = latency.total
    half_interval = (total.high - total.low) / 2 / total.median
    tail = total.p90 / total.median - 1
    found = []
    if total.n < _LEAST_RUNS:
        found.append(f"{NOISY}: measured runs: {total.n}; a 95 % interval needs at least {_LEAST_RUNS}")
    if half_interval > _MAX_HALF_INTERVAL:
        found.append(f"{NOISY}: half the 95 % interval of the median is {half_interval:.1%} of the median")
    if abs(latency.drift) > _MAX_DRIFT:
        found.append(
            f"{NOISY}: from the first half of the run to the second, the median changed by {latency.drift:+.0%}"
        )
    if tail > _MAX_TAIL:
        found.append(f"{NOISY}: the 90th percentile is {tail:.0%} above the median")
    return found


def mark(faults: Sequence[str]) -> str:
    """Combines the faults of a model and the faults of the run into one mark: ``good``, ``noisy`` or ``throttled``."""
    if any(fault.startswith(_THROTTLED) for fault in faults):
        return _THROTTLED
    return NOISY if faults else GOOD


def _throttled(conditions: Sequence[Conditions]) -> list[str]:
    """Returns reasons why a run is throttled, from the conditions before, during and after the measurement."""
    held = sorted({name for one in conditions for name in one.throttling or ()})
    found = [f"the firmware reports {name}" for name in held]
    events = [one.throttle_events for one in conditions if one.throttle_events is not None]
    if events and max(events) > min(events):
        found.append(f"heat throttled the processor {max(events) - min(events)} times")
    clocks = [one.clock_mhz for one in conditions[1:-1] if one.clock_mhz is not None]
    if clocks and min(clocks) < _LEAST_CLOCK * max(clocks):
        found.append(f"the clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    return found
