"""Finds the label and the group of every photo, from the tables and the folders."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dermedge.edge.errors import DataError
from dermedge.train.data.account import account_lines
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.diagnoses import (
    compatible,
    diagnosis_of,
    is_known,
    normal_name,
    possible_diagnoses,
    spelling_key,
)
from dermedge.train.data.folders import FoundPhoto, distinct_names, find_files
from dermedge.train.data.group_names import matching_id
from dermedge.train.data.labelled_file import NOWHERE, ON_FOLDER, ON_TABLE, LabelledFile
from dermedge.train.data.layout import AUTO, FOLDER, PARENT, TABLE, Placement, dataset_root, read_layout
from dermedge.train.data.photo_names import base_stem, published_id
from dermedge.train.data.tables import PhotoFacts, TableAccount, Tables, read_tables

__all__ = ["FOLDERS_TOO", "GROUP_SOURCES", "LabelledFiles", "class_folders", "label_files"]

# The values of --groups-from.
GROUP_SOURCES = ("auto", "table")
FOLDERS_TOO = GROUP_SOURCES[0]


@dataclass(frozen=True)
class LabelledFiles:
    """The photos below the given folders, with their labels.

    Attributes:
        files: all photos, with or without a label.
        skipped: for each reason, the number of files that are not read.
        account: lines that describe how folders and tables were understood.
        tables: paths of the tables that were understood.
    """

    files: tuple[LabelledFile, ...]
    skipped: Counter[str]
    account: tuple[str, ...]
    tables: tuple[Path, ...]


def label_files(
    paths: Sequence[Path],
    labels_from: str = AUTO,
    groups_from: str = FOLDERS_TOO,
    references: Sequence[Path] = (),
) -> LabelledFiles:
    """Finds all photos below ``paths``, with the label and the group of each.

    Args:
        paths: folders of photos, and table files. If only tables are given, photos are searched for in the folders
            that contain the tables, and the value auto of ``labels_from`` means table.
        labels_from: a value of `LABEL_SOURCES`. auto: a label is read from a table or, if no table states one, from
            the name of a folder; table: only from a table; folder, parent: only from the name of a folder.
        groups_from: a value of `GROUP_SOURCES`. auto: the photos of a folder below a class folder form a group;
            table: they do not.
        references: further table files.

    Raises:
        DataError: there is no photo; a folder or table cannot be read; it is unclear which level of the folders is the
            class; or a table among ``paths`` names none of the photos.
        OptionError: a file among ``paths`` or ``references`` is not a table that can be understood.
    """
    paths, labels_from = _with_folders_of_tables(paths, labels_from)
    found = find_files([*paths, *references])
    given = {Path(os.path.abspath(path)) for path in (*paths, *references)}
    by_folders = labels_from in (FOLDER, PARENT)
    tables = read_tables(found.tables, found.photos, given, unread_allowed=by_folders)
    _check_used(paths, tables)
    stated = _diagnoses_stated(tables, len(found.photos))
    in_tables = [bool(diagnosis) if labels_from == AUTO else labels_from == TABLE for diagnosis in stated]
    placements = read_layout(found.photos, in_tables, labels_from, stated)
    spellings = _one_spelling(placement.class_name for placement in placements)
    folders = [spellings[placement.class_name] for placement in placements]
    links = _links(found.photos, placements, tables, folders, groups_from)
    ids = _image_ids(found.photos)
    files = tuple(
        _file(photo, ids[at], folders[at], placements[at], tables.facts.get(at), links[at], labels_from)
        for at, photo in enumerate(found.photos)
    )
    files, label_spellings = _with_one_spelling(files)
    contradicted = sum(facts.contradicted and not facts.undecided for facts in tables.facts.values())
    account = account_lines(
        files,
        _with_labelled(tables, files),
        0 if by_folders else contradicted,
        {"folders": spellings, "labels": label_spellings},
        groups_from == FOLDERS_TOO,
    )
    understood = tuple(account.path for account in tables.accounts if account.format)
    return LabelledFiles(files, found.skipped, account, understood)


def _check_used(paths: Sequence[Path], tables: Tables) -> None:
    """Raises DataError if a table among ``paths`` names none of the photos that were found.

    If a table names none of the photos, the folder of its photos was not given, or the names in the table are wrong.
    """
    given = {Path(os.path.abspath(path)): path for path in paths}
    for account in tables.accounts:
        if account.path not in given or account.photos:
            continue
        path, cure = given[account.path], "Correct the names of the photos in this table"
        if given.keys().isdisjoint(account.path.parents):
            cure = f"Give the folder of its photos too, such as '{path.parent}'"
        raise DataError(f"'{path}' names none of the photos. {cure}, or leave the table out")


def _with_labelled(tables: Tables, files: Sequence[LabelledFile]) -> list[TableAccount]:
    """Returns the summaries of the tables with ``labelled``, the number of photos whose label is from the table."""
    labelled = Counter(facts.table for at, facts in tables.facts.items() if files[at].origin == ON_TABLE)
    return [replace(account, labelled=labelled[account.path]) for account in tables.accounts]


def _with_folders_of_tables(paths: Sequence[Path], labels_from: str) -> tuple[Sequence[Path], str]:
    """Returns the paths to search and the value of ``labels_from`` to use.

    If only tables are given, the folders that contain the tables are added to the paths. The value ``auto`` of
    ``labels_from`` is then replaced by ``table``, so that the names of folders are not used as labels.
    """
    if not all(path.is_file() for path in paths):
        return paths, labels_from
    folders = dict.fromkeys(path.parent for path in paths)
    return [*folders, *paths], TABLE if labels_from == AUTO else labels_from


def class_folders(data: Path) -> list[str]:
    """Returns the names of the class folders below ``data`` in alphabetical order. Keras numbers classes in this order.

    Raises:
        DataError: there is no photo, or it is unclear which level of the folders is the class.
    """
    photos = find_files([data]).photos
    placements = read_layout(photos, [False] * len(photos))
    return sorted({placement.class_name for placement in placements} - {""})


def _diagnoses_stated(tables: Tables, count: int) -> list[str]:
    """Returns the diagnosis that tables state for each photo; empty if they state none."""
    return [tables.facts[index].diagnosis or "" if index in tables.facts else "" for index in range(count)]


def _file(
    found: FoundPhoto,
    image_id: str,
    folder: str,
    placement: Placement,
    facts: PhotoFacts | None,
    links: tuple[str, ...],
    labels_from: str,
) -> LabelledFile:
    facts = facts or PhotoFacts()
    original, diagnosis, origin = _choose_label(facts, folder, labels_from)
    people = {name: value for name, value in facts.people.items() if name != "source"}
    photo = Photo(
        path=str(found.path),
        image_id=image_id,
        lesion_id=facts.lesion_id,
        group=facts.lesion_id or image_id,
        diagnosis=diagnosis,
        label="",
        source=facts.people.get("source", placement.source),
        original_label=original,
        patient_id=facts.patient_id,
        root=str(found.root),
        **people,
    )
    return LabelledFile(
        photo=photo,
        name=found.name,
        links=links,
        part=facts.part or placement.part,
        folder=folder,
        group_folder=placement.group,
        reference="" if facts.undecided else facts.diagnosis or "",
        in_table=facts.table is not None,
        undecided=facts.undecided and labels_from not in (FOLDER, PARENT),
        origin=origin,
    )


def _choose_label(facts: PhotoFacts, folder: str, labels_from: str) -> tuple[str, str, str]:
    """Returns the label as a table or folder writes it, the diagnosis of the label, and the origin of the label.

    If ``labels_from`` is auto, the table's label is used, with two exceptions. The folder's label is used if no table
    states a label. It is also used if the table's label is ambiguous, and can mean the folder's label. A photo gets no
    label if tables contradict each other and none is preferred.
    """
    of_folder = diagnosis_of(folder) or folder
    from_folder = (folder, of_folder, ON_FOLDER) if folder and labels_from != TABLE else ("", "", NOWHERE)
    if labels_from in (FOLDER, PARENT):
        return from_folder
    if facts.undecided:
        return "", "", NOWHERE
    if facts.diagnosis is None:
        return from_folder
    if labels_from == AUTO and folder and _tells_more(of_folder, facts.diagnosis):
        return from_folder
    return facts.original_label, facts.diagnosis, ON_TABLE


def _tells_more(diagnosis: str, other: str) -> bool:
    """Tells whether ``diagnosis`` is more specific than ``other``.

    This is the case if ``other`` is ambiguous and ``diagnosis`` is not. The two must also be `compatible`.
    """
    is_one = len(possible_diagnoses(diagnosis)) == 1
    return is_one and len(possible_diagnoses(other)) > 1 and compatible(diagnosis, other)


def _image_ids(photos: Sequence[FoundPhoto]) -> list[str]:
    """Returns the id of each photo: the publisher's id or, if there is none, the path of the photo.

    A publisher's id means the same photo in any folder. The path begins with the name of the given folder. The file
    name alone cannot be the id, because many photos are called IMG_0001.
    """
    names = distinct_names(photo.root for photo in photos)
    return [
        published_id(photo.path.stem)
        or "/".join((names[photo.root], *photo.folders, photo.path.name.removesuffix(photo.path.suffix)))
        for photo in photos
    ]


def _links(
    photos: Sequence[FoundPhoto],
    placements: Sequence[Placement],
    tables: Tables,
    folder_names: Sequence[str],
    groups_from: str,
) -> list[tuple[str, ...]]:
    """Returns, for each photo, the names that link the photo to other photos of its group."""
    made_from = [
        (dataset_root(photo.root), name, base_stem(photo.path.stem))
        for photo, name in zip(photos, folder_names, strict=True)
    ]
    changed = {
        key
        for photo, key in zip(photos, made_from, strict=True)
        if key[2] != photo.path.stem and normal_name(key[2]) != normal_name(key[1])
    }
    links = []
    for index, photo in enumerate(photos):
        names = list(tables.facts[index].groups) if index in tables.facts else []
        if found := published_id(photo.path.stem):
            names.append(f"photo {found}")
        elif made_from[index] in changed:
            root, folder, stem = made_from[index]
            names.append(f"made from {root.name}/{folder}/{stem}")
        if placements[index].group and groups_from == FOLDERS_TOO:
            names.append(f"folder {'/'.join(map(matching_id, placements[index].group.split('/')))}")
        links.append(tuple(names))
    return links


def _one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Returns the most frequent spelling of each folder name or label.

    Names are spellings of one name if they have the same `spelling_key`.
    """
    counts = Counter(names)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        spellings[spelling_key(name)].append(name)
    return {name: " ".join(alike[0].split()) for alike in spellings.values() for name in alike}


def _with_one_spelling(files: Sequence[LabelledFile]) -> tuple[tuple[LabelledFile, ...], dict[str, str]]:
    """Gives all spellings of a label the same spelling. Returns the files, and a dict: label -> its new spelling.

    Names of known diagnoses are not changed here. Several such names can mean one diagnosis, and a later step merges
    them.
    """
    labels = (file.photo.original_label for file in files)
    spellings = _one_spelling(label for label in labels if label and not is_known(label))
    return tuple(
        replace(
            file,
            photo=replace(file.photo, original_label=spelling, diagnosis=spelling),
            reference=spellings.get(file.reference, file.reference),
        )
        if (spelling := spellings.get(file.photo.original_label))
        else file
        for file in files
    ), spellings
