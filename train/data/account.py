"""Writes lines that describe how folders and tables were understood. They are printed before the photos are read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from dermedge.edge.printable import printable
from dermedge.train.data.counts import counted, plural, some_of
from dermedge.train.data.diagnoses import diagnosis_of, names_no_diagnosis
from dermedge.train.data.folder_names import FolderKind, folder_kind
from dermedge.train.data.labelled_file import ON_FOLDER, ON_TABLE, LabelledFile
from dermedge.train.data.tables import TableAccount

__all__ = ["account_lines"]

_SHOWN_COLUMNS = 12
_DATE = r"(19|20)\d\d([_-]?\d\d){2}|\d{1,2}[_-]\d{1,2}[_-](19|20)\d\d"
# Matches a file name such as lesion7_2, lesion7_2021-05-30, lesion7_clinic or lesion7b: a beginning that contains a
# digit, and an end. The end is a single letter, or a number, date or word after a separator. Photos of one lesion often
# have names with the same beginning. IMG_0012 does not match, because IMG contains no digit.
_SERIES = re.compile(rf"(.*?\d.*?)(?:[ _.-]+\(?(?:\d{{1,4}}|{_DATE}|[^\W\d_]+)\)?|(?<=\d)[^\W\d_])")
_MIN_SERIES = 5


def account_lines(
    files: Sequence[LabelledFile],
    tables: Sequence[TableAccount],
    contradicted: int,
    spellings: Mapping[str, Mapping[str, str]],
    group_folders_count: bool,
) -> tuple[str, ...]:
    """Returns the lines that describe how the photos were understood.

    Args:
        files: the photos, with what folders and tables state about each photo.
        tables: the account of each table file.
        contradicted: the number of photos for which tables state diagnoses that exclude each other.
        spellings: two mappings, "folders" and "labels", of names to the spellings that are used for them.
        group_folders_count: True if each folder below a class folder is used as a group of photos.
    """
    lines = (
        *_set_lines(files),
        *_folder_lines(files),
        *_undiagnosed_lines(files),
        *(line for kind, names in spellings.items() for line in _spelling_lines(kind, names)),
        *map(_table_line, tables),
        *_column_lines(tables),
        *_override_lines(files, contradicted),
        *_group_lines(files, tables, group_folders_count),
        *(_recurring_lines(files) if group_folders_count else ()),
        *_name_lines(files),
        *_part_lines(files),
        *_people_lines(files),
    )
    return tuple(map(printable, lines))


def _set_lines(files: Sequence[LabelledFile]) -> list[str]:
    counts = Counter(file.photo.source for file in files)
    return [f"datasets: {counted(counts)}"] if len(counts) > 1 else []


def _folder_lines(files: Sequence[LabelledFile]) -> list[str]:
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        if file.origin == ON_FOLDER:
            by_source[file.photo.source][file.photo.original_label] += 1
    return [
        f"classes from folder names of '{source}': {counted(counts)}" for source, counts in by_source.items()
    ]


def _undiagnosed_lines(files: Sequence[LabelledFile]) -> list[str]:
    """Returns a line for each class folder with a name, such as "unknown", that suggests photos without a diagnosis."""
    counts = Counter(
        file.folder for file in files if file.origin == ON_FOLDER and names_no_diagnosis(file.folder)
    )
    return [
        f"the folder name '{name}' counts as the label of {plural(count, 'photo')}. If the diagnoses of these photos "
        "are not known, move the folder to another place"
        for name, count in counts.items()
    ]


def _spelling_lines(kind: str, spellings: Mapping[str, str]) -> list[str]:
    merged: dict[str, list[str]] = defaultdict(list)
    for written, one in spellings.items():
        merged[one].append(written)
    return [
        f"the {kind} {', '.join(map(repr, sorted(written)))} are one class: '{one}'"
        for one, written in merged.items()
        if len(written) > 1
    ]


def _table_line(account: TableAccount) -> str:
    name = f"'{account.path.name}'"
    if not account.format:
        return f"table not read: {name} {account.note}"
    if not account.photos:
        return f"table not used: {name} ({account.format}) names none of the photos"
    missing = f"; rows that name none of the photos: {account.strangers:,}" if account.strangers else ""
    if account.labelled:
        return f"labels from {name} ({account.format}): {plural(account.labelled, 'photo')}{missing}"
    return f"no labels from {name} ({account.format}), which names {plural(account.photos, 'photo')}{missing}"


def _column_lines(tables: Sequence[TableAccount]) -> list[str]:
    """Returns up to two lines for each table: the columns that are not read, and the cells that are not understood."""
    lines = []
    for account in tables:
        if account.unused:
            columns = some_of([f"'{column}'" for column in account.unused], _SHOWN_COLUMNS)
            lines.append(f"columns of '{account.path.name}' that are not read: {columns}")
        if account.unclear:
            lines.append(
                f"cells of '{account.path.name}' that are not understood: {counted(Counter(account.unclear))}"
            )
    return lines


def _override_lines(files: Sequence[LabelledFile], contradicted: int) -> list[str]:
    over = Counter(
        file.folder
        for file in files
        if file.origin == ON_TABLE and file.folder and diagnosis_of(file.folder) != file.photo.diagnosis
    )
    lines = []
    if over:
        lines.append(
            f"a table states another diagnosis than the folder for {plural(over.total(), 'photo')} (in the folders: "
            f"{counted(over)}). The table is used; --labels-from folder uses the folders instead"
        )
    if contradicted:
        lines.append(
            f"tables contradict each other on the diagnosis of {plural(contradicted, 'photo')}. dermedge prefers a "
            "specific diagnosis to an ambiguous one, and otherwise your own table to a publisher's"
        )
    return lines


def _group_lines(
    files: Sequence[LabelledFile], tables: Sequence[TableAccount], group_folders_count: bool
) -> list[str]:
    groups = [_column_text(column, account) for account in tables for column in account.groups]
    folders = sorted({file.group_folder for file in files if file.group_folder})
    lines = []
    if folders:
        found = f"{plural(len(folders), 'folder')} of lesions or persons ({some_of(folders)})"
        if group_folders_count:
            groups.append(found)
        else:
            lines.append(f"no groups from: {found}")
    return [f"groups from: {', '.join(groups)}", *lines] if groups else lines


def _column_text(column: str, account: TableAccount) -> str:
    without = account.photos - account.groups[column]
    empty = f" (no id for {without:,} of {plural(account.photos, 'photo')})" if without else ""
    return f"{column} of '{account.path.name}'{empty}"


def _recurring_lines(files: Sequence[LabelledFile]) -> list[str]:
    """Returns a line if folders of one name lie below several classes, because they may belong to one person."""
    classes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for folder in {file.group_folder for file in files if not file.photo.patient_id}:
        dataset, _, below = folder.partition("/")
        class_name, _, name = below.partition("/")
        if name and folder_kind(name) is not FolderKind.DATE:
            classes[dataset, name].add(class_name)
    recurring = sorted({name for (_, name), above in classes.items() if len(above) > 1})
    if not recurring:
        return []
    return [
        f"below several classes there are folders of one name ({some_of(recurring)}). The photos of each such folder "
        "are a separate group. If the name means one person, add a table with the columns path and patient_id"
    ]


def _name_lines(files: Sequence[LabelledFile]) -> list[str]:
    """Returns a line if file names suggest that several photos show one lesion, and these photos are in no group."""
    stems: dict[tuple[str, str], list[str]] = defaultdict(list)
    alone = [file for file in files if not file.links]
    for file in alone:
        folder, _, name = file.name.rpartition("/")
        if series := _SERIES.fullmatch(name.partition(".")[0]):
            stems[folder, series[1]].append(name)
    several = [sorted(names) for names in stems.values() if len(names) > 1]
    count = sum(map(len, several))
    if len(several) < _MIN_SERIES or 2 * count < len(alone):
        return []
    first, second = several[0][:2]
    return [
        f"the names of {plural(count, 'photo')} differ only in the number at the end, or in the last word, such as "
        f"'{first}' and '{second}'. If such photos show one lesion, add a table with a column lesion_id, or put the "
        "photos of each lesion into a folder of their own below the class folder"
    ]


def _part_lines(files: Sequence[LabelledFile]) -> list[str]:
    counts = Counter(file.part for file in files if file.part)
    if not counts:
        return []
    return [
        f"splits that folders or tables state: {counted(counts)}. Without --keep-parts, the photos are split anew by "
        "group"
    ]


def _people_lines(files: Sequence[LabelledFile]) -> list[str]:
    known = {
        name: sum(bool(getattr(file.photo, name)) for file in files)
        for name in ("view", "age", "sex", "site", "skin_tone", "fitzpatrick")
    }
    told = [f"{name.replace('_', ' ')} of {count:,}" for name, count in known.items() if count]
    return [f"known facts of {plural(len(files), 'photo')}: {', '.join(told)}"] if told else []
