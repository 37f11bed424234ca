"""Adds the options for reading labelled photos to several commands, and prints a summary of the photos."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from typing import Any

from dermedge.edge.cli.arguments import OptionGroup, Parser
from dermedge.edge.printable import printable
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
    "Learn these classes. Separate the names by commas, and write a name that contains a comma in double quotes. "
    "Photos of other classes become 'none of these'. With 'all', every label is a class. Default: the four lesion "
    "classes of dermedge if the photos show all four. Otherwise, every diagnosis of the photos is a class. "
    "`dermedge train` uses the classes of the first run in --weights or --teacher, if there is one."
)


def add_catalogue_options(parser: Parser) -> None:
    """Adds the options for classes, groups and splits."""
    parser.add_argument("--classes", metavar="NAMES", help=_CLASSES_HELP)
    add_labels_option(parser)
    parser.add_argument(
        "--groups-from",
        choices=GROUP_SOURCES,
        default="auto",
        help="Choose which photos form a group. All photos of a group stay in the same split. Copies of a photo always "
        "form a group. table: all photos with the same lesion or person in a table form a group, too. auto: as with "
        "table, and all photos in one subfolder of a class folder or in the folder of one person form a group, too. "
        "Default: auto.",
    )
    parser.add_argument(
        "--keep-parts",
        action="store_true",
        help="Use the split (train, val or test) that a folder or a split column states for each photo. If there is "
        "no val or no test split, some train photos are moved into the missing split. If one lesion has photos in "
        "several splits, only its photos in test are kept; if it has none in test, only its photos in val.",
    )


def add_labels_option(parser: OptionGroup) -> None:
    """Adds the option --labels-from, which chooses where labels come from."""
    parser.add_argument(
        "--labels-from",
        choices=LABEL_SOURCES,
        default="auto",
        help="Choose where labels come from. auto: from tables, and from folders for photos without a label in a "
        "table; table: only from tables; folder: from the first folder below the folder of the dataset; parent: from "
        "the folder that directly contains the photo. Default: auto.",
    )


def catalogue_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the values of the options of `add_catalogue_options` as keyword arguments of `build_catalogue`."""
    return {
        "classes": class_names(options.classes),
        "labels_from": options.labels_from,
        "groups_from": options.groups_from,
        "keep_parts": options.keep_parts,
    }


def class_names(text: str | None) -> list[str] | None:
    """Returns the class names in the value of --classes, or None if the option was not given."""
    if not text:
        return None
    names = next(csv.reader([text], skipinitialspace=True))
    return [name.strip() for name in names if name.strip()]


def print_catalogue(catalogue: Catalogue) -> None:
    """Prints the number of photos of each class in each split, and how many photos were left out for which reason."""
    counts = Counter((photo.label, photo.split) for photo in catalogue.photos)
    splits = ("train", "val", "test")
    rows = [(name, *(str(counts[name, split]) for split in splits)) for name in catalogue.classes]
    left_out = [f"left out: {count} ({why})" for why, count in catalogue.left_out.items()]
    for line in (*aligned_lines([("photos", *splits), *rows]), *left_out):
        print(printable(line))
