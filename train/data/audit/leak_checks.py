"""Checks for leaks between splits, for overlaps of datasets, and for duplicates.

A photo, a lesion or a person in two splits is a leak. A photo or a lesion in two datasets is an overlap. Duplicates are
searched within one split and class.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
    AuditedPhoto,
    AuditMaterial,
    lesion_cases,
    person_cases,
    photo_pairs,
    two_values,
    with_equal_bytes,
)

__all__ = [
    "check_across_sources",
    "check_duplicates_in_one_place",
    "check_lesion_across_sources",
    "check_lesion_across_splits",
    "check_person_across_splits",
    "check_photo_across_splits",
]


_LEAK_ADVICE = (
    "Scores on these splits are too high, because a network is tested on photos, lesions or persons that it "
    "learned from. Ignore these splits, and split the photos again by lesion and person, as 'dermedge data catalogue' "
    "does."
)


def _parts(one: AuditedPhoto, other: AuditedPhoto) -> str:
    """Returns a text that names the two splits and the dataset of two files, such as "test and train of clinic".

    The text is empty in three cases: the files are in the same split, a split is unknown, or the files are from two
    datasets.
    """
    if one.source != other.source or not one.part or not other.part or one.part == other.part:
        return ""
    return f"{' and '.join(sorted((one.part, other.part)))} of {one.source}"


def check_photo_across_splits(material: AuditMaterial) -> AuditFinding | None:
    def cases() -> Iterator[DefectCase]:
        for members in material.same_photo:
            pairs = sorted(combinations(members, 2), key=lambda pair: not material.equal(*pair))
            for one, other in pairs:
                where = _parts(material.photos[one], material.photos[other])
                if where:
                    yield DefectCase(where, (one, other), material.likeness(one, other), members[0])
                    break

    found = list(cases())
    return finding_of(
        "one photo, two splits",
        ERROR,
        "in two splits of one dataset",
        found,
        _LEAK_ADVICE,
        "photo",
        with_equal_bytes(material, found),
    )


def check_lesion_across_splits(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "one lesion, two splits",
        ERROR,
        "with different photos in two splits of one dataset",
        lesion_cases(material, _parts),
        _LEAK_ADVICE,
        "lesion",
    )


def check_person_across_splits(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "one person, two splits",
        ERROR,
        "with different photos in two splits of one dataset",
        person_cases(material, _parts),
        _LEAK_ADVICE,
        "person",
    )


def check_across_sources(material: AuditMaterial) -> AuditFinding | None:
    same_id: Counter[str] = Counter()
    cases: list[DefectCase] = []
    for sources, pairs in photo_pairs(material, lambda file: file.source):
        where = " and ".join(sources)
        ids = [(material.photos[one].image_id, material.photos[other].image_id) for one, other in pairs]
        same_id[where] += any(one == other for one, other in ids)
        one, other = pairs[0]
        cases.append(DefectCase(where, (one, other), material.likeness(one, other), material.first_of[one]))
    return finding_of(
        "one photo, two sets",
        WARNING,
        "in two datasets",
        cases,
        "Do not train on one of these datasets and test on the other. 'dermedge data catalogue' keeps all "
        "duplicates of a photo in one split.",
        "photo",
        lambda where: f"{where} ({same_id[where]:,} under the same id)",
    )


def check_lesion_across_sources(material: AuditMaterial) -> AuditFinding | None:
    return finding_of(
        "one lesion, two sets",
        WARNING,
        "with different photos in two datasets",
        lesion_cases(material, lambda one, other: two_values(one.source, other.source)),
        "Give the publishers' tables to 'dermedge data catalogue', which keeps all photos of a lesion in one split.",
        "lesion",
    )


def check_duplicates_in_one_place(material: AuditMaterial) -> AuditFinding | None:
    cases: list[DefectCase] = []
    for members in material.same_photo:
        places: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for index in members:
            file = material.photos[index]
            places[file.source, file.part, file.diagnosis].append(index)
        for (source, _, label), (first, *others) in places.items():
            where = f"{label or 'no label'} in {source}"
            cases += [
                DefectCase(where, (first, other), material.likeness(first, other), other) for other in others
            ]
    return finding_of(
        "copies",
        WARNING,
        "showing the same photo as another file of the same dataset and class",
        cases,
        "A photo with duplicates counts several times in training and in every score. Delete the duplicates, or keep "
        "them in one split, as 'dermedge data catalogue' does.",
        "file",
        with_equal_bytes(material, cases),
    )
