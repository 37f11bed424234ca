"""Reads a recording of `dermedge run --record`: the photos, the answers, and which photos show the same lesion."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from dermedge.edge.errors import SourceError
from dermedge.edge.photos import is_photo_file
from dermedge.edge.printable import printable
from dermedge.edge.states import State
from dermedge.edge.views.record import LINES_NAME, SESSION_NAME

__all__ = ["RecordedPhoto", "Recording", "read_recording"]

# In these states, the camera may move to another lesion. So a recorded line with one of these states ends the visit to
# the lesion.
_AWAY = frozenset({State.SEARCHING, State.CAMERA_LOST})


@dataclass(frozen=True)
class RecordedPhoto:
    """A recorded photo and the model's answer.

    Attributes:
        path: path of the photo, relative to the folder of the recording, with ``/`` on every operating system.
        session: name of the folder of the session.
        visit: name of the visit. A visit is a part of a session in which the camera stays on one lesion.
        headline: the headline that the views showed, or empty if there is no headline on record.
        label: the answered class, or empty if there is no recorded line for the photo.
        probability: the probability of ``label``, 0 to 1, or None if there is no label.
        certainty: the highest probability of all classes, or 0 if there is no recorded line for the photo.
        probabilities: the probability of each class, 0 to 1.
        alert: the class whose alert was on, or empty.
        model_sha256: the SHA-256 digest of the model file, or empty if the session does not state it.
        captured_at: the time of the frame as ISO 8601 in UTC, or empty if the time is not known.
    """

    path: str
    session: str
    visit: str
    headline: str = ""
    label: str = ""
    probability: float | None = None
    certainty: float = 0.0
    probabilities: Mapping[str, float] = field(default_factory=dict)
    alert: str = ""
    model_sha256: str = ""
    captured_at: str = ""


@dataclass(frozen=True)
class Recording:
    """The photos of all sessions in a folder.

    Attributes:
        photos: the photos, sorted by session. In each session, the photos are in the order of the recorded lines.
        labels: the classes of all models. The classes of the first session come first.
        notes: a sentence for each file, line or photo that could not be read.
    """

    photos: tuple[RecordedPhoto, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def read_recording(folder: Path) -> Recording:
    """Reads all sessions in a folder that `dermedge run --record` wrote. Nothing in the folder is changed.

    After a power cut, the recorded line of the last photo may be missing. This photo is returned without an answer.

    Raises:
        SourceError: if the folder cannot be read, or contains no recorded photo.
    """
    photos: list[RecordedPhoto] = []
    labels: dict[str, None] = {}
    notes: list[str] = []
    failure: OSError | None = None
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        is_session = (folder / LINES_NAME).is_file()
    except OSError as error:
        raise _unreadable(folder, error) from error
    for path in paths:
        try:
            if _is_session(path, notes):
                facts = _read_session(path, notes)
                photos += _photos_of(path, facts, notes)
                labels |= dict.fromkeys(_texts(facts.get("labels")))
        except OSError as error:
            failure = error
            notes.append(
                f"'{path}' cannot be read ({error.strerror or error}), so its photos are left out; check its "
                "permissions."
            )
    if not photos:
        raise _unreadable(folder, failure) if failure else _no_photo(folder, is_session)
    for photo in photos:
        labels |= dict.fromkeys(photo.probabilities)
    return Recording(tuple(photos), tuple(labels), tuple(notes))


def _unreadable(folder: Path, error: OSError) -> SourceError:
    return SourceError(
        f"cannot read the recording '{folder}': {error.strerror or error}; check its permissions"
    )


def _no_photo(folder: Path, is_session: bool) -> SourceError:
    if is_session:
        return SourceError(
            f"'{folder}' is one session; review the folder that contains this session: dermedge review "
            f"{shlex.quote(str(folder.parent))}"
        )
    return SourceError(
        f"there is no recorded photo in '{folder}'; record photos with: dermedge run --record "
        f"{shlex.quote(str(folder))}"
    )


def _is_session(path: Path, notes: list[str]) -> bool:
    """Tells whether a path is the folder of a session. A session whose name is not valid UTF-8 is left out."""
    is_session = path.is_dir() and any(one.name == LINES_NAME for one in path.iterdir())
    return is_session and _has_valid_name(path, notes)


def _has_valid_name(path: Path, notes: list[str]) -> bool:
    """Tells whether the name of a file or folder is valid UTF-8. If it is not, adds a note.

    The table and the URL of a photo can contain only valid UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        notes.append(f"'{path}' is left out, because its name is not valid UTF-8; rename it.")
        return False
    return True


