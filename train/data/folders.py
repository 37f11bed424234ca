"""Finds the photos and tables below the folders that a user gives, and counts the files that are skipped.

Symbolic links are followed, except for a link to a folder that contains the link. Hidden folders and files are
skipped. Folders and files that operating systems create are skipped too.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.edge.errors import DataError
from dermedge.edge.photos import is_explained_copy, is_photo_file, is_system_folder
from dermedge.train.data.folder_names import says_mask

__all__ = ["FilesFound", "FoundPhoto", "distinct_names", "find_files"]

_HIDDEN = "in a hidden or system folder, or hidden itself"
_MASK = "a segmentation mask of another photo"
_THUMBNAIL = "a thumbnail of another photo"
_EXPLAINED = "a copy with a heat map, which predict --explain wrote"
_SPECIAL = "neither a file nor a folder, such as a named pipe"
_NOT_UTF8 = "the file name is not valid UTF-8, so that a table cannot hold it; rename the file"
_TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xls")
# Names of files that operating systems create. These files are ignored, and are not counted as skipped.
_SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_MASK_ENDINGS = ("_segmentation", "_superpixels", "_mask", "_seg", "_lesion", "_gt")
# Matches the end of the name of a mask of PH2 that shows a region of one colour, as in IMD003_R1_Label3.
_REGION_ENDING = re.compile(r"_r\d+_label\d+$")
# Matches the names of the ISIC archive's masks. A file with such a name is a mask, even if the photo of the mask is
# missing.
_MASK_OF_ISIC = re.compile(r"ISIC_\d{7}_(segmentation|superpixels|attribute_[a-z_]+)", re.IGNORECASE)
_THUMBNAIL_FOLDERS = frozenset({"thumbs", "thumb", "thumbnails", "thumbnail"})
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


@dataclass(frozen=True)
class FoundPhoto:
    """A photo file.

    Attributes:
        path: absolute path.
        root: absolute path of the given folder.
        folders: names of the folders between ``root`` and the file.
    """

    path: Path
    root: Path
    folders: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path that begins with the name of the given folder, such as ``set/cat/1.jpg``."""
        return "/".join((self.root.name, *self.folders, self.path.name))


@dataclass(frozen=True)
class FilesFound:
    """The files below the given folders.

    Attributes:
        photos: photos in the order of the given folders, and in each folder in the order of their paths. No photo
            occurs twice.
        tables: absolute paths of the files that may be tables.
        skipped: for each reason, the number of files that are not read.
    """

    photos: tuple[FoundPhoto, ...]
    tables: tuple[Path, ...]
    skipped: Counter[str]


def find_files(paths: Sequence[Path]) -> FilesFound:
    """Returns all photos and tables below ``paths``. A path that is a file must be a table.

    Raises:
        DataError: a path does not exist, or is a photo, an archive or a named pipe; a folder cannot be read; a link
            leads nowhere; or there is no photo.
    """
    photos: dict[Path, FoundPhoto] = {}
    tables: dict[Path, None] = {}
    skipped: Counter[str] = Counter()
    for given in paths:
        if not given.exists():
            raise DataError(f"there is no file or folder '{given}'; check the path")
        if not given.is_file() and not given.is_dir():
            raise DataError(f"'{given}' is neither a file nor a folder; give a folder of photos, or a table")
    for given in paths:
        root = Path(os.path.abspath(given))
        if root.is_file():
            _refuse_what_is_no_table(root)
            tables[root] = None
            continue
        for path in _walk(root, skipped, ()):
            folders = path.relative_to(root).parts[:-1]
            if path.suffix.lower() in _TABLE_SUFFIXES:
                tables[path] = None
            elif not is_photo_file(path):
                skipped[f"not a photo that can be read: '{path.suffix.lower() or 'no suffix'}'"] += 1
            elif is_explained_copy(path):
                skipped[_EXPLAINED] += 1
            elif not _is_utf8(path):
                skipped[_NOT_UTF8] += 1
            else:
                photos.setdefault(path, FoundPhoto(path, root, folders))
    kept = _without_thumbnails(_without_masks(list(photos.values()), skipped), skipped)
    if not kept:
        raise DataError(f"no photos in {', '.join(map(str, paths))}{_seen_instead(skipped)}")
    return FilesFound(tuple(kept), tuple(tables), skipped)


