"""Writes the table of the shipped models in README.md, and the tables of latencies in docs/how-good.md.

The accuracy is from the evaluations of the model card. The latency is from benchmarks/results/machines, which holds one
result per machine. To add a machine:

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
from dermedge.benchmarks.lab.card import COMMON_LESIONS, FIVE_CLASSES, KEY_CLASSES
from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.evaluation_tables import read_evaluation
from dermedge.benchmarks.lab.generated_sections import replace_section
from dermedge.benchmarks.lab.quoted_results import estimates_table, manifest_of, runtimes_section
from dermedge.benchmarks.verdict import GOOD
from dermedge.edge.errors import DataError
from dermedge.edge.files import write_text
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.text_table import NOT_MEASURED, TextTable, measured

__all__ = ["COMMAND", "HOW_GOOD", "README", "how_good", "machines_table", "main", "models_table"]

README = ROOT / "README.md"
HOW_GOOD = ROOT / "docs" / "how-good.md"
COMMAND = command_line("readme", [])
_MACHINES = ROOT / "benchmarks" / "results" / "machines"
_BYTES_PER_MB = 1e6
# The key is the title of a column. The value is the name of the metric in `dermedge.train.evaluation.figures.FIGURES`.
_FIGURES = {
    "balanced accuracy, 4 classes": "balanced_accuracy_named",
    "melanoma AUROC": "critical_auroc_all",
    "melanoma alert: sensitivity": "alert_sensitivity",
    "specificity": "alert_specificity",
}
_ELSEWHERE = "balanced accuracy, 4 classes, MILK10k and PAD-UFES-20"
_MODELS_HEAD = ("model", "classes", "input", *_FIGURES, _ELSEWHERE, "size", "time per frame", "licence")
_MACHINES_HEAD = (
    "machine",
    "model",
    "threads",
    "median ms",
    "95 % interval",
    "p99",
    "inference",
    "peak MB",
    "run",
)


def models_table(machines: Path = _MACHINES) -> str:
    """Returns the table of the shipped models in Markdown: accuracy, size, latency and licence.

    Args:
        machines: the folder with one result of the benchmark per machine.

    Raises:
        DataError: a result of the benchmark cannot be read, or a model was not evaluated.
    """
    five, nine, common = map(read_evaluation, (FIVE_CLASSES, KEY_CLASSES, COMMON_LESIONS))
    own, elsewhere = _figures_by_model(five, nine), _figures_by_model(common)
    times, machine = _quoted_run(machines)
    rows = tuple(
        (
            name,
            str(len(manifest_of(path).labels)),
            f"{manifest_of(path).input_size} px",
            *(_share(own[name][figure]) for figure in _FIGURES.values()),
            _share(elsewhere[name]["balanced_accuracy_named"]),
            f"{path.stat().st_size / _BYTES_PER_MB:.2f} MB",
            times.get(name, NOT_MEASURED),
            manifest_of(path).licence or NOT_MEASURED,
        )
        for name, path in SHIPPED.items()
    )
    title = (
        "Measured on photos of lesions that were not used for training, with 95 % confidence intervals. The models of "
        f"five classes have a test split of {five['photos']:,} photos, and those of nine classes have one of "
        f"{nine['photos']:,}. The {common['photos']:,} photos of MILK10k and PAD-UFES-20 are the same for all models. "
        f"The time is the median latency from frame to decision on one thread ({machine})."
    )
    return TextTable(title, _MODELS_HEAD, rows).to_markdown()


def _figures_by_model(*evaluations: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the figures of each model from several evaluations. The keys are the names of the models.

    Raises:
        DataError: a shipped model is in none of the evaluations.
    """
    figures = {model["name"]: model["figures"] for one in evaluations for model in one["models"]}
    if unknown := [name for name in SHIPPED if name not in figures]:
        raise DataError(
            f"no evaluation of the model card contains {', '.join(unknown)}; evaluate these models with "
            "`dermedge evaluate --output`"
        )
    return figures


def machines_table(folder: Path = _MACHINES) -> str:
    """Returns the table of the latencies on all machines in Markdown, ordered by the names of the files.

    Args:
        folder: the folder with one result of the benchmark per machine.

    Raises:
        DataError: a file is not a result of the benchmark.
    """
    results = [read_results(path) for path in sorted(folder.glob("*.json"))]
    rows = tuple(_machine_cells(one, row) for one in results for row in one["rows"])
    title = (
        "Latency from frame to decision on frames of 640x480 pixels. The models were measured alternately."
    )
    return TextTable(title, _MACHINES_HEAD, rows).to_markdown()


def main(argv: Sequence[str]) -> int:
    """Writes the tables into README.md and docs/how-good.md; returns the exit status."""
    experiment_parser(
        "readme", "Write the tables of models and latencies in README.md and docs/how-good.md."
    ).parse_args(argv)
    write_text(README, replace_section(README.read_text(encoding="utf-8"), COMMAND, models_table()))
    write_text(HOW_GOOD, how_good(HOW_GOOD.read_text(encoding="utf-8")))
    return 0


def how_good(document: str) -> str:
    """Returns the text of docs/how-good.md with new generated sections. ``document`` is the old text."""
    sections = {"": machines_table(), ": estimates": estimates_table(), ": runtimes": runtimes_section()}
    for name, text in sections.items():
        document = replace_section(document, COMMAND + name, text)
    return document


def _quoted_run(folder: Path) -> tuple[dict[str, str], str]:
    """Returns the times of the newest run that measured all shipped models on one thread. A good run is preferred.

    Returns:
        The median latency of each shipped model with its interval; and a text that names the machine.
    """
    runs = []
    for results in map(read_results, sorted(folder.glob("*.json"))):
        rows = _on_one_thread(results["rows"])
        if SHIPPED.keys() <= rows.keys():
            marks = sorted({rows[name]["mark"] for name in SHIPPED} - {GOOD})
            runs.append((not marks, str(results["created"]), marks, results["machine"], rows))
    if not runs:
        return {}, "no run has measured all models yet"
    _, _, marks, machine, rows = max(runs, key=lambda one: one[:2])
    note = f"; the run is marked {' and '.join(marks)}" if marks else ""
    times = {name: _time(rows[name]["latency"]["total"]) for name in SHIPPED}
    return times, f"{_machine_name(machine)}{note}"


def _on_one_thread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in rows if row["num_threads"] == 1}


def _time(total: dict[str, float]) -> str:
    return f"{total['median']:.2f} [{total['low']:.2f}, {total['high']:.2f}] ms"


def _share(score: dict[str, float] | None) -> str:
    return f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]" if score else NOT_MEASURED


def _machine_name(machine: dict[str, Any]) -> str:
    return machine["model"] if "Raspberry" in (machine["model"] or "") else machine["cpu"]


def _machine_cells(results: dict[str, Any], row: dict[str, Any]) -> tuple[str, ...]:
    machine, total = results["machine"], row["latency"]["total"]
    return (
        f"{_machine_name(machine)}, {machine['runtime']}, {results['created'][:10]}",
        row["model"],
        str(row["num_threads"]),
        f"{total['median']:.2f}",
        f"{total['low']:.2f} to {total['high']:.2f}",
        f"{total['p99']:.2f}",
        f"{row['latency']['invoke']['median']:.2f}",
        measured(row["start"]["peak_mb"], ".0f"),
        row["mark"],
    )
