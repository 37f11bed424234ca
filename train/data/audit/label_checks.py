"""Checks for labels that contradict each other or a table, and for missing labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from dermedge.train.data.audit.findings import (
    ERROR,
    NOTE,
    AuditFinding,
    DefectCase,
    finding_of,
)
from dermedge.train.data.audit.material import (
    AuditedPhoto,
    AuditMaterial,
    contradict,
    lesion_cases,
    photo_pairs,
    two_values,
    with_equal_bytes,
)

__all__ = ["check_against_the_table", "check_lesion_of_two_diagnoses", "check_two_labels", "check_unlabelled"]


def check_two_labels(material: AuditMaterial) -> AuditFinding | None:
    files = material.photos
    cases: list[DefectCase] = []
    seen_in: dict[tuple[str, str], set[int]] = defaultdict(set)
    totals = Counter(file.label for file in files)
    for labels, pairs in photo_pairs(material, lambda file: file.label):
        one, other = pairs[0]
        if not contradict(files[one].label, files[other].label):
            continue
        where = f"'{labels[0]}' and '{labels[1]}'"
        cases.append(DefectCase(where, (one, other), material.likeness(one, other), material.first_of[one]))
        for index in {index for pair in pairs for index in pair}:
            seen_in[where, files[index].label].add(index)
    in_line = with_equal_bytes(material, cases)

    def line(where: str) -> str:
        shares = [
            (len(found) / totals[label], label) for (there, label), found in seen_in.items() if there == where
        ]
        _, rarer = max(shares)
        return f"{in_line(where)}, {len(seen_in[where, rarer]):,} of the {totals[rarer]:,} files labelled '{rarer}'"

    return finding_of(
        "one photo, two labels",
        ERROR,
        "filed under two labels",
        cases,
        "At least one label of each photo is wrong. Look the photos up in the publisher's table (--reference), or "
        "leave the photos out. 'dermedge data catalogue' uses the label of a table that names the photo, and leaves "
        "out the photos whose labels still contradict each other.",
        "photo",
        line,
    )


def check_against_the_table(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "label against the table",
        ERROR,
        "in a folder that the publisher's table contradicts",
        (
            DefectCase(
                f"in '{file.folder}', but the table says {file.reference}",
                (i,),
                f"table: {file.reference}",
                i,
            )
            for i, file in enumerate(material.photos)
            if file.folder and file.reference and contradict(file.folder, file.reference)
        ),
        "Move each file to the folder of the diagnosis that the table states. 'dermedge data catalogue' uses the "
        "table's diagnosis.",
        "file",
    )


def _two_truths(one: AuditedPhoto, other: AuditedPhoto) -> str | None:
    """Returns the diagnoses of two photos, joined by "and", if the diagnoses contradict each other; otherwise None."""
    return two_values(one.truth, other.truth) if contradict(one.truth, other.truth) else None


def check_lesion_of_two_diagnoses(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "one lesion, two diagnoses",
        ERROR,
        "with photos under two diagnoses",
        lesion_cases(material, _two_truths),
        "Look the lesions up at their publisher, or leave them out, as 'dermedge data catalogue' does.",
        "lesion",
    )


def check_unlabelled(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "no label",
        NOTE,
        "without a class folder and without a diagnosis in a table",
        (
            DefectCase(str(Path(file.name).parent), (index,), file.image_id, index)
            for index, file in enumerate(material.photos)
            if not file.label
        ),
        "Add the publisher's table to the paths, or sort the files into class folders. Files without a label are left "
        "out.",
        "file",
    )
