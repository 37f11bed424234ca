"""The findings of an audit. A finding counts and orders the cases of one kind of defect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dermedge.train.data.counts import plural

__all__ = [
    "ERROR",
    "NOTE",
    "SEVERITIES",
    "WARNING",
    "AuditFinding",
    "DefectCase",
    "FindingExample",
    "finding_of",
]

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class FindingExample:
    """An example of a finding: one or two files.

    Attributes:
        files: indices into `Audit.photos`: one index, or two if the finding compares two files.
        detail: a short text about the files, such as "equal bytes".
    """

    files: tuple[int, ...]
    detail: str


@dataclass(frozen=True)
class AuditFinding:
    """All cases of one kind of defect.

    Attributes:
        kind: a short name by which programs recognize the kind of defect.
        severity: `ERROR`, `WARNING` or `NOTE`.
        title: a phrase that begins with the count, such as "2 files that cannot be decoded".
        count: the number in the title.
        files: the number of different files in all cases; 0 if the cases are classes or datasets.
        breakdown: the number of cases for each `DefectCase.where`, as (text, number). The largest number comes first.
        advice: a text that tells the user what to do.
        examples: all cases that have files to look at: first one case for each entry of ``breakdown``, then a second
            case for each entry, and so on.
    """

    kind: str
    severity: str
    title: str
    count: int
    files: int
    breakdown: tuple[tuple[str, int], ...]
    advice: str
    examples: tuple[FindingExample, ...]


@dataclass(frozen=True)
class DefectCase:
    """One case of a defect, before the cases are counted.

    Attributes:
        where: a text, such as "test and train of clinic". The report counts all cases with the same text together.
        files: indices of the files that show the case; empty if the case is a whole class or dataset.
        detail: a short text about the files, such as "equal bytes".
        subject: the photo, lesion, id, class, folder or dataset that has the defect. A subject with several cases is
            counted once.
    """

    where: str
    files: tuple[int, ...]
    detail: str
    subject: str | int


def finding_of(
    kind: str,
    severity: str,
    title: str,
    cases: Iterable[DefectCase],
    advice: str,
    noun: str,
    line: Callable[[str], str] = lambda where: where,
) -> AuditFinding | None:
    """Returns a finding that summarizes all cases of one defect, or None if there are no cases.

    Args:
        kind: a short name for the kind of defect.
        severity: one of `SEVERITIES`.
        title: the part of the title after the count and the noun, such as "that cannot be decoded".
        cases: cases in the order of their files.
        advice: a text that tells the user what to do.
        noun: the noun for one subject, such as "photo".
        line: a function that gets a `DefectCase.where`, and returns the text for it in `AuditFinding.breakdown`.
    """
    cases = list(cases)
    if not cases:
        return None
    groups: dict[str, list[DefectCase]] = defaultdict(list)
    for case in cases:
        groups[case.where].append(case)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    turns = max(map(len, groups.values()))
    shown = [members[turn] for turn in range(turns) for _, members in ordered if turn < len(members)]
    count = len({case.subject for case in cases})
    return AuditFinding(
        kind=kind,
        severity=severity,
        title=f"{plural(count, noun)} {title}",
        count=count,
        files=len({file for case in cases for file in case.files}),
        breakdown=tuple((line(where), len(members)) for where, members in ordered),
        advice=advice,
        examples=tuple(FindingExample(case.files, case.detail) for case in shown if case.files),
    )
