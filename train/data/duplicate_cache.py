"""Finds the duplicates among photos, and stores the result until a file changes.

The search reads every file and compares it with the other files. For tens of thousands of photos, this takes minutes.
Without the stored result, each training would repeat the search.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL

from dermedge.edge.files import write_text
from dermedge.train.data import duplicate_candidates, duplicates, photo_prints
from dermedge.train.data.duplicates import Match, equal_files, near_duplicates, read_prints
from dermedge.train.data.pixels import files_key

__all__ = ["Duplicates", "find_duplicates"]


@dataclass(frozen=True)
class Duplicates:
    """The duplicates in a list of files. Each file is given by its index in the list.

    Attributes:
        equal: lists of two or more files with equal bytes.
        near: pairs of files that show the same photo.
        unreadable: for each file that cannot be read or decoded, the reason.
        digests: SHA-256 of each file's bytes, in hexadecimal; empty for a file that cannot be read.
    """

    equal: list[list[int]]
    near: list[Match]
    unreadable: dict[int, str]
    digests: list[str]

    @property
    def of_one_photo(self) -> list[list[int]]:
        """Lists of two or more files that show the same photo: ``equal`` and ``near`` together."""
        return [*self.equal, *([match.first, match.second] for match in self.near)]


def find_duplicates(
    paths: Sequence[Path],
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Duplicates:
    """Returns the duplicates among ``paths``.

    Args:
        paths: paths of photos.
        cache: the folder in which the result is stored. If it is None, the result is not stored.
        progress: a function that is called with the number of steps done and the total number of steps. The first
            half of the steps reads the files; the second half compares the files.

    Raises:
        StorageError: the result or a temporary file cannot be written.
    """
    if not cache:
        return _search(paths, None, progress)
    kept = cache / f"duplicates-{files_key(paths, *_method())}.json"
    found = _read(kept)
    if found is None or found.unreadable != _unreadable(paths, found, cache):
        found = _search(paths, cache, progress)
        write_text(kept, json.dumps(asdict(found)) + "\n")
    else:
        progress(2 * len(paths), 2 * len(paths))
    return found


def _unreadable(paths: Sequence[Path], found: Duplicates, scratch: Path) -> dict[int, str]:
    """Returns the files of a stored result that still cannot be read or decoded, with the reasons.

    Such a file may become readable without a change of its bytes: the user may have corrected its permissions, or
    installed the package that decodes HEIC photos.
    """
    indices = sorted(found.unreadable)
    again = read_prints([paths[index] for index in indices], scratch=scratch).unreadable
    return {index: again[at] for at, index in enumerate(indices) if at in again}


def _search(paths: Sequence[Path], scratch: Path | None, progress: Callable[[int, int], None]) -> Duplicates:
    prints = read_prints(paths, lambda done, total: progress(done, 2 * total), scratch)
    near = near_duplicates(prints, lambda done, total: progress(total + done, 2 * total))
    return Duplicates(equal_files(prints), near, prints.unreadable, list(prints.digests))


def _method() -> tuple[str, ...]:
    """Returns the source code of the search for duplicates, and the versions of the libraries that it uses.

    If the code or a version changes, the search may find other duplicates. A stored result is then not used any more.
    """
    modules = (duplicates, duplicate_candidates, photo_prints)
    code = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in modules]
    return (*code, PIL.__version__, cv2.__version__, np.__version__)


def _read(kept: Path) -> Duplicates | None:
    """Returns the stored result; None if no result is stored or it cannot be read."""
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        near = [Match(**match) for match in content["near"]]
        unreadable = {int(at): why for at, why in content["unreadable"].items()}
        return Duplicates(content["equal"], near, unreadable, content["digests"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
