"""A photo with the information from folders and tables, before the photo gets a class, a group and a split."""

from __future__ import annotations

from dataclasses import dataclass

from dermedge.train.data.catalogue import Photo

__all__ = ["NOWHERE", "ON_FOLDER", "ON_TABLE", "LabelledFile"]

# The places from which the label of a photo can come.
NOWHERE, ON_FOLDER, ON_TABLE = "", "folder", "table"


@dataclass(frozen=True)
class LabelledFile:
    """A photo, and what folders and tables state about the photo. An unknown value is an empty string.

    Attributes:
        photo: the photo, whose class and split are still empty. ``group`` is the id of the lesion or, if the lesion is
            unknown, the id of the photo.
        name: path that begins with the name of the given folder, such as ``set/cat/1.jpg``.
        links: names of lesions, persons, folders and photos. Photos that share such a name are in one group.
        part: the part that a table or a folder states: train, val or test.
        folder: the class that the name of a folder states.
        group_folder: the folder of a lesion or person that the photo is in.
        reference: the diagnosis that a table states.
        in_table: whether a table of diagnoses has a row for the photo.
        undecided: whether tables of the same rank state diagnoses that exclude each other, so that none is preferred.
        origin: where the label of ``photo`` is from: `ON_TABLE`, `ON_FOLDER` or `NOWHERE`.
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
