"""Describes how folders and tables were understood, in lines that are printed before anything else."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from dermedge.edge.printable import printable
from dermedge.train.data.counts import counted, plural, some_of
from dermedge.train.data.diagnoses import diagnosis_of
from dermedge.train.data.labelled_file import ON_FOLDER, ON_TABLE, LabelledFile
from dermedge.train.data.tables import TableAccount

__all__ = ["account_lines"]

_SHOWN_COLUMNS = 12
# The name of one of several photos of a lesion: a shared part and a number. IMG_0012 does not match, because only a
# camera's prefix precedes its number.
_SERIES = re.compile(r"(.*\d.*?)[ _.-]+\(?\d{1,4}\)?")
_MIN_SERIES = 5


def account_lines(
    files: Sequence[LabelledFile],
    tables: Sequence[TableAccount],
    contradicted: int,
    spellings: Mapping[str, str],
    group_folders_count: bool,
) -> tuple[str, ...]:
    """Returns the lines that describe how the photos were understood.

    Args:
        files: the photos.
        tables: how each table was understood.
        contradicted: the number of photos on which the tables contradict one another.
        spellings: name of a folder -> the spelling that is used for it.
        group_folders_count: whether folders below the class folders are groups.
    """
    lines = (
        *_set_lines(files),
        *_folder_lines(files),
        *_spelling_lines(spellings),
        *map(_table_line, tables),
        *_column_lines(tables),
        *_override_lines(files, contradicted),
        *_group_lines(files, tables, group_folders_count),
        *_name_lines(files),
        *_part_lines(files),
        *_people_lines(files),
    )
    return tuple(map(printable, lines))


def _set_lines(files: Sequence[LabelledFile]) -> list[str]:
    counts = Counter(file.photo.source for file in files)
    return [f"sets: {counted(counts)}"] if len(counts) > 1 else []


def _folder_lines(files: Sequence[LabelledFile]) -> list[str]:
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        if file.origin == ON_FOLDER:
            by_source[file.photo.source][file.photo.original_label] += 1
    return [
        f"classes from folder names of '{source}': {counted(counts)}" for source, counts in by_source.items()
    ]


def _spelling_lines(spellings: Mapping[str, str]) -> list[str]:
    merged: dict[str, list[str]] = defaultdict(list)
    for written, one in spellings.items():
        merged[one].append(written)
    return [
        f"one class, '{one}': the folders {', '.join(map(repr, sorted(written)))}"
        for one, written in merged.items()
        if len(written) > 1
    ]


def _table_line(account: TableAccount) -> str:
    name = f"'{account.path.name}'"
    if not account.format:
        return f"not read: {name}: {account.note}"
    if not account.photos:
        return f"not used: {name} ({account.format}) names none of the photos"
    missing = f"; rows that name none of the photos: {account.strangers:,}" if account.strangers else ""
    if account.labelled:
        return f"labels from {name} ({account.format}): {plural(account.labelled, 'photo')}{missing}"
    return f"read: {name} ({account.format}) names {plural(account.photos, 'photo')}{missing}"


def _column_lines(tables: Sequence[TableAccount]) -> list[str]:
    """Returns a line for each table with columns or cells that are not read."""
    lines = []
    for account in tables:
        if account.unused:
            columns = some_of([f"'{column}'" for column in account.unused], _SHOWN_COLUMNS)
            lines.append(f"columns of '{account.path.name}' that are not read: {columns}")
        if account.unclear:
            lines.append(f"not understood in '{account.path.name}': {counted(Counter(account.unclear))}")
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
            f"a table overrides the folders of {plural(over.total(), 'photo')} ({counted(over)}); "
            "--labels-from folder goes by the folders"
        )
    if contradicted:
        lines.append(
            f"the tables contradict one another on {plural(contradicted, 'photo')}; the finest diagnosis counts"
        )
    return lines


def _group_lines(
    files: Sequence[LabelledFile], tables: Sequence[TableAccount], group_folders_count: bool
) -> list[str]:
    groups = [f"{column} of '{account.path.name}'" for account in tables for column in account.groups]
    folders = sorted({file.group_folder for file in files if file.group_folder})
    if folders:
        without = "" if group_folders_count else "not from the "
        groups.append(f"{without}{plural(len(folders), 'folder')} of lesions or persons ({some_of(folders)})")
    return [f"groups from: {', '.join(groups)}"] if groups else []


def _name_lines(files: Sequence[LabelledFile]) -> list[str]:
    """Returns a line if names of files suggest several photos of each lesion, although nothing groups them."""
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
        f"names of {plural(count, 'photo')} differ only in the number at their end, as '{first}' and '{second}': if "
        "these show one lesion, give a table with a column lesion_id, or each lesion a folder below its class"
    ]


def _part_lines(files: Sequence[LabelledFile]) -> list[str]:
    counts = Counter(file.part for file in files if file.part)
    if not counts:
        return []
    return [f"parts: {counted(counts)}; they are split anew by group unless --keep-parts keeps them"]


def _people_lines(files: Sequence[LabelledFile]) -> list[str]:
    known = {
        name: sum(bool(getattr(file.photo, name)) for file in files)
        for name in ("view", "age", "sex", "site", "skin_tone", "fitzpatrick")
    }
    told = [f"{name.replace('_', ' ')} of {count:,}" for name, count in known.items() if count]
    return [f"known of {plural(len(files), 'photo')}: {', '.join(told)}"] if told else []