def distinct_names(folders: Iterable[Path]) -> dict[Path, str]:
    """Returns, for each folder, its name. If several folders have the same name, the names of the folders above are
    added, as in ``a/photos`` and ``b/photos``.
    """
    names = {folder: folder.name for folder in folders}
    for depth in range(2, 20):
        repeated = {name for name, count in Counter(names.values()).items() if count > 1}
        if not repeated:
            break
        names |= {
            folder: "/".join(folder.parts[-depth:]) for folder, name in names.items() if name in repeated
        }
    return names


def _refuse_what_is_no_table(path: Path) -> None:
    if path.suffix.lower() in _ARCHIVES:
        raise DataError(f"'{path}' is an archive; unpack it, and give the unpacked folder")
    if is_photo_file(path):
        raise DataError(f"'{path}' is one photo; give the folder that holds the photos")


def _walk(folder: Path, skipped: Counter[str], above: tuple[str, ...]) -> Iterator[Path]:
    """Yields the files below a folder, in the order of their paths.

    Raises DataError if a folder cannot be read or a link leads nowhere.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink() and not os.path.exists(path):
                raise DataError(f"the link '{path}' leads nowhere; correct or delete it")
            if entry.is_dir():
                if is_system_folder(entry.name):
                    if count := sum(map(is_photo_file, path.rglob("*"))):
                        skipped[_HIDDEN] += count
                else:
                    yield from _walk(path, skipped, (*above, real))
            elif not entry.is_file():
                skipped[_SPECIAL] += 1  # reading a named pipe might wait for ever
            elif not entry.name.startswith("."):
                if entry.name.lower() not in _SYSTEM_FILES:
                    yield path
            elif entry.name.lower() not in _SYSTEM_FILES:
                skipped[_HIDDEN] += 1
    except OSError as error:
        raise DataError(
            f"cannot read the folder '{folder}': {error.strerror or error}; check its permissions"
        ) from error


def _without_masks(photos: list[FoundPhoto], skipped: Counter[str]) -> list[FoundPhoto]:
    """Returns the photos without segmentation masks, which are recognized by the names of files and folders."""
    candidates = {photo.path for photo in photos if _mask_of(photo) is not None}
    others = {photo.path.stem.lower() for photo in photos if photo.path not in candidates}
    masks = {
        photo.path
        for photo in photos
        if _MASK_OF_ISIC.fullmatch(photo.path.stem)
        or (photo.path in candidates and _mask_of(photo) in others)
    }
    if masks:
        skipped[_MASK] += len(masks)
    return [photo for photo in photos if photo.path not in masks]


def _without_thumbnails(photos: list[FoundPhoto], skipped: Counter[str]) -> list[FoundPhoto]:
    """Returns the photos without thumbnails.

    A file in a folder of thumbnails is a thumbnail if a photo with the same name lies elsewhere.
    """
    small = {
        photo.path for photo in photos if not _THUMBNAIL_FOLDERS.isdisjoint(map(str.lower, photo.folders))
    }
    names = {photo.path.stem.lower() for photo in photos if photo.path not in small}
    small = {path for path in small if path.stem.lower() in names}
    if small:
        skipped[_THUMBNAIL] += len(small)
    return [photo for photo in photos if photo.path not in small]


def _mask_of(photo: FoundPhoto) -> str | None:
    """Returns the lower-case stem of the photo that a mask belongs to.

    The result is None if neither the name of the file nor the name of a folder suggests a mask.
    """
    stem = photo.path.stem.lower()
    for ending in _MASK_ENDINGS:
        if stem.endswith(ending):
            return stem.removesuffix(ending)
    if region := _REGION_ENDING.search(stem):
        return stem[: region.start()]
    return stem if any(map(says_mask, photo.folders)) else None


def _is_utf8(path: Path) -> bool:
    """Tells whether a path can be encoded as UTF-8. Otherwise, it cannot be written to a table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _seen_instead(skipped: Counter[str]) -> str:
    """Returns the end of the error message "no photos in …": which files were skipped, and what the user can do."""
    if not skipped:
        return "; give a folder that holds one folder of photos for each class"
    packed = any(f"'{suffix}'" in why for why in skipped for suffix in _ARCHIVES)
    cure = "; unpack the archive" if packed else "; give a folder that contains photos"
    return ". Skipped: " + ", ".join(f"{count} ({why})" for why, count in skipped.items()) + cure
