"""A record of the photos that a model was trained on. It is small enough for the model file.

A photo is recorded as the first four bytes of a SHA-256 hash. If the photo has a published id, the id is hashed, so
that the size and the folder of the photo do not matter. Otherwise, the digest of the file is hashed. The four bytes
tell nothing about a person, and the photo cannot be recovered from them. If a model was trained on 40,000 photos, about
one in 100,000 other photos has the same four bytes as one of the training photos. `find_learned` allows for this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Photo, content_digest
from dermedge.train.data.photo_names import published_id

__all__ = ["LEARNED_NAME", "find_learned", "learned_photos", "merge_learned"]

# The record is stored in a model file as an associated file with this name.
LEARNED_NAME = "learned-photos.bin"

_KEY = np.dtype(">u4")
_KEYS = 2**32
# Matches are attributed to chance if chance would give at least as many with a probability of this value or more.
_CHANCE = 0.01


def learned_photos(photos: Iterable[Photo]) -> bytes:
    """Returns the record of the photos that a model was trained on: four bytes for each photo.

    Args:
        photos: photos of the training split. A file is read only if the photo has neither a published id nor a digest.

    Raises:
        DataError: a photo cannot be read.
    """
    keys = {_key(Path(photo.path), photo.digest) for photo in photos}
    return np.array(sorted(keys), _KEY).tobytes()


def merge_learned(parts: Iterable[bytes]) -> bytes:
    """Merges several records of `learned_photos` into one.

    Raises:
        DataError: a record is damaged.
    """
    merged = [_keys_in(part) for part in parts if part]
    return np.unique(np.concatenate(merged)).astype(_KEY).tobytes() if merged else b""


def find_learned(learned: bytes, photos: Iterable[Photo]) -> list[Photo]:
    """Returns the photos that are in the record ``learned``, which `learned_photos` made.

    The record holds four bytes of a hash for each photo. A photo matches if its four bytes are in the record. Two
    different photos have the same four bytes with a probability of 2^-32, so some matches may be due to chance. If
    chance can explain all matches, the result is empty.

    Suppose that a model was trained on 20,000 photos. One match among 10,000 other photos is then attributed to chance,
    because its probability is 5 %. One match among 1,000 photos is not attributed to chance, and neither are two
    matches among 10,000 photos.

    Args:
        learned: the record.
        photos: photos to look up. A file is read only if the photo has neither a published id nor a digest.

    Raises:
        DataError: ``learned`` is damaged, or a photo cannot be read.
    """
    from scipy.stats import poisson

    known, photos = np.unique(_keys_in(learned)), list(photos)
    keys = np.array([_key(Path(photo.path), photo.digest) for photo in photos], _KEY)
    matches = np.isin(keys, known)
    expected = len(np.unique(keys)) * len(known) / _KEYS
    if poisson.sf(len(np.unique(keys[matches])) - 1, expected) >= _CHANCE:
        return []
    return [photo for photo, matched in zip(photos, matches, strict=True) if matched]


def _keys_in(learned: bytes) -> NDArray[np.uint32]:
    if len(learned) % _KEY.itemsize:
        raise DataError(
            f"the record of learned photos in the model is damaged: its size of {len(learned)} bytes is not a "
            "multiple of four; copy the model file again"
        )
    return np.frombuffer(learned, _KEY)


def _key(path: Path, digest: str) -> int:
    name = published_id(path.stem)
    if name is None:
        try:
            name = digest or content_digest(path)
        except OSError as error:
            raise DataError(
                f"cannot read the photo '{path}': {error.strerror or error}; check the path and its permissions"
            ) from error
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[: _KEY.itemsize], "big")
