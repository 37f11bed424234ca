"""The defects that an audit of labelled photos looks for.

Each check is a function from `Material` to a `Finding` or None, and knows no set by name: copies are known by
their bytes, ids and pixels, labels by folders and by the publishers' tables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dermedge.train.data.duplicates import Match, Prints
from dermedge.train.data.tables import diagnosis_of

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")
# The smaller side, in pixels: below, a lesion has no structure left to see.
TINY_SIDE = 64
# A folder of so many pictures, all of them square, was cut or squashed by somebody: no camera is square.
MIN_SQUARES = 10
# Files of the largest class for one of the smallest.
MAX_IMBALANCE = 10
# Of the files of a class; more from one of several sets, and the set is as good as the class.
MAX_FROM_ONE_SOURCE = 0.9
# Two aspect ratios differ if one is larger by so much.
ASPECT_TOLERANCE = 1.03


@dataclass(frozen=True)
class File:
    """One picture file.

    Attributes:
        path: of the file.
        name: where it lies below the folder that was given.
        image_id: the publisher's id, else its place.
        lesion_id: the publisher's, or empty.
        source: the set.
        part: train, val or test, or empty.
        folder: the class that its folder states, or empty.
        reference: the diagnosis that a publisher's table states, or empty.
        width: in pixels, 0 if it cannot be decoded.
        height: in pixels, 0 if it cannot be decoded.
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
        """The class as the set states it: the folder's, else the table's; empty if none does."""
        return self.folder or self.reference

    @property
    def diagnosis(self) -> str:
        """The label under the name that all sets share."""
        return diagnosis_of(self.label) or ""

    @property
    def truth(self) -> str:
        """The best that is known: what the table says, else the folder."""
        return self.reference or self.diagnosis

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Example:
    """Files that show a finding.

    Attributes:
        files: one, or two that belong together, as indices into `Audit.files`.
        detail: what is to be seen.
    """

    files: tuple[int, ...]
    detail: str


@dataclass(frozen=True)
class Finding:
    """One kind of defect.

    Attributes:
        kind: a short name for programs.
        severity: error, warning or note.
        title: a sentence with the count.
        count: of what the title counts.
        files: how many files are concerned.
        breakdown: where it lies, most frequent first: (what, how many).
        advice: what to do.
        examples: all cases that have files to look at, one of every line of the breakdown in turn.
    """

    kind: str
    severity: str
    title: str
    count: int
    files: int
    breakdown: tuple[tuple[str, int], ...]
    advice: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Case:
    """One instance of a defect, before they are counted.

    Attributes:
        where: what the breakdown counts it under.
        files: that show it; none where a whole class is meant.
        detail: what is to be seen.
        subject: the picture, lesion or id that is counted once, however many cases it has.
    """

    where: str
    files: tuple[int, ...]
    detail: str
    subject: str | int


@dataclass(frozen=True)
class Material:
    """What the checks look at.

    Attributes:
        files: all of them.
        prints: of the files, in the same order.
        matches: (first, second) -> the near-duplicates, equal bytes among them.
        pictures: the files of each picture that has several: equal bytes, one id, or near-duplicates.
        picture_of: file -> the lowest index of its picture.
    """

    files: tuple[File, ...]
    prints: Prints
    matches: dict[tuple[int, int], Match]
    pictures: tuple[tuple[int, ...], ...]
    picture_of: tuple[int, ...]

    def equal(self, one: int, other: int) -> bool:
        return self.prints.digests[one] == self.prints.digests[other] != ""

    def likeness(self, one: int, other: int) -> str:
        """How two files are known to be one picture."""
        if self.equal(one, other):
            return "equal bytes"
        a, b = self.files[one], self.files[other]
        facts = ["one id"] if a.image_id == b.image_id else []
        match = self.matches.get((min(one, other), max(one, other)))
        if match:
            facts.append(f"similarity {match.similarity:.2f}")
            facts += ["squashed"] if match.squashed else []
            facts += ["turned or mirrored"] if match.turned else []
        if a.size != b.size:
            facts.append(f"{a.size} and {b.size}")
        return ", ".join(facts) or "both are copies of a third"


def plural(count: int, noun: str) -> str:
    """1 file, 2,000 files, 3 classes."""
    if count != 1:
        noun += "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}"


