"""The command line of `dermedge data`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_file, write_text
from dermedge.train.cli.catalogue_options import (
    add_catalogue_options,
    add_labels_option,
    catalogue_arguments,
    print_catalogue,
)
from dermedge.train.data.build import build_catalogue
from dermedge.train.progress import progress_line

__all__ = ["audit", "catalogue", "main", "parser"]

_PATHS_HELP = "Read photos from these folders, and labels from these tables and those in the folders."


def parser() -> Parser:
    """Returns the options of the verb and of its two commands."""
    made = make_parser("data", "Look at labelled photos before anything is learned from them.")
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    audit = commands.add_parser(
        "audit",
        help="Find duplicates, wrong labels, leaks between splits, and damaged files.",
        allow_abbrev=False,
    )
    audit.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=_PATHS_HELP)
    audit.add_argument(
        "--reference",
        type=Path,
        nargs="+",
        default=[],
        metavar="TABLE",
        help="Compare the labels with these tables too.",
    )
    add_labels_option(audit)
    audit.add_argument("--json", type=Path, metavar="FILE", help="Write all findings to this file.")
    audit.add_argument(
        "--html",
        type=Path,
        metavar="PAGE",
        help="Write a page with the photos of each finding: a .html file, or a folder for audit.html.",
    )
    _add_catalogue_command(commands)
    return made


def _add_catalogue_command(commands: argparse._SubParsersAction[Parser]) -> None:
    catalogue = commands.add_parser(
        "catalogue", help="Label, group and split photos into one table.", allow_abbrev=False
    )
    catalogue.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"{_PATHS_HELP} An earlier catalogue keeps the splits of its photos and lesions.",
    )
    catalogue.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="CSV",
        help="Write the table to this .csv file, and its digest and counts to the .json file beside it.",
    )
    add_catalogue_options(catalogue)
    catalogue.add_argument("--seed", type=int, default=0, help="Set the seed of the split. Default: 0.")


def main(argv: Sequence[str]) -> int:
    """Audits or catalogues photos and prints what is found."""
    options = parser().parse_args(argv)
    if options.command == "audit":
        return audit(options, shlex.join(["dermedge", "data", *argv]))
    return catalogue(options)


def audit(options: argparse.Namespace, command: str) -> int:
    """Prints the findings, and writes the files that were asked for."""
    from dermedge.train.data.audit.report import to_html, to_json, to_text
    from dermedge.train.data.audit.run import run_audit

    page = options.html
    if page and page.suffix.lower() not in (".html", ".htm"):
        page = page / "audit.html"
    for target in filter(None, (options.json, page)):
        check_file(target)
    found = run_audit(
        options.paths,
        options.reference,
        progress_line("reading the photos"),
        progress_line("comparing them"),
        options.labels_from,
        print,
    )
    contents = {options.json: to_json(found, command)} if options.json else {}
    if page:
        contents[page] = to_html(found, command)
    print(to_text(found))
    for path, content in contents.items():
        write_text(path, content)
        print(f"written: '{path}'")
    return 0


def catalogue(options: argparse.Namespace) -> int:
    """Writes the table and its digest, and prints the counts."""
    if options.output.suffix != ".csv":
        raise OptionError(f"--output is '{options.output}'; its name must end in .csv")
    check_file(options.output)
    made = build_catalogue(
        options.paths,
        seed=options.seed,
        progress=progress_line("reading the photos"),
        say=print,
        **catalogue_arguments(options),
    )
    made.save(options.output)
    write_text(options.output.with_suffix(".json"), made.to_json())
    print_catalogue(made)
    print(f"written: '{options.output}', digest {made.digest[:16]}")
    return 0
