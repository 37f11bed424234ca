"""Records a run in a folder: JSON lines, the frames of the answers, and the model and settings.

    DIR/20261124T211530Z/session.json    the model, its digest, the settings and, at the end, the drift over the run
    DIR/20261124T211530Z/frames.jsonl    one JSON object per line, for pandas.read_json(path, lines=True)
    DIR/20261124T211530Z/000042.jpg      a frame; one line in frames.jsonl contains this file name

A line is written whenever the state or the words of the answer change. The words are the headline, the alert if it is
on, and a note if the frame is a close-up. While nothing changes, one line a second is written. When a new answer is
shown, the frame is stored as a photo, and the line contains the file name of the photo. The photo is on the disk before
the line. Each photo of a folder gets a line, and is stored if there is an answer for it.

Each line is on the disk when `show` returns, so a power cut loses at most the last line. If a power cut leaves an
incomplete line, the next recording into the same folder removes this line.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from dermedge.edge.drift import NO_DRIFT, drift_to_json
from dermedge.edge.errors import StorageError
from dermedge.edge.files import storage_error, write_bytes, write_text
from dermedge.edge.photos import encode_image
from dermedge.edge.printable import printable_json
from dermedge.edge.results import FrameResult
from dermedge.edge.states import ANSWERED, State
from dermedge.edge.views.jsonlines import to_json

__all__ = ["LINES_NAME", "SESSION_NAME", "RecordView", "is_running", "mend", "sync_folder"]

SESSION_NAME, LINES_NAME = "session.json", "frames.jsonl"
_INTERVAL_S = 1.0
_JPEG_QUALITY = 95
_BYTES_PER_MB = 1e6
_BLOCK_BYTES = 2**16
# `write_beside` gives these names to the temporary files of a session: .session.PID.part.json and .000042.PID.part.jpg.
_PART = re.compile(r"\.(session|[0-9]+)\.[0-9]+\.part\.(json|jpg)")


class RecordView:
    """Records the results that `show` receives, in a new folder below ``folder``.

    Recording stops with a message in two cases: the recordings below ``folder`` have reached ``limit_mb``, or a line
    or photo cannot be written, for example because the disk is full or the session was deleted. The other views
    continue. Earlier recordings are never deleted. No incomplete line remains.

    Args:
        session: the values to write into session.json. At the exit, the view adds the key ``drift``, which compares the
            latest hour of the run with the first hour.
        limit_mb: the largest total size of all recordings below ``folder``, in MB.

    Raises:
        StorageError: at the entry of the ``with`` block, if the folder cannot be made or written. If the disk is full,
            no error is raised, and recording stops.
    """

    def __init__(self, folder: Path, session: dict[str, Any], limit_mb: float) -> None:
        self._folder = folder
        self._session = session
        self._limit_mb = limit_mb
        self._room = limit_mb * _BYTES_PER_MB
        self._descriptor = -1
        self._size = 0
        self._recorded: tuple[State, str] | None = None
        self._due_s = 0.0
        self._drift = NO_DRIFT

    def __enter__(self) -> RecordView:
        try:
            self._start()
        except StorageError as error:
            if not _is_full(error):
                raise
            self._stop(error)
        else:
            self._report_if_full()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._write_last()

    def show(self, result: FrameResult) -> bool:
        self._drift = result.drift
        now = time.monotonic()
        changed = result.is_of_photo or result.meaning != self._recorded
        if self._room > 0 and (changed or now >= self._due_s):
            try:
                self._keep(result, with_photo=changed and result.state in ANSWERED)
            except StorageError as error:
                self._stop(error)
            self._recorded, self._due_s = result.meaning, now + _INTERVAL_S
        return True

    def finish(self) -> None:
        pass

    def _start(self) -> None:
        """Makes the folder of the session, writes session.json and opens frames.jsonl.

        Raises:
            StorageError: if the folder cannot be made, or if a file in it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            mend(self._folder)
            self._room -= sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
            self.path = _new_folder(self._folder)
            self._write_first()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self.path / LINES_NAME, flags, 0o644)
            sync_folder(self.path)
        except OSError as error:
            raise storage_error(self._folder, error) from error

    def _stop(self, error: StorageError) -> None:
        """Stops recording, and prints the reason."""
        self._room = 0
        print(f"dermedge: classification goes on, but recording has stopped: {error}", file=sys.stderr)

    def _keep(self, result: FrameResult, with_photo: bool) -> None:
        try:
            os.stat(self.path / LINES_NAME)  # this raises an error if the session was deleted or moved
            photo = self._keep_photo(result) if with_photo else None
            content = f"{printable_json({**to_json(result), 'picture': photo})}\n".encode()
            written = os.write(self._descriptor, content)
            if written < len(content):
                os.write(self._descriptor, content[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise storage_error(self.path / LINES_NAME, error) from error
        self._size += len(content)
        self._room -= len(content)
        self._report_if_full()

    def _write_first(self) -> None:
        """Writes session.json. If that fails, removes the empty folder of the session and raises StorageError."""
        try:
            self._write_session({})
        except StorageError:
            self.path.rmdir()
            raise

    def _write_last(self) -> None:
        """Adds the comparison of the latest hour with the first hour to session.json, under the key ``drift``.

        If the file cannot be written, it stays unchanged. If the session was deleted or moved, or cannot be reached,
        no file is written.
        """
        # Path.exists raises an error if a network drive is gone
        if not os.path.exists(self.path / LINES_NAME):
            return
        with suppress(StorageError):
            self._write_session({"drift": drift_to_json(self._drift)})

    def _write_session(self, more: dict[str, Any]) -> None:
        session = json.dumps({**self._session, **more}, indent=1, ensure_ascii=False, default=str)
        write_text(self.path / SESSION_NAME, f"{session}\n")

    def _report_if_full(self) -> None:
        if self._room <= 0:
            print(
                f"dermedge: nothing more is recorded, because '{self._folder}' has reached the limit of "
                f"{self._limit_mb:g} MB; delete old recordings, or set a higher --record-limit",
                file=sys.stderr,
            )

    def _keep_photo(self, result: FrameResult) -> str | None:
        """Stores the frame as a photo, without painted text. Returns the file name, or None if there is no frame."""
        if result.frame is None:
            return None
        path = self.path / f"{result.frame.number:06d}.jpg"
        content = encode_image(result.frame.image_bgr, path.suffix, _JPEG_QUALITY)
        write_bytes(path, content)
        sync_folder(self.path)
        self._room -= len(content)
        return path.name


def _is_full(error: StorageError) -> bool:
    """Tells whether the disk is full, or the user's disk quota is used up."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def mend(folder: Path) -> None:
    """Removes incomplete lines and incomplete photos from the sessions below a folder.

    Incomplete lines and photos remain if the power fails, or if the process is killed. The folder may also contain
    files of the user and of other programs. They are not changed.
    """
    for part in folder.glob("*/.*.part*"):
        if _PART.fullmatch(part.name) and not is_running(part):
            part.unlink(missing_ok=True)
    for session in folder.glob(f"*/{SESSION_NAME}"):
        path = session.with_name(LINES_NAME)
        if not path.is_file():
            continue
        with path.open("rb") as handle:
            size, end_of_lines = handle.seek(0, os.SEEK_END), _end_of_lines(handle)
        if end_of_lines < size:
            os.truncate(path, end_of_lines)


def _end_of_lines(handle: BinaryIO) -> int:
    """Returns the size of an open file without its incomplete last line.

    The file is read from the present position back to its start, and in blocks, because a session of a few weeks may be
    larger than the memory.
    """
    end = handle.tell()
    while end:
        start = max(end - _BLOCK_BYTES, 0)
        handle.seek(start)
        at = handle.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def is_running(part: Path) -> bool:
    """Tells whether the process that writes this temporary file still runs. The file name contains the process ID."""
    numbers = [one for one in part.name.split(".") if one.isdecimal()]
    return bool(numbers) and Path(f"/proc/{numbers[-1]}").exists()


def _new_folder(folder: Path) -> Path:
    """Makes a folder whose name is the current time in UTC. If the name is taken, adds a number to the name.

    Two recordings can begin at the same time according to the clock. For example, the clock of a board without a
    battery can show the same time after each start of the board.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 10000):
        path = folder / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, f"all folder names for the time {stamp} are taken")


def sync_folder(folder: Path) -> None:
    """Flushes the file names in a folder to the disk. Does nothing on Windows, which cannot open a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
