"""Unpacks files of the zip at the end of a .tflite, without trusting the sizes that the zip states."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from dermedge.edge.errors import ModelError

__all__ = ["ZIP_ERRORS", "unpack"]

# zipfile raises one of these exceptions if the zip is damaged, if the compression or encryption is unknown, or if text
# is wrongly encoded.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
# zipfile unpacks files with these compression methods piece by piece. Files with any other method are unpacked in one
# step, which may turn one kilobyte into one gigabyte.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(archive: zipfile.ZipFile, name: str, path: Path | str, most_bytes: int) -> bytes:
    """Returns the content of one file in a zip. ``path`` names the model in error messages.

    Raises:
        ModelError: the file has more than ``most_bytes`` bytes, or is compressed with a method other than deflate.
        KeyError: the zip has no such file.
        ZIP_ERRORS: the zip is damaged.
    """
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS:
        raise ModelError(
            f"'{name}' in '{path}' is compressed with a method that dermedge does not read; "
            "compress it with deflate, or not at all"
        )
    if info.file_size > most_bytes:
        raise ModelError(
            f"'{name}' in '{path}' would unpack to {info.file_size:,} bytes, but dermedge reads at most "
            f"{most_bytes:,} bytes; replace '{name}' with a smaller file"
        )
    with archive.open(info) as packed:
        # The file may be larger than the zip states. Without a size, `read` would unpack the whole file before it
        # notices this.
        return packed.read(info.file_size + 1)
