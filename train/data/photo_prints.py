"""Reads every file for the search for duplicates: its digest, size, local features and a small image.

Local features are SIFT keypoints (D. Lowe, "Distinctive image features from scale-invariant keypoints",
IJCV 2004) of the brightness. The same features are found again after a photo is rotated, resized, cropped, padded,
brightened or compressed again. Many photos have a border: the black rim of a dermatoscope, or a plain margin. Features
at a border are left out, because they would make all photos with a border look alike. The code calls this border
"frame".
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermedge.edge.errors import PictureError
from dermedge.edge.files import storage_error
from dermedge.edge.photos import decode_photo
from dermedge.train.data.ordered_map import ordered_map

__all__ = ["FEATURES", "SMALL_SIDE", "Prints", "read_prints", "unpack_image"]

# Before features are detected, a photo is reduced until its longer side has this many pixels. Smaller photos are not
# enlarged.
FEATURE_SIDE = 200
# At most POOL features are detected in a photo, and the best FEATURES of them are stored. The descriptor of a feature
# has DIMENSIONS values.
POOL = 160
FEATURES = 96
DIMENSIONS = 128
# SIFT's contrast threshold. The value is low because photos of smooth skin have few features above the usual
# threshold of 0.04.
CONTRAST_THRESHOLD = 0.007
# The search for duplicates compares small images: reduced copies of the photos. The longer side of a small image has
# this many pixels.
SMALL_SIDE = 96
# The square roots of the values of a descriptor are between 0 and 1. They are multiplied by this number, and stored as
# uint8.
ROOT_STEPS = 255
# An area at the edge of a photo counts as a dermatoscope's black rim if its grey levels are below this fraction of the
# photo's brightness. The brightness is the 90th percentile of all grey levels.
RIM_DARKNESS = 0.15
# A pixel counts as plain if the standard deviation of the grey levels in the 3x3 pixels around the pixel is below this
# value. An area at the edge of a photo counts as a plain margin if all its pixels are plain.
PLAIN_DEVIATION = 0.5
# A dark or plain area that reaches into the central square of a photo is not a border, because it may be the lesion.
# This is the side of the square as a fraction of the longer side of the photo.
MIDDLE_SHARE = 0.25
# A dark or plain area at the edge of a photo counts as a border only if it covers at least this fraction of the photo.
# Smaller areas may be plain skin.
MIN_FRAME = 0.005
# A border is widened with a square kernel of this side in pixels, so that features at the edge of the border are left
# out too.
FRAME_EDGE = 9

# For each factor, the OpenCV flag that reduces a photo by this factor while the photo is decoded. For a JPEG, this is
# faster than decoding at full size.
_REDUCED = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

RECORD = np.dtype(
    [
        ("count", np.uint8),
        ("shape", np.uint8, 2),
        ("keypoints", np.float32, (FEATURES, 4)),
        ("descriptors", np.uint8, (FEATURES, DIMENSIONS)),
        ("small", np.uint8, (SMALL_SIDE, SMALL_SIDE)),
        ("inside", np.uint8, (SMALL_SIDE, SMALL_SIDE // 8)),
    ]
)


@dataclass(frozen=True)
class Prints:
    """The data that the search for duplicates needs, for all files.

    Attributes:
        digests: SHA-256 of the bytes of each file, in hexadecimal; empty for a file that cannot be read.
        sizes: width and height of the upright photo in pixels, int32 [n, 2]; 0 for a file that cannot be decoded.
        records: one `RECORD` for each file, [n]. The array is mapped from a temporary file, because the records of many
            photos would need too much memory. ``count`` is the number of features. ``keypoints`` holds x, y and
            diameter in pixels of the small image, and a clockwise angle in degrees. ``descriptors`` holds RootSIFT
            descriptors in steps of 1/255. Only the first ``count`` rows of ``keypoints`` and ``descriptors`` are used.
            ``shape`` is the height and width of the small grey image, and ``small`` holds this image in its top left
            corner. ``inside`` holds one bit for each pixel of the small image: 0 for the border of the photo, and 1 for
            all other pixels. The record of a file that cannot be decoded is all zeros.
        unreadable: the reason for each file that cannot be read or decoded. The key is the index of the file.
    """

    digests: tuple[str, ...]
    sizes: NDArray[np.int32]
    records: NDArray[np.void]
    unreadable: dict[int, str]


def read_prints(
    paths: Sequence[Path],
    progress: Callable[[int, int], None] = lambda done, total: None,
    scratch: Path | None = None,
) -> Prints:
    """Reads and decodes every file once. A file that cannot be read or decoded is recorded as unreadable.

    Args:
        paths: paths of the files.
        progress: a function that is called with the number of files read and the number of files to read.
        scratch: a folder for a temporary file that holds 24 kB for each photo. If it is None, the system's folder for
            temporary files is used.

    Raises:
        StorageError: the records cannot be written.
    """
    count = len(paths)
    digests = [""] * count
    sizes = np.zeros((count, 2), np.int32)
    unreadable: dict[int, str] = {}
    with _scratch_file(scratch) as kept:
        for index, (digest, size, record, why) in enumerate(ordered_map(_read, paths)):
            digests[index], sizes[index] = digest, size
            if why:
                unreadable[index] = why
            kept.write(record.tobytes())
            progress(index + 1, count)
        kept.flush()
        records = np.memmap(kept, RECORD, "r", shape=(count,)) if count else np.zeros(0, RECORD)
    return Prints(tuple(digests), sizes, records, unreadable)


@contextmanager
def _scratch_file(folder: Path | None) -> Iterator[IO[bytes]]:
    """Opens a temporary file that is deleted when it is no longer used.

    Raises StorageError if the file cannot be written.
    """
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as kept:
            yield kept
    except OSError as error:
        raise storage_error(folder or gettempdir(), error) from error


def _read(path: Path) -> tuple[str, tuple[int, int], NDArray[np.void], str]:
    """Returns the digest, the size and the record of a file, and a text that says why the file cannot be decoded.

    If the file can be decoded, the text is empty.
    """
    nothing = np.zeros((), RECORD)
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", (0, 0), nothing, error.strerror or str(error)
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return digest, (0, 0), nothing, "the file is empty"
    try:
        grey, size = _decode(content, path)
    except PictureError as error:
        return digest, (0, 0), nothing, str(error).removeprefix(f"'{path}' is ")
    return digest, size, _record(grey), ""


def _decode(content: bytes, path: Path) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Returns an upright photo as a grey image, uint8 [h, w], and its width and height in pixels at full size.

    A large photo is reduced, but not below the size at which features are detected. Training decodes photos with the
    same function. A photo that can be decoded here can therefore be used in training.
    """
    size = _size_in_header(content)
    reduction = max((one for one in _REDUCED if size and max(size) >= one * FEATURE_SIDE), default=1)
    image = decode_photo(
        np.frombuffer(content, np.uint8), path, _REDUCED.get(reduction, cv2.IMREAD_GRAYSCALE)
    )
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = grey.shape
    if size and reduction > 1:
        long, short = max(size), min(size)
        width, height = (long, short) if width > height else (short, long)
    return grey, (width, height)  # type: ignore[return-value]


