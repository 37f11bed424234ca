"""Labels and groups every photo that is found, by the tables and the folders, and says how it was understood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermedge.train.data.catalogue import Photo
from dermedge.train.data.diagnoses import compatible, diagnosis_of, normal_name, possible_diagnoses
from dermedge.train.data.folders import FoundPhoto, find_files
from dermedge.train.data.layout import AUTO, FOLDER, PARENT, TABLE, Placement, read_layout
from dermedge.train.data.photo_names import base_stem, published_id
from dermedge.train.data.tables import PhotoFacts, TableAccount, Tables, read_tables

__all__ = [
    "FOLDERS_TOO",
    "GROUP_SOURCES",
    "NO_LABEL",
    "TABLE_SILENT",
    "LabelledFiles",
    "class_folders",
    "label_files",
]

NO_LABEL = "no table and no folder names it"
TABLE_SILENT = "its table does not tell its diagnosis"
# What --groups-from takes.
FOLDERS_TOO, _TABLES_ONLY = GROUP_SOURCES = ("auto", "table")
_SHOWN_NAMES = 12


@dataclass(frozen=True)
class LabelledFiles:
    """Photos with their diagnoses, before they have classes, duplicates and splits.

    Attributes:
        photos: ``label`` and ``split`` are empty; ``group`` is the photo's own name.
        names: for each photo, where it lies below the folder that was given, with that folder's name.
        links: for each photo, the names of lesions, persons, folders and photos that it shares with others.
        parts: for each photo, the train, val or test that a table or its folder states, or empty.
        folder_labels: for each photo, the class that its folder states, or empty.
        table_labels: for each photo, the diagnosis that a table states, or empty.
        in_table: for each photo, whether a table that tells diagnoses has a row for it.
        folders_seen: some of the folders' names, to show.
        skipped: reason -> number of files.
        account: lines that tell how folders and tables were understood.
        tables: the files that were understood.
    """

    photos: tuple[Photo, ...]
    names: tuple[str, ...]
    links: tuple[tuple[str, ...], ...]
    parts: tuple[str, ...]
    folder_labels: tuple[str, ...]
    table_labels: tuple[str, ...]
    in_table: tuple[bool, ...]
    folders_seen: str
    skipped: Counter[str]
    account: tuple[str, ...]
    tables: tuple[Path, ...]


@dataclass(frozen=True)
class _Label:
    """What a photo shows and where that is from: a table, a folder, or nowhere."""

    original: str = ""
    diagnosis: str = ""
    origin: str = ""


def label_files(
    paths: Sequence[Path],
    labels_from: str = AUTO,
    groups_from: str = FOLDERS_TOO,
    references: Sequence[Path] = (),
) -> LabelledFiles:
    """Finds all photos below ``paths`` and tells what each shows and what it belongs with.

    Args:
        paths: folders of photos, and files of tables.
        labels_from: a value of `LABEL_SOURCES`; auto takes the tables where they tell a photo's diagnosis, else
            the folders.
        groups_from: auto, or table to split the folders below the class folders.
        references: more tables.

    Raises:
        DataError: nothing is found, or a folder or table cannot be read or can be read in two ways.
        OptionError: a file among ``paths`` or ``references`` is not a table that is understood.
    """
    found = find_files([*paths, *references])
    photos = found.photos
    named = {table for table in found.tables if table in {Path.absolute(p) for p in (*paths, *references)}}
    tables = read_tables(found.tables, photos, named, unread_allowed=labels_from in (FOLDER, PARENT))
    in_table = [_told(tables, index) or labels_from == TABLE for index in range(len(photos))]
    placements = read_layout(
        photos, in_table if labels_from in (AUTO, TABLE) else [False] * len(photos), labels_from
    )
    spellings = _one_spelling([placement.class_name for placement in placements])
    folder_names = [spellings.get(placement.class_name, "") for placement in placements]
    labels = [
        _choose_label(tables.facts.get(index), folder_names[index], labels_from)
        for index in range(len(photos))
    ]
    links = _links(photos, placements, tables, folder_names, groups_from)
    ids = _image_ids(photos)
    drafts = [
        _photo(photo, ids[index], labels[index], placements[index], tables.facts.get(index))
        for index, photo in enumerate(photos)
    ]
    return LabelledFiles(
        tuple(drafts),
        tuple(photo.name for photo in photos),
        tuple(links),
        tuple(_part(tables.facts.get(index), placements[index]) for index in range(len(photos))),
        tuple(folder_names),
        tuple(
            (tables.facts[index].diagnosis or "") if index in tables.facts else ""
            for index in range(len(photos))
        ),
        tuple(
            index in tables.facts and tables.facts[index].table is not None for index in range(len(photos))
        ),
        _some(sorted({photo.path.parent.name for photo in photos})),
        found.skipped,
        tuple(_account(tables, labels, folder_names, drafts, placements, spellings, groups_from)),
        tuple(account.path for account in tables.accounts if account.format),
    )


def class_folders(data: Path) -> list[str]:
    """The names of the class folders below a folder, in the order in which Keras numbers its classes.

    Raises:
        DataError: there is no photo, or the folders can be read in two ways.
    """
    photos = find_files([data]).photos
    placements = read_layout(photos, [False] * len(photos))
    return sorted({placement.class_name for placement in placements} - {""})


def _told(tables: Tables, index: int) -> bool:
    return index in tables.facts and tables.facts[index].diagnosis is not None


def _choose_label(facts: PhotoFacts | None, folder: str, labels_from: str) -> _Label:
    """The table's diagnosis; the folder's where no table tells it, or tells less than a folder that agrees."""
    from_folder = _Label(folder, diagnosis_of(folder) or folder, "folder") if folder else _Label()
    if labels_from in (FOLDER, PARENT) or facts is None or facts.diagnosis is None:
        return _Label() if labels_from == TABLE else from_folder
    from_table = _Label(facts.original_label, facts.diagnosis, "table")
    if folder and labels_from == AUTO and len(possible_diagnoses(facts.diagnosis)) > 1:
        tells_more = len(possible_diagnoses(from_folder.diagnosis)) == 1
        if tells_more and compatible(from_folder.diagnosis, facts.diagnosis):
            return from_folder
    return from_table


def _photo(
    found: FoundPhoto, image_id: str, label: _Label, placement: Placement, facts: PhotoFacts | None
) -> Photo:
    facts = facts or PhotoFacts()
    people = {name: value for name, value in facts.people.items() if name != "source"}
    return Photo(
        path=str(found.path),
        image_id=image_id,
        lesion_id=facts.lesion_id,
        group=facts.lesion_id or image_id,
        diagnosis=label.diagnosis,
        label="",
        source=facts.people.get("source", placement.source),
        original_label=label.original,
        patient_id=facts.patient_id,
        root=str(found.root),
        **people,
    )


def _image_ids(photos: Sequence[FoundPhoto]) -> list[str]:
    """The publisher's id, which names one photo wherever it lies, else its place below the folder given.

    A name like IMG_0001 is given to many photos.
    """
    roots = list(dict.fromkeys(photo.root for photo in photos))
    names = {root: root.name for root in roots}
    for depth in range(2, 20):
        repeated = {name for name, count in Counter(names.values()).items() if count > 1}
        if not repeated:
            break
        names |= {root: "/".join(root.parts[-depth:]) for root in roots if names[root] in repeated}
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
    """For each photo, the names that it shares with the photos of its group."""
    made_from = [
        (photo.root, name, base_stem(photo.path.stem))
        for photo, name in zip(photos, folder_names, strict=True)
    ]
    changed = {key for photo, key in zip(photos, made_from, strict=True) if key[2] != photo.path.stem}
    links = []
    for index, photo in enumerate(photos):
        names = list(tables.facts[index].groups) if index in tables.facts else []
        if found := published_id(photo.path.stem):
            names.append(f"photo {found}")
        elif made_from[index] in changed:
            root, folder, stem = made_from[index]
            names.append(f"made from {root.name}/{folder}/{stem}")
        if placements[index].group and groups_from == FOLDERS_TOO:
            names.append(f"folder {placements[index].group}")
        links.append(tuple(names))
    return links


def _part(facts: PhotoFacts | None, placement: Placement) -> str:
    return facts.part if facts and facts.part else placement.part


def _one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Name of a folder -> the most frequent of those that differ in capitals, spaces and underscores alone."""
    counts = Counter(names)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        spellings[normal_name(name)].append(name)
    return {name: alike[0].strip() for alike in spellings.values() for name in alike}


