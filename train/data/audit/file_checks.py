"""Checks for files that cannot be decoded, tiny photos, photos without structure, and different photos with one id."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from dermedge.train.data.audit.findings import (
    ERROR,
    WARNING,
    AuditFinding,
    DefectCase,
    finding_of,
)
from dermedge.train.data.audit.material import (
    AuditMaterial,
)

__all__ = ["check_one_id_two_photos", "check_plain", "check_tiny", "check_unreadable"]

# A photo counts as tiny if its shorter side has fewer pixels than this. It shows hardly any structure of a lesion.
_TINY_SIDE = 64


def check_unreadable(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "unreadable",
        ERROR,
        "that cannot be decoded",
        (
            DefectCase(file.problem.partition(" (")[0], (index,), file.problem, index)
            for index, file in enumerate(material.photos)
            if file.problem
        ),
        "Download these files again, or delete them. 'dermedge data catalogue' leaves such files out.",
        "file",
    )


def check_one_id_two_photos(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for members in material.same_photo:
            for one, other in combinations(members, 2):
                a, b = material.photos[one], material.photos[other]
                alike = (one, other) in material.matches or material.equal(one, other)
                if a.image_id == b.image_id and not alike and not (a.problem or b.problem):
                    where = " and ".join(sorted({a.source, b.source}))
                    yield DefectCase(where, (one, other), f"{a.image_id}: the pixels differ", a.image_id)
                    break

    return finding_of(
        "one id, two photos",
        WARNING,
        "given to files that do not look alike",
        cases(),
        "Look at the files. If a file was renamed, the tables give it the label and the lesion of another photo.",
        "id",
    )


def check_tiny(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "tiny",
        WARNING,
        f"with a side below {_TINY_SIDE} pixels",
        (
            DefectCase(f"{file.size} in {file.source}", (index,), file.size, index)
            for index, file in enumerate(material.photos)
            if 0 < min(file.width, file.height) < _TINY_SIDE
        ),
        "Look for the originals. These photos show hardly any structure of a lesion.",
        "photo",
    )


def check_plain(material: AuditMaterial) -> AuditFinding | None:
    features = material.prints.records["count"]
    return finding_of(
        "plain",
        WARNING,
        "without any structure: black, or of one colour",
        (
            DefectCase(f"{file.label or 'no label'} in {file.source}", (index,), file.size, index)
            for index, file in enumerate(material.photos)
            if not file.problem and not features[index]
        ),
        "Look at these photos, and delete them if a camera or a conversion failed.",
        "photo",
    )
