"""What is wrong with labelled photos before anything is learned from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.train.data.audit_checks import CHECKS, SEVERITIES, File, Finding, Material
from dermedge.train.data.duplicates import Match, Prints, equal_files, join, near_duplicates, read_prints
from dermedge.train.data.folders import find_places
from dermedge.train.data.tables import read_tables


@dataclass(frozen=True)
class Audit:
    """What was looked at and what was found.

    Attributes:
        files: in the order of their paths.
        tables: the publishers' tables that were read.
        findings: the gravest first.
    """

    files: tuple[File, ...]
    tables: tuple[Path, ...]
    findings: tuple[Finding, ...]


def run_audit(
    paths: Sequence[Path],
    references: Sequence[Path] = (),
    reading: Callable[[int, int], None] = lambda done, total: None,
    comparing: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Looks at all pictures below ``paths``.

    Args:
        paths: folders of pictures, in class folders or not, and the publishers' tables.
        references: more tables to hold the labels against.
        reading: called with (files read, files to read).
        comparing: called with (files compared, files to compare).

    Raises:
        DataError: a path does not exist, there is no picture, or a table is damaged.
        OptionError: a reference, or a file among the paths, is no table that is known.
    """
    places, tables = find_places(paths)
    known = read_tables([*tables, *references], named=[*paths, *references])
    prints = read_prints([place.path for place in places], reading)
    files = []
    for index, place in enumerate(places):
        image_id = known.image_id(place)
        width, height = map(int, prints.sizes[index])
        files.append(
            File(
                path=place.path,
                name=place.name,
                image_id=image_id,
                lesion_id=known.lesion(image_id) or "",
                source=place.source,
                part=place.part or "",
                folder=place.folder or "",
                reference=(known.diagnosis(image_id) if image_id in known.diagnoses else None) or "",
                width=width,
                height=height,
                problem=prints.unreadable.get(index, ""),
            )
        )
    material = _material(tuple(files), prints, near_duplicates(prints, comparing))
    findings = [finding for check in CHECKS for finding in [check(material)] if finding]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(material.files, tuple(known.files), tuple(findings))


def _material(files: tuple[File, ...], prints: Prints, matches: list[Match]) -> Material:
    links = [(match.first, match.second) for match in matches]
    same_id: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        same_id[file.image_id].append(index)
    links += [(members[0], other) for members in same_id.values() for other in members[1:]]
    links += [(members[0], other) for members in equal_files(prints) for other in members[1:]]
    picture_of = join(len(files), links)
    members_of: dict[int, list[int]] = defaultdict(list)
    for index, picture in enumerate(picture_of):
        members_of[picture].append(index)
    pictures = tuple(tuple(members) for members in members_of.values() if len(members) > 1)
    by_pair = {(match.first, match.second): match for match in matches}
    return Material(files, prints, by_pair, pictures, tuple(picture_of))
