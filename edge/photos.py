"""Finding and reading pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import PictureError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture that OpenCV reads."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def find_pictures(folder: Path) -> list[Path]:
    """All pictures at any depth below ``folder``, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if is_picture(path) and path.is_file())


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """One picture as uint8 [height, width, 3], 0 to 255, blue first; its EXIF orientation is applied.

    Raises:
        PictureError: the file is missing, empty or no picture.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureError(f"cannot read the picture '{path}': {error.strerror}") from error
    frame = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if frame is None:
        raise PictureError(f"'{path}' is not a picture that can be decoded ({content.size} bytes)")
    return frame  # type: ignore[return-value]
