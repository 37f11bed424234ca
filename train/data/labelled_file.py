"""A photo with the facts from folders and tables, before it has a class, a group and a split."""

from __future__ import annotations

from dataclasses import dataclass

from dermedge.train.data.catalogue import Photo

__all__ = ["NOWHERE", "ON_FOLDER", "ON_TABLE", "LabelledFile"]

# The origins of a label.
NOWHERE, ON_FOLDER, ON_TABLE = "", "folder", "table"


@dataclass(frozen=True)
class LabelledFile:
    """A photo and its facts. An unknown fact is an empty string.

    Attributes:
        photo: the photo, still without class and split; its ``group`` is its own name.
        name: where it lies below the folder that was given, with that folder's name: ``set/cat/1.jpg``.
        links: the names of lesions, persons, folders and photos that it shares with others.
        part: train, val or test, as a table or its folder states.
        folder: the class that its folder states.
        group_folder: the folder whose photos belong together.
        reference: the diagnosis that a table states.
        in_table: whether a table with diagnoses has a row for it.
        undecided: whether tables state diagnoses with equal right that exclude one another.
        origin: where the label of ``photo`` is from.
    """

    photo: Photo
    name: str
    links: tuple[str, ...]
    part: str
    folder: str
    group_folder: str
    reference: str
    in_table: bool
    undecided: bool
    origin: str
