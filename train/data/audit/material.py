"""The input of the checks: every photo with its facts, and the groups of files that show the same photo."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dermedge.train.data.audit.findings import DefectCase
from dermedge.train.data.diagnoses import compatible, diagnosis_of, is_known
from dermedge.train.data.duplicates import Match, Prints

__all__ = [
    "AuditMaterial",
    "AuditedPhoto",
    "contradict",
    "lesion_cases",
    "photo_pairs",
    "two_values",
    "with_equal_bytes",
]


@dataclass(frozen=True)
class AuditedPhoto:
    """One photo file.

    Attributes:
        path: path of the file.
        name: path of the file from the given folder on, including the name of that folder: ``set/nevus/1.jpg``.
        image_id: the publisher's id of the photo; if there is none, the path from the given folder on.
        lesion_id: the publisher's id of the lesion, or empty.
        source: the dataset that the photo is from.
        part: the split that a folder or a table states: train, val or test; empty if neither states one.
        folder: the class that the photo's folder states, or empty.
        reference: the diagnosis that a table states, or empty.
        width: width of the photo in pixels; 0 if the file cannot be decoded.
        height: height of the photo in pixels; 0 if the file cannot be decoded.
        problem: why the file cannot be decoded; empty if it can be decoded.
    """

    path: Path
    name: str
    image_id: str
    lesion_id: str
    source: str
    part: str
    folder: str
    reference: str
    width: int
    height: int
    problem: str

    @property
    def label(self) -> str:
        """The label of the folder, or else the diagnosis of the table; empty if neither states one."""
        return self.folder or self.reference

    @property
    def diagnosis(self) -> str:
        """The label under the name that dermedge uses for all datasets. A label that is not a known diagnosis is
        unchanged.
        """
        return diagnosis_of(self.label) or self.label

    @property
    def truth(self) -> str:
        """The best known label: the diagnosis of the table, or else that of the folder."""
        return self.reference or self.diagnosis

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class AuditMaterial:
    """The input of all checks.

    Attributes:
        photos: all photos.
        prints: the records of all photos for the search for duplicates, in the order of ``photos``.
        matches: the pairs of files that show one photo, by (lower index, higher index). They include files with equal
            bytes.
        same_photo: for each photo that has several files, the indices of these files. Files show the same photo if they
            have equal bytes or the same id, or if they are near-duplicates.
        first_of: for each file, the lowest index of a file that shows the same photo.
    """

    photos: tuple[AuditedPhoto, ...]
    prints: Prints
    matches: dict[tuple[int, int], Match]
    same_photo: tuple[tuple[int, ...], ...]
    first_of: tuple[int, ...]

    def equal(self, one: int, other: int) -> bool:
        return self.prints.digests[one] == self.prints.digests[other] != ""

    def likeness(self, one: int, other: int) -> str:
        """Tells why two files count as one photo."""
        if self.equal(one, other):
            return "equal bytes"
        a, b = self.photos[one], self.photos[other]
        facts = ["the same id"] if a.image_id == b.image_id else []
        match = self.matches.get((min(one, other), max(one, other)))
        if match:
            facts.append(f"similarity {match.similarity:.2f}")
            facts += ["squashed"] if match.squashed else []
            facts += ["rotated or mirrored"] if match.turned else []
        if a.size != b.size:
            facts.append(f"{a.size} and {b.size}")
        return ", ".join(facts) or "both duplicate a third file"


def photo_pairs(
    material: AuditMaterial, key: Callable[[AuditedPhoto], str]
) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    """Yields the values of ``key`` that differ among the files of one photo, two at a time, with the pairs of files.

    A pair holds one file of each value. Pairs with equal bytes come first.
    """
    for members in material.same_photo:
        pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for one, other in combinations(members, 2):
            a, b = key(material.photos[one]), key(material.photos[other])
            if a and b and a != b:
                pairs[min(a, b), max(a, b)].append((one, other) if a < b else (other, one))
        for values, found in pairs.items():
            yield values, sorted(found, key=lambda pair: not material.equal(*pair))


def _lesion_pairs(material: AuditMaterial) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yields each lesion id, with the pairs of files that show different photos of this lesion."""
    lesions: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(material.photos):
        if file.lesion_id:
            lesions[file.lesion_id].append(index)
    for lesion, members in lesions.items():
        pairs = combinations(members, 2)
        yield lesion, [(a, b) for a, b in pairs if material.first_of[a] != material.first_of[b]]


def lesion_cases(
    material: AuditMaterial, where: Callable[[AuditedPhoto, AuditedPhoto], str | None]
) -> Iterator[DefectCase]:
    """Yields one case for each lesion with two photos for which ``where`` returns a text: the first such pair."""
    for lesion, pairs in _lesion_pairs(material):
        for one, other in pairs:
            if place := where(material.photos[one], material.photos[other]):
                yield DefectCase(place, (one, other), f"lesion {lesion}", lesion)
                break


def two_values(one: str, other: str) -> str | None:
    """Returns two names, joined by "and", if they differ and neither is empty; else None."""
    return " and ".join(sorted((one, other))) if one and other and one != other else None


def contradict(one: str, other: str) -> bool:
    """Tells whether one lesion cannot have both labels.

    A known diagnosis and a name that is not a diagnosis never contradict each other. Two different names that are not
    diagnoses do.
    """
    if is_known(one) != is_known(other):
        return False
    return not compatible(diagnosis_of(one) or one, diagnosis_of(other) or other)


def with_equal_bytes(material: AuditMaterial, cases: list[DefectCase]) -> Callable[[str], str]:
    """Returns a function that writes the text of a group: its name, and how many of its cases have equal bytes, if
    any.
    """
    equal = Counter(case.where for case in cases if material.equal(*case.files))
    return lambda where: f"{where} ({equal[where]:,} with equal bytes)" if equal[where] else where
