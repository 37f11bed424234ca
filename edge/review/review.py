"""The review of a recording: chooses the next photo, and keeps the decisions on the others."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dermedge.edge.errors import OptionError
from dermedge.edge.review.recorded import RecordedPhoto, read_recording
from dermedge.edge.review.table import CONFIRMED, CORRECTED, DISCARDED, TABLE_NAME, ReviewRow, ReviewTable

__all__ = ["Review", "ReviewStatus"]

_MOST_LETTERS = 100


@dataclass(frozen=True)
class ReviewStatus:
    """The progress of a review.

    Attributes:
        photo: the photo to review next, or None at the end.
        following: the photo after it, so that a page can load it in advance.
        last: the last decision, which can be undone.
        lesion_name: the name that the lesion of ``photo`` has from earlier photos, or empty.
        total: number of photos in the recording.
        decided: number of photos with a decision.
        decisions: decision -> number of photos.
        groups: number of groups among the photos with a label.
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
    """Shows the photos of a recording in turn, the least certain first, and keeps each decision in the table.

    Its methods may be called from several threads.

    Args:
        folder: a folder that `dermedge run --record` wrote. The table is in it.

    Attributes:
        table_path: path of the table.
        labels: the classes of the models.
        notes: one sentence for each thing in the recording that could not be read.

    Raises:
        SourceError: there is no recorded photo.
        DataError: the table is not one of a review.
    """

    def __init__(self, folder: Path) -> None:
        recording = read_recording(folder)
        self.labels, self.notes = recording.labels, recording.notes
        self.table_path = folder / TABLE_NAME
        self._folder = folder
        self._table = ReviewTable(self.table_path)
        # least confidence sampling (Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", 1994)
        self._photos = sorted(recording.photos, key=lambda photo: (photo.certainty, photo.path))
        self._again = ""
        self._lock = threading.Lock()

    def status(self) -> ReviewStatus:
        """Returns the progress of the review."""
        with self._lock:
            return self._status()

    def file_of(self, path: str) -> Path | None:
        """Returns the file of a photo of this recording; None for any other path."""
        known = any(photo.path == path for photo in self._photos)
        return self._folder / path if known else None

    def decide(self, path: str, label: str, lesion_name: str = "") -> ReviewStatus:
        """Keeps a decision on the photo that is shown.

        Args:
            path: path of that photo, so that the decision is never applied to another one.
            label: the class; empty to discard the photo.
            lesion_name: name of the lesion, or empty. It applies to all photos of the visit.

        Raises:
            OptionError: another photo is shown, or a text is too long or cannot be printed.
            StorageError: the table cannot be written.
        """
        with self._lock:
            photo = self._status().photo
            if photo is None or photo.path != path:
                raise OptionError(f"'{path}' is not the photo that is shown; reload the page")
            row = _row(photo, _checked(label), _checked(lesion_name))
            self._table.add(row)
            self._again = ""
            return self._status()

    def undo(self) -> ReviewStatus:
        """Undoes the last decision, even one of an earlier start of the program, and shows its photo again.

        Raises:
            OptionError: there is no decision.
            StorageError: the table cannot be written.
        """
        with self._lock:
            row = self._table.take_back()
            if row is None:
                raise OptionError("there is no decision to take back")
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
    """Returns a name without spaces around it, as the table stores it; raises OptionError."""
    text = " ".join(text.split())
    if len(text) > _MOST_LETTERS or not text.isprintable():
        raise OptionError(f"a name has at most {_MOST_LETTERS} letters, and none that cannot be printed")
    return text
