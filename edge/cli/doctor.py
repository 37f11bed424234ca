"""`dermedge doctor`: checks the installation, and whether a model gives the answers that its file holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.doctor import FAULT, Finding, examine
from dermedge.edge.errors import ModelError
from dermedge.edge.model.runtime import RUNTIMES
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line for each check; the exit status is 1 if a check found a fault."""
    options = parser().parse_args(argv)
    if not options.model.is_file():
        raise ModelError(f"there is no model file '{options.model}'")
    findings = examine(options.model, options.runtime)
    if options.json:
        print(
            json.dumps({"model": str(options.model), "findings": [asdict(one) for one in findings]}, indent=1)
        )
    else:
        width = max(len(one.check) for one in findings)
        for one in findings:
            print(_line(one, width))
    return 1 if any(one.status == FAULT for one in findings) else 0


def _line(finding: Finding, width: int) -> str:
    """Returns a finding as a line of text, with the name of its check padded to ``width``."""
    cure = f"; cure: {finding.cure}" if finding.cure else ""
    return f"{finding.status:<7}  {finding.check:<{width}}  {finding.text}{cure}"


def parser() -> Parser:
    """Returns the options of `dermedge doctor`."""
    made = make_parser("doctor", "Check the installation, and a model by its golden test.")
    made.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"repeat the golden test of this .tflite file, or of one that ships: {', '.join(SHIPPED)}",
    )
    made.add_argument(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="check this TFLite runtime; auto takes the first that is installed",
    )
    made.add_argument("--json", action="store_true", help="print one JSON object, for a program")
    return made