def _finding(
    kind: str,
    severity: str,
    title: str,
    cases: Iterable[Case],
    advice: str,
    noun: str,
    line: Callable[[str], str] = lambda where: where,
) -> Finding | None:
    """The finding of its cases, or None without any.

    Args:
        kind: a short name.
        severity: of `SEVERITIES`.
        title: how the sentence goes on after "12 pictures".
        cases: in the order of their files.
        advice: what to do.
        noun: what a subject is.
        line: what the breakdown says of a ``where``.
    """
    cases = list(cases)
    if not cases:
        return None
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.where].append(case)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    turns = max(map(len, groups.values()))
    shown = [members[turn] for turn in range(turns) for _, members in ordered if turn < len(members)]
    count = len({case.subject for case in cases})
    return Finding(
        kind=kind,
        severity=severity,
        title=f"{plural(count, noun)} {title}",
        count=count,
        files=len({file for case in cases for file in case.files}),
        breakdown=tuple((line(where), len(members)) for where, members in ordered),
        advice=advice,
        examples=tuple(Example(case.files, case.detail) for case in shown if case.files),
    )


def _pairs(
    material: Material, key: Callable[[File], str]
) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    """For each picture and two values of ``key`` among its files: the pairs of files, equal bytes first."""
    for members in material.pictures:
        pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for one, other in combinations(members, 2):
            a, b = key(material.files[one]), key(material.files[other])
            if a and b and a != b:
                pairs[min(a, b), max(a, b)].append((one, other) if a < b else (other, one))
        for values, found in pairs.items():
            yield values, sorted(found, key=lambda pair: not material.equal(*pair))


def _lesion_pairs(material: Material) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """For each lesion of the publishers: the pairs of its files that are different pictures."""
    lesions: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(material.files):
        if file.lesion_id:
            lesions[file.lesion_id].append(index)
    for lesion, members in lesions.items():
        pairs = combinations(members, 2)
        yield lesion, [(a, b) for a, b in pairs if material.picture_of[a] != material.picture_of[b]]


def _lesion_cases(material: Material, where: Callable[[File, File], str | None]) -> Iterator[Case]:
    """For each lesion of the publishers: its first two pictures of which ``where`` has something to say."""
    for lesion, pairs in _lesion_pairs(material):
        for one, other in pairs:
            if place := where(material.files[one], material.files[other]):
                yield Case(place, (one, other), f"lesion {lesion}", lesion)
                break


def _two(one: str, other: str) -> str | None:
    """Two names that differ, where both are known."""
    return " and ".join(sorted((one, other))) if one and other and one != other else None


def _with_equal_bytes(material: Material, cases: list[Case]) -> Callable[[str], str]:
    """What a line of the breakdown says where some of the copies have equal bytes."""
    equal = Counter(case.where for case in cases if material.equal(*case.files))
    return lambda where: f"{where} ({equal[where]:,} with equal bytes)" if equal[where] else where


def _two_labels(material: Material) -> Finding | None:
    files = material.files
    cases: list[Case] = []
    copied: dict[tuple[str, str], set[int]] = defaultdict(set)
    totals = Counter(file.label for file in files)
    for labels, pairs in _pairs(material, lambda file: file.label):
        one, other = pairs[0]
        if files[one].diagnosis == files[other].diagnosis:
            continue
        where = f"'{labels[0]}' and '{labels[1]}'"
        cases.append(Case(where, (one, other), material.likeness(one, other), material.picture_of[one]))
        for index in {index for pair in pairs for index in pair}:
            copied[where, files[index].label].add(index)
    with_equal_bytes = _with_equal_bytes(material, cases)

    def line(where: str) -> str:
        shares = [
            (len(found) / totals[label], label) for (there, label), found in copied.items() if there == where
        ]
        _, rarer = max(shares)
        return f"{with_equal_bytes(where)}, {len(copied[where, rarer]):,} of the {totals[rarer]:,} '{rarer}'"

    return _finding(
        "one picture, two labels",
        ERROR,
        "filed under two labels",
        cases,
        "At least one label of each is wrong. Decide by the publisher's table (--reference) or leave them "
        "out: 'dermedge data catalogue' goes by a table that knows the id, and leaves out the others.",
        "picture",
        line,
    )


def _against_the_table(material: Material) -> Finding | None:
    return _finding(
        "label against the table",
        ERROR,
        "in a folder that the publisher's table contradicts",
        (
            Case(f"in '{file.folder}', the table says {file.reference}", (i,), f"table: {file.reference}", i)
            for i, file in enumerate(material.files)
            if file.folder and file.reference and diagnosis_of(file.folder) != file.reference
        ),
        "Move them to the folder of the table's diagnosis; 'dermedge data catalogue' goes by the table.",
        "file",
    )


def _lesion_of_two_diagnoses(material: Material) -> Finding | None:
    return _finding(
        "one lesion, two diagnoses",
        ERROR,
        "with photos under two diagnoses",
        _lesion_cases(material, lambda one, other: _two(one.truth, other.truth)),
        "Look them up at their publisher, or leave the lesions out, as 'dermedge data catalogue' does.",
        "lesion",
    )


LEAK_ADVICE = (
    "Scores on this split are too good to be true. Ignore the folders' split and cut anew by lesion: "
    "'dermedge data catalogue' does."
)


