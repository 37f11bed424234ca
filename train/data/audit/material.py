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
        name: its path below the folder that was given.
        image_id: the publisher's id, or else ``name``.
        lesion_id: the publisher's, or empty.
        source: the set.
        part: train, val or test, or empty.
        folder: the class that its folder states, or empty.
        reference: the diagnosis that a publisher's table states, or empty.
        width: width in pixels, 0 if it cannot be decoded.
        height: height in pixels, 0 if it cannot be decoded.
        problem: why it cannot be decoded, or empty.
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
        """The label that the set states: that of the folder, or else of the table; empty if neither states one."""
        return self.folder or self.reference

    @property
    def diagnosis(self) -> str:
        """The label, under the name that is common to all sets."""
        return diagnosis_of(self.label) or self.label

    @property
    def truth(self) -> str:
        """The label of the table, else that of the folder."""
        return self.reference or self.diagnosis

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class AuditMaterial:
    """The input of all checks.

    Attributes:
        photos: all photos.
        prints: data for the search for duplicates (`Prints`), in the same order.
        matches: (first, second) -> the near-duplicates, equal bytes among them.
        same_photo: the files of each photo that has several files: equal bytes, one id, or near-duplicates.
        first_of: file -> the lowest index among the files of its photo.
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
        facts = ["one id"] if a.image_id == b.image_id else []
        match = self.matches.get((min(one, other), max(one, other)))
        if match:
            facts.append(f"similarity {match.similarity:.2f}")
            facts += ["squashed"] if match.squashed else []
            facts += ["turned or mirrored"] if match.turned else []
        if a.size != b.size:
            facts.append(f"{a.size} and {b.size}")
        return ", ".join(facts) or "both duplicate a third"


def photo_pairs(
    material: AuditMaterial, key: Callable[[AuditedPhoto], str]
) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    """Returns pairs of files for each photo whose files have two values of ``key``; pairs of equal bytes come first."""
    for members in material.same_photo:
        pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for one, other in combinations(members, 2):
            a, b = key(material.photos[one]), key(material.photos[other])
            if a and b and a != b:
                pairs[min(a, b), max(a, b)].append((one, other) if a < b else (other, one))
        for values, found in pairs.items():
            yield values, sorted(found, key=lambda pair: not material.equal(*pair))


def _lesion_pairs(material: AuditMaterial) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Returns, for each lesion of the publishers, the pairs of its files that are different photos."""
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
    """Returns, for each lesion of the publishers, its first two photos for which ``where`` is not empty."""
    for lesion, pairs in _lesion_pairs(material):
        for one, other in pairs:
            if place := where(material.photos[one], material.photos[other]):
                yield DefectCase(place, (one, other), f"lesion {lesion}", lesion)
                break


def two_values(one: str, other: str) -> str | None:
    """Returns two names joined by "and" if they are known and differ; else None."""
    return " and ".join(sorted((one, other))) if one and other and one != other else None


def contradict(one: str, other: str) -> bool:
    """Tells whether two labels cannot be of one lesion.

    A folder name that is not a diagnosis never contradicts another label.
    """
    if is_known(one) != is_known(other):
        return False
    return not compatible(diagnosis_of(one) or one, diagnosis_of(other) or other)


def with_equal_bytes(material: AuditMaterial, cases: list[DefectCase]) -> Callable[[str], str]:
    """Returns the text of a line of the breakdown if some of the duplicates have equal bytes."""
    equal = Counter(case.where for case in cases if material.equal(*case.files))
    return lambda where: f"{where} ({equal[where]:,} with equal bytes)" if equal[where] else where
