"""Provides the options and the report that the experiments `peers`, `official` and `repeat` share."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dermedge import DISCLAIMER
from dermedge.benchmarks.frames import GENERATED
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.machine import Machine, describe_machine
from dermedge.benchmarks.report import hardware, software
from dermedge.benchmarks.status_line import clear_status
from dermedge.edge.cli.arguments import Parser, positive_int
from dermedge.edge.files import check_writable, write_text
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path, require_model_file
from dermedge.edge.text_table import TABLE_WIDTH, TextTable

__all__ = ["Circumstances", "LabReport", "check_options", "circumstances_of", "deliver", "report_parser"]


@dataclass(frozen=True)
class Circumstances:
    """Describes how a measurement was made: when, on which machine, and with which model, settings and frames.

    Attributes:
        created: date and time, UTC, ISO 8601.
        command: the command line.
        machine: the machine that the measurement ran on.
        model: name of the model file.
        sha256: SHA-256 digest of the model file.
        num_threads: number of threads of the interpreter.
        frames: description of the frames.
    """

    created: str
    command: str
    machine: Machine
    model: str
    sha256: str
    num_threads: int
    frames: str


@dataclass(frozen=True)
class LabReport:
    """The result of an experiment: tables, notes and values.

    Attributes:
        name: name of the experiment. The files of the report have this name and a suffix.
        origin: how the measurement was made.
        tables: the tables.
        lines: the notes, one line each.
        values: all measured values for the JSON file; None means "not measured".
    """

    name: str
    origin: Circumstances
    tables: tuple[TextTable, ...]
    lines: tuple[str, ...]
    values: dict[str, Any]

    def to_text(self) -> str:
        """Returns the report for a terminal of TABLE_WIDTH columns."""
        lines = (textwrap.fill(line, TABLE_WIDTH, subsequent_indent="  ") for line in self._all_lines())
        return "\n\n".join([*(table.to_text() for table in self.tables), "\n".join(lines)])

    def to_markdown(self) -> str:
        """Returns the report in Markdown."""
        lines = "\n".join(f"- {line}" for line in (*self._all_lines(), f"command: `{self.origin.command}`"))
        title = f"# dermedge benchmark: {self.name}, {self.origin.created[:10]}"
        return "\n\n".join([title, *(table.to_markdown() for table in self.tables), lines]) + "\n"

    def to_json(self) -> str:
        """Returns all values as JSON with a versioned schema."""
        head = {"schema": f"dermedge-{self.name}/1", "disclaimer": DISCLAIMER}
        return json.dumps({**head, **asdict(self.origin), **self.values}, indent=1, allow_nan=False) + "\n"

    def _all_lines(self) -> list[str]:
        origin = self.origin
        frames = f"frames: {origin.frames}"
        return [*self.lines, hardware(origin.machine), software(origin.machine), frames, DISCLAIMER]


def report_parser(name: str, description: str) -> Parser:
    """Returns a parser for an experiment that measures a model, with the shared options."""
    parser = experiment_parser(name, description)
    parser.add_argument(
        "model",
        nargs="?",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"measure this .tflite file or shipped model. The shipped models are {', '.join(SHIPPED)}",
    )
    parser.add_argument(
        "--source",
        help="measure on frames of this source: a photo, a folder of photos, a video, a camera, or "
        f"{GENERATED} for generated frames",
    )
    parser.add_argument(
        "--num-threads", type=positive_int, default=1, help="run the model with this many threads"
    )
    parser.add_argument("--output", type=Path, help=f"write {name}.json and {name}.md into this folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def check_options(arguments: argparse.Namespace) -> None:
    """Checks the options before anything is measured.

    Raises:
        DermedgeError: the model file does not exist, or the results cannot be written.
    """
    require_model_file(arguments.model)
    if arguments.output:
        check_writable(arguments.output)


def circumstances_of(arguments: argparse.Namespace, command: str, frames: str) -> Circumstances:
    """Describes how a measurement is made.

    Args:
        arguments: the parsed options of `report_parser`.
        command: the command line.
        frames: description of the frames.
    """
    return Circumstances(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine=describe_machine(choose_runtime()),
        model=arguments.model.name,
        sha256=digest(arguments.model),
        num_threads=arguments.num_threads,
        frames=frames,
    )


def deliver(report: LabReport, arguments: argparse.Namespace) -> None:
    """Prints a report, and writes NAME.json and NAME.md into the folder of --output.

    Raises:
        StorageError: a file cannot be written.
    """
    clear_status()
    try:
        if arguments.output:
            write_text(arguments.output / f"{report.name}.json", report.to_json())
            write_text(arguments.output / f"{report.name}.md", report.to_markdown())
    finally:  # the measurement took minutes, so the results are printed even if writing them fails
        print(report.to_json() if arguments.json else report.to_text())
