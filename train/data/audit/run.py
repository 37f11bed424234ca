"""Runs an audit: finds mistakes in labelled photos before a network is trained on the photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.train.data.audit.checks import CHECKS
from dermedge.train.data.audit.findings import SEVERITIES, AuditFinding
from dermedge.train.data.audit.material import AuditedPhoto, AuditMaterial
from dermedge.train.data.duplicates import Match, Prints, equal_files, near_duplicates, read_prints
from dermedge.train.data.groups import lowest_linked, sets_of_equal
from dermedge.train.data.labelled_file import LabelledFile
from dermedge.train.data.labelling import label_files
from dermedge.train.data.layout import AUTO

__all__ = ["Audit", "run_audit"]


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        photos: photos in the order of their paths.
        tables: paths of the tables that were understood.
        findings: the errors, then the warnings, then the notes.
        account: lines that describe how folders and tables were understood.
        skipped: for each reason, the number of files that were skipped.
    """

    photos: tuple[AuditedPhoto, ...]
    tables: tuple[Path, ...]
    findings: tuple[AuditFinding, ...]
    account: tuple[str, ...]
    skipped: dict[str, int]


def run_audit(
    paths: Sequence[Path],
    references: Sequence[Path] = (),
    reading: Callable[[int, int], None] = lambda done, total: None,
    comparing: Callable[[int, int], None] = lambda done, total: None,
    labels_from: str = AUTO,
    say: Callable[[str], object] = lambda line: None,
) -> Audit:
    """Checks all photos below ``paths``.

    Args:
        paths: folders of photos, and table files. A folder may contain class folders.
        references: further tables to compare the labels with.
        reading: a function that is called with the number of files read and the number of files to read.
        comparing: a function that is called with the number of files compared and the number of files to compare.
        labels_from: a value of `LABEL_SOURCES`.
        say: a function that is called with each line that describes how the data were understood, before the photos
            are read.

    Raises:
        DataError: a path does not exist, there is no photo, or folders or tables cannot be understood.
        OptionError: a file among ``paths`` or ``references`` is not a table that can be understood.
        StorageError: the temporary file for the search for duplicates cannot be written.
    """
    found = label_files(paths, labels_from, references=references)
    for line in found.account:
        say(line)
    prints = read_prints([Path(file.photo.path) for file in found.files], reading)
    photos = tuple(_audited(file, index, prints) for index, file in enumerate(found.files))
    material = _material(photos, prints, near_duplicates(prints, comparing))
    findings = [finding for check in CHECKS for finding in [check(material)] if finding]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(photos, found.tables, tuple(findings), found.account, dict(found.skipped))


def _audited(file: LabelledFile, index: int, prints: Prints) -> AuditedPhoto:
    width, height = map(int, prints.sizes[index])
    return AuditedPhoto(
        path=Path(file.photo.path),
        name=file.name,
        image_id=file.photo.image_id,
        lesion_id=file.photo.lesion_id,
        patient_id=file.photo.patient_id,
        source=file.photo.source,
        part=file.part,
        folder=file.folder,
        reference=file.reference,
        width=width,
        height=height,
        problem=prints.unreadable.get(index, ""),
    )


def _material(photos: tuple[AuditedPhoto, ...], prints: Prints, matches: list[Match]) -> AuditMaterial:
    links = [(match.first, match.second) for match in matches]
    for members in (*sets_of_equal([{photo.image_id} for photo in photos]), *equal_files(prints)):
        links += [(members[0], other) for other in members[1:]]
    first_of = lowest_linked(len(photos), links)
    same_photo = tuple(map(tuple, sets_of_equal([{first} for first in first_of])))
    by_pair = {(match.first, match.second): match for match in matches}
    return AuditMaterial(photos, prints, by_pair, same_photo, tuple(first_of))
