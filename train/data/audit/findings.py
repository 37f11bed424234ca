"""Findings of an audit: the cases of one kind of defect, counted and ordered."""

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
    """Files that show a finding.

    Attributes:
        files: one file, or two that belong together, as indices into `Audit.files`.
        detail: what the files show.
    """

    files: tuple[int, ...]
    detail: str


@dataclass(frozen=True)
class AuditFinding:
    """One kind of defect.

    Attributes:
        kind: a short name for programs.
        severity: error, warning or note.
        title: a sentence with the count.
        count: the number in the title.
        files: how many files are concerned.
        breakdown: (group, number of cases), the most frequent first.
        advice: what to do.
        examples: all cases that have files to look at, taken from the lines of the breakdown in turn.
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
    """One instance of a defect, before the instances are counted.

    Attributes:
        where: the group of the breakdown that it belongs to.
        files: files that show it; none if a whole class is meant.
        detail: what the files show.
        subject: the photo, lesion or id that is counted once, however many cases it has.
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
    """Returns the finding for some cases, or None without any.

    Args:
        kind: a short name.
        severity: one of `SEVERITIES`.
        title: the part of the title after the count, such as "12 photos".
        cases: cases in the order of their files.
        advice: what to do.
        noun: noun for a subject, such as "photo".
        line: returns the line of the breakdown for a value of ``where``.
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
