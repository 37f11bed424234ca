"""The command line of `dermedge data`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.cli.arguments import Parser, examples_epilog, make_parser
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_file, write_text
from dermedge.train.cli.catalogue_options import (
    add_catalogue_options,
    add_labels_option,
    catalogue_arguments,
    print_catalogue,
)
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.catalogue import is_catalogue
from dermedge.train.progress import progress_line

__all__ = ["audit", "catalogue", "main", "parser"]

_PATHS_HELP = (
    "Read photos from these folders. Read labels from these tables and from the tables in the folders."
)
# Example commands that are shown at the end of the help.
_AUDIT_EXAMPLES = (
    "dermedge data audit photos/",
    "dermedge data audit photos/ --html report/ --json audit.json",
)
_CATALOGUE_EXAMPLES = (
    "dermedge data catalogue photos/ --output photos.csv",
    "dermedge data catalogue photos/ labels.csv --output photos.csv",
)


def parser() -> Parser:
    """Returns the parser of `dermedge data`, with the commands `audit` and `catalogue`."""
    made = make_parser(
        "data", "Check and prepare labelled photos before training.", (*_AUDIT_EXAMPLES, *_CATALOGUE_EXAMPLES)
    )
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    _add_audit_command(commands)
    _add_catalogue_command(commands)
    return made


def _add_audit_command(commands: argparse._SubParsersAction[Parser]) -> None:
    audit = commands.add_parser(
        "audit",
        help="Find duplicates, wrong labels, leaks between splits, and damaged files.",
        description="Find duplicates, wrong labels, leaks between splits, and damaged files. No photo is changed.",
        epilog=examples_epilog(_AUDIT_EXAMPLES),
    )
    audit.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=_PATHS_HELP)
    audit.add_argument(
        "--reference",
        type=Path,
        nargs="+",
        default=[],
        metavar="TABLE",
        help="Also compare the labels of the photos with the labels in these tables.",
    )
    add_labels_option(audit)
    audit.add_argument("--json", type=Path, metavar="FILE", help="Write all findings to this file.")
    audit.add_argument(
        "--html",
        type=Path,
        metavar="PAGE",
        help="Write an HTML page that shows the photos of each finding. Give a .html file, or a folder in which "
        "audit.html is written.",
    )


def _add_catalogue_command(commands: argparse._SubParsersAction[Parser]) -> None:
    catalogue = commands.add_parser(
        "catalogue",
        help="Write a table with the label, the group and the split of each photo.",
        description="Write one table with a row for each photo: its path, label, group and split, and what the tables "
        "state about the photo. `dermedge train --data` reads the written table.",
        epilog=examples_epilog(_CATALOGUE_EXAMPLES),
    )
    catalogue.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"{_PATHS_HELP} If one of the tables is an earlier catalogue, its photos and lesions stay in their "
        "splits.",
    )
    catalogue.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="CSV",
        help="Write the table to this .csv file. A .json file of the same name gets the digest of the table and the "
        "counts of the photos.",
    )
    add_catalogue_options(catalogue)
    catalogue.add_argument("--seed", type=int, default=0, help="Set the seed of the split. Default: 0.")


def main(argv: Sequence[str]) -> int:
    """Runs the command `audit` or `catalogue` and returns the exit status."""
    options = parser().parse_args(argv)
    if options.command == "audit":
        return audit(options, shlex.join(["dermedge", "data", *argv]))
    return catalogue(options)


def audit(options: argparse.Namespace, command: str) -> int:
    """Prints the findings, and writes the files of --json and --html."""
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
        progress_line("comparing the photos"),
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
    """Writes the catalogue and its digest, and prints the counts of the photos."""
    about = options.output.with_suffix(".json")
    _check_output(options.output, about)
    made = build_catalogue(
        options.paths,
        seed=options.seed,
        progress=progress_line("reading the photos"),
        say=print,
        **catalogue_arguments(options),
    )
    made.save(options.output)
    write_text(about, made.to_json())
    print_catalogue(made)
    print(f"written: '{options.output}', digest {made.digest[:16]}")
    return 0


def _check_output(table: Path, about: Path) -> None:
    """Raises OptionError if ``table`` is not a .csv file, or if a file of the user would be replaced."""
    if table.suffix != ".csv":
        raise OptionError(f"--output is '{table}'; give a file name that ends in .csv")
    for path in (table, about):
        check_file(path)
    if table.exists() and not is_catalogue(table):
        raise OptionError(
            f"'{table}' exists already, and is not a catalogue; name another file with --output"
        )
    if about.exists() and not table.exists():
        raise OptionError(
            f"'{about}' exists already, and the counts of the photos would replace it; name another file with --output"
        )
