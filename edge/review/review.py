"""The review of a recording: chooses the photo to review next, and stores the reviewer's decisions in a table."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dermedge.edge.errors import OptionError
from dermedge.edge.printable import printable
from dermedge.edge.review.recorded import RecordedPhoto, read_recording
from dermedge.edge.review.table import CONFIRMED, CORRECTED, DISCARDED, TABLE_NAME, ReviewRow, ReviewTable

__all__ = ["Review", "ReviewStatus"]

_MOST_LETTERS = 100


@dataclass(frozen=True)
class ReviewStatus:
    """The progress of a review.

    Attributes:
        photo: the photo to review next, or None if all photos are reviewed.
        following: the photo that comes after ``photo``, or None. The page can load this photo in advance.
        last: the last decision, which can be undone, or None if there is no decision.
        lesion_name: the name that the reviewer gave to the lesion in ``photo`` during this visit, or empty.
        total: number of photos in the recording.
        decided: number of photos with a decision.
        decisions: how many photos were confirmed, corrected and discarded. Each key is one of these three words.
        groups: number of groups of photos that `dermedge train` never splits. Discarded photos do not count.
    """

    photo: RecordedPhoto | None
    following: RecordedPhoto | None
    last: ReviewRow | None
    lesion_name: str
    total: int
    decided: int
    decisions: Counter[str]
    groups: int


class Review:
    """Presents the photos of a recording one after another, and stores each decision in a table.

    The photo with the least certain answer comes first. Several threads may call the methods.

    Args:
        folder: a folder that `dermedge run --record` wrote. The table is stored in this folder.

    Attributes:
        table_path: path of the table.
        labels: the classes of all models whose answers were recorded.
        notes: a sentence for each file, line or photo of the recording that could not be read.

    Raises:
        SourceError: if the folder contains no recorded photo.
        DataError: if the table in the folder cannot be read, or was not written by a review.
    """

    def __init__(self, folder: Path) -> None:
        recording = read_recording(folder)
        self.labels, self.notes = recording.labels, recording.notes
        self.table_path = folder / TABLE_NAME
        self._folder = folder
        self._table = ReviewTable(self.table_path)
        # The photo with the least certain answer comes first. This is least confidence sampling (Lewis and Gale, "A
        # Sequential Algorithm for Training Text Classifiers", 1994)
        self._photos = sorted(recording.photos, key=lambda photo: (photo.certainty, photo.path))
        self._again = ""
        self._lock = threading.Lock()

    def status(self) -> ReviewStatus:
        """Returns the progress of the review."""
        with self._lock:
            return self._status()

    def file_of(self, path: str) -> Path | None:
        """Returns the file of the photo with this path, or None if the recording has no such photo."""
        known = any(photo.path == path for photo in self._photos)
        return self._folder / path if known else None

    def decide(self, path: str, label: str, lesion_name: str = "") -> ReviewStatus:
        """Stores the decision on the current photo, which is the first photo without a decision.

        Args:
            path: path of the photo on which the reviewer decided. It must be the photo to review next.
            label: the class, or an empty text to discard the photo.
            lesion_name: name of the lesion, or empty. The name applies to all photos of the same visit.

        Raises:
            OptionError: in two cases: ``path`` is not the path of the photo to review next; or one of ``label`` and
                ``lesion_name`` is too long, or contains a character that cannot be printed.
            StorageError: if the table cannot be written.
        """
        with self._lock:
            photo = self._status().photo
            if photo is None or photo.path != path:
                raise OptionError(f"'{path}' is not the photo to review next; reload the page")
            row = _row(photo, _checked(label), _checked(lesion_name))
            self._table.add(row)
            self._again = ""
            return self._status()

    def undo(self) -> ReviewStatus:
        """Undoes the last decision. The photo of this decision must then be reviewed again, before all others.

        A decision from an earlier start of `dermedge review` can be undone too.

        Raises:
            OptionError: if there is no decision.
            StorageError: if the table cannot be written.
        """
        with self._lock:
            row = self._table.take_back()
            if row is None:
                raise OptionError("there is no decision to undo; decide on a photo first")
            self._again = row.path
            return self._status()

    def _status(self) -> ReviewStatus:
        rows = {row.path: row for row in self._table.rows}
        left = [photo for photo in self._photos if photo.path not in rows]
        left.sort(key=lambda photo: photo.path != self._again)
        known = {photo.path for photo in self._photos}
        photo, following = [*left[:2], None, None][:2]
        return ReviewStatus(
            photo=photo,
            following=following,
            last=self._table.rows[-1] if self._table.rows else None,
            lesion_name=self._table.lesions().get(photo.visit, "") if photo else "",
            total=len(self._photos),
            decided=len(self._photos) - len(left),
            decisions=Counter(row.decision for path, row in rows.items() if path in known),
            groups=self._table.count_groups(),
        )


def _row(photo: RecordedPhoto, label: str, lesion_name: str) -> ReviewRow:
    decision = DISCARDED if not label else CONFIRMED if label == photo.label else CORRECTED
    return ReviewRow(
        path=photo.path,
        label=label,
        decision=decision,
        lesion_told=lesion_name,
        session=photo.session,
        visit=photo.visit,
        model_label=photo.label,
        model_probability="" if photo.probability is None else f"{photo.probability:.6f}",
        model_sha256=photo.model_sha256,
        captured_at=photo.captured_at,
        reviewed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _checked(text: str) -> str:
    """Returns a name without spaces at the start and end, and with single spaces between words.

    Raises:
        OptionError: if the name is too long, or contains a character that cannot be printed.
    """
    text = " ".join(text.split())
    if len(text) > _MOST_LETTERS:
        raise OptionError(f"the name has {len(text)} characters; use at most {_MOST_LETTERS}")
    if not text.isprintable():
        raise OptionError(
            f"the name '{printable(text)}' contains a character that cannot be printed; type it again"
        )
    return text
