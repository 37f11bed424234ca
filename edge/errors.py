"""Errors that the user can correct. The command line prints such an error in one line and exits with status 2.

DermedgeError
├── OptionError    an option, label or name that is not known or does not fit
├── ModelError     a model file that is missing, damaged or unsuitable
├── PictureError   a photo that cannot be read
├── SourceError    a camera, video or folder that cannot be opened, or a camera that stopped
│   └── SourceLost     a live source that stopped and is being opened again
├── DataError      labelled photos that cannot be used to train or evaluate
├── StorageError   a file that cannot be written
├── ToolError      an external program that is missing or has failed
├── WorkerError    a worker of a multi-machine training run that cannot be reached or has ended
└── MissingExtra   a package that is not installed
"""

from __future__ import annotations

from dermedge.edge.installation import install_hint

__all__ = [
    "DataError",
    "DermedgeError",
    "MissingExtra",
    "ModelError",
    "ModelWarning",
    "OptionError",
    "PictureError",
    "SourceError",
    "SourceLost",
    "StorageError",
    "ToolError",
    "WorkerError",
]


class DermedgeError(Exception):
    """Base class of all errors. The text says what is wrong, names the received value, and says how to correct it."""


class OptionError(DermedgeError):
    """An option, label or name is not known, or does not fit the other options."""


class ModelError(DermedgeError):
    """A model file is missing, truncated or of an unsupported kind, or the TFLite runtime rejects it."""


class ModelWarning(UserWarning):
    """A model file does not say everything that is needed to run it, so that its answers may be wrong."""


class PictureError(DermedgeError):
    """A photo is missing or cannot be decoded, or a frame is not uint8."""


class SourceError(DermedgeError):
    """A frame source cannot be opened, or stopped delivering frames."""


class SourceLost(SourceError):  # noqa: N818 - the name is clear without the suffix Error
    """A live source stopped delivering frames and is being opened again; a later read may deliver a frame."""


class DataError(DermedgeError):
    """Labelled photos cannot be used: there are no classes or too few photos, or tables contradict each other."""


class StorageError(DermedgeError):
    """A file cannot be written: the disk is full, permission is missing, or the file exists already."""


class ToolError(DermedgeError):
    """An external program is missing or has failed."""


class WorkerError(DermedgeError):
    """A worker of a multi-machine training run cannot be reached or has ended."""


class MissingExtra(DermedgeError):  # noqa: N818 - the name is clear without the suffix Error
    """A package is not installed.

    Args:
        package: the name of the package.
        extra: the extra of dermedge that installs the package. It is None if no extra installs the package.
        note: a relative clause about the package, such as "which is the only runtime for 32 bits". The message appends
            this clause to the name of the package.
        cure: the advice for the user. If it is empty, the message advises to install the package.
    """

    def __init__(self, package: str, extra: str | None = None, note: str = "", cure: str = "") -> None:
        needed = f"{package}, {note}" if note else package
        super().__init__(f"this command needs {needed}; {cure or install_hint(package, extra)}")