def _parts(one: File, other: File) -> str:
    """The two parts of one set that two files lie in, or empty if it is one part, or two sets."""
    if one.source != other.source or not one.part or not other.part or one.part == other.part:
        return ""
    return f"{' and '.join(sorted((one.part, other.part)))} of {one.source}"


def _picture_across_splits(material: Material) -> Finding | None:
    def cases() -> Iterator[Case]:
        for members in material.pictures:
            pairs = sorted(combinations(members, 2), key=lambda pair: not material.equal(*pair))
            for one, other in pairs:
                where = _parts(material.files[one], material.files[other])
                if where:
                    yield Case(where, (one, other), material.likeness(one, other), members[0])
                    break

    found = list(cases())
    return _finding(
        "one picture, two splits",
        ERROR,
        "in two splits of one set",
        found,
        LEAK_ADVICE,
        "picture",
        _with_equal_bytes(material, found),
    )


def _lesion_across_splits(material: Material) -> Finding | None:
    return _finding(
        "one lesion, two splits",
        ERROR,
        "with different photos in two splits of one set",
        _lesion_cases(material, _parts),
        LEAK_ADVICE,
        "lesion",
    )


def _unreadable(material: Material) -> Finding | None:
    return _finding(
        "unreadable",
        ERROR,
        "that cannot be decoded",
        (
            Case(file.problem.partition(" (")[0], (index,), file.problem, index)
            for index, file in enumerate(material.files)
            if file.problem
        ),
        "Fetch them again or delete them; 'dermedge data catalogue' leaves them out.",
        "file",
    )


def _one_id_two_pictures(material: Material) -> Finding | None:
    def cases() -> Iterator[Case]:
        for members in material.pictures:
            for one, other in combinations(members, 2):
                a, b = material.files[one], material.files[other]
                alike = (one, other) in material.matches or material.equal(one, other)
                if a.image_id == b.image_id and not alike and not (a.problem or b.problem):
                    where = " and ".join(sorted({a.source, b.source}))
                    yield Case(where, (one, other), f"{a.image_id}: the pixels differ", a.image_id)
                    break

    return _finding(
        "one id, two pictures",
        WARNING,
        "given to files that do not look alike",
        cases(),
        "Look at them: a renamed file takes another picture's label and lesion from the tables.",
        "id",
    )


def _across_sources(material: Material) -> Finding | None:
    same_id: Counter[str] = Counter()
    cases: list[Case] = []
    for sources, pairs in _pairs(material, lambda file: file.source):
        where = " and ".join(sources)
        ids = [(material.files[one].image_id, material.files[other].image_id) for one, other in pairs]
        same_id[where] += any(one == other for one, other in ids)
        one, other = pairs[0]
        cases.append(Case(where, (one, other), material.likeness(one, other), material.picture_of[one]))
    return _finding(
        "one picture, two sets",
        WARNING,
        "in two sets",
        cases,
        "Never train on one set and test on the other as it is. 'dermedge data catalogue' keeps all "
        "copies of a picture in one split.",
        "picture",
        lambda where: f"{where} ({same_id[where]:,} under the same id)",
    )


def _lesion_across_sources(material: Material) -> Finding | None:
    return _finding(
        "one lesion, two sets",
        WARNING,
        "with different photos in two sets",
        _lesion_cases(material, lambda one, other: _two(one.source, other.source)),
        "Give the publishers' tables to 'dermedge data catalogue', which keeps a lesion in one split.",
        "lesion",
    )


def _squashed(material: Material) -> Finding | None:
    def cases() -> Iterator[Case]:
        for (one, other), match in material.matches.items():
            a, b = material.files[one], material.files[other]
            if match.squashed:
                where = " is ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                detail = f"{a.size} and {b.size} show the same at two aspect ratios"
                yield Case(where, (one, other), detail, material.picture_of[one])

    return _finding(
        "squashed",
        WARNING,
        "at two aspect ratios, squashed",
        cases(),
        "One file of each is distorted: round lesions in it are oval. Restore its shape before training.",
        "picture",
    )


def _copies_in_one_place(material: Material) -> Finding | None:
    cases: list[Case] = []
    for members in material.pictures:
        places: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for index in members:
            file = material.files[index]
            places[file.source, file.part, file.diagnosis].append(index)
        for (source, _, label), (first, *copies) in places.items():
            where = f"{label or 'no label'} in {source}"
            cases += [Case(where, (first, copy), material.likeness(first, copy), copy) for copy in copies]
    return _finding(
        "copies",
        WARNING,
        "that copy another of the same set and class",
        cases,
        "They count twice in training and in every score. Delete the copies, or keep them in one split, as "
        "'dermedge data catalogue' does.",
        "file",
        _with_equal_bytes(material, cases),
    )


