"""Decodes every photo once into the network's input. One file holds all inputs, and is mapped into memory."""

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

    The name of the file contains a digest of the preprocessing, and of the path, size and modification time of every
    photo. If a photo or the preprocessing changes, a new file is made. The file is written atomically.

    Args:
        paths: paths of the photos.
        size: the height of the network's input in pixels.
        cache: the folder for the file.
        progress: a function that is called with the number of photos done and the total number of photos.
        width: the width of the network's input in pixels; by default, it equals ``size``.

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
    """Releases the memory of a mapped array, if the operating system supports this.

    The content stays in the system's file cache, and can be read again. Without the release, a process that reads the
    whole array would seem to hold all of it in memory.
    """
    if isinstance(pixels.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pixels.base.madvise(mmap.MADV_DONTNEED)


def files_key(paths: Iterable[Path], *what: str) -> str:
    """Returns a key for the file name of a result that is computed from ``paths``.

    ``what`` identifies the method of the computation. The key changes if the method changes, or if the path, size or
    modification time of a file changes.
    """
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((*what, states)).encode()).hexdigest()[:16]


def _decode_into(
    target: Path, paths: Sequence[Path], shape: tuple[int, int], progress: Callable[[int, int], None]
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *shape, 3)}
    with target.open("wb") as handle:
        # The images are written with write(), and not into a memory-mapped array. If the disk is full, write() raises
        # an error, but a write into a memory-mapped array kills the process.
        np.lib.format.write_array_header_1_0(handle, header)
        images = ordered_map(lambda path: Preprocessor(*shape)(read_picture(path)), paths)
        for index, image in enumerate(images, 1):
            handle.write(image.tobytes())
            progress(index, len(paths))
