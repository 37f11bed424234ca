"""Checks for labels that contradict one another, or a table."""

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
        return f"{in_line(where)}, {len(seen_in[where, rarer]):,} of the {totals[rarer]:,} '{rarer}'"

    return finding_of(
        "one photo, two labels",
        ERROR,
        "filed under two labels",
        cases,
        "At least one label of each is wrong. Decide by the publisher's table (--reference), or leave them "
        "out: 'dermedge data catalogue' follows a table that has the id, and leaves out the others.",
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
        "Move them to the folder of the table's diagnosis; 'dermedge data catalogue' follows the table.",
        "file",
    )


def _two_truths(one: AuditedPhoto, other: AuditedPhoto) -> str | None:
    """Returns the diagnoses of two photos if they cannot be of one lesion; else None."""
    return two_values(one.truth, other.truth) if contradict(one.truth, other.truth) else None


def check_lesion_of_two_diagnoses(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "one lesion, two diagnoses",
        ERROR,
        "with photos under two diagnoses",
        lesion_cases(material, _two_truths),
        "Look them up at their publisher, or leave the lesions out, as 'dermedge data catalogue' does.",
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
        "Add the publisher's table to the paths, or sort them into class folders; otherwise they are left out.",
        "file",
    )
