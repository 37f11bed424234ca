"""`dermedge doctor`: checks the installation, and whether a model gives the same answers as when it was converted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.doctor import FAULT, Finding, examine
from dermedge.edge.model.runtime import RUNTIMES
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path, require_model_file
from dermedge.edge.printable import printable

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the result of each check. The exit status is 1 if a check found a fault, and 0 otherwise."""
    options = parser().parse_args(argv)
    require_model_file(options.model)
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
    """Returns a finding as one line of text, in which the name of the check is padded to ``width`` characters."""
    cure = f"; cure: {finding.cure}" if finding.cure else ""
    # a camera names itself, and the name may contain control codes
    return printable(f"{finding.status:<7}  {finding.check:<{width}}  {finding.text}{cure}")


def parser() -> Parser:
    """Returns the options of `dermedge doctor`."""
    made = make_parser(
        "doctor",
        "Check the installation and the cameras. Check with the golden test that a model computes the same outputs on "
        "this machine as at its conversion.",
        ("dermedge doctor", "dermedge doctor --model mine.tflite", "dermedge doctor --json"),
    )
    made.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help="run the golden test for this .tflite file, or for one of the models that ship with dermedge: "
        f"{', '.join(SHIPPED)}. The golden test compares the outputs on this machine with those that the file stores",
    )
    made.add_argument(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="run the golden test with this TFLite runtime; auto: litert if it is installed, otherwise tflite-runtime",
    )
    made.add_argument("--json", action="store_true", help="print the results as one JSON object")
    return made