def _account(
    tables: Tables,
    labels: Sequence[_Label],
    folder_names: Sequence[str],
    photos: Sequence[Photo],
    placements: Sequence[Placement],
    spellings: dict[str, str],
    groups_from: str,
) -> list[str]:
    """What was understood, one line a fact."""
    return [
        *_set_lines(photos),
        *_folder_lines(labels, photos, spellings),
        *map(_table_line, tables.accounts),
        *_override_lines(labels, folder_names, tables),
        *_group_lines(tables.accounts, placements, groups_from),
        *_people_lines(photos),
    ]


def _set_lines(photos: Sequence[Photo]) -> list[str]:
    counts = Counter(photo.source for photo in photos)
    return [f"sets: {_counted(counts)}"] if len(counts) > 1 else []


def _folder_lines(labels: Sequence[_Label], photos: Sequence[Photo], spellings: dict[str, str]) -> list[str]:
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for label, photo in zip(labels, photos, strict=True):
        if label.origin == "folder":
            by_source[photo.source][label.original] += 1
    lines = [
        f"classes from folder names of '{source}': {_counted(counts)}" for source, counts in by_source.items()
    ]
    merged: dict[str, list[str]] = defaultdict(list)
    for written, one in spellings.items():
        merged[one].append(written)
    for one, spelled in merged.items():
        if len(spelled) > 1:
            lines.append(f"one class, '{one}': the folders {', '.join(map(repr, sorted(spelled)))}")
    return lines


