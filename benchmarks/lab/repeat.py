"""Checks that repeated measurements on this machine agree within their 95 % confidence intervals.

    python -m dermedge.benchmarks.lab repeat [MODEL] --source photos/ [--runs 20] [--secs 5] [--output DIR]

Each run is a separate process. Two runs agree if their confidence intervals overlap. The limit is met if at least 19 of
20 pairs of good runs agree. Runs that are marked noisy or throttled do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from dermedge.benchmarks.arguments import seconds
from dermedge.benchmarks.frames import frames_of_source
from dermedge.benchmarks.lab.cli import command_line
from dermedge.benchmarks.lab.lab_report import (
    Circumstances,
    LabReport,
    check_options,
    circumstances_of,
    deliver,
    report_parser,
)
from dermedge.benchmarks.lab.single_run import measure_in_new_process
from dermedge.benchmarks.latency import RunLength, Spread
from dermedge.benchmarks.status_line import show_status
from dermedge.benchmarks.verdict import GOOD, faults_of_model, faults_of_run, mark
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import DermedgeError
from dermedge.edge.text_table import TextTable

__all__ = ["RepeatedRun", "RunAgreement", "agreement", "main"]

_BAR = 19 / 20
_RUNS = 20
_SECS = 5.0
# The warm-up and the measurement each take at most _MAX_SECS times --secs seconds.
_MAX_SECS = 2.0


@dataclass(frozen=True)
class RepeatedRun:
    """One of the runs that are compared.

    Attributes:
        total: end-to-end latency in milliseconds.
        faults: reasons why the run is noisy or throttled; empty for a good run.
    """

    total: Spread
    faults: tuple[str, ...]

    @property
    def mark(self) -> str:
        return mark(self.faults)


@dataclass(frozen=True)
class RunAgreement:
    """The number of pairs of runs, and how many of the pairs agree.

    Attributes:
        pairs: number of all pairs.
        promised: number of pairs of good runs.
        agreed: number of pairs of good runs whose intervals overlap.
        agreed_of_all: number of pairs of runs, whether good or not, whose intervals overlap.
    """

    pairs: int
    promised: int
    agreed: int
    agreed_of_all: int

    @property
    def verdict(self) -> str:
        """The verdict: ``met``, ``missed``, or ``not tested`` with the reason.

        The limit is met if at least 19 of 20 pairs of good runs agree.
        """
        if not self.promised:
            return "not tested: fewer than two runs were good"
        return "met" if self.agreed >= _BAR * self.promised else "missed"


def agreement(runs: Sequence[RepeatedRun]) -> RunAgreement:
    """Counts pairs of runs, and pairs whose 95 % confidence intervals overlap, for all runs and for the good runs."""
    pairs = list(combinations(runs, 2))
    good = [pair for pair in pairs if all(one.mark == GOOD for one in pair)]
    return RunAgreement(len(pairs), len(good), sum(map(_agree, good)), sum(map(_agree, pairs)))


def main(argv: Sequence[str]) -> int:
    """Measures, prints and writes the results; returns the exit status."""
    parser = report_parser("repeat", "Check that repeated measurements agree within their stated intervals.")
    parser.add_argument(
        "--runs",
        type=positive_int,
        default=_RUNS,
        help="do this many runs, each in a separate process",
    )
    parser.add_argument(
        "--secs", type=seconds, default=_SECS, help="measure for at least this many seconds per run"
    )
    arguments = parser.parse_args(argv)
    check_options(arguments)
    frames, origin = frames_of_source(arguments.source)
    run_length = RunLength(num_runs=1, min_secs=arguments.secs, max_secs=_MAX_SECS * arguments.secs)
    runs: list[RepeatedRun] = []
    failure = None
    try:
        while len(runs) < arguments.runs:
            show_status(f"run {len(runs) + 1} of {arguments.runs}")
            measured = measure_in_new_process(arguments.model, frames, arguments.num_threads, run_length)
            latency = measured.latencies[0]
            runs.append(RepeatedRun(latency.total, (*faults_of_run(measured), *faults_of_model(latency))))
    except (DermedgeError, KeyboardInterrupt) as error:
        if len(runs) < 2:
            raise
        failure = str(error) or "stopped"
    command = command_line("repeat", argv)
    deliver(_to_report(runs, circumstances_of(arguments, command, origin), failure), arguments)
    return 0


def _to_report(runs: Sequence[RepeatedRun], origin: Circumstances, failure: str | None) -> LabReport:
    """Returns the report: a table with a row per run, and the number of pairs that agree."""
    head = ("run", "median ms", "95 % interval", "half width", "mark")
    rows = tuple(_cells(number, one) for number, one in enumerate(runs, 1))
    found = agreement(runs)
    medians = np.array([one.total.median for one in runs])
    noisy = sum(one.mark != GOOD for one in runs)
    lines = [
        f"{found.agreed} of {found.promised} pairs of good runs agree; {found.agreed_of_all} of all {found.pairs} "
        f"pairs agree; {noisy} of {len(runs)} runs are not good",
        f"standard deviation of the medians: {medians.std(ddof=1) / medians.mean():.2%} of their mean"
        if len(runs) > 1
        else "there is only one run, so nothing can be compared",
        f"limit: 19 of 20 pairs of good runs must agree: {found.verdict}",
        *([f"ended early: {failure}"] if failure else []),
    ]
    title = (
        f"Latency from frame to decision of {origin.model}, each run in a process of its own. half width: half the "
        "95 % interval divided by the median."
    )
    values = {
        "agreement": {**asdict(found), "verdict": found.verdict},
        "failure": failure,
        "runs": [{**asdict(one), "mark": one.mark} for one in runs],
    }
    return LabReport("repeat", origin, (TextTable(title, head, rows),), tuple(lines), values)


def _agree(pair: tuple[RepeatedRun, RepeatedRun]) -> bool:
    first, second = (one.total for one in pair)
    return first.low <= second.high and second.low <= first.high


def _cells(number: int, one: RepeatedRun) -> tuple[str, ...]:
    total = one.total
    return (
        str(number),
        f"{total.median:.3f}",
        f"[{total.low:.3f}, {total.high:.3f}]",
        f"{(total.high - total.low) / 2 / total.median:.1%}",
        one.mark,
    )
