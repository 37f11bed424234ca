"""Checks for photos that were squashed, cut or made square."""

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

# A folder of this many photos, all of them square, was cut or squashed: no camera takes square photos.
_MIN_SQUARES = 10
# Two aspect ratios count as different if one is larger by this factor.
_ASPECT_TOLERANCE = 1.03


def check_squashed(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for (one, other), match in material.matches.items():
            a, b = material.photos[one], material.photos[other]
            if match.squashed:
                where = " is ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                detail = f"{a.size} and {b.size} show the same photo at two aspect ratios"
                yield DefectCase(where, (one, other), detail, material.first_of[one])

    return finding_of(
        "squashed",
        WARNING,
        "at two aspect ratios, squashed",
        cases(),
        "One file of each is distorted: round lesions in it are oval. Restore its shape before training.",
        "photo",
    )


def check_cut(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for (one, other), match in material.matches.items():
            a, b = material.photos[one], material.photos[other]
            aspects = sorted(max(file.width, file.height) / min(file.width, file.height) for file in (a, b))
            if aspects[1] > _ASPECT_TOLERANCE * aspects[0] and not match.squashed:
                where = " is ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                yield DefectCase(where, (one, other), f"{a.size} and {b.size}", material.first_of[one])

    return finding_of(
        "cut",
        NOTE,
        "whole in one file and cut in another",
        cases(),
        "The shape of the lesion is not changed, but margins may reveal the set: show the network the centre "
        "square.",
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
        "Cameras do not take square photos. These were either cut, which is harmless, or squashed, which makes "
        "round lesions oval. Compare a few with their originals.",
        "folder",
        lambda name: f"{name}: {plural(len(square[name]), 'file')}",
    )