def _table_line(account: TableAccount) -> str:
    name = f"'{account.path.name}'"
    if not account.format:
        return f"not read: {name}: {account.note}"
    if not account.photos:
        return f"not used: {name} ({account.format}) names none of the photos"
    missing = f"; {account.strangers:,} rows name none of the photos" if account.strangers else ""
    if account.labelled:
        return f"labels from {name} ({account.format}): {account.labelled:,} photos{missing}"
    return f"read: {name} ({account.format}) names {account.photos:,} photos{missing}"


def _override_lines(labels: Sequence[_Label], folder_names: Sequence[str], tables: Tables) -> list[str]:
    over = Counter(
        folder
        for label, folder in zip(labels, folder_names, strict=True)
        if label.origin == "table" and folder and diagnosis_of(folder) != label.diagnosis
    )
    lines = []
    if over:
        lines.append(
            f"a table overrides the folders of {over.total():,} photos ({_counted(over)}); "
            "--labels-from folder goes by the folders"
        )
    contradicted = sum(facts.contradicted for facts in tables.facts.values())
    if contradicted:
        lines.append(
            f"the tables contradict one another on {contradicted:,} photos; the finest diagnosis counts"
        )
    return lines


def _group_lines(
    accounts: Sequence[TableAccount], placements: Sequence[Placement], groups_from: str
) -> list[str]:
    columns = [
        f"{column} of '{account.path.name}'"
        for account in accounts
        for column in account.facts
        if column.endswith("_id") or column in ("group", "lesion", "patient", "subject", "person", "case")
    ]
    folders = sorted({placement.group for placement in placements if placement.group})
    if folders and groups_from == FOLDERS_TOO:
        columns.append(f"{len(folders):,} folders below the classes ({_some(folders)})")
    elif folders:
        columns.append(f"not from the {len(folders):,} folders below the classes ({_some(folders)})")
    return [f"groups from: {', '.join(columns)}"] if columns else []


def _people_lines(photos: Sequence[Photo]) -> list[str]:
    known = {
        name: sum(bool(getattr(photo, name)) for photo in photos)
        for name in ("view", "age", "sex", "site", "skin_tone", "fitzpatrick")
    }
    told = [f"{name.replace('_', ' ')} of {count:,}" for name, count in known.items() if count]
    return [f"known of {len(photos):,} photos: {', '.join(told)}"] if told else []


def _counted(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count:,}" for name, count in ordered[:_SHOWN_NAMES]]
    return ", ".join(shown) + (
        f", and {len(counts) - _SHOWN_NAMES} more" if len(counts) > _SHOWN_NAMES else ""
    )


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:3])
    return f"{shown}, …" if len(names) > 3 else shown
