"""Decodes every photo once into the network's input, in one file on disk that is mapped into memory."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.files import write_beside
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import PREPROCESSING, Preprocessor
from dermedge.train.data.ordered_map import ordered_map

__all__ = ["cached_pixels", "files_key", "release_pages"]


def cached_pixels(
    paths: Sequence[Path],
    size: int,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    width: int | None = None,
) -> NDArray[np.uint8]:
    """Returns the photos of ``paths`` as uint8 [n, size, width, 3] RGB, 0 to 255, mapped from a file in ``cache``.

    The file's name holds the paths, sizes and times of the photos and the preprocessing, so that a changed
    photo is decoded again. It is written whole or not at all.

    Args:
        paths: paths of the photos.
        size: the height of the network's input in pixels.
        cache: a folder.
        progress: called with the photos done and their total.
        width: the width of the input in pixels; that of a square if not given.

    Raises:
        PictureError: a photo cannot be decoded.
        StorageError: the cache cannot be written.
    """
    shape = str(size) if width in (None, size) else f"{size}x{width}"
    target = cache / f"pixels-{shape}-{files_key(paths, PREPROCESSING)}.npy"
    if not target.is_file():
        with write_beside(target) as part:
            _decode_into(part, paths, (size, width or size), progress)
    return np.load(target, mmap_mode="r")


def release_pages(pixels: NDArray[Any]) -> None:
    """Releases the memory of mapped photos that were read, if the system supports it.

    The photos stay in the system's file cache. Otherwise a process that reads all photos would seem to hold them all
    in memory.
    """
    if isinstance(pixels.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pixels.base.madvise(mmap.MADV_DONTNEED)


def files_key(paths: Iterable[Path], *what: str) -> str:
    """Returns a name for a result made from files; it changes when a file or ``what`` changes."""
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((*what, states)).encode()).hexdigest()[:16]


def _decode_into(
    target: Path, paths: Sequence[Path], shape: tuple[int, int], progress: Callable[[int, int], None]
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *shape, 3)}
    with target.open("wb") as handle:
        # writes to the file, because a write to a mapping would kill the process if the disk is full
        np.lib.format.write_array_header_1_0(handle, header)
        images = ordered_map(lambda path: Preprocessor(*shape)(read_picture(path)), paths)
        for index, image in enumerate(images, 1):
            handle.write(image.tobytes())
            progress(index, len(paths))
