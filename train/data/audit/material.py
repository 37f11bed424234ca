"""The input of an audit's checks: the properties of every photo, and the groups of files that show the same photo."""

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
    "person_cases",
    "photo_pairs",
    "two_values",
    "with_equal_bytes",
]


@dataclass(frozen=True)
class AuditedPhoto:
    """One photo file.

    Attributes:
        path: path of the file.
        name: path of the file, beginning with the name of the given folder, such as ``set/nevus/1.jpg``.
        image_id: the publisher's id of the photo; if there is none, an id that is made from the path of the file.
        lesion_id: the id of the lesion that a table states; empty if no table states one.
        patient_id: the id of the person that a table states; empty if no table states one.
        source: the dataset that the photo is from.
        part: the split that a folder or a table states: train, val or test; empty if neither states one.
        folder: the class that the name of a folder states; empty if no folder states one.
        reference: the diagnosis that a table states; empty if no table states one, or if the tables contradict each
            other and none is preferred.
        width: width of the photo in pixels; 0 if the file cannot be decoded.
        height: height of the photo in pixels; 0 if the file cannot be decoded.
        problem: a text that says why the file cannot be decoded; empty if the file can be decoded.
    """

    path: Path
    name: str
    image_id: str
    lesion_id: str
    patient_id: str
    source: str
    part: str
    folder: str
    reference: str
    width: int
    height: int
    problem: str

    @property
    def label(self) -> str:
        """The class that the folder states or, if it states none, the diagnosis of the table; empty without both."""
        return self.folder or self.reference

    @property
    def diagnosis(self) -> str:
        """The diagnosis that ``label`` means, under the name that dermedge uses for all datasets. If ``label`` is not
        a known diagnosis, it is unchanged.
        """
        return diagnosis_of(self.label) or self.label

    @property
    def truth(self) -> str:
        """The most reliable diagnosis: the table's diagnosis or, if no table states one, the folder's diagnosis."""
        return self.reference or self.diagnosis

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class AuditMaterial:
    """The input of all checks.

    Attributes:
        photos: all photos.
        prints: the data of each photo for the search for duplicates, in the order of ``photos``.
        matches: the pairs of files that show the same photo, including files with equal bytes. The key of a pair is
            (lower index, higher index).
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
        """Returns a text that says why two files count as one photo, such as "equal bytes"."""
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
    """Finds files that show the same photo, but have different values of ``key``, such as different labels.

    Yields:
        Two different values, and all pairs of files of one photo that have these values. In each pair, the first file
        has the first value, and the second file has the second value. Pairs of files with equal bytes come first.
    """
    for members in material.same_photo:
        pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for one, other in combinations(members, 2):
            a, b = key(material.photos[one]), key(material.photos[other])
            if a and b and a != b:
                pairs[min(a, b), max(a, b)].append((one, other) if a < b else (other, one))
        for values, found in pairs.items():
            yield values, sorted(found, key=lambda pair: not material.equal(*pair))


def _pairs_of(
    material: AuditMaterial, id_of: Callable[[AuditedPhoto], str]
) -> Iterator[tuple[str, Iterator[tuple[int, int]]]]:
    """Yields each lesion or person, with all pairs of files that show two different photos of it.

    Args:
        material: the photos.
        id_of: returns the id of a photo's lesion or person. It is empty if no table states one.
    """
    members_of: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(material.photos):
        if name := id_of(file):
            members_of[name].append(index)
    for name, members in members_of.items():
        pairs = combinations(members, 2)
        yield name, ((a, b) for a, b in pairs if material.first_of[a] != material.first_of[b])


def _cases(
    material: AuditMaterial,
    kind: str,
    id_of: Callable[[AuditedPhoto], str],
    where: Callable[[AuditedPhoto, AuditedPhoto], str | None],
) -> Iterator[DefectCase]:
    for name, pairs in _pairs_of(material, id_of):
        for one, other in pairs:
            if place := where(material.photos[one], material.photos[other]):
                yield DefectCase(place, (one, other), f"{kind} {name}", name)
                break


def lesion_cases(
    material: AuditMaterial, where: Callable[[AuditedPhoto, AuditedPhoto], str | None]
) -> Iterator[DefectCase]:
    """Yields at most one case for each lesion: the first pair of different photos for which ``where`` returns a text.

    The text becomes the ``where`` of the case. It names, for example, the two splits of the two photos.
    """
    return _cases(material, "lesion", lambda photo: photo.lesion_id, where)


def person_cases(
    material: AuditMaterial, where: Callable[[AuditedPhoto, AuditedPhoto], str | None]
) -> Iterator[DefectCase]:
    """Yields at most one case for each person, as `lesion_cases` does for each lesion."""
    return _cases(material, "person", lambda photo: photo.patient_id, where)


def two_values(one: str, other: str) -> str | None:
    """Returns two names, joined by "and"; None if the names are equal or one of them is empty."""
    return " and ".join(sorted((one, other))) if one and other and one != other else None


def contradict(one: str, other: str) -> bool:
    """Tells whether two labels cannot both be true for one lesion.

    Two known diagnoses contradict each other if they are not `compatible`. Two names that are not known diagnoses
    contradict each other if they differ. A known diagnosis never contradicts a name that is not a known diagnosis.
    """
    if is_known(one) != is_known(other):
        return False
    return not compatible(diagnosis_of(one) or one, diagnosis_of(other) or other)


def with_equal_bytes(material: AuditMaterial, cases: list[DefectCase]) -> Callable[[str], str]:
    """Returns a function from a `DefectCase.where` to the line of the report about all cases with this ``where``.

    The line begins with ``where``. If the files of some of these cases have equal bytes, the line also gives the number
    of cases with equal bytes, as in "test and train of clinic (2 with equal bytes)".
    """
    equal = Counter(case.where for case in cases if material.equal(*case.files))
    return lambda where: f"{where} ({equal[where]:,} with equal bytes)" if equal[where] else where
