"""Unpack files of the zip at the end of a .tflite, without trusting the sizes that it claims."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from dermedge.edge.errors import ModelError

__all__ = ["ZIP_ERRORS", "unpack"]

# The exceptions of zipfile for a damaged zip, for unknown packing or encryption, and for wrong text.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
# Methods that zipfile unpacks piece by piece. The others unpack all at once, and a kilobyte may become a gigabyte.
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
            f"'{name}' in '{path}' is packed by a method that is not read; pack it again, stored or with deflate"
        )
    if info.file_size > most_bytes:
        raise ModelError(
            f"'{name}' in '{path}' would unpack to {info.file_size:,} bytes; more than {most_bytes:,} are not read"
        )
    with archive.open(info) as packed:
        # A size is given, since `read` without one unpacks all before it looks at the size that the zip states.
        return packed.read(info.file_size + 1)
