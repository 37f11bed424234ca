"""Measures everything that README.md and docs/ quote about this machine, and rewrites the tables.

    python -m dermedge.benchmarks.lab figures NAME --source photos/     # about half an hour on a quiet machine

`dermedge benchmark` measures the shipped models with and without test-time augmentation. Then these experiments run:
`peers` (other runtimes), `official` (LiteRT's own tool) and `repeat`. If an emulator is installed, `anchors --shipped`
counts the instructions of the models for `dermedge benchmark --estimate`.

If a run of `dermedge benchmark` is not marked good, the experiment ends with an error and replaces no earlier result.
The results are stored in benchmarks/results/NAME. A copy for the table of machines is stored as
benchmarks/results/machines/NAME.json. A result in that folder is removed if one of the shipped models has got another
network since the measurement.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from dermedge.benchmarks.child import ROOT, run_program, with_our_packages
from dermedge.benchmarks.compare import read_results
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.quoted_results import is_shipped
from dermedge.benchmarks.lab.readme import HOW_GOOD, how_good, models_table
from dermedge.benchmarks.status_line import show_status
from dermedge.benchmarks.verdict import GOOD
from dermedge.edge.errors import OptionError, ToolError
from dermedge.edge.model.shipped import SHIPPED

__all__ = ["RESULTS", "check_good", "main"]

RESULTS = ROOT / "benchmarks" / "results"
_MACHINES = "machines"
_BESIDE = ("peers", "official", "repeat")


def main(argv: Sequence[str]) -> int:
    """Measures, stores the results and rewrites the tables; returns the exit status."""
    options = _parse(argv)
    if Path(options.name).name != options.name or options.name == _MACHINES:
        raise OptionError(
            f"'{options.name}' cannot be the name of a machine; give a name without slashes, such as raspberry-pi-5"
        )
    _check_documents()
    with TemporaryDirectory(prefix="dermedge-") as made:
        folder = Path(made)
        for name, extra in (("results", ()), ("tta", ("--tta",))):
            show_status(f"dermedge benchmark {' '.join(extra)}")
            _run(
                "dermedge",
                "benchmark",
                *SHIPPED,
                "--source",
                options.source,
                *extra,
                "--output",
                folder / name,
            )
            check_good(folder / name / "results.json")
        for name in _BESIDE:
            show_status(name)
            _run("dermedge.benchmarks.lab", name, "--source", options.source, "--output", folder / "results")
        _keep(folder, options.name)
    _remove_outdated()
    _count_instructions()
    _run("dermedge.benchmarks.lab", "readme")
    print(
        f"wrote {RESULTS / options.name}, {RESULTS / 'tta'} and the tables of README.md and docs/how-good.md"
    )
    return 0


def _check_documents() -> None:
    """Checks that the tables can be written. The measurement takes half an hour, so this check comes first.

    Raises:
        DermedgeError: a table cannot be written.
    """
    models_table()
    how_good(HOW_GOOD.read_text(encoding="utf-8"))


def _remove_outdated() -> None:
    """Removes the result of a machine if a shipped model had another network when the machine measured it."""
    for path in sorted((RESULTS / _MACHINES).glob("*.json")):
        rows = [row for row in read_results(path)["rows"] if row["model"] in SHIPPED]
        if not all(is_shipped(row["model"], row["sha256"]) for row in rows):
            path.unlink()
            print(f"removed {path}, because it is the result of a network that no longer ships")


def _count_instructions() -> None:
    show_status("counting instructions")
    try:
        _run("dermedge.benchmarks.lab", "anchors", "--shipped")
    except ToolError as error:
        print(
            "the earlier instruction counts for `dermedge benchmark --estimate` are kept, because the instructions "
            f"were not counted: {error}",
            file=sys.stderr,
        )


def check_good(path: Path) -> None:
    """Checks that nothing disturbed a run.

    Args:
        path: a results.json of `dermedge benchmark`.

    Raises:
        ToolError: a row is not marked good.
    """
    results = read_results(path)
    marks = {row["model"]: row["mark"] for row in results["rows"] if row["mark"] != GOOD}
    if marks:
        reasons = "; ".join(results["faults"]) or json.dumps(marks)
        raise ToolError(
            f"the run is not marked good ({reasons}); no result was replaced. Close other programs, and run this again"
        )


def _keep(made: Path, name: str) -> None:
    """Moves the new results into the repository once all of them exist."""
    shutil.copytree(made / "results", RESULTS / name, dirs_exist_ok=True)
    shutil.copytree(made / "tta", RESULTS / "tta", dirs_exist_ok=True)
    shutil.copyfile(made / "results" / "results.json", RESULTS / _MACHINES / f"{name}.json")


def _run(module: str, *arguments: str | Path) -> None:
    words = list(map(str, arguments))
    run_program([sys.executable, "-m", module, *words], f"'{words[0]}'", environment=with_our_packages())


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "figures",
        "Measure everything that README.md and docs/ quote about this machine, and rewrite the tables.",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="store the results under this machine name, such as raspberry-pi-5",
    )
    parser.add_argument(
        "--source",
        required=True,
        help="measure on frames of this source: a photo, a folder of photos, a video, a camera, or demo for generated "
        "frames",
    )
    return parser.parse_args(argv)