def _tiny(material: Material) -> Finding | None:
    return _finding(
        "tiny",
        WARNING,
        f"with a side below {TINY_SIDE} pixels",
        (
            Case(f"{file.size} in {file.source}", (index,), file.size, index)
            for index, file in enumerate(material.files)
            if 0 < min(file.width, file.height) < TINY_SIDE
        ),
        "Find the originals: little of a lesion's structure is left in these.",
        "picture",
    )


def _plain(material: Material) -> Finding | None:
    textured = material.prints.textured[:, 0]
    return _finding(
        "plain",
        WARNING,
        "without any structure, plain or black",
        (
            Case(f"{file.label or 'no label'} in {file.source}", (index,), file.size, index)
            for index, file in enumerate(material.files)
            if not file.problem and not textured[index]
        ),
        "Delete them if a camera or a conversion failed.",
        "picture",
    )


def _one_source(material: Material) -> Finding | None:
    totals = Counter(file.truth for file in material.files if file.truth)
    counts = Counter((file.truth, file.source) for file in material.files if file.truth)
    sources = {source for _, source in counts}
    mostly = {
        label: source
        for (label, source), count in counts.items()
        if len(sources) > 1 and count > MAX_FROM_ONE_SOURCE * totals[label]
    }
    return _finding(
        "class from one set",
        WARNING,
        f"with more than {MAX_FROM_ONE_SOURCE:.0%} of the files from one of {len(sources)} sets",
        (Case(label, (), "", label) for label in mostly),
        "A network can learn the set's crop and colours in place of the class. Add photos from elsewhere and "
        "read the scores of each set.",
        "class",
        lambda label: f"{label}: {counts[label, mostly[label]]:,} of {totals[label]:,} from {mostly[label]}",
    )


def _imbalance(material: Material) -> Finding | None:
    totals = Counter(file.truth for file in material.files if file.truth)
    most, largest = max(totals.items(), key=lambda item: item[1], default=("", 0))
    return _finding(
        "imbalance",
        NOTE,
        f"with less than 1/{MAX_IMBALANCE} of the files of '{most}'",
        (Case(label, (), "", label) for label, count in totals.items() if count * MAX_IMBALANCE < largest),
        "'dermedge train' draws the classes equally often; read each class's recall, not the accuracy.",
        "class",
        lambda label: f"{label}: {totals[label]:,} for {largest:,}",
    )


def _cut(material: Material) -> Finding | None:
    def cases() -> Iterator[Case]:
        for (one, other), match in material.matches.items():
            a, b = material.files[one], material.files[other]
            aspects = sorted(max(file.width, file.height) / min(file.width, file.height) for file in (a, b))
            if aspects[1] > ASPECT_TOLERANCE * aspects[0] and not match.squashed:
                where = " is ".join(sorted(f"{file.size} in {file.source}" for file in (a, b)))
                yield Case(where, (one, other), f"{a.size} and {b.size}", material.picture_of[one])

    return _finding(
        "cut",
        NOTE,
        "whole in one file and cut in another",
        cases(),
        "No harm to the lesion's shape. The margins tell the sets apart: show the network the centre square.",
        "picture",
    )


def _all_square(material: Material) -> Finding | None:
    folders: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(material.files):
        if not file.problem:
            folders[str(Path(file.name).parent)].append(index)
    square = {
        folder: members
        for folder, members in folders.items()
        if len(members) >= MIN_SQUARES
        and all(material.files[index].width == material.files[index].height for index in members)
    }
    return _finding(
        "all square",
        NOTE,
        "with square pictures only",
        (
            Case(name, (members[0],), material.files[members[0]].size, name)
            for name, members in square.items()
        ),
        "No camera takes them: they were cut, which is harmless, or squashed, which makes round lesions "
        "oval. Compare a few with their originals.",
        "folder",
        lambda name: f"{name}: {plural(len(square[name]), 'file')}",
    )


def _unlabelled(material: Material) -> Finding | None:
    return _finding(
        "no label",
        NOTE,
        "without a class folder and without a diagnosis in a table",
        (
            Case(str(Path(file.name).parent), (index,), file.image_id, index)
            for index, file in enumerate(material.files)
            if not file.label
        ),
        "Add the publisher's table to the paths or sort them into class folders; else they are left out.",
        "file",
    )


# The order within a severity.
CHECKS: tuple[Callable[[Material], Finding | None], ...] = (
    _two_labels,
    _against_the_table,
    _lesion_of_two_diagnoses,
    _picture_across_splits,
    _lesion_across_splits,
    _unreadable,
    _one_id_two_pictures,
    _across_sources,
    _lesion_across_sources,
    _squashed,
    _copies_in_one_place,
    _tiny,
    _plain,
    _one_source,
    _imbalance,
    _cut,
    _all_square,
    _unlabelled,
)
