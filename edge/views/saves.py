"""Saves the images that users request in a view. No image is overwritten, and the total size is limited."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from dermedge.edge.errors import PictureError, StorageError
from dermedge.edge.files import storage_error
from dermedge.edge.photos import encode_image, read_picture

__all__ = ["LIMIT_MB", "THUMBNAIL_WIDTH", "Saves"]

# Width of a thumbnail in pixels.
THUMBNAIL_WIDTH = 240
# The largest total size in MB of all saved images in a folder.
LIMIT_MB = 500.0
_BYTES_PER_MB = 1e6
# The shortest time between two saved images. It prevents a key that is held down, or a script, from filling the disk.
_LEAST_INTERVAL_S = 0.5
# Only the names of the last saved images are remembered, at most this many. The web server serves only these images.
_MOST_NAMES = 50
_PATTERN = "dermedge-*.png"


class Saves:
    """Saves images in a folder. The file name of an image contains the time at which it was saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._due_s = 0.0
        self._names: deque[str] = deque(maxlen=_MOST_NAMES)

    @property
    def names(self) -> list[str]:
        """The file names of the last `_MOST_NAMES` images that this object saved, the newest first."""
        return list(self._names)[::-1]

    def path(self, name: str) -> Path | None:
        """Returns the path of an image in `names`, or None for any other name."""
        return self._folder / name if name in self._names else None

    def thumbnail(self, name: str) -> bytes | None:
        """Returns a saved image as a JPEG that is `THUMBNAIL_WIDTH` pixels wide.

        Returns None if ``name`` is not in `names`, or if the image cannot be read.
        """
        path = self.path(name)
        try:
            image = read_picture(path) if path else None
        except PictureError:
            image = None
        if image is None:
            return None
        height = max(1, round(image.shape[0] * THUMBNAIL_WIDTH / image.shape[1]))
        small = cv2.resize(image, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
        return encode_image(np.asarray(small, np.uint8), ".jpg")

    def add(self, content: bytes) -> str:
        """Saves a PNG image; returns the file name.

        Args:
            content: the bytes of the PNG file.

        Raises:
            StorageError: in three cases: the last image was saved less than half a second ago; the total size of the
                saved images in the folder would exceed `LIMIT_MB`; the image cannot be written. No incomplete file is
                left.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._due_s:
                raise StorageError("an image was saved a moment ago; try again")
            self._check_room(len(content))
            name = self._write(content)
            self._due_s = now + _LEAST_INTERVAL_S
            self._names.append(name)
        return name

    def _check_room(self, size: int) -> None:
        taken = 0
        for path in self._folder.glob(_PATTERN):
            with suppress(OSError):  # the user has just deleted this image, or it is a broken link
                taken += path.stat().st_size
        if taken + size > LIMIT_MB * _BYTES_PER_MB:
            raise StorageError(
                f"the saved images in '{self._folder.absolute()}' have reached the limit of {LIMIT_MB:g} MB; delete "
                f"some of them"
            )

    def _write(self, content: bytes) -> str:
        """Writes a file with a new name; returns the name."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        for number in range(1, 1000):
            path = self._folder / f"dermedge-{stamp}Z{'' if number == 1 else f'-{number}'}.png"
            try:
                _write_new(path, content)
            except FileExistsError:
                continue
            except OSError as error:
                raise storage_error(path, error) from error
            return path.name
        reason = f"all file names for the time {stamp} are taken"
        raise storage_error(self._folder, FileExistsError(errno.EEXIST, reason))


def _write_new(path: Path, content: bytes) -> None:
    """Writes a new file. Raises FileExistsError if the name is taken. If writing fails, no incomplete file is left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with open(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
