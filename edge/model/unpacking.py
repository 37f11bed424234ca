"""Unpacks files of the zip at the end of a .tflite, without trusting the sizes that the zip claims."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from dermedge.edge.errors import ModelError

__all__ = ["ZIP_ERRORS", "unpack"]

# The exceptions that zipfile raises for a damaged zip, an unknown compression or encryption, and wrongly encoded
# text.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
# Compression methods that zipfile unpacks piece by piece. It unpacks all others at once, where a kilobyte may become
# a gigabyte.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(archive: zipfile.ZipFile, name: str, path: Path | str, most_bytes: int) -> bytes:
    """Returns one file of a zip; ``path`` names the model in errors.

    Raises:
        ModelError: the file has more than ``most_bytes``, or is packed by another method than "stored" or "deflate".
        KeyError: the zip has no such file.
        ZIP_ERRORS: it is damaged.
    """
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS:
        raise ModelError(
            f"'{name}' in '{path}' is compressed by a method that dermedge does not read; pack it again, stored or "
            f"with deflate"
        )
    if info.file_size > most_bytes:
        raise ModelError(
            f"'{name}' in '{path}' would unpack to {info.file_size:,} bytes; more than {most_bytes:,} are not read"
        )
    with archive.open(info) as packed:
        # `read` gets a size, because without one it unpacks everything before it compares the size with the one that
        # the zip states.
        return packed.read(info.file_size + 1)
