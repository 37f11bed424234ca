"""Errors that the user can correct. The command line prints such an error in one line and exits with status 2.

DermedgeError
├── OptionError    an option, label or name that is not known
├── ModelError     a model file that is missing, damaged or unsuitable
├── PictureError   a photo that cannot be read
├── SourceError    a camera, video or folder that cannot be opened or has died
│   └── SourceLost     a live source that stopped, and that is being opened again
├── DataError      labelled photos that cannot be used to train or score
├── StorageError   a file that cannot be written
├── ToolError      a program beside Python that is missing, or failed
├── WorkerError    a process of a multi-machine training that cannot be reached, or has ended
└── MissingExtra   a package that is not installed
"""

from __future__ import annotations

from dermedge.edge.installation import install_hint

__all__ = [
    "DataError",
    "DermedgeError",
    "MissingExtra",
    "ModelError",
    "OptionError",
    "PictureError",
    "SourceError",
    "SourceLost",
    "StorageError",
    "ToolError",
    "WorkerError",
]


class DermedgeError(Exception):
    """Base class of all errors; the text says what was wrong, which value was received, and how to correct it."""


class OptionError(DermedgeError):
    """An option, label or name is not one of the known ones."""


class ModelError(DermedgeError):
    """A model file is missing, truncated, foreign or refused by the runtime."""


class PictureError(DermedgeError):
    """A photo is missing or cannot be decoded."""


class SourceError(DermedgeError):
    """A frame source cannot be opened, or stopped delivering frames."""


class SourceLost(SourceError):  # noqa: N818 - reads as what it is
    """A live source stopped delivering frames and is being opened again; a later read may deliver a frame."""


class DataError(DermedgeError):
    """A labelled set cannot be used: no classes, too few photos, contradicting tables."""


class StorageError(DermedgeError):
    """A file cannot be written: disk full, no permission, or it exists already."""


class ToolError(DermedgeError):
    """An external program is missing, or failed."""


class WorkerError(DermedgeError):
    """A worker of a multi-machine training cannot be reached, or has ended."""


class MissingExtra(DermedgeError):  # noqa: N818 - reads as what it is
    """A package is not installed.

    Args:
        package: its name.
        extra: the extra of dermedge that brings it; None for one that dermedge always needs.
        note: what the package is needed for, if the command does not make that clear.
        cure: what to do, if installing the package is not enough.
    """

    def __init__(self, package: str, extra: str | None = None, note: str = "", cure: str = "") -> None:
        needed = f"{package}, {note}" if note else package
        super().__init__(f"this command needs {needed}; {cure or install_hint(package, extra)}")
