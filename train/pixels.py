"""Every photo decoded once, as the network's picture, in one file on disk that is mapped and not loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import write_beside
from edge.pictures import read_picture
from edge.preprocess import PREPROCESSING, to_input

DECODING_THREADS = 2


def cached_pixels(
    paths: Sequence[Path],
    size: int,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.uint8]:
    """The pictures of ``paths`` as uint8 [n, size, size, 3] RGB, 0 to 255, mapped from a file in ``cache``.

    The file's name holds the paths, sizes and times of the photos and the preprocessing, so that a changed
    photo is decoded again. It is written whole or not at all.

    Raises:
        PictureError: a photo cannot be decoded.
        StorageError: the cache cannot be written.
    """
    target = cache / f"pixels-{size}-{_key(paths)}.npy"
    if not target.is_file():
        with write_beside(target) as part:
            _decode_into(part, paths, size, progress)
    return np.load(target, mmap_mode="r")


def _key(paths: Iterable[Path]) -> str:
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((PREPROCESSING, states)).encode()).hexdigest()[:16]


def _decode_into(
    target: Path, paths: Sequence[Path], size: int, progress: Callable[[int, int], None]
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), size, size, 3)}
    with ThreadPoolExecutor(DECODING_THREADS) as pool, target.open("wb") as handle:
        # plain writes: into a mapping, a full disk would kill the process
        np.lib.format.write_array_header_1_0(handle, header)
        pictures = pool.map(lambda path: to_input(read_picture(path), size), paths)
        try:
            for index, picture in enumerate(pictures, 1):
                handle.write(picture.tobytes())
                progress(index, len(paths))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
