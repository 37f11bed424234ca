"""The rules by which a run is marked good, noisy or throttled."""

from __future__ import annotations

from collections.abc import Sequence

from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.latency import STEADY_ROUNDS, STEADY_WITHIN, Latency, Measurement

__all__ = ["GOOD", "MAX_OTHERS_CORES", "NOISY", "faults_of_model", "faults_of_run", "mark"]

# A run is noisy if other processes use more cores than this, or if the warm-up never became steady.
MAX_OTHERS_CORES = 0.1
# A model's figures are noisy above one of these, as parts of its median: half the width of the median's interval, the
# drift from the first half to the second, and the distance from the median to the 90th percentile.
_MAX_HALF_INTERVAL = 0.02
_MAX_DRIFT = 0.05
_MAX_TAIL = 0.25
# A run is throttled if the clock fell below this part of the highest clock during the measurement.
_LEAST_CLOCK = 0.9

GOOD, NOISY, _THROTTLED = "good", "noisy", "throttled"


def faults_of_run(run: Measurement) -> list[str]:
    """Returns reasons not to trust any figure of a run; each begins with ``noisy`` or ``throttled``."""
    found = [f"{_THROTTLED}: {reason}" for reason in _throttled(run.conditions)]
    if run.others_cores is not None and run.others_cores > MAX_OTHERS_CORES:
        found.append(f"{NOISY}: other processes kept {run.others_cores:.2f} cores busy")
    if not run.is_steady:
        found.append(
            f"{NOISY}: after {run.warmup_runs} warm-up runs, medians of {STEADY_ROUNDS} runs still differed "
            f"by more than {STEADY_WITHIN:.0%}"
        )
    return found


def faults_of_model(latency: Latency) -> list[str]:
    """Returns reasons not to trust the figures of one model; each begins with ``noisy``."""
    total = latency.total
    half_interval = (total.high - total.low) / 2 / total.median
    tail = total.p90 / total.median - 1
    found = []
    if half_interval > _MAX_HALF_INTERVAL:
        found.append(f"{NOISY}: its median is known only to {half_interval:.1%}")
    if abs(latency.drift) > _MAX_DRIFT:
        found.append(f"{NOISY}: its second half took {latency.drift:+.0%}")
    if tail > _MAX_TAIL:
        found.append(f"{NOISY}: its 90th percentile is {tail:.0%} above the median")
    return found


def mark(faults: Sequence[str]) -> str:
    """Returns ``good``, ``noisy`` or ``throttled``, from the faults of a model and of its run."""
    if any(fault.startswith(_THROTTLED) for fault in faults):
        return _THROTTLED
    return NOISY if faults else GOOD


def _throttled(conditions: Sequence[Conditions]) -> list[str]:
    """Returns reasons why a run is throttled, from the conditions before, during and after the measurement."""
    held = sorted({name for one in conditions for name in one.throttling or ()})
    found = [f"the firmware reports {name}" for name in held]
    events = [one.throttle_events for one in conditions if one.throttle_events is not None]
    if events and max(events) > min(events):
        found.append(f"the processor was throttled for heat {max(events) - min(events)} times")
    clocks = [one.clock_mhz for one in conditions[1:-1] if one.clock_mhz is not None]
    if clocks and min(clocks) < _LEAST_CLOCK * max(clocks):
        found.append(f"the clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    return found
