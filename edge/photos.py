"""Finds, reads and encodes photos."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import PictureError, SourceError
from dermedge.edge.installation import install_hint
from dermedge.edge.opencv_log import silence_opencv

__all__ = [
    "EXPLAINED_SUFFIX",
    "SUFFIXES",
    "WRITTEN_SUFFIXES",
    "decode_photo",
    "encode_image",
    "find_photo_files",
    "is_explained_copy",
    "is_photo_file",
    "is_system_folder",
    "read_picture",
]

WRITTEN_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
SUFFIXES = WRITTEN_SUFFIXES | _HEIF_SUFFIXES | {".jfif", ".jpe", ".mpo", ".avif", ".gif", ".jp2"}
# `dermedge predict --explain` appends this to the name of a photo, for the copy with the heat map.
EXPLAINED_SUFFIX = ".explained.png"
# A HEIC photo is an ISO media file. One of these brands follows the first eight bytes of the file.
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"mif1", b"msf1"})
# An AVIF photo begins with one of these brands, or with mif1 or msf1. After mif1 or msf1, the list of further brands
# contains one of these brands.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# An AVIF photo states its orientation in these boxes. The last byte is the number of quarter turns anticlockwise, or
# the axis of the mirror.
_TURNED = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
_MIRRORED = re.compile(rb"\0\0\0\x09imir(.)", re.DOTALL)
# A TIFF file begins with one of these, which states its byte order.
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# Two tags of TIFF. The lowest bit of NewSubfileType marks an image as a smaller copy of another image in the file. The
# bit can also be set if the file has no other image, because some programs copy a single image out of a larger file
# and do not clear the bit. SubIFDs holds the addresses of further images.
_SUBFILE_TYPE = 254
_SUB_IMAGES = 330
# A pixel has at most four channels of 16 bits. A file is not read if it is larger than the largest photo with this many
# bytes for each pixel. Such a file, for example a scan of a whole slide, could fill the memory.
_MOST_PIXEL_BYTES = 8
# Operating systems, storage servers and programs create folders with these names, which are in lower case here. Hidden
# folders, whose names begin with a dot, need no entry.
_SYSTEM_FOLDERS = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "node_modules",
        "@recently-snapshot",
    }
)


def is_photo_file(path: Path) -> bool:
    """Tells whether a file is visible and has the suffix of a photo format that `read_picture` reads."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def is_explained_copy(path: Path) -> bool:
    """Tells whether a file has the name of a copy with a heat map, which `dermedge predict --explain` wrote."""
    return path.name.endswith(EXPLAINED_SUFFIX)


def is_system_folder(name: str) -> bool:
    """Tells whether a folder with this name is hidden, or belongs to a system or program and not to the user."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def find_photo_files(folder: Path) -> list[Path]:
    """Returns the paths of all photos at any depth below ``folder``, sorted.

    Links are followed, except a link to a folder that contains the link. Hidden photos, hidden folders and system
    folders are left out, and so are the copies that `is_explained_copy` recognizes.

    Raises:
        SourceError: a folder cannot be read.
    """
    return sorted(_photos_below(folder, ()))


def _photos_below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SourceError(
            f"cannot read the folder '{folder}': {error.strerror}; check its permissions"
        ) from error
    for path in entries:
        if os.path.isdir(path):  # Path.is_dir raises an error if permission is missing
            if not is_system_folder(path.name):
                yield from _photos_below(path, (*above, real))
        elif is_photo_file(path) and not is_explained_copy(path):
            yield path


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """Returns one photo as uint8 [height, width, 3], 0 to 255, blue first, after applying its EXIF orientation.

    Raises:
        PictureError: the file is missing, empty or not a photo, or has too many pixels or too many bytes. By default,
            the limits are 120 million pixels, and 8 bytes for each of these pixels. The environment variable
            ``OPENCV_IO_MAX_IMAGE_PIXELS`` changes both limits.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            # reading a named pipe might wait for ever
            raise PictureError(
                f"cannot read the photo '{path}': it is not a regular file; give the path of a photo"
            )
        if status.st_size > _MOST_PIXEL_BYTES * _most_pixels():
            raise PictureError(
                f"'{path}' has {status.st_size / 1e9:.1f} GB, which is too much for a photo; make the photo smaller"
            )
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PictureError(
            f"cannot read the photo '{path}': {error.strerror}; check the path and its permissions"
        ) from error
    return decode_photo(content, path)


def decode_photo(
    content: NDArray[np.uint8], path: Path | str, flags: int = cv2.IMREAD_COLOR
) -> NDArray[np.uint8]:
    """Decodes the content of a photo file, as `read_picture` does.

    Args:
        content: uint8 [n], the bytes of the file.
        path: the path of the file, for error messages.
        flags: the flags of ``cv2.imdecode``, which can ask for a grey or a smaller image. They have no effect on HEIC
            photos, which are always decoded in colour and at full size.

    Raises:
        PictureError: the content is empty or not a photo, or the photo has too many pixels.
    """
    if _is_heif(content):
        return _decode_heif(content, path)
    silence_opencv()
    try:
        image = cv2.imdecode(content, flags) if content.size else None
    except cv2.error as error:
        raise _not_decoded(path, error) from error
    if image is None:
        raise _no_photo(path, f"{content.size} bytes")
    if fault := _tiff_fault(content, image):
        raise _no_photo(path, fault)
    return _upright_avif(image, content) if _is_iso_media(content) else image  # type: ignore[return-value]


