"""Finds, reads and encodes photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import PictureError

__all__ = ["SUFFIXES", "encode_image", "find_pictures", "is_picture", "read_picture"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a photo that OpenCV reads."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def find_pictures(folder: Path) -> list[Path]:
    """All photos at any depth below ``folder``, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if is_picture(path) and path.is_file())


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """One photo as uint8 [height, width, 3], 0 to 255, blue first; its EXIF orientation is applied.

    Raises:
        PictureError: the file is missing, empty or no photo.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureError(f"cannot read the photo '{path}': {error.strerror}") from error
    frame = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if frame is None:
        raise PictureError(f"'{path}' is not a photo that can be decoded ({content.size} bytes)")
    return frame  # type: ignore[return-value]


def encode_image(image_bgr: NDArray[np.uint8], suffix: str, jpeg_quality: int = 95) -> bytes:
    """The content of an image file.

    Args:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        suffix: names the format, such as ``.png``.
        jpeg_quality: 0 to 100; other formats ignore it.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix.lower() in (".jpg", ".jpeg") else []
    encoded: Any = cv2.imencode(suffix, image_bgr, settings)
    return encoded[1].tobytes()
