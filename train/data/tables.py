"""The facts of tables about photos: joins every table that is understood to the photos that it names.

A cell names a photo by a published id, which is one photo in whatever folder and size it lies, or by its path or
file name. Where several tables tell the diagnosis of one photo, the one of the lowest rank is believed
(`dermedge.train.data.table_formats`), and a name that leaves the diagnosis open yields to one that tells it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data import people
from dermedge.train.data.diagnoses import LESION_DIAGNOSES, compatible, diagnosis_of, possible_diagnoses
from dermedge.train.data.folder_names import part_of
from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.photo_names import bare_id, published_id
from dermedge.train.data.table_files import TableText, read_table_text, spreadsheet_text
from dermedge.train.data.table_formats import (
    FORMATS,
    HEADERLESS,
    ONE_HOT,
    OWN,
    OWN_COLUMNS,
    TableFormat,
    format_of,
)

__all__ = ["PhotoFacts", "TableAccount", "Tables", "read_tables"]

# A table that is not understood is about these photos if this share of the photos, or of its first rows, is
# named in it.
_NAMING_SHARE = 0.1
_ROWS_LOOKED_AT = 500
# Ids that publishers give to lesions and persons, and which mean the same in every table.
_SHARED_ID = re.compile(r"(HAM|IL|IP|MSK|BCN|UDA|PAT)[A-Za-z0-9]*_\d+")
_PEOPLE: dict[str, Callable[[str], str]] = {
    "age": people.age_of,
    "sex": people.sex_of,
    "site": people.site_of,
    "skin_tone": people.skin_tone_of,
    "fitzpatrick": people.fitzpatrick_of,
    "view": people.view_of,
    "source": str.strip,
}


@dataclass
class PhotoFacts:
    """The facts of the tables about one photo. An unknown fact is an empty string.

    Attributes:
        original_label: the diagnosis as its table writes it.
        diagnosis: the name that all sets share; None if the table does not state it.
        table: the file that the diagnosis is from; None where no table has a row for it.
        contradicted: whether another table states an incompatible diagnosis.
        groups: names of lesions, persons and groups, each of which no split may cut.
        lesion_id: the first of the lesion's names.
        patient_id: the person's.
        part: train, val or test, as a split column says.
        people: age, sex, site, skin_tone, fitzpatrick, view, source.
    """

    original_label: str = ""
    diagnosis: str | None = None
    table: Path | None = None
    contradicted: bool = False
    groups: dict[str, None] = field(default_factory=dict)
    lesion_id: str = ""
    patient_id: str = ""
    part: str = ""
    people: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableAccount:
    """How one table was understood.

    Attributes:
        path: path of the file.
        format: its name, or empty where it is not understood.
        photos: how many photos it names.
        labelled: how many photos have their diagnosis from it.
        facts: further facts about the photo.
        strangers: how many of its rows name none of the photos.
        note: why it is not read, or empty.
    """

    path: Path
    format: str
    photos: int = 0
    labelled: int = 0
    facts: tuple[str, ...] = ()
    strangers: int = 0
    note: str = ""


@dataclass(frozen=True)
class Tables:
    """The facts of all tables.

    Attributes:
        facts: index of a photo -> its facts, for the photos that a table names.
        accounts: accounts of each file, in the order of reading.
    """

    facts: Mapping[int, PhotoFacts]
    accounts: tuple[TableAccount, ...]


def read_tables(
    paths: Iterable[Path],
    photos: Sequence[FoundPhoto],
    named: Collection[Path] = (),
    unread_allowed: bool = False,
) -> Tables:
    """Joins all tables among ``paths`` that are understood to ``photos``.

    Args:
        paths: files that may be tables.
        photos: photos, as `find_files` finds them.
        named: files that the user named, which must be understood.
        unread_allowed: whether a table that is not understood may name photos that no other table labels.

    Raises:
        DataError: a row cannot be read, or names several photos; or a table that is not understood names photos.
        OptionError: a file of ``named`` is not understood.
    """
    joined = _Joined(photos)
    understood: list[tuple[TableText, TableFormat]] = []
    unread: list[tuple[Path, str, frozenset[int]]] = []
    for path in paths:
        text, problem = _open(path)
        known = _format(text) if text else None
        if text and known:
            understood.append((text, known))
            continue
        if path in named:
            raise OptionError(f"'{path}' {problem or _not_understood(text)}")
        named_photos = joined.names.named_in(text) if text else joined.names.named_in_spreadsheet(path)
        unread.append((path, problem or _not_understood(text), named_photos))
    # tables of lesions last: the tables of photos state which lesion a photo shows
    for text, known in sorted(understood, key=lambda pair: not pair[1].image):
        joined.take(text, known)
    for path, why, named_photos in unread:
        unlabelled = [index for index in named_photos if not joined.has_label(index)]
        if unlabelled and not unread_allowed:
            raise DataError(
                f"'{path}' names {len(named_photos)} of the photos, but {why}. Rename its columns (path,label), "
                "save it as CSV, or ignore it with --labels-from folder"
            )
        note = f"names {len(named_photos)} photos, but {why}" if named_photos else why
        joined.accounts.append(TableAccount(path, "", len(named_photos), note=note))
    deciding = Counter(facts.table for facts in joined.facts.values() if facts.diagnosis is not None)
    accounts = [replace(account, labelled=deciding[account.path]) for account in joined.accounts]
    return Tables(dict(joined.facts), tuple(accounts))


def _open(path: Path) -> tuple[TableText | None, str]:
    """Returns the text of a table, or None and why it cannot be read."""
    if path.suffix.lower() in (".xlsx", ".xls"):
        return None, "is an Excel file; save it as CSV"
    try:
        return read_table_text(path), ""
    except (OSError, ValueError) as error:
        return None, f"cannot be read: {error}"


def _format(text: TableText) -> TableFormat | None:
    if not text.has_header:
        return HEADERLESS
    if ONE_HOT.required <= text.columns and len(text.header) > 2 and _all_zero_or_one(text):
        names = text.header[1:]
        return TableFormat(
            ONE_HOT.name,
            ONE_HOT.required,
            image=ONE_HOT.image,
            one_hot=dict(zip(_columns_of(text)[1:], names, strict=True)),
            rank=ONE_HOT.rank,
        )
    return format_of(text.columns)


def _columns_of(text: TableText) -> list[str]:
    first = next(iter(text.rows()), (0, {}))[1]
    return list(first)


def _all_zero_or_one(text: TableText) -> bool:
    try:
        return all(
            cell in ("0", "1", "0.0", "1.0")
            for _, row in text.rows()
            for column, cell in row.items()
            if column not in ONE_HOT.required
        )
    except ValueError:
        return False


def _not_understood(text: TableText | None) -> str:
    header = ", ".join(text.header[:8]) if text else ""
    expected = "a column for the photo ({}, …) and one for its class ({}, …)".format(
        ", ".join(OWN_COLUMNS["image"].split()[:3]), ", ".join(OWN_COLUMNS["label"].split()[:3])
    )
    publishers = ", ".join(dict.fromkeys(known.name.split(" ")[0] for known in FORMATS))
    return f"its columns are not understood: '{header}'. Expected: {expected}, or a table of {publishers} or Roboflow"


class _PhotoIndex:
    """Finds the photos that a cell of a table names."""

    def __init__(self, photos: Sequence[FoundPhoto]) -> None:
        self._photos = photos
        self._by_id: dict[str, list[int]] = defaultdict(list)
        self._by_file: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for index, photo in enumerate(photos):
            if found := published_id(photo.path.stem):
                self._by_id[found].append(index)
            self._by_file[photo.path.name.lower()].append(index)
            self._by_stem[bare_id(photo.path.name).lower()].append(index)

    def find(self, cell: str, table: Path) -> list[int]:
        """Returns the photos of a cell: all files of a published id; else one, or several that cannot be told apart."""
        if found := published_id(bare_id(cell)):
            return self._by_id.get(found, [])
        parts = [part for part in cell.lower().replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return []
        found_files = self._by_file.get(parts[-1]) or self._by_stem.get(bare_id(parts[-1]).lower(), [])
        agreeing = {index: self._folders_in_common(index, parts[:-1]) for index in found_files}
        best = [index for index, count in agreeing.items() if count == max(agreeing.values())]
        beside = [index for index in best if table.parent in self._photos[index].path.parents]
        return beside or best

    def named_in(self, text: TableText) -> frozenset[int]:
        """Returns the photos that any cell of the first rows names, if this is a large share of the photos or of the
        rows.
        """
        named: set[int] = set()
        rows = 0
        try:
            for (_, row), _ in zip(text.rows(), range(_ROWS_LOOKED_AT), strict=False):
                rows += 1
                for cell in row.values():
                    named.update(self.find(cell, text.path) if cell and not _is_number(cell) else ())
        except ValueError:
            pass
        enough = len(named) >= _NAMING_SHARE * min(rows, len(self._photos))
        return frozenset(named) if enough else frozenset()

    def named_in_spreadsheet(self, path: Path) -> frozenset[int]:
        """Returns the photos that an .xlsx file names, if they are a large share."""
        words = (
            set(map(str.lower, re.split(r"[<>\s]+", spreadsheet_text(path))))
            if path.suffix == ".xlsx"
            else set()
        )
        named = {
            index
            for index, photo in enumerate(self._photos)
            if photo.path.name.lower() in words
            or (photo.path.stem.lower() in words and not photo.path.stem.isdigit())
        }
        return frozenset(named) if len(named) >= _NAMING_SHARE * len(self._photos) else frozenset()

    def _folders_in_common(self, index: int, folders: Sequence[str]) -> int:
        """Returns how many folders, counted from the file upwards, a cell and a photo have in common."""
        own = [part.lower() for part in self._photos[index].path.parts[:-1]]
        pairs = zip(reversed(own), reversed(folders), strict=False)
        return next(
            (count for count, (one, other) in enumerate(pairs) if one != other), min(len(own), len(folders))
        )


class _Joined:
    """The facts of all tables so far."""

    def __init__(self, photos: Sequence[FoundPhoto]) -> None:
        self.photos = photos
        self.names = _PhotoIndex(photos)
        self.facts: dict[int, PhotoFacts] = defaultdict(PhotoFacts)
        self.accounts: list[TableAccount] = []
        self._ranks: dict[int, tuple[bool, int]] = {}

    def has_label(self, index: int) -> bool:
        return index in self.facts and self.facts[index].diagnosis is not None

    def take(self, text: TableText, known: TableFormat) -> None:
        """Joins one table; raises DataError."""
        named: set[int] = set()
        told: Counter[str] = Counter()
        lesions = self._photos_by_lesion() if not known.image else {}
        strangers = 0
        try:
            for line, row in text.rows():
                try:
                    found = self._take_photos(text.path, row, known, lesions, told)
                except ValueError as error:
                    raise ValueError(f"line {line}: {error}") from error
                named.update(found)
                strangers += not found
        except ValueError as error:
            raise DataError(f"cannot read the table '{text.path}': {error}") from error
        account = TableAccount(text.path, known.name, len(named), 0, tuple(told), strangers)
        self.accounts.append(account)

    def _take_photos(
        self,
        path: Path,
        row: Mapping[str, str],
        known: TableFormat,
        lesions: Mapping[str, list[int]],
        told: Counter[str],
    ) -> list[int]:
        """Joins a row to every photo that it names, and returns these."""
        all_found = []
        for of_one in _one_photo_formats(known):
            found = self._photos_of(path, row, of_one, lesions)
            for index in found:
                self._take_row(index, path, row, of_one, told)
            all_found += found
        return all_found

    def _photos_by_lesion(self) -> dict[str, list[int]]:
        members: dict[str, list[int]] = defaultdict(list)
        for index, facts in self.facts.items():
            for name in facts.groups:
                members[name].append(index)
        return members

    def _photos_of(
        self, path: Path, row: Mapping[str, str], known: TableFormat, lesions: Mapping[str, list[int]]
    ) -> list[int]:
        if not known.image:
            return list(lesions.get(_first(row, known.lesion), ()))
        cell = _first(row, known.image)
        found = self.names.find(cell, path) if cell else []
        if len(found) > 1 and not published_id(bare_id(cell)):
            shown = ", ".join(f"'{self.photos[index].name}'" for index in found[:2])
            raise ValueError(f"'{cell}' names {len(found)} photos, {shown}; write their folders too")
        return found

    def _take_row(
        self,
        index: int,
        path: Path,
        row: Mapping[str, str],
        known: TableFormat,
        told: Counter[str],
    ) -> None:
        facts = self.facts[index]
        label = _label_of(row, known)
        if _has_label_columns(known):
            self._take_label(index, path, label, known)
        for name, columns in (("lesion", known.lesion), ("patient", known.patient)):
            if value := _first(row, columns):
                within_patient = name == "lesion" and known.lesion_of_patient
                shared = f"{known.name} {value}" if value.isdigit() else value
                if within_patient:
                    shared = f"{_first(row, known.patient)} lesion {value}"
                facts.groups.setdefault(shared)
                told[_present(row, columns)] += 1
                if name == "lesion":
                    facts.lesion_id = facts.lesion_id or shared
                else:
                    facts.patient_id = facts.patient_id or value
        if known.same_photo and (other := _first(row, (known.same_photo,))):
            self._join_photo(index, other, path)
        self._take_people(facts, row, known, told)
        facts.part = facts.part or part_of(path.stem) or ""
        if known is OWN:
            _take_own_groups(facts, path, row, told)

    def _take_label(self, index: int, path: Path, label: str, known: TableFormat) -> None:
        diagnosis = diagnosis_of(label) if label else None
        if known.closed and (diagnosis or label) and diagnosis not in LESION_DIAGNOSES:
            raise ValueError(f"unknown diagnosis '{label}'")
        if known.closed and not label:
            raise ValueError("no diagnosis")
        facts = self.facts[index]
        if diagnosis is None:
            facts.table = facts.table or path
            return
        if facts.diagnosis is not None and not compatible(facts.diagnosis, diagnosis):
            facts.contradicted = True
        rank = (len(possible_diagnoses(diagnosis)) > 1, known.rank)
        if index not in self._ranks or rank < self._ranks[index]:
            self._ranks[index] = rank
            facts.original_label, facts.diagnosis, facts.table = label, diagnosis, path

    def _join_photo(self, index: int, other: str, path: Path) -> None:
        name = f"photo {bare_id(other)}"
        self.facts[index].groups.setdefault(name)
        for found in self.names.find(other, path):
            self.facts[found].groups.setdefault(name)

    def _take_people(
        self, facts: PhotoFacts, row: Mapping[str, str], known: TableFormat, told: Counter[str]
    ) -> None:
        for fact, columns in known.people.items():
            if fact == "split":
                facts.part = facts.part or _part(row, columns)
                continue
            for column in columns:
                value = _PEOPLE[fact](row.get(column, ""))
                if value:
                    facts.people.setdefault(fact, value)
                    told[column] += 1
                    break
        if known.view:
            facts.people.setdefault("view", known.view)


def _take_own_groups(facts: PhotoFacts, path: Path, row: Mapping[str, str], told: Counter[str]) -> None:
    """The groups of a person's own table.

    Their names mean the same in all tables of a folder, and those of publishers everywhere.
    """
    for column in OWN_COLUMNS["group"].split():
        value = row.get(column, "")
        if not value:
            continue
        name = value if _SHARED_ID.fullmatch(value) else f"{path.parent.name} {column} {value}"
        facts.groups.setdefault(name)
        told[column] += 1
        if column.startswith("lesion"):
            facts.lesion_id = facts.lesion_id or name
        elif column.startswith(("patient", "subject", "person")):
            facts.patient_id = facts.patient_id or name


def _one_photo_formats(known: TableFormat) -> list[TableFormat]:
    """Returns a format for each photo that a row names."""
    if not known.image_of_view:
        return [known]
    return [replace(known, image=(column,), view=view) for column, view in known.image_of_view.items()]


def _has_label_columns(known: TableFormat) -> bool:
    return bool(known.labels or known.one_hot)


def _label_of(row: Mapping[str, str], known: TableFormat) -> str:
    """Returns the diagnosis of a row in the words of its table; empty if it has none, or several. Raises ValueError."""
    if known.one_hot:
        hot = [name for column, name in known.one_hot.items() if column in row and _is_hot(row, column)]
        return hot[0] if len(hot) == 1 else known.otherwise if not hot else ""
    told = [row[column] for column in known.labels if row.get(column)]
    return next((label for label in told if diagnosis_of(label) is not None), "")


def _is_hot(row: Mapping[str, str], column: str) -> bool:
    cell = row[column]
    if not cell:
        raise ValueError(f"the column '{column}' is empty")
    try:
        return float(cell.replace(",", ".")) >= 0.5
    except ValueError as error:
        raise ValueError(f"'{cell}' in the column '{column}' is not a number") from error


def _first(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next((row[column] for column in columns if row.get(column)), "")


def _present(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next(column for column in columns if row.get(column))


def _part(row: Mapping[str, str], columns: Sequence[str]) -> str:
    """Returns the split that a row states, as train, val or test, or as it is written."""
    cell = _first(row, columns)
    return part_of(cell) or cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
