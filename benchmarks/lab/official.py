"""Compares latencies of `dermedge benchmark` and of LiteRT's own tool, and measures the overhead of the measuring loop.

    python -m dermedge.benchmarks.lab official [MODEL] --source photos/ [--pairs 24] [--output DIR]

The tool is `litert-benchmark` of the package ai-edge-litert. The tool and the measurement of `dermedge benchmark` run
alternately, each time in a new process. Each pair of runs gives a ratio of median inference times. The overhead is
measured first, in one process. Blocks of frames run alternately in a bare loop and in the measuring loop. The overhead
is the time of the measuring loop divided by the time of the bare loop.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from dermedge.benchmarks.child import run_program
from dermedge.benchmarks.conditions import OtherProcesses, read_conditions
from dermedge.benchmarks.frames import Frames, frames_of_source
from dermedge.benchmarks.lab.cli import command_line
from dermedge.benchmarks.lab.lab_report import (
    Circumstances,
    LabReport,
    check_options,
    circumstances_of,
    deliver,
    report_parser,
)
from dermedge.benchmarks.lab.ratio_interval import RatioInterval, ratio_of
from dermedge.benchmarks.lab.single_run import measure_in_new_process
from dermedge.benchmarks.latency import (
    LOOK_EVERY_S,
    RunLength,
    one_opencv_thread,
    take_rounds,
    warm_up,
)
from dermedge.benchmarks.status_line import ShowStatus, show_status
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import DermedgeError, MissingExtra
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.text_table import TextTable

__all__ = [
    "BLOCKS",
    "RUN_LENGTH",
    "ToolPair",
    "added_by_measuring",
    "main",
    "tool_ms",
]

_TOOL = "ai_edge_litert.tools.benchmark_litert_model"
_PAIRS = 24
# A run is short, so that a drift of the machine affects both runs of a pair alike.
RUN_LENGTH = RunLength(warmup_runs=64, num_runs=384, min_secs=0, max_secs=4)
_TOOL_TIMEOUT_S = 120
BLOCKS, _BLOCK_FRAMES = 250, 16
_LOOKS = 20
_MAX_APART, _MAX_ADDED = 0.05, 0.01


@dataclass(frozen=True)
class ToolPair:
    """Two median inference times in milliseconds, measured one after the other.

    Attributes:
        tool_ms: time that LiteRT's tool measured.
        ours_ms: time that dermedge measured.
    """

    tool_ms: float
    ours_ms: float


def main(argv: Sequence[str]) -> int:
    """Measures, prints and writes the results; returns the exit status."""
    parser = report_parser(
        "official",
        "Compare the latencies of the benchmark with those of LiteRT's own benchmark tool, and measure the cost of "
        "measuring.",
    )
    parser.add_argument(
        "--pairs",
        type=positive_int,
        default=_PAIRS,
        help="do this many pairs of runs: one run of LiteRT's tool, and one run of dermedge",
    )
    arguments = parser.parse_args(argv)
    check_options(arguments)
    if choose_runtime() != "litert":
        raise MissingExtra("ai-edge-litert", note="which holds LiteRT's benchmark tool")
    frames, origin = frames_of_source(arguments.source)
    company = OtherProcesses()
    added = added_by_measuring(arguments.model, frames, arguments.num_threads, show_status, BLOCKS)
    others = company.busy_cores()
    pairs: list[ToolPair] = []
    failure = None
    try:
        while len(pairs) < arguments.pairs:
            show_status(f"pair {len(pairs) + 1} of {arguments.pairs}")
            pairs.append(_take_pair(arguments.model, frames, arguments.num_threads, len(pairs) % 2 == 1))
    except (DermedgeError, KeyboardInterrupt) as error:
        if not pairs:
            raise
        failure = str(error) or "stopped"
    command = command_line("official", argv)
    deliver(
        _to_report(pairs, added, circumstances_of(arguments, command, origin), others, failure), arguments
    )
    return 0


def _take_pair(model: Path, frames: Frames, num_threads: int, ours_first: bool) -> ToolPair:
    """Measures the model once with LiteRT's tool and once with dermedge.

    Raises:
        DermedgeError: one of the programs fails.
    """
    if ours_first:
        ours_ms = _ours_ms(model, frames, num_threads)
        return ToolPair(tool_ms(model, num_threads), ours_ms)
    return ToolPair(tool_ms(model, num_threads), _ours_ms(model, frames, num_threads))


def tool_ms(model: Path, num_threads: int) -> float:
    """Returns the median inference time that LiteRT's tool measures on random pixels, in milliseconds.

    The tool rounds the time to 0.01 ms.

    Raises:
        ToolError: the tool fails, or does not end in time.
    """
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = {
            "model": model,
            "num_threads": num_threads,
            "warmup_runs": RUN_LENGTH.warmup_runs,
            "num_runs": RUN_LENGTH.num_runs,
            "result_json": result,
        }
        command = [sys.executable, "-m", _TOOL, *(f"--{name}={value}" for name, value in options.items())]
        run_program(command, f"litert-benchmark on '{model}'", timeout_s=_TOOL_TIMEOUT_S)
        return float(json.loads(result.read_text())["latency"]["median_ms"])


def added_by_measuring(
    model: Path, frames: Frames, num_threads: int, progress: ShowStatus, blocks: int
) -> RatioInterval:
    """Returns the time of the measuring loop divided by the time of a bare loop over the same frames.

    In a benchmark, the measuring loop also reads the state of the machine every LOOK_EVERY_S seconds. The blocks that
    are timed here are too short to contain such a reading. Therefore the fraction of the time that the readings take in
    a benchmark is measured separately and added to the ratio.
    """
    run_length = RunLength(warmup_runs=0, num_runs=_BLOCK_FRAMES, min_secs=0, max_secs=_TOOL_TIMEOUT_S)
    ratios = []
    with Classifier(model, num_threads=num_threads) as classifier, one_opencv_thread():
        warm_up([classifier], frames, RUN_LENGTH)
        for number in range(blocks):
            progress(f"block {number + 1} of {blocks}")
            if number % 2:
                measuring_s = take_rounds([classifier], frames, run_length).secs
                bare_s = _bare_s(classifier, frames)
            else:
                bare_s = _bare_s(classifier, frames)
                measuring_s = take_rounds([classifier], frames, run_length).secs
            ratios.append(measuring_s / bare_s)
    looking = _look_s() / LOOK_EVERY_S
    return ratio_of([one + looking for one in ratios])


def _to_report(
    pairs: Sequence[ToolPair],
    added: RatioInterval,
    origin: Circumstances,
    others_cores: float | None,
    failure: str | None,
) -> LabReport:
    """Returns the report, which compares two ratios with their limits.

    The first ratio is the time of dermedge divided by the time of LiteRT's tool. The second ratio is the time of the
    measuring loop divided by the time of a bare loop.
    """
    beside = ratio_of([pair.ours_ms / pair.tool_ms for pair in pairs])
    apart, over = beside.verdict(1 - _MAX_APART, 1 + _MAX_APART), added.verdict(0, 1 + _MAX_ADDED)
    ours_ms, tool_ms = (
        float(np.median([getattr(pair, name) for pair in pairs])) for name in ("ours_ms", "tool_ms")
    )
    rows = (
        ("inference / inference of litert-benchmark", *_cells(beside), f"within {_MAX_APART:.0%}", apart),
        ("measuring loop / bare loop", *_cells(added), f"below {1 + _MAX_ADDED:.2f}", over),
    )
    head = ("times", "ratio", "95 % interval", "n", "limit", "limit is")
    title = (
        f"{origin.model}: ratios of times that were measured in turn. Median inference time of {len(pairs)} runs: "
        f"dermedge {ours_ms:.2f} ms, litert-benchmark {tool_ms:.2f} ms."
    )
    noisy = others_cores is not None and others_cores > MAX_OTHERS_CORES
    lines = (
        *([f"ended early: {failure}"] if failure else []),
        *(
            [f"{NOISY}: other processes kept {others_cores:.2f} cores busy; the ratios remain valid"]
            if noisy
            else []
        ),
    )
    values = {
        "pairs": [asdict(pair) for pair in pairs],
        "to_tool": {**asdict(beside), "verdict": apart},
        "measuring_to_bare": {**asdict(added), "verdict": over},
        "others_cores": others_cores,
        "failure": failure,
    }
    return LabReport("official", origin, (TextTable(title, head, rows),), lines, values)


def _ours_ms(model: Path, frames: Frames, num_threads: int) -> float:
    return measure_in_new_process(model, frames, num_threads, RUN_LENGTH).latencies[0].invoke.median


def _bare_s(classifier: Classifier, frames: Frames) -> float:
    started = perf_counter()
    for number in range(_BLOCK_FRAMES):
        classifier.predict(frames[number % len(frames)])
    return perf_counter() - started


def _look_s() -> float:
    taken = []
    for _ in range(_LOOKS):
        started = perf_counter()
        read_conditions()
        taken.append(perf_counter() - started)
    return float(np.median(taken))


def _cells(ratio: RatioInterval) -> tuple[str, ...]:
    return f"{ratio.median:.4f}", f"[{ratio.low:.4f}, {ratio.high:.4f}]", str(ratio.n)