def _read_session(session: Path, notes: list[str]) -> dict[str, Any]:
    """Returns the content of session.json, or an empty dict if the file cannot be read."""
    try:
        facts = json.loads((session / SESSION_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(
            f"'{session / SESSION_NAME}' cannot be read ({error}), so the model of this session is not known."
        )
        return {}
    return facts if isinstance(facts, dict) else {}


def _photos_of(session: Path, facts: Mapping[str, Any], notes: list[str]) -> list[RecordedPhoto]:
    """Returns the photos of a session. Photos without a recorded line come last."""
    found: dict[str, RecordedPhoto] = {}
    gone = 0
    for name, visit, line in _lines_with_photos(session, notes):
        if (session / name).is_file():
            found[name] = _photo(session.name, name, visit, line, str(facts.get("model_sha256") or ""))
        else:
            gone += 1
    if gone:
        notes.append(f"'{session / LINES_NAME}' names photos that do not exist any more: {gone}.")
    for path in sorted(session.iterdir()):
        if is_photo_file(path) and path.name not in found and _has_valid_name(path, notes):
            notes.append(f"No recorded line names the photo '{path}', so the model's answer is not known.")
            found[path.name] = RecordedPhoto(
                f"{session.name}/{path.name}", session.name, f"{session.name}/{path.name}"
            )
    return list(found.values())


def _lines_with_photos(session: Path, notes: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (file name of the photo, name of the visit, line) for each recorded line that names a photo."""
    visit, source = 0, None
    for line in _lines(session / LINES_NAME, notes):
        if str(line.get("state")) in _AWAY or (line.get("source") or source) != source:
            visit += 1
        source = line.get("source") or source
        name = line.get("picture")
        if isinstance(name, str) and Path(name).name == name and name not in ("", ".."):
            yield name, f"{session.name}/{visit}", line


def _lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yields the readable lines. While a recording is running, the last line may be incomplete and is then left out."""
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            notes.append(f"Line {number} of '{path}' is damaged and was left out.")
            continue
        if isinstance(line, dict):
            yield line


def _photo(session: str, name: str, visit: str, line: Mapping[str, Any], digest: str) -> RecordedPhoto:
    probabilities = _probabilities(line.get("probabilities"))
    most_probable = max(probabilities, key=probabilities.__getitem__, default="")
    label = line.get("label")
    # if the probability of the answer was below --conf, the line has the label "uncertain", which is not a class; the
    # most probable class is used instead
    label = (
        printable(label) if isinstance(label, str) and printable(label) in probabilities else most_probable
    )
    return RecordedPhoto(
        path=f"{session}/{name}",
        session=session,
        visit=visit,
        headline=printable(str(line.get("headline") or "")),
        label=label,
        probability=probabilities.get(label),
        certainty=max(probabilities.values(), default=0.0),
        probabilities=probabilities,
        alert=printable(str(line.get("alert") or "")),
        model_sha256=digest,
        captured_at=str(line.get("captured_at") or line.get("at") or ""),
    )


def _probabilities(values: Any) -> dict[str, float]:
    """Returns the probability of each class, without invalid values. Another program may have written such values."""
    pairs = values.items() if isinstance(values, dict) else ()
    return {
        printable(str(label)): float(value)
        for label, value in pairs
        if isinstance(value, int | float) and isfinite(value)
    }


def _texts(values: Any) -> list[str]:
    return [printable(str(value)) for value in values] if isinstance(values, list) else []
