"""`dermedge phone`: the classifier as a web app for phones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge.arguments import Parser, make_parser
from edge.phone.build import build_app
from edge.shipped import DEFAULT_MODEL, SHIPPED, model_path

BYTES_PER_MB = 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the app."""
    options = _parser().parse_args(argv)
    build = build_app(options.model, options.folder)
    print(
        f"wrote {build.folder}: {len(build.files)} files, {build.bytes / BYTES_PER_MB:.1f} MB, "
        f"model {build.model_sha256[:16]}"
    )
    print(f"put it on any web server that has HTTPS, or: dermedge phone serve {build.folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("phone", "The classifier as a web app for phones, which works without a network.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    build = commands.add_parser("build", help="write the app into a new folder", allow_abbrev=False)
    build.add_argument("folder", type=Path, metavar="OUT", help="the new folder")
    build.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"an int8 .tflite of `dermedge convert`, or one that ships: {', '.join(SHIPPED)}",
    )
    return parser
