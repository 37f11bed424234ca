"""Writes README.md's table of latencies from benchmarks/results/machines, which has one result per machine.

dermedge benchmark MODEL… --source photos/ --output DIR
cp DIR/results.json benchmarks/results/machines/NAME.json
python -m dermedge.benchmarks.lab readme
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.compare import read_results
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.generated_sections import replace_section
from dermedge.edge.files import write_text
from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = ["COMMAND", "README", "main", "table"]

README = ROOT / "README.md"
_MACHINES = ROOT / "benchmarks" / "results" / "machines"
COMMAND = command_line("readme", [])
_HEAD = ("machine", "model", "threads", "median ms", "95 % interval", "p99", "inference", "peak MB", "run")


def table(folder: Path = _MACHINES) -> str:
    """The table of all machines in Markdown, in the order of their files' names.

    Raises:
        DataError: a file is not a result of the benchmark.
    """
    results = [read_results(path) for path in sorted(folder.glob("*.json"))]
    rows = tuple(_cells(one, row) for one in results for row in one["rows"])
    title = "Frame to decision, end to end, on a 640x480 frame; models in turn."
    return TextTable(title, _HEAD, rows).to_markdown()


def main(argv: Sequence[str]) -> int:
    """Writes the table; returns the exit status."""
    experiment_parser(
        "readme", "Write the table of latencies in README.md, from one result per machine."
    ).parse_args(argv)
    write_text(README, replace_section(README.read_text(encoding="utf-8"), COMMAND, table()))
    return 0


def _cells(results: dict[str, Any], row: dict[str, Any]) -> tuple[str, ...]:
    machine, total = results["machine"], row["latency"]["total"]
    name = machine["model"] if "Raspberry" in (machine["model"] or "") else machine["cpu"]
    peak_mb = row["start"]["peak_mb"]
    return (
        f"{name}, {machine['runtime']}, {results['created'][:10]}",
        row["model"],
        str(row["num_threads"]),
        f"{total['median']:.2f}",
        f"{total['low']:.2f} to {total['high']:.2f}",
        f"{total['p99']:.2f}",
        f"{row['latency']['invoke']['median']:.2f}",
        NOT_MEASURED if peak_mb is None else f"{peak_mb:.0f}",
        row["mark"],
    )
