"""What `peers`, `official` and `repeat` share: their options, and one sheet as text, Markdown and JSON."""

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
from dermedge.edge.errors import ModelError
from dermedge.edge.files import check_writable, write_text
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path
from dermedge.edge.text_table import TABLE_WIDTH, TextTable

__all__ = ["Circumstances", "LabReport", "check_options", "circumstances_of", "deliver", "report_parser"]


@dataclass(frozen=True)
class Circumstances:
    """What any sheet's figures hold for.

    Attributes:
        created: date and time, UTC, ISO 8601.
        command: the command line.
        machine: on which.
        model: the file's name.
        sha256: of the file.
        num_threads: of the interpreter.
        frames: what was shown.
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
    """Tables, and what is to be said of them, a line each.

    Attributes:
        name: of its files, without suffix.
        values: all figures, for JSON; None is "not measured".
    """

    name: str
    origin: Circumstances
    tables: tuple[TextTable, ...]
    lines: tuple[str, ...]
    values: dict[str, Any]

    def to_text(self) -> str:
        """For a terminal of TABLE_WIDTH columns."""
        lines = (textwrap.fill(line, TABLE_WIDTH, subsequent_indent="  ") for line in self._all_lines())
        return "\n\n".join([*(table.to_text() for table in self.tables), "\n".join(lines)])

    def to_markdown(self) -> str:
        """As a page."""
        lines = "\n".join(f"- {line}" for line in (*self._all_lines(), f"command: `{self.origin.command}`"))
        title = f"# dermedge benchmark: {self.name}, {self.origin.created[:10]}"
        return "\n\n".join([title, *(table.to_markdown() for table in self.tables), lines]) + "\n"

    def to_json(self) -> str:
        """All values under a versioned schema."""
        head = {"schema": f"dermedge-{self.name}/1", "disclaimer": DISCLAIMER}
        return json.dumps({**head, **asdict(self.origin), **self.values}, indent=1, allow_nan=False) + "\n"

    def _all_lines(self) -> list[str]:
        origin = self.origin
        frames = f"frames: {origin.frames}"
        return [*self.lines, hardware(origin.machine), software(origin.machine), frames, DISCLAIMER]


def report_parser(module: str, description: str) -> Parser:
    """A parser for ``python -m benchmarks.MODULE [MODEL]`` with the options that all sheets have."""
    parser = experiment_parser(module, description)
    parser.add_argument(
        "model",
        nargs="?",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"a .tflite file, or one that ships: {', '.join(SHIPPED)}",
    )
    parser.add_argument("--source", help=f"what to show: a picture, folder, video, camera, or {GENERATED}")
    parser.add_argument("--num-threads", type=positive_int, default=1, help="threads of the interpreter")
    parser.add_argument("--output", type=Path, help=f"a folder for {module}.json and {module}.md")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def check_options(arguments: argparse.Namespace) -> None:
    """Raises DermedgeError for what would otherwise be found after minutes of measuring."""
    if not arguments.model.is_file():
        raise ModelError(f"there is no model file '{arguments.model}'")
    if arguments.output:
        check_writable(arguments.output)


def circumstances_of(arguments: argparse.Namespace, command: str, frames: str) -> Circumstances:
    """The circumstances of a run with the options of `report_parser`; ``frames`` in words."""
    return Circumstances(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine=describe_machine(choose_runtime()),
        model=arguments.model.name,
        sha256=digest(arguments.model),
        num_threads=arguments.num_threads,
        frames=frames,
    )


def deliver(sheet: LabReport, arguments: argparse.Namespace) -> None:
    """Writes NAME.json and NAME.md into --output, and prints what --json says; raises StorageError."""
    clear_status()
    try:
        if arguments.output:
            write_text(arguments.output / f"{sheet.name}.json", sheet.to_json())
            write_text(arguments.output / f"{sheet.name}.md", sheet.to_markdown())
    finally:  # what took minutes is shown, even where it cannot be written
        print(sheet.to_json() if arguments.json else sheet.to_text())
