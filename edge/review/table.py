"""The table of a review, ``review.csv``: one row for each photo that was decided on, in the order of the decisions.

`dermedge train --data` reads its columns ``path``, ``label``, ``group`` and ``lesion``. The row of a discarded photo
has no label, so that no model is trained on it. After each decision, the table is written to a temporary file that
then replaces it, so that it is complete at any moment. A change that another program made is never overwritten.

No split may cut a group. A session is one group, since its photos may show one lesion several times. Photos whose
lesions have the same name are one group too, even from different sessions. If each photo of a session has a lesion
name, the lesions are the groups, and not the session.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dermedge.edge.errors import DataError, StorageError
from dermedge.edge.files import write_text
from dermedge.edge.views.record import is_running, sync_folder

__all__ = ["CONFIRMED", "CORRECTED", "DISCARDED", "TABLE_NAME", "ReviewRow", "ReviewTable"]

TABLE_NAME = "review.csv"
CONFIRMED, CORRECTED, DISCARDED = _DECISIONS = ("confirmed", "corrected", "discarded")
# Columns that are computed from the rows.
_GROUP, _LESION = "group", "lesion"


@dataclass(frozen=True)
class ReviewRow:
    """One decision; an unknown value is an empty string.

    Attributes:
        path: path of the photo, below the table's folder.
        label: the class; empty for a photo that was discarded.
        decision: confirmed, corrected or discarded.
        lesion_told: name of the lesion, if the reviewer entered one with this photo; it applies to the whole visit.
        session: session of the recording.
        visit: visit, as in `RecordedPhoto`.
        model_label: the class that the model answered.
        model_probability: its probability, 0 to 1.
        model_sha256: the digest of the model file.
        captured_at: ISO 8601 in UTC.
        reviewed_at: ISO 8601 in UTC.
    """

    path: str
    label: str
    decision: str
    lesion_told: str
    session: str
    visit: str
    model_label: str
    model_probability: str
    model_sha256: str
    captured_at: str
    reviewed_at: str


_COLUMNS = [one.name for one in fields(ReviewRow)]
_HEADER = [*_COLUMNS[:2], _GROUP, _LESION, *_COLUMNS[2:]]


class ReviewTable:
    """A table on the disk, and its rows. Use it from one thread at a time.

    Args:
        path: path of the table, which need not exist yet.

    Raises:
        DataError: there is a table that this class did not write, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _remove_half_written(path)
        self._content = _content(path)
        self._rows = _parsed(path, self._content)

    @property
    def rows(self) -> Sequence[ReviewRow]:
        """The decisions, the first one first."""
        return tuple(self._rows)

    def add(self, row: ReviewRow) -> None:
        """Adds a decision, and writes it to the disk before it returns.

        Raises:
            StorageError: the table cannot be written, or another program has changed it; nothing is added.
        """
        self._write([*self._rows, row])

    def take_back(self) -> ReviewRow | None:
        """Removes and returns the last decision; returns None if there is none. Raises StorageError, as `add` does."""
        if not self._rows:
            return None
        last = self._rows[-1]
        self._write(self._rows[:-1])
        return last

    def lesions(self) -> dict[str, str]:
        """Returns visit -> the latest name of its lesion."""
        return _lesions(self._rows)

    def count_groups(self) -> int:
        """Returns how many groups the photos with a label make."""
        groups: list[set[str]] = []
        for row, (group, lesion) in zip(self._rows, _groups(self._rows), strict=True):
            if not row.label:
                continue
            names = {f"session {group}" if group else "", f"lesion {lesion}" if lesion else ""} - {""}
            linked = [one for one in groups if one & names]
            groups = [one for one in groups if one not in linked] + [names.union(*linked)]
        return len(groups)

    def _write(self, rows: list[ReviewRow]) -> None:
        if _content(self.path) != self._content:
            raise StorageError(
                f"another program has changed '{self.path}' since this review began; stop the review and start it again"
            )
        text = io.StringIO()
        writer = csv.DictWriter(text, _HEADER, lineterminator="\n")
        writer.writeheader()
        for row, (group, lesion) in zip(rows, _groups(rows), strict=True):
            writer.writerow(asdict(row) | {_GROUP: group, _LESION: lesion})
        write_text(self.path, text.getvalue())
        sync_folder(self.path.parent)
        self._rows, self._content = rows, _content(self.path)


def _remove_half_written(path: Path) -> None:
    """Removes temporary files that a killed review left beside a table."""
    for part in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
        if not is_running(part):
            part.unlink(missing_ok=True)


def _lesions(rows: Iterable[ReviewRow]) -> dict[str, str]:
    return {row.visit: row.lesion_told for row in rows if row.lesion_told}


def _groups(rows: Sequence[ReviewRow]) -> list[tuple[str, str]]:
    """Returns two names for each row: its session, if that is its group, and its lesion; either may be empty."""
    lesions = _lesions(rows)
    whole = {row.session for row in rows if row.label and row.visit not in lesions}
    return [(row.session if row.session in whole else "", lesions.get(row.visit, "")) for row in rows]


def _content(path: Path) -> bytes:
    """Returns the bytes of a table; none where there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(f"cannot read the table '{path}': {error.strerror or error}") from error


def _parsed(path: Path, content: bytes) -> list[ReviewRow]:
    if not content:
        return []
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        if sorted(reader.fieldnames or ()) != sorted(_HEADER):
            # with the next decision, a column that another program added would be lost
            raise _foreign(path)
        rows = [{key: row[key] for key in _COLUMNS} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _foreign(path) from error
    if any(None in row.values() or row["decision"] not in _DECISIONS for row in rows):
        raise _foreign(path)
    return [ReviewRow(**row) for row in rows]


def _foreign(path: Path) -> DataError:
    return DataError(
        f"'{path}' is not a table that dermedge review wrote, or it is damaged; move it to another folder, or mend it"
    )
