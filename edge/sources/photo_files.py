"""Reads photo files, and folders of photos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.errors import SourceError
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.sources.frame import Frame, FrameSource

__all__ = ["PhotoFiles", "open_folder"]


class PhotoFiles(FrameSource):
    """A source that delivers photo files one after the other."""

    is_live = False

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._next = 0

    def read(self) -> Frame | None:
        if self._next == len(self._paths):
            return None
        path, number = self._paths[self._next], self._next
        self._next += 1
        return Frame(read_picture(path), number, time.monotonic(), str(path), is_photo=True)

    def close(self) -> None:
        self._paths = ()
        self._next = 0


def open_folder(folder: Path) -> PhotoFiles:
    """Returns a source that delivers all photos below a folder.

    Raises:
        SourceError: the folder holds no photo, or cannot be read.
    """
    paths = find_photo_files(folder)
    if not paths:
        raise SourceError(f"there is no photo in the folder '{folder}'; give a folder with photos")
    return PhotoFiles(paths)
