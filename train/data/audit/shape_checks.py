"""Checks for photos that were squashed, cropped or made square."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dermedge.train.data.audit.findings import (
    NOTE,
    WARNING,
    AuditFinding,
    DefectCase,
    finding_of,
)
from dermedge.train.data.audit.material import (
    AuditMaterial,
)
from dermedge.train.data.counts import plural

__all__ = ["check_all_square", "check_cut", "check_squashed"]

# A folder is reported if it has at least this many photos and all its photos are square. Few cameras take square
# photos, so these photos were probably cropped or squashed.
_MIN_SQUARES = 10
# Two aspect ratios count as different if the larger one, divided by the smaller one, is above this value.
_ASPECT_TOLERANCE = 1.03


def check_squashed(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for (one, other), match in material.matches.items():
            a, b = material.photos[one], material.photos[other]
            if match.squashed:
                where = " and ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                detail = f"{a.size} and {b.size} show the same photo at two aspect ratios"
                yield DefectCase(where, (one, other), detail, material.first_of[one])

    return finding_of(
        "squashed",
        WARNING,
        "whose files have two aspect ratios, because one file is squashed",
        cases(),
        "One file of each photo is distorted: a round lesion looks oval. Restore the aspect ratio of this file before "
        "training.",
        "photo",
    )


def check_cut(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for (one, other), match in material.matches.items():
            a, b = material.photos[one], material.photos[other]
            aspects = sorted(max(file.width, file.height) / min(file.width, file.height) for file in (a, b))
            if aspects[1] > _ASPECT_TOLERANCE * aspects[0] and not match.squashed:
                where = " and ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                yield DefectCase(where, (one, other), f"{a.size} and {b.size}", material.first_of[one])

    return finding_of(
        "cut",
        NOTE,
        "stored whole in one file and cropped in another",
        cases(),
        "Cropping does not change the shape of a lesion, but the margins may reveal the dataset. Show the network only "
        "the square in the centre of each photo.",
        "photo",
    )


def check_all_square(material: AuditMaterial) -> AuditFinding | None:
    folders: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(material.photos):
        if not file.problem:
            folders[str(Path(file.name).parent)].append(index)
    square = {
        folder: members
        for folder, members in folders.items()
        if len(members) >= _MIN_SQUARES
        and all(material.photos[index].width == material.photos[index].height for index in members)
    }
    return finding_of(
        "all square",
        NOTE,
        "with square photos only",
        (
            DefectCase(name, (members[0],), material.photos[members[0]].size, name)
            for name, members in square.items()
        ),
        "Few cameras take square photos. These photos were either cropped, which is harmless, or squashed, which makes "
        "round lesions oval. Compare a few photos with their originals.",
        "folder",
        lambda name: f"{name}: {plural(len(square[name]), 'file')}",
    )
