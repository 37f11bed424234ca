"""Writes files and folders atomically, so that no program finds a half-written one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dermedge.edge.errors import StorageError

__all__ = [
    "check_file",
    "check_writable",
    "storage_error",
    "user_folder",
    "whole_folder",
    "write_beside",
    "write_bytes",
    "write_text",
]

_CURES = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EACCES: "you have no permission; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.EEXIST: "a file is in the way; choose another folder",
}


def storage_error(path: Path | str, error: OSError) -> StorageError:
    """Returns a StorageError of one line for a failed write to ``path``."""
    reason = _CURES.get(error.errno or 0, f"{error.strerror or error}; choose another path")
    return StorageError(f"cannot write '{path}': {reason}")


def user_folder(variable: str, below_home: str) -> Path:
    """Returns a folder of dermedge for this user. The folder may not exist yet.

    Args:
        variable: an environment variable of the XDG Base Directory Specification, which may name the parent folder.
        below_home: the parent folder in the user's home folder, if the variable is not set.

    Raises:
        StorageError: the variable is not set, and the user has no home folder.
    """
    try:
        return Path(os.environ.get(variable) or Path.home() / below_home) / "dermedge"
    except RuntimeError as error:
        raise StorageError(
            f"this user has no home folder; set the environment variable HOME or {variable} to a folder that you may "
            "write to"
        ) from error


def check_writable(folder: Path) -> None:
    """Raises StorageError if ``folder`` cannot be created or written to. This function creates nothing.

    Call this function before long work whose results will be written to ``folder``.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise storage_error(folder, NotADirectoryError(errno.ENOTDIR, "not a folder"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise storage_error(folder, PermissionError(errno.EACCES, "no permission"))


def check_file(path: Path) -> None:
    """Raises StorageError if ``path`` cannot be written as a file. This function creates nothing."""
    if path.is_dir():
        raise storage_error(path, IsADirectoryError(errno.EISDIR, "a folder"))
    _refuse_device(path)
    check_writable(path.parent)


@contextmanager
def write_beside(path: Path | str) -> Iterator[Path]:
    """Yields the path of a temporary file beside ``path``. When the block succeeds, the file is renamed to ``path``.

    The temporary file has the same suffix as ``path``, because some writers choose a format by the suffix. Missing
    parent folders are created. If the block fails, the temporary file is removed, and ``path`` stays as it was. If
    ``path`` is a link, the file that it points to is replaced. The permissions of a replaced file are kept.

    Raises:
        StorageError: the file cannot be written, for example because the disk is full or permission is missing. It is
            also raised if ``path`` is a device or a pipe, because the file would replace the device or the pipe.
    """
    target = Path(os.path.realpath(path))
    _refuse_device(target)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("r+b") as handle:
            os.fsync(handle.fileno())
        with suppress(OSError):  # usually, no file has this name yet
            shutil.copymode(target, part)
        os.replace(part, target)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which is renamed to ``folder`` if the block succeeds.

    If the block fails, the temporary folder is removed.

    Raises:
        StorageError: ``folder`` exists already, or cannot be written.
    """
    if folder.exists():
        raise StorageError(f"'{folder}' exists already; give the name of a new folder, or remove this one")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Writes ``content`` to ``path`` atomically. Raises StorageError if that fails."""
    with write_beside(path) as part:
        part.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    """Writes ``content`` to ``path`` as UTF-8, atomically. Raises StorageError if that fails.

    If ``content`` holds a file name that is not valid UTF-8, each invalid byte is written as an escape such as
    ``\\udce9``, as in JSON.
    """
    write_bytes(path, content.encode(errors="backslashreplace"))


def _refuse_device(path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise StorageError(f"cannot write '{path}': it is a device or a pipe; give the name of a file")
