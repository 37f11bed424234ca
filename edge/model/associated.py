"""Reads and writes further files in the zip at the end of a .tflite, besides the manifest and the labels."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.manifest import ZIP_EPOCH
from dermedge.edge.model.unpacking import ZIP_ERRORS, unpack

__all__ = ["MOST_BYTES", "attach_file", "read_associated"]

# A larger file is not unpacked: a small zip can claim gigabytes.
MOST_BYTES = 64_000_000


def attach_file(model: bytes, name: str, content: bytes) -> bytes:
    """Returns the model, which must have a manifest, with one more associated file; a later `attach` drops it."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
    return buffer.getvalue()


def read_associated(path: Path | str, name: str) -> bytes | None:
    """Returns the content of one associated file, or None if the model does not have it.

    Raises:
        ModelError: the file claims more than `MOST_BYTES`, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return unpack(archive, name, path, MOST_BYTES)
    except KeyError:
        return None
    except ZIP_ERRORS as error:
        if not zipfile.is_zipfile(path):
            return None
        raise ModelError(f"'{name}' in '{path}' is damaged ({error}); copy it again") from error
    except OSError as error:
        raise ModelError(f"cannot read the model '{path}': {error.strerror}") from error