def _size_in_header(content: bytes) -> tuple[int, int] | None:
    """Returns the width and height of a photo before it is rotated upright; None if Pillow cannot read the size."""
    try:
        with Image.open(io.BytesIO(content)) as photo:
            return photo.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _record(grey: NDArray[np.uint8]) -> NDArray[np.void]:
    record = np.zeros((), RECORD)
    image = _shrunk(grey, FEATURE_SIDE)
    small = _shrunk(image, SMALL_SIDE)
    height, width = small.shape
    record["shape"] = height, width
    record["small"][:height, :width] = small
    inside = _inside_frame(small)
    record["inside"][:height] = np.packbits(np.pad(inside, ((0, 0), (0, SMALL_SIDE - width))), axis=1)
    keypoints, descriptors = _features(image, inside)
    scale = max(small.shape) / max(image.shape)
    # the centre of a pixel has integer coordinates
    keypoints[:, :2] = (keypoints[:, :2] + 0.5) * scale - 0.5
    keypoints[:, 2] *= scale
    record["count"] = len(keypoints)
    record["keypoints"][: len(keypoints)] = keypoints
    record["descriptors"][: len(keypoints)] = descriptors
    return record


def unpack_image(record: NDArray[np.void]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the small image of a record, and a mask; both are uint8 [h, w].

    The mask is 0 for the border of the photo (a black rim or plain margin), and 1 for all other pixels.
    """
    height, width = record["shape"]
    inside = np.unpackbits(record["inside"][:height], axis=1)[:, :width]
    return np.ascontiguousarray(record["small"][:height, :width]), np.ascontiguousarray(inside)


def _shrunk(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Returns the image, reduced so that its longer side has at most ``side`` pixels."""
    scale = side / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(length * scale)) for length in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _features(
    image: NDArray[np.uint8], inside: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Returns the best features that do not touch the border: keypoints [n, 4] and descriptors [n, 128].

    Features with a strong response and a large diameter are preferred, because a smaller or compressed copy of the
    photo loses the finest features first.
    """
    sift = cv2.SIFT_create(POOL, contrastThreshold=CONTRAST_THRESHOLD)  # type: ignore[attr-defined]
    keypoints, descriptors = sift.detectAndCompute(image, None)
    if not keypoints:
        return np.zeros((0, 4), np.float32), np.zeros((0, DIMENSIONS), np.uint8)
    places = np.array([(*point.pt, point.size, point.angle) for point in keypoints], np.float32)
    weights = np.array([point.response * point.size for point in keypoints])
    clear = np.flatnonzero(_clear_of_frame(places, image.shape, inside))
    best = clear[np.argsort(-weights[clear], kind="stable")][:FEATURES]
    return places[best], _root(descriptors[best])


def _clear_of_frame(
    keypoints: NDArray[np.float32], shape: tuple[int, ...], inside: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Tells, for each keypoint, whether its distance from the border of the photo is larger than its diameter."""
    if inside.all():
        return np.ones(len(keypoints), np.bool_)
    scale = max(inside.shape) / max(shape)
    away = cv2.distanceTransform(inside, cv2.DIST_L2, 3) / scale
    x, y = ((keypoints[:, :2] + 0.5) * scale - 0.5).round().astype(np.intp).T
    rows, columns = y.clip(0, inside.shape[0] - 1), x.clip(0, inside.shape[1] - 1)
    return away[rows, columns] > keypoints[:, 2]


def _root(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Converts SIFT descriptors to RootSIFT descriptors, in steps of 1/255.

    Dot products of RootSIFT descriptors separate matching features from other features better than dot products of
    SIFT descriptors (Arandjelovic and Zisserman, CVPR 2012).
    """
    sums = descriptors.sum(1, keepdims=True) + np.finfo(np.float32).eps
    return np.rint(np.sqrt(descriptors / sums) * ROOT_STEPS).astype(np.uint8)


def _inside_frame(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a mask that is 0 for the border of a photo and the edge of the border, and 1 for all other pixels.

    The border is a dermatoscope's black rim or a plain margin. For a photo without a border, the mask is 1 everywhere.
    """
    values = grey.astype(np.float32)
    mean = cv2.blur(values, (3, 3))
    plain = cv2.blur(values * values, (3, 3)) - mean * mean < PLAIN_DEVIATION**2
    dark = grey < RIM_DARKNESS * np.partition(grey, int(0.9 * grey.size), None)[int(0.9 * grey.size)]
    _, parts, boxes, _ = cv2.connectedComponentsWithStats((plain | dark).astype(np.uint8), connectivity=4)
    border = {*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
    large = np.flatnonzero(boxes[:, cv2.CC_STAT_AREA] >= MIN_FRAME * grey.size)
    # an area that reaches the centre of the photo is the lesion and not a border
    found = (border & set(large)) - {0, *_middle(parts).ravel()}
    if not found:
        return np.ones_like(grey)
    frame = np.isin(parts, list(found)).astype(np.uint8)
    return 1 - cv2.dilate(frame, np.ones((FRAME_EDGE, FRAME_EDGE), np.uint8))  # type: ignore[return-value]


def _middle(image: NDArray) -> NDArray:
    height, width = image.shape
    reach = round(max(image.shape) * MIDDLE_SHARE / 2)
    return image[
        max(0, height // 2 - reach) : height // 2 + reach, max(0, width // 2 - reach) : width // 2 + reach
    ]
