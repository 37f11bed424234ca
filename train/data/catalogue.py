"""The catalogue: one table of all photos, with the label, the lesion and the split of each photo.

The table is a CSV file. The column ``root`` holds the folder that the user gave, and the column ``path`` holds a path
relative to that folder. After the photos have moved, the catalogue can still be read: `read_catalogue` accepts the new
folder of the photos.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from dermedge.edge.errors import DataError
from dermedge.edge.files import write_text
from dermedge.edge.text_table import csv_of
from dermedge.train.data.counts import plural

__all__ = [
    "DIGEST_LENGTH",
    "LESION_CLASSES",
    "MIN_GROUPS",
    "NONE_OF_THESE",
    "REQUIRED_COLUMNS",
    "SPLITS",
    "Catalogue",
    "Photo",
    "check_photos",
    "content_digest",
    "is_catalogue",
    "read_catalogue",
]

NONE_OF_THESE = "none of these"
LESION_CLASSES = ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma")
SPLITS = ("train", "val", "test")
# A class needs at least this many groups, so that train gets three of them, and val and test get one each.
MIN_GROUPS = 5
# Columns that every catalogue has.
REQUIRED_COLUMNS = frozenset({"path", "image_id", "group", "diagnosis", "label", "source", "split"})
# The number of hexadecimal digits of a file's SHA-256 that the catalogue stores.
DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Photo:
    """One labelled file. An unknown value is an empty string.

    Attributes:
        path: absolute path of the file.
        image_id: the publisher's id of the photo; if there is none, an id that is made from the path of the file.
        lesion_id: the id of the lesion that a table states.
        group: name of the photo's group. Photos of one lesion or person have the same group, and so do duplicates of
            one photo. All photos of a group are in one split.
        diagnosis: diagnosis of the photo, under the name that dermedge uses for all datasets.
        label: the class that a network learns for the photo.
        source: the dataset that the photo is from.
        split: train, val or test.
        original_label: the label as the table or the folder writes it.
        patient_id: the id of the person that a table states.
        view: dermoscopic or close-up.
        age: age of the person in years, a whole number.
        sex: female or male.
        site: part of the body; a value of `dermedge.train.data.people.SITES`.
        skin_tone: skin tone on the scale of MILK10k, 0 (very dark) to 5 (very light).
        fitzpatrick: Fitzpatrick's skin type, 1 to 6.
        digest: the first 16 hexadecimal digits of the SHA-256 of the file's bytes.
        root: absolute path of the folder that the user gave and that contains the file.
    """

    path: str
    image_id: str
    lesion_id: str
    group: str
    diagnosis: str
    label: str
    source: str
    split: str = ""
    original_label: str = ""
    patient_id: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    site: str = ""
    skin_tone: str = ""
    fitzpatrick: str = ""
    digest: str = ""
    root: str = ""


@dataclass(frozen=True)
class Catalogue:
    """Photos, and the classes that a network learns from the photos.

    Attributes:
        photos: photos in the order of their paths.
        classes: classes in the order of the network's outputs.
        left_out: for each reason, the number of files that were found but are not among the photos.
        seed: seed of the split.
        account: lines that describe how folders and tables were understood.
    """

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    left_out: dict[str, int]
    seed: int = 0
    account: tuple[str, ...] = ()

    @property
    def none_label(self) -> str | None:
        return NONE_OF_THESE if NONE_OF_THESE in self.classes else None

    def of(self, split: str) -> tuple[Photo, ...]:
        return tuple(photo for photo in self.photos if photo.split == split)

    def to_csv(self) -> str:
        """Returns the table as CSV text. The same photos always give the same text."""
        rows = (asdict(photo) | {"path": _path_below_root(photo)} for photo in self.photos)
        return csv_of([one.name for one in fields(Photo)], rows)

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the image ids, groups, labels, sources and splits of all photos. The column ``path`` is
        not part of the digest.
        """
        rows = sorted((p.image_id, p.group, p.label, p.source, p.split) for p in self.photos)
        return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()

    def to_json(self) -> str:
        """Returns a description of the table as JSON text: digest, seed, classes, counts, and files left out."""
        counts = Counter((photo.label, photo.split) for photo in self.photos)
        about = {
            "digest": self.digest,
            "seed": self.seed,
            "classes": self.classes,
            "photos": len(self.photos),
            "groups": len({photo.group for photo in self.photos}),
            "counts": {name: {split: counts[name, split] for split in SPLITS} for name in self.classes},
            "left_out": self.left_out,
            "understood": self.account,
        }
        return json.dumps(about, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Writes the table as a CSV file; raises StorageError if the file cannot be written."""
        write_text(path, self.to_csv())


def is_catalogue(path: Path) -> bool:
    """Tells whether a file has the header of a table that `Catalogue.save` wrote."""
    try:
        if not path.is_file():  # opening a named pipe might wait for ever
            return False
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header = next(csv.reader(handle), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(header) >= REQUIRED_COLUMNS


def read_catalogue(path: Path, data: Sequence[Path] = ()) -> tuple[Photo, ...]:
    """Returns the photos of a table that `Catalogue.save` wrote.

    Args:
        path: path of the table. A column that is missing, because an older version of dermedge wrote the table, is read
            as empty.
        data: folders where the photos are now, if the photos have moved. Give the moved folder from which the catalogue
            was made, or the folder that contains the moved folder.

    Raises:
        DataError: the file is not a catalogue or has an unknown split, or ``data`` holds none of the photos.
    """
    names = {one.name for one in fields(Photo)}
    if path.is_file() and not is_catalogue(path):
        raise DataError(
            f"'{path}' is not a catalogue of dermedge, which has the columns {', '.join(sorted(REQUIRED_COLUMNS))}; "
            "make one: dermedge data catalogue PHOTOS --output CATALOGUE.csv"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = [
                {key: value or "" for key, value in row.items() if key in names}
                for row in csv.DictReader(handle)
            ]
        photos = [Photo(**({"lesion_id": ""} | row)) for row in rows]
    except OSError as error:
        raise DataError(
            f"cannot read the catalogue '{path}': {error.strerror or error}; check the path and its permissions"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read the catalogue '{path}': {error}; make a new one: dermedge data catalogue PHOTOS --output "
            "CATALOGUE.csv"
        ) from error
    for photo in photos:
        if photo.split not in SPLITS:
            raise DataError(
                f"'{path}' has the unknown split '{photo.split}' for '{photo.path}'. Known: {', '.join(SPLITS)}"
            )
    return _below_roots(photos, _moved_roots(photos, data))


def content_digest(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:DIGEST_LENGTH]


def check_photos(photos: Iterable[Photo]) -> None:
    """Checks that the photos of a catalogue exist and have not been replaced.

    A file is compared with the digest of the photo. If the catalogue has no digest, the file only has to exist.

    Raises:
        DataError: a photo is missing, or its bytes differ from those that were catalogued.
    """
    missing, changed = [], []
    for photo in photos:
        try:
            if not Path(photo.path).is_file():
                missing.append(photo.path)
            elif photo.digest and content_digest(Path(photo.path)) != photo.digest:
                changed.append(photo.path)
        except OSError:
            missing.append(photo.path)
    if missing:
        raise DataError(
            f"not found: {plural(len(missing), 'photo')} of the catalogue, such as '{missing[0]}'; if the photos have "
            "moved, give the folder where they are now with --data FOLDER"
        )
    if changed:
        raise DataError(
            f"changed since the catalogue was made: {plural(len(changed), 'photo')}, such as '{changed[0]}'; restore "
            "these files, or make a new catalogue and train a new run"
        )


def _path_below_root(photo: Photo) -> str:
    """Returns the path as the table stores it: relative to the root; unchanged if the photo has no root."""
    return Path(os.path.relpath(photo.path, photo.root)).as_posix() if photo.root else photo.path


def _below_roots(photos: Iterable[Photo], roots: dict[str, str]) -> tuple[Photo, ...]:
    """Returns the photos of a catalogue with absolute paths.

    A key of ``roots`` is a root as the catalogue stores it. The value is the folder that holds the photos of this root
    now.
    """
    return tuple(
        replace(photo, root=roots[photo.root], path=os.path.join(roots[photo.root], photo.path))
        if photo.root
        else photo
        for photo in photos
    )


def _moved_roots(photos: Sequence[Photo], data: Sequence[Path]) -> dict[str, str]:
    """Returns, for each root in a table, the folder that now holds most of the photos that were in the root.

    Two kinds of folders are searched: the folders ``data``, and the folders in ``data`` that have the name of the root.
    Without ``data``, the result for each root is the root itself. Raises DataError if no photo of a root is found.
    """
    by_root: dict[str, list[str]] = {}
    for photo in photos:
        by_root.setdefault(photo.root, []).append(photo.path)
    moved = {root: root for root in by_root}
    for root, paths in by_root.items():
        given = [os.path.abspath(folder) for folder in data]
        places = [*given, *(os.path.join(folder, os.path.basename(root)) for folder in given)]
        held = {place: sum(os.path.isfile(os.path.join(place, path)) for path in paths) for place in places}
        if root and held:
            moved[root] = max(held, key=held.__getitem__)
            if not held[moved[root]]:
                raise DataError(
                    f"{', '.join(map(repr, map(str, data)))} holds none of the {len(paths)} photos that were in "
                    f"'{root}'; give the folder that holds '{paths[0]}'"
                )
    return moved
