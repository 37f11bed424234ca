"""The options by which `dermedge data` and `dermedge train` read labelled photos, and the summary of the photos."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from typing import Any

from dermedge.edge.cli.arguments import OptionGroup, Parser
from dermedge.edge.text_table import aligned_lines
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.data.labelling import GROUP_SOURCES
from dermedge.train.data.layout import LABEL_SOURCES

__all__ = [
    "add_catalogue_options",
    "add_labels_option",
    "catalogue_arguments",
    "class_names",
    "print_catalogue",
]

_CLASSES_HELP = (
    "Learn these classes: names separated by commas; a name with a comma stands in double quotes. All other "
    "photos become 'none of these'. With 'all', every label is a class."
)


def add_catalogue_options(parser: Parser) -> None:
    """Adds the options for classes, groups and splits."""
    parser.add_argument("--classes", metavar="NAMES", help=_CLASSES_HELP)
    add_labels_option(parser)
    parser.add_argument(
        "--groups-from",
        choices=GROUP_SOURCES,
        default="auto",
        help="Keep photos together that share a lesion, a person, or a folder below the folder of their class "
        "(auto), or let splits cut these folders (table). Default: auto.",
    )
    parser.add_argument(
        "--keep-parts",
        action="store_true",
        help="Keep the train, val and test parts that folders or a split column state. A missing part is taken "
        "from train. Photos of train whose lesion is also in another part are left out.",
    )


def add_labels_option(parser: OptionGroup) -> None:
    """Adds the option that says where labels come from."""
    parser.add_argument(
        "--labels-from",
        choices=LABEL_SOURCES,
        default="auto",
        help="Take labels from tables, and from folders for photos that no table labels (auto); from tables "
        "only (table); from the first folder below the set (folder); or from the folder that holds the photo "
        "(parent). Default: auto.",
    )


def catalogue_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the keyword arguments of `build_catalogue` that these options decide."""
    return {
        "classes": class_names(options.classes),
        "labels_from": options.labels_from,
        "groups_from": options.groups_from,
        "keep_parts": options.keep_parts,
    }


def class_names(text: str | None) -> list[str] | None:
    """Returns the names of --classes, or None without it."""
    if not text:
        return None
    names = next(csv.reader([text], skipinitialspace=True))
    return [name.strip() for name in names if name.strip()]


def print_catalogue(catalogue: Catalogue) -> None:
    """Prints the photos by class and split, and what was left out."""
    counts = Counter((photo.label, photo.split) for photo in catalogue.photos)
    splits = ("train", "val", "test")
    rows = [(name, *(str(counts[name, split]) for split in splits)) for name in catalogue.classes]
    print("\n".join(aligned_lines([("photos", *splits), *rows])))
    for why, count in catalogue.left_out.items():
        print(f"left out: {count} ({why})")
