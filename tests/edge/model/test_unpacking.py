"""A zip whose sizes are wrong, or that is packed in an unusual way, takes no memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model.unpacking import unpack

NAME, MOST_BYTES = "notes.txt", 1000
# The positions of the unpacked size: in the header of a file, and in the entry of the file in the central directory.
SIZE_IN_HEADER, SIZE_IN_DIRECTORY = 22, 24


def packed(content: bytes, method: int, claimed_bytes: int | None = None) -> bytes:
    """Returns a zip with one file. The zip claims that the unpacked file has this number of bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(NAME, content)
    made = bytearray(buffer.getvalue())
    if claimed_bytes is not None:
        directory = made.rindex(b"PK\x01\x02")
        for place in (SIZE_IN_HEADER, directory + SIZE_IN_DIRECTORY):
            made[place : place + 4] = struct.pack("<I", claimed_bytes)
    return bytes(made)


def unpacked(made: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        return unpack(archive, NAME, Path("m.tflite"), MOST_BYTES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_of_the_size_that_it_claims_comes_back(method: int) -> None:
    assert unpacked(packed(b"x" * MOST_BYTES, method)) == b"x" * MOST_BYTES


def test_a_file_that_is_larger_than_it_claims_is_damaged_and_is_not_unpacked() -> None:
    made = packed(bytes(30_000_000), zipfile.ZIP_DEFLATED, claimed_bytes=100)
    tracemalloc.start()
    try:
        with pytest.raises(zipfile.BadZipFile):
            unpacked(made)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_all_at_once_is_refused(method: int) -> None:
    with pytest.raises(
        ModelError,
        match=r"'notes\.txt' in 'm\.tflite' is compressed with a method that dermedge does not read",
    ):
        unpacked(packed(bytes(1_000_000), method, claimed_bytes=100))


def test_a_file_with_more_bytes_than_are_read_is_refused() -> None:
    with pytest.raises(
        ModelError, match="would unpack to 1,001 bytes, but dermedge reads at most 1,000 bytes;"
    ):
        unpacked(packed(bytes(MOST_BYTES + 1), zipfile.ZIP_STORED))
