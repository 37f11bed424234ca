"""Makes any number of synthetic photos from fewer real photos.

A synthetic photo shows a part of a real photo, rotated, mirrored and enlarged, with sensor noise. The file has the
usual size and decoding time, and the photo is not a duplicate of another photo. A network cannot learn anything new
from such photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.memory import BYTES_PER_MB
from dermedge.edge.errors import StorageError
from dermedge.edge.photos import read_picture

if TYPE_CHECKING:
    from dermedge.train.data.scoring import LabelledPhoto

__all__ = ["HEIGHT", "WIDTH", "check_room", "make_photos"]

WIDTH, HEIGHT = 600, 450
# A synthetic photo shows a part of the largest centred 4:3 area of the real photo. This is the range of the width of
# the part, as a fraction of the width of the area.
_PART = (0.5, 0.9)
# The standard deviation of the noise, in grey levels.
_GRAIN = 3.0
# The file size is estimated from _TRIED photos. The estimate is multiplied by _SAFETY, because it is uncertain.
_TRIED, _SAFETY = 24, 1.2
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_THREADS = 2


def make_photos(
    originals: Sequence[LabelledPhoto],
    folder: Path,
    count: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Writes JPEG files of 600x450 pixels below a folder, as SOURCE/DIAGNOSIS/NUMBER.jpg.

    The same originals always give the same files. A smaller count gives the first files of a larger count.

    Args:
        originals: the real photos.
        folder: the folder of the files.
        count: number of files.
        progress: called with the number of finished files and with ``count``.

    Returns:
        The paths of the files.

    Raises:
        PictureError: an original cannot be decoded.
        StorageError: a file cannot be written.
    """

    from dermedge.train.data.ordered_map import ordered_map

    def make(number: int) -> Path:
        rng = np.random.default_rng([0, number])
        original = originals[order[number // len(originals)][number % len(originals)]]
        path = folder / original.entry.source / original.entry.diagnosis / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), _vary(read_picture(original.path), rng), _JPEG):
            raise StorageError(
                f"cannot write '{path}'; check the free disk space, and whether you may write into this folder"
            )
        return path

    rounds = -(-count // len(originals))
    order = [np.random.default_rng([1, turn]).permutation(len(originals)) for turn in range(rounds)]
    paths = []
    for path in ordered_map(make, range(count)):
        paths.append(path)
        progress(len(paths), count)
    return paths


def check_room(originals: Sequence[LabelledPhoto], count: int, more_bytes: int, folder: Path) -> None:
    """Checks that the disk of ``folder`` has room for ``count`` photos, and for ``more_bytes`` more bytes per photo.

    Raises:
        StorageError: the disk has too little room.
    """
    with TemporaryDirectory(dir=folder) as made:
        tried = make_photos(originals, Path(made), min(count, _TRIED))
        photo_bytes = sum(path.stat().st_size for path in tried) / len(tried)
    needed, free = count * (photo_bytes * _SAFETY + more_bytes), disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{count} photos and their caches need {needed / BYTES_PER_MB:.0f} MB, but the disk of "
            f"'{folder}' has only {free / BYTES_PER_MB:.0f} MB free; give smaller --counts, or another --output"
        )


def _vary(photo_bgr: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a synthetic photo, uint8 [450, 600, 3] BGR, of a part of a real photo, uint8 [h, w, 3] BGR."""
    height, width = photo_bgr.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height) / rng.uniform(*_PART)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), scale)
    matrix[:, 2] += (WIDTH - width) / 2, (HEIGHT - height) / 2
    if rng.random() < 0.5:
        # mirror the photo: x becomes WIDTH - 1 - x
        matrix[0] = (0, 0, WIDTH - 1) - matrix[0]
    varied = cv2.warpAffine(
        photo_bgr, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    # OpenCV samples noise faster than NumPy. The seed does not affect other threads, because each thread has a separate
    # generator.
    cv2.setRNGSeed(int(rng.integers(2**31)))
    grain = np.empty(varied.shape, np.int16)
    cv2.randn(grain, (0, 0, 0), (_GRAIN, _GRAIN, _GRAIN))  # type: ignore[call-overload]
    return cv2.add(varied, grain, dtype=cv2.CV_8U)  # type: ignore[return-value]
