"""Reads the index of an MP4 or QuickTime video, which describes its tracks (ISO/IEC 14496-12)."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_hdr", "read_index"]

# At most this many bytes of an index are read, because a damaged file may claim a size that would fill the memory.
_MOST_INDEX_BYTES = 64 * 2**20
# ITU-T H.273 gives these numbers to the two transfer functions of HDR video: PQ and HLG.
_HDR_TRANSFERS = (16, 18)


def is_hdr(path: Path) -> bool:
    """Tells whether the index of a video states a transfer function of HDR.

    If the video has no index, the function returns False.
    """
    index = read_index(path)
    for box in (b"colrnclx", b"colrnclc"):
        at = index.find(box)
        # the numbers of the primaries, the transfer function and the matrix follow; each number has two bytes
        if 0 <= at <= len(index) - 14:
            return struct.unpack_from(">H", index, at + 10)[0] in _HDR_TRANSFERS
    return False


def read_index(path: Path) -> bytes:
    """Returns the content of the box ``moov``, or empty bytes if the file has no such box or cannot be read."""
    try:
        with path.open("rb") as handle:
            return _index(handle)
    except OSError:
        return b""


def _index(handle: BinaryIO) -> bytes:
    file_bytes = handle.seek(0, os.SEEK_END)
    position = handle.seek(0)
    while len(head := handle.read(16)) >= 8:
        size, kind = struct.unpack(">I4s", head[:8])
        start = 8
        if size == 1 and len(head) == 16:  # the size follows as a 64-bit number
            size, start = struct.unpack(">Q", head[8:])[0], 16
        if kind == b"moov":
            handle.seek(position + start)
            return handle.read(min(max(size - start, 0), _MOST_INDEX_BYTES))
        position += size
        # in a file that is neither MP4 nor QuickTime, the size may be any number, even an impossible one
        if size < start or position > file_bytes:
            return b""
        handle.seek(position)
    return b""
