"""The table of a review, ``review.csv``. It has one row for each decision, in the order of the decisions.

`dermedge train --data` reads the columns ``path``, ``label``, ``group`` and ``lesion``. The row of a discarded photo
has no label, so no model is trained on this photo.

After each decision, the whole table is written to a temporary file, which then replaces the old table. So the table is
never incomplete. If another program has changed the table, the review does not overwrite the table.

When `dermedge train` splits the photos, all photos of a group go into the same split. Usually, all photos of a session
form one group, because several photos may show the same lesion. If every labelled photo of a session has a lesion name,
each lesion forms a group instead. Photos with the same lesion name are always in the same group, even if the photos
come from different sessions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from dermedge.edge.errors import DataError, StorageError
from dermedge.edge.files import write_text
from dermedge.edge.text_table import csv_of
from dermedge.edge.views.record import is_running, sync_folder

__all__ = ["CONFIRMED", "CORRECTED", "DISCARDED", "TABLE_NAME", "ReviewRow", "ReviewTable"]

TABLE_NAME = "review.csv"
CONFIRMED, CORRECTED, DISCARDED = _DECISIONS = ("confirmed", "corrected", "discarded")
# The values of the columns ``group`` and ``lesion`` are computed from the other columns of all rows.
_GROUP, _LESION = "group", "lesion"


@dataclass(frozen=True)
class ReviewRow:
    """One decision. A value that is not known is an empty string.

    Attributes:
        path: path of the photo, relative to the folder of the table.
        label: the class that the reviewer chose, or empty for a discarded photo.
        decision: confirmed, corrected or discarded.
        lesion_told: the lesion name that the reviewer entered with this photo, or empty. The name applies to the whole
            visit.
        session: name of the session.
        visit: name of the visit. A visit is a part of a session in which the camera stays on one lesion.
        model_label: the class that the model answered.
        model_probability: the probability of ``model_label``, 0 to 1.
        model_sha256: the SHA-256 digest of the model file.
        captured_at: the time of the frame, as ISO 8601 in UTC.
        reviewed_at: the time of the decision, as ISO 8601 in UTC.
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
    """The rows of a table on the disk. Only one thread may use a table at a time.

    Args:
        path: path of the table. The file need not exist yet.

    Raises:
        DataError: if the file cannot be read, or is not a table of a review.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _remove_half_written(path)
        self._content = _content(path)
        self._rows = _parsed(path, self._content)

    @property
    def rows(self) -> Sequence[ReviewRow]:
        """The decisions, beginning with the first one."""
        return tuple(self._rows)

    def add(self, row: ReviewRow) -> None:
        """Adds a decision. The table is on the disk when this method returns.

        Raises:
            StorageError: if the table cannot be written, or if another program has changed the file. In both cases,
                this method changes nothing.
        """
        self._write([*self._rows, row])

    def take_back(self) -> ReviewRow | None:
        """Removes and returns the last decision, or returns None if there is no decision.

        Raises:
            StorageError: if the table cannot be written, or if another program has changed the file. In both cases,
                this method changes nothing.
        """
        if not self._rows:
            return None
        last = self._rows[-1]
        self._write(self._rows[:-1])
        return last

    def lesions(self) -> dict[str, str]:
        """Returns the last lesion name that the reviewer entered for each visit. Each key is the name of a visit."""
        return _lesions(self._rows)

    def count_groups(self) -> int:
        """Counts the groups of photos that `dermedge train` never splits. Discarded photos do not count."""
        # each name links to another name of its group, and the last name of the group links to itself (union-find)
        links: dict[str, str] = {}

        def last(name: str) -> str:
            while links.setdefault(name, name) != name:
                links[name] = name = links[links[name]]
            return name

        for row, (group, lesion) in zip(self._rows, _groups(self._rows), strict=True):
            names = [f"session {group}"] * bool(group) + [f"lesion {lesion}"] * bool(lesion)
            # in a table that somebody edited, a photo may have neither group nor lesion; it then forms its own group
            names = names or [f"photo {row.path}"]
            if row.label:
                links[last(names[0])] = last(names[-1])
        return sum(name == link for name, link in links.items())

    def _write(self, rows: list[ReviewRow]) -> None:
        if _content(self.path) != self._content:
            raise StorageError(
                f"another program has changed '{self.path}' since this review began; stop the review and start it again"
            )
        lines = [
            vars(row) | {_GROUP: group, _LESION: lesion}
            for row, (group, lesion) in zip(rows, _groups(rows), strict=True)
        ]
        write_text(self.path, csv_of(_HEADER, lines))
        sync_folder(self.path.parent)
        self._rows, self._content = rows, _content(self.path)


def _remove_half_written(path: Path) -> None:
    """Removes the temporary files that a killed review left beside a table."""
    for part in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
        if not is_running(part):
            part.unlink(missing_ok=True)


def _lesions(rows: Iterable[ReviewRow]) -> dict[str, str]:
    return {row.visit: row.lesion_told for row in rows if row.lesion_told}


def _groups(rows: Sequence[ReviewRow]) -> list[tuple[str, str]]:
    """Returns the values of the columns ``group`` and ``lesion`` for each row.

    ``lesion`` is the lesion name, or empty if the reviewer entered no name for the visit. ``group`` is the name of the
    session if at least one labelled photo of the session has no lesion name. If all labelled photos have lesion names,
    ``group`` is empty.
    """
    lesions = _lesions(rows)
    undivided = {row.session for row in rows if row.label and row.visit not in lesions}
    return [(row.session if row.session in undivided else "", lesions.get(row.visit, "")) for row in rows]


def _content(path: Path) -> bytes:
    """Returns the bytes of a table. If there is no file, returns empty bytes."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(
            f"cannot read the table '{path}': {error.strerror or error}; check its permissions"
        ) from error


def _parsed(path: Path, content: bytes) -> list[ReviewRow]:
    if not content:
        return []
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        if sorted(reader.fieldnames or ()) != sorted(_HEADER):
            # a table with other columns is refused, because the next decision would remove the other columns
            raise _foreign(path)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _foreign(path) from error
    # csv stores None for a missing cell. If a row has more cells than the header, csv stores the rest under the key
    # None.
    if any(None in row or None in row.values() or row["decision"] not in _DECISIONS for row in rows):
        raise _foreign(path)
    return [ReviewRow(**{key: row[key] for key in _COLUMNS}) for row in rows]


def _foreign(path: Path) -> DataError:
    return DataError(
        f"'{path}' was not written by dermedge review, or is damaged; move this file to another folder, or repair it"
    )
