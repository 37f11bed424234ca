"""Which photos a model has learned from, short enough to travel inside the model file.

A photo is known by the first 32 bits of the SHA-256 of its file's bytes. Among 20,000 photos a foreign one is taken
for a known one 5 times in a million. Nothing else about a photo, and nothing about a person, is kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError

__all__ = ["LEARNED_NAME", "count_learned", "pack", "unpack"]

# The name of the associated file in a model file.
LEARNED_NAME = "learned-photos.bin"
_HEX_DIGITS = 8
_BYTES = 4
# A file of a million photos unpacks to 4 MB.
_MOST_PHOTOS = 10_000_000


def pack(digests: Iterable[str]) -> bytes:
    """The photos with these hexadecimal SHA-256 digests (or their first digits), as bytes for `unpack`.

    The sorted 32-bit numbers are stored as differences, byte by byte of their significance, and compressed.
    """
    numbers = _numbers(digests)
    differences = np.diff(numbers, prepend=np.zeros(1, numbers.dtype)).astype("<u4")
    return zlib.compress(differences.view(np.uint8).reshape(-1, _BYTES).T.tobytes(), 9)


def unpack(packed: bytes, source: str) -> NDArray[np.int64]:
    """The sorted 32-bit numbers that `pack` stored.

    Raises:
        ModelError: the bytes are damaged; ``source`` names their file.
    """
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, _MOST_PHOTOS * _BYTES)
    except zlib.error as error:
        raise ModelError(
            f"the list of learned photos in '{source}' is damaged ({error}); copy it again"
        ) from error
    if not inflate.eof or len(content) % _BYTES:
        raise ModelError(f"the list of learned photos in '{source}' is cut off; copy it again")
    planes = np.frombuffer(content, np.uint8).reshape(_BYTES, -1)
    differences = np.ascontiguousarray(planes.T).view("<u4").ravel()
    return np.cumsum(differences, dtype=np.int64)


def count_learned(digests: Iterable[str], learned: NDArray[np.int64]) -> int:
    """How many of the photos with these digests are among the learned ones; each file counts."""
    asked = np.array([int(digest[:_HEX_DIGITS], 16) for digest in digests if digest], np.int64)
    return int(np.isin(asked, learned).sum())


def _numbers(digests: Iterable[str]) -> NDArray[np.int64]:
    """The sorted distinct numbers of the digests that are known."""
    return np.unique(np.array([int(digest[:_HEX_DIGITS], 16) for digest in digests if digest], np.int64))