def _tiff_fault(content: NDArray[np.uint8], image: Any) -> str | None:
    """Returns the reason why the image that OpenCV decoded is not the photo in a TIFF file, or None."""
    order = _TIFF_ORDERS.get(content[:4].tobytes())
    if order is None:
        return None
    if _begins_with_thumbnail(content.data, order):
        return "it begins with a thumbnail, as raw files do"
    # OpenCV leaves the pixels black if it does not know how they are compressed
    return None if image.any() else "each pixel is black, or its compression is unknown"


def _begins_with_thumbnail(content: memoryview, order: str) -> bool:
    """Tells whether the first image in a TIFF file is a smaller copy of another one.

    Args:
        content: the bytes of a file that OpenCV could decode.
        order: the byte order, as the module `struct` denotes it.
    """
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, directory)
    start = directory + 2
    end = start + 12 * count
    tags = {tag: value for tag, _, _, value in struct.iter_unpack(f"{order}HHII", content[start:end])}
    # the four bytes after the tags are the address of the next image, or 0
    has_others = _SUB_IMAGES in tags or any(content[end : end + 4])
    return has_others and bool(tags.get(_SUBFILE_TYPE, 0) & 1)


def _is_iso_media(content: NDArray[np.uint8]) -> bool:
    return content[4:8].tobytes() == b"ftyp"


def _upright_avif(image: Any, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rotates and mirrors the image of an AVIF photo as the file states, because OpenCV does not."""
    header = content.tobytes().partition(b"mdat")[0]
    if turned := _TURNED.search(header):
        image = np.rot90(image, turned[1][0])
    if mirrored := _MIRRORED.search(header):
        image = np.flip(image, axis=mirrored[1][0] & 1)
    return np.ascontiguousarray(image)


def _is_heif(content: NDArray[np.uint8]) -> bool:
    """Tells whether the content is a HEIC photo, by the brands in the first box of the file."""
    if not _is_iso_media(content) or content[8:12].tobytes() not in _HEIF_BRANDS:
        return False
    box = content[: int.from_bytes(content[:4].tobytes())].tobytes()
    return not any(brand in box for brand in _AVIF_BRANDS)


def _not_decoded(path: Path | str, error: cv2.error) -> PictureError:
    if "CV_IO_MAX_IMAGE" in str(error):
        return _too_large(path)
    return _no_photo(path, error.err or "OpenCV rejected it")


def _no_photo(path: Path | str, why: str) -> PictureError:
    return PictureError(
        f"'{path}' is not a photo that can be decoded ({why}); copy the file again, or save it as JPEG"
    )


def _most_pixels() -> int:
    """Returns the limit that the environment variable states. The value may end in KB or MB, as OpenCV allows."""
    text = os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]
    unit = {"KB": 1 << 10, "MB": 1 << 20}.get(text[-2:].upper())
    return int(text[:-2]) * unit if unit else int(text)


def _too_large(path: Path | str) -> PictureError:
    most = _most_pixels() // 1_000_000
    return PictureError(
        f"the header of '{path}' claims more than {most} million pixels; make the photo smaller, or raise the "
        "environment variable OPENCV_IO_MAX_IMAGE_PIXELS"
    )


def _decode_heif(content: NDArray[np.uint8], path: Path | str) -> NDArray[np.uint8]:
    """Decodes a HEIC photo with pi-heif, which also applies the orientation of the photo."""
    try:
        import pi_heif
    except ModuleNotFoundError as error:
        hint = install_hint("pi-heif", None)
        raise PictureError(f"'{path}' is a HEIC photo, which needs the package pi-heif; {hint}") from error
    try:
        photo = pi_heif.open_heif(content.tobytes(), bgr_mode=True)
        if photo.size[0] * photo.size[1] > _most_pixels():
            raise _too_large(path)
        # a copy, because pi-heif frees the memory of the pixels together with `photo`
        image = np.array(photo)
    except (ValueError, EOFError, OSError, RuntimeError, SyntaxError) as error:
        raise _no_photo(path, str(error)) from error
    return _as_bgr(image)


def _as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns an image of pi-heif as uint8 [height, width, 3], blue first.

    A colour image is uint8 [height, width, 3 or 4], blue first. A grey image is uint8 or uint16 [height, width].
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]
    return np.ascontiguousarray(image[..., :3])


def encode_image(image_bgr: NDArray[np.uint8], suffix: str, jpeg_quality: int = 95) -> bytes:
    """Returns the content of an image file.

    Args:
        image_bgr: uint8 [height, width, 3], 0 to 255, blue first.
        suffix: the suffix of the format, such as ``.png``; one of `WRITTEN_SUFFIXES`.
        jpeg_quality: the quality of a JPEG file, 0 to 100. It has no effect on other formats.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix.lower() in (".jpg", ".jpeg") else []
    encoded: Any = cv2.imencode(suffix, image_bgr, settings)
    return encoded[1].tobytes()
