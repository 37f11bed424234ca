"""The catalogue: one table of all photos, with the label, the lesion and the split of each.

The table is a CSV file. ``path`` is relative to ``root``, the folder that was given, so that a catalogue can be
read after the photos have moved: `read_catalogue` takes their new folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from dermedge.edge.errors import DataError
from dermedge.edge.files import write_text
from dermedge.train.data.counts import plural

__all__ = [
    "DIGEST_LENGTH",
    "LESION_CLASSES",
    "MIN_GROUPS",
    "NONE_OF_THESE",
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
# A class needs this many groups, so that each of the three splits gets some of them.
MIN_GROUPS = 5
# Columns without which a table is not a catalogue.
_REQUIRED = frozenset({"path", "image_id", "group", "label", "split"})
# Hexadecimal digits of the SHA-256 of a file that the catalogue keeps.
DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Photo:
    """One labelled file. An unknown value is an empty string.

    Attributes:
        path: absolute path of the file.
        image_id: the publisher's id, or else the path below the folder that was given.
        lesion_id: the publisher's id of the lesion.
        group: photos of one lesion or person and duplicates of one photo share it; no split cuts a group.
        diagnosis: diagnosis of the photo, under the name that all sets share.
        label: the class it is trained as.
        source: the set it came from.
        split: train, val or test.
        original_label: the label as the table or the folder writes it.
        patient_id: the publisher's id of the person.
        view: dermoscopic or close-up.
        age: age of the person in years, a whole number.
        sex: female or male.
        site: part of the body; a value of `dermedge.train.data.people.SITES`.
        skin_tone: 0 (very dark) to 5 (very light), the scale of MILK10k.
        fitzpatrick: skin type, 1 to 6.
        digest: the first 16 hexadecimal digits of the SHA-256 of the file's bytes.
        root: absolute path of the folder that was given, below which the file lies.
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
    """Photos and the classes they are trained as.

    Attributes:
        photos: photos in the order of their paths.
        classes: classes in the order of the network's outputs.
        left_out: reason -> number of files that were found and are not among the photos.
        seed: seed of the split.
        account: lines that say how folders and tables were understood.
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
        """Returns the table as CSV text, the same bytes for the same photos."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [one.name for one in fields(Photo)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(photo) | {"path": _path_below_root(photo)} for photo in self.photos)
        return text.getvalue()

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the ids, groups, labels and splits, which does not depend on the folders of the
        files.
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
        """Writes the table; raises StorageError."""
        write_text(path, self.to_csv())


def is_catalogue(path: Path) -> bool:
    """Tells whether a file has the header of a table that `Catalogue.save` wrote."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header = next(csv.reader(handle), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(header) >= _REQUIRED


def read_catalogue(path: Path, data: Sequence[Path] = ()) -> tuple[Photo, ...]:
    """Returns the photos of a table that `Catalogue.save` wrote.

    Args:
        path: path of the table; tables of older versions lack columns, which are then empty.
        data: folders where the photos lie now, if they have moved. Each may be the folder that was given when
            the catalogue was made, or the one above it.

    Raises:
        DataError: the file is not a catalogue, or ``data`` holds none of its photos.
    """
    names = {one.name for one in fields(Photo)}
    if path.is_file() and not is_catalogue(path):
        raise DataError(
            f"'{path}' is not a catalogue of dermedge: it lacks columns such as {', '.join(sorted(_REQUIRED)[:3])}; "
            "make one with dermedge data catalogue"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = [
                {key: value or "" for key, value in row.items() if key in names}
                for row in csv.DictReader(handle)
            ]
        photos = [Photo(**({"lesion_id": ""} | row)) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise DataError(f"'{path}' is not a catalogue of dermedge: {error}") from error
    for photo in photos:
        if photo.split not in SPLITS:
            raise DataError(
                f"'{path}' has the split '{photo.split}' for '{photo.path}'. Known: {', '.join(SPLITS)}"
            )
    return _below_roots(photos, _moved_roots(photos, data))


def content_digest(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a file's bytes; raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:DIGEST_LENGTH]


def check_photos(photos: Iterable[Photo]) -> None:
    """Checks that the photos of a catalogue exist and have not been replaced.

    Reads every file once. If a catalogue holds no digests, only the existence of its photos is checked.

    Raises:
        DataError: a photo is missing, or its bytes differ from those that were catalogued.
    """
    missing, changed = [], []
    for photo in photos:
        try:
            if photo.digest and content_digest(Path(photo.path)) != photo.digest:
                changed.append(photo.path)
            elif not photo.digest and not Path(photo.path).is_file():
                missing.append(photo.path)
        except OSError:
            missing.append(photo.path)
    if missing:
        raise DataError(
            f"not where they were catalogued: {plural(len(missing), 'photo')}, '{missing[0]}' among them; "
            "if they have moved, say with --data FOLDER where they are now"
        )
    if changed:
        raise DataError(
            f"replaced since they were catalogued: {plural(len(changed), 'photo')}, '{changed[0]}' among them; "
            "restore them, or make a new catalogue and a new run"
        )


def _path_below_root(photo: Photo) -> str:
    """Returns the path as the table stores it: relative to the root, if there is one."""
    return Path(os.path.relpath(photo.path, photo.root)).as_posix() if photo.root else photo.path


def _below_roots(photos: Iterable[Photo], roots: dict[str, str]) -> tuple[Photo, ...]:
    """Returns the photos of a table with absolute paths in the folders where they lie now."""
    return tuple(
        replace(photo, root=roots[photo.root], path=os.path.join(roots[photo.root], photo.path))
        if photo.root
        else photo
        for photo in photos
    )


def _moved_roots(photos: Sequence[Photo], data: Sequence[Path]) -> dict[str, str]:
    """Returns root of the table -> the folder that holds most of its photos: the root itself, or one of ``data``."""
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
                    f"none of the {len(paths)} photos of '{root}' is below {', '.join(map(repr, map(str, data)))}; "
                    f"give the folder that holds '{paths[0]}'"
                )
    return moved
