"""Reads and writes associated files of a model: files in the zip at the end of the .tflite.

`dermedge.edge.model.manifest` handles two of these files itself: the manifest and the label file.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.manifest import ZIP_EPOCH
from dermedge.edge.model.unpacking import ZIP_ERRORS, unpack

__all__ = ["MOST_BYTES", "attach_file", "read_associated"]

# A larger file is not unpacked, because a small zip can state that it holds gigabytes.
MOST_BYTES = 64_000_000


def attach_file(model: bytes, name: str, content: bytes) -> bytes:
    """Returns the model with one more associated file.

    The model must have a manifest. A later call of `dermedge.edge.model.manifest.attach` removes the file again.
    """
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
    return buffer.getvalue()


def read_associated(path: Path | str, name: str) -> bytes | None:
    """Returns the content of one associated file, or None if the model does not contain the file.

    Raises:
        ModelError: the model cannot be read, or the associated file is damaged. This error is also raised if the zip
            archive states that the associated file has more than `MOST_BYTES` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return unpack(archive, name, path, MOST_BYTES)
    except KeyError:
        return None
    except ZIP_ERRORS as error:
        if not zipfile.is_zipfile(path):
            return None
        raise ModelError(f"'{name}' in '{path}' is damaged ({error}); copy the model again") from error
    except OSError as error:
        raise ModelError(
            f"cannot read the model '{path}': {error.strerror}; check the path and its permissions"
        ) from error
