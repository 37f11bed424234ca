"""Further files in the zip at the end of a .tflite, beside the manifest and the labels."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from dermedge.edge.errors import ModelError
from dermedge.edge.model.manifest import ZIP_EPOCH

__all__ = ["MOST_BYTES", "attach_file", "read_associated"]

# A larger file is not unpacked: a small zip can claim gigabytes.
MOST_BYTES = 64_000_000


def attach_file(model: bytes, name: str, content: bytes) -> bytes:
    """The model, which has a manifest already, with one more associated file; `attach` drops it again."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)
    return buffer.getvalue()


def read_associated(path: Path | str, name: str) -> bytes | None:
    """The content of one associated file, or None where the model does not have it.

    Raises:
        ModelError: the file claims more than `MOST_BYTES`, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > MOST_BYTES:
                raise ModelError(
                    f"'{name}' in '{path}' claims more than {MOST_BYTES // 1_000_000} MB; copy it again"
                )
            return archive.read(name)
    except KeyError:
        return None
    except zipfile.BadZipFile as error:
        if "not a zip file" in str(error):
            return None
        raise ModelError(f"'{name}' in '{path}' is damaged ({error}); copy it again") from error
    except OSError as error:
        raise ModelError(f"cannot read the model '{path}': {error.strerror}") from error
