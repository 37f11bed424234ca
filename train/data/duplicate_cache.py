"""Which files of a set are copies of one another, looked for once and kept until a file changes.

To look means to read every file and compare it with every other: minutes for tens of thousands of photos,
which each further training on them would spend again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import imagehash
import PIL

from dermedge.edge.files import write_text
from dermedge.train.data import duplicates
from dermedge.train.data.duplicates import Match, equal_files, near_duplicates, read_prints
from dermedge.train.data.pixels import files_key


@dataclass(frozen=True)
class Duplicates:
    """What was found among files, which are named by their places in the list.

    Attributes:
        equal: the files of equal bytes, each set of two or more.
        near: all pairs that show one picture.
        unreadable: file -> why it cannot be read or decoded.
    """

    equal: list[list[int]]
    near: list[Match]
    unreadable: dict[int, str]


def find_duplicates(
    paths: Sequence[Path],
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Duplicates:
    """The copies among ``paths``.

    Args:
        paths: of pictures.
        cache: a folder, where what was found is kept and found again.
        progress: called with (steps done, steps in all); reading the files is the first half.

    Raises:
        StorageError: the cache cannot be written.
    """
    if not cache:
        return _look(paths, None, progress)
    kept = cache / f"copies-{files_key(paths, *_method())}.json"
    copies = _read(kept)
    if copies is None:
        copies = _look(paths, cache, progress)
        write_text(kept, json.dumps(asdict(copies)) + "\n")
    else:
        progress(2 * len(paths), 2 * len(paths))
    return copies


def _look(paths: Sequence[Path], scratch: Path | None, progress: Callable[[int, int], None]) -> Duplicates:
    prints = read_prints(paths, lambda done, total: progress(done, 2 * total), scratch)
    near = near_duplicates(prints, lambda done, total: progress(total + done, 2 * total))
    return Duplicates(equal_files(prints), near, prints.unreadable)


def _method() -> tuple[str, ...]:
    """What decides, beside the files, what is found: our own code and that of the libraries."""
    code = Path(duplicates.__file__).read_text(encoding="utf-8")
    return code, imagehash.__version__, PIL.__version__, cv2.__version__


def _read(kept: Path) -> Duplicates | None:
    """What is kept, or None where there is nothing, or nothing that can be read."""
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        near = [Match(**match) for match in content["near"]]
        return Duplicates(content["equal"], near, {int(at): why for at, why in content["unreadable"].items()})
    except (OSError, ValueError, KeyError, TypeError):
        return None
