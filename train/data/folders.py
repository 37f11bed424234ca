"""Where photos lie below the folders that a person gives, and what that says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.edge.errors import DataError
from dermedge.edge.photos import find_pictures

# The names of folders that hold one part of a set -> the part.
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Folders whose names say nothing of the photos in them.
PLAIN_FOLDERS = ("images", "image", "photos", "data", *PARTS)


@dataclass(frozen=True)
class Place:
    """One picture file and what its place says.

    Attributes:
        path: of the file.
        name: where it lies below the folder that was given, with that folder's name: ``set/cat/1.jpg``.
        source: the set: the folder below the given one, or the given one if that holds the classes.
        folder: the name of its class folder, or None if the folder's name is no class.
        part: train, val or test, where a folder on the way says so.
    """

    path: Path
    name: str
    source: str
    folder: str | None
    part: str | None


def find_places(paths: Sequence[Path]) -> tuple[list[Place], list[Path]]:
    """All pictures below ``paths``, each once, and all files that may be tables.

    Raises:
        DataError: a path does not exist, or there is no picture.
    """
    places: dict[str, Place] = {}
    tables: list[Path] = []
    for root in paths:
        if not root.exists():
            raise DataError(f"there is no '{root}'")
        if root.is_dir():
            tables += sorted(root.rglob("*.csv"))
            for path in find_pictures(root):
                places.setdefault(os.path.abspath(path), _place(root, path))
        else:
            tables.append(root)
    if not places:
        raise DataError(f"no pictures in {', '.join(map(str, paths))}; give a folder with a folder per class")
    return list(places.values()), tables


def _place(root: Path, path: Path) -> Place:
    top = root.resolve()
    relative = path.relative_to(root)
    folders = relative.parts[:-1]
    parts = [PARTS[name.lower()] for name in (top.name, *folders) if name.lower() in PARTS]
    named = [name for name in folders if name.lower() not in PARTS]
    whole = top.parent.name if top.name.lower() in PARTS else top.name
    is_class = folders and folders[-1].lower() not in PLAIN_FOLDERS
    return Place(
        path=path,
        name=f"{top.name}/{relative.as_posix()}",
        source=named[0] if len(named) > 1 else whole,
        folder=folders[-1] if is_class else None,
        part=parts[-1] if parts else None,
    )
