"""Reads the tables that name photos, and collects what the tables state about each photo.

A cell names a photo by a published id, by a path or by a file name. A published id means the same photo in any folder
and size. If several tables state the diagnosis of a photo, a specific diagnosis is preferred to an ambiguous one.
Otherwise, the table with the lowest rank is used (`dermedge.train.data.table_formats`).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data import people
from dermedge.train.data.diagnoses import (
    LESION_DIAGNOSES,
    compatible,
    diagnosis_of,
    is_known,
    lists_several,
    possible_diagnoses,
)
from dermedge.train.data.folder_names import FolderKind, folder_kind, part_of, without_part
from dermedge.train.data.folders import FoundPhoto, distinct_names
from dermedge.train.data.group_names import compact_name, matching_id, names_lesion, names_person
from dermedge.train.data.own_columns import (
    PROBABILITIES,
    catalogue_format,
    group_columns,
    holds_probabilities,
    own_format,
)
from dermedge.train.data.photo_index import PhotoIndex
from dermedge.train.data.photo_names import bare_id, published_id
from dermedge.train.data.table_files import TableText, number_in, read_table_text
from dermedge.train.data.table_formats import (
    CATALOGUE,
    FORMATS,
    HEADERLESS,
    ISIC_2016,
    ONE_HOT,
    OWN,
    OWN_COLUMNS,
    TableFormat,
    format_of,
)

__all__ = ["PhotoFacts", "TableAccount", "Tables", "read_tables"]

# Matches the names of the ground truth files of ISIC 2016.
_ISIC_2016 = re.compile(r"ISBI2016.*GroundTruth", re.IGNORECASE)
# Matches the name of a folder of cross-validation.
_FOLD = re.compile(r"fold[ _-]?\d+", re.IGNORECASE)
# Matches names of folders that may be datasets of their own, such as set1.
_NAMED_AS_DATASET = re.compile(r"data|set", re.IGNORECASE)
# Ids that publishers give to lesions and persons. Such an id means the same lesion or person in every table.
_SHARED_ID = re.compile(r"(HAM|IL|IP|MSK\d*|BCN|UDA\d*|PAT)_\d+")
# Columns of zeros and ones count as classes under two conditions. _HALF: at least this fraction of the rows contains a
# 1. _NEARLY_ALL: of the rows that contain a 1, at least this fraction contains exactly one 1.
_HALF = 0.5
_NEARLY_ALL = 0.9
# Columns of the CSV text that `dermedge predict --format csv` writes. Such a table holds predictions, not labels.
_ANSWERS = frozenset({"path", "label", "probability", "uncertain"})
_DECIMALS = re.compile(r"(\d+)[.,]0+")
# Some programs write this number in place of an unknown id.
_NO_NUMBER = -1
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
    """What the tables state about one photo. An unknown value is an empty string.

    Attributes:
        original_label: the diagnosis, spelled as in the file ``table``.
        diagnosis: the diagnosis under the name that dermedge uses for all datasets; None if no table states one.
        table: the file that states the diagnosis. If no file states a diagnosis, this is the first table of diagnoses
            that has a row for the photo. None if there is no such table.
        contradicted: whether another table states an incompatible diagnosis.
        undecided: whether the tables state incompatible diagnoses of the same rank, so that none is preferred. Two rows
            of one table have the same rank.
        groups: names of the lesions, persons and other groups of the photo. All photos of such a group get the same
            split.
        lesion_id: the first name that a table gives to the lesion.
        patient_id: id of the person.
        part: the split of the photo, taken from a split column or from the file name of the table.
        people: the values of age, sex, site, skin_tone, fitzpatrick, view and source, with these keys.
    """

    original_label: str = ""
    diagnosis: str | None = None
    table: Path | None = None
    contradicted: bool = False
    undecided: bool = False
    groups: dict[str, None] = field(default_factory=dict)
    lesion_id: str = ""
    patient_id: str = ""
    part: str = ""
    people: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableAccount:
    """A summary of how one table was understood.

    Attributes:
        path: path of the file.
        format: name of the table's format; empty if the table is not understood.
        photos: the number of photos that the table names.
        labelled: the number of photos whose label is from the table.
        groups: columns by which photos are grouped, with the number of photos that have an id in the column.
        unused: columns that are not read.
        unclear: the number of rows for each cell text that is not understood in a column such as age, sex or site. The
            key holds the name of the column and the text.
        strangers: the number of rows that name none of the photos.
        note: why the table is not read; empty if it is read.
    """

    path: Path
    format: str
    photos: int = 0
    labelled: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    unclear: Mapping[str, int] = field(default_factory=dict)
    strangers: int = 0
    note: str = ""


@dataclass(frozen=True)
class Tables:
    """What all tables state about the photos, and how each table was understood.

    Attributes:
        facts: what the tables state about each photo. The key is the index of the photo. A photo that no table names is
            left out.
        accounts: an account of each file. The files that are not read come last.
    """

    facts: Mapping[int, PhotoFacts]
    accounts: tuple[TableAccount, ...]


def read_tables(
    paths: Iterable[Path],
    photos: Sequence[FoundPhoto],
    named: Collection[Path] = (),
    unread_allowed: bool = False,
) -> Tables:
    """Reads the tables among ``paths``, and collects what the tables state about ``photos``.

    Args:
        paths: files that may be tables.
        photos: photos, as `find_files` finds them.
        named: files that the user named. A table among these files must be understood.
        unread_allowed: what happens if a table is not understood, and names a photo to which no other table gives a
            label. If true, the table is ignored. If false, the table is an error.

    Raises:
        DataError: a row cannot be read; a row names several photos; or ``unread_allowed`` is false, and a table that is
            not understood names a photo that has no label from another table.
        OptionError: a table among ``named`` is not understood.
    """
    paths = tuple(paths)
    joined = _Joined(photos, _datasets(paths))
    understood: list[tuple[TableText, TableFormat]] = []
    unread: list[tuple[Path, str, frozenset[int]]] = []
    for path in paths:
        text, problem = _open(path)
        known = None
        if text:
            known, problem = _understand(text, joined.names)
        if text and known:
            understood.append((text, known))
            continue
        if path in named:
            raise OptionError(f"'{path}' {problem}")
        named_photos = joined.names.named_in(text) if text else joined.names.named_in_spreadsheet(path)
        unread.append((path, problem, named_photos))
    # tables of lesions come last, because the tables of photos state which lesion a photo shows
    for text, known in sorted(understood, key=lambda pair: not pair[1].image):
        joined.take(text, known)
    for path, why, named_photos in unread:
        unlabelled = [index for index in named_photos if not joined.has_label(index)]
        if unlabelled and not unread_allowed:
            raise DataError(
                f"'{path}' names {len(named_photos)} of the photos, but {why}. To do without this table, move it to "
                "another folder, or use the folders as labels with --labels-from folder"
            )
        note = f"names {len(named_photos)} photos, but {why}" if named_photos else why
        joined.accounts.append(TableAccount(path, "", len(named_photos), note=note))
    return Tables(dict(joined.facts), tuple(joined.accounts))


def _open(path: Path) -> tuple[TableText | None, str]:
    """Returns the text of a table, or None and a text that says why the table cannot be read."""
    if path.suffix.lower() in (".xlsx", ".xls"):
        return None, "is an Excel file; save it as CSV"
    try:
        return read_table_text(path), ""
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}; check its permissions"
    except ValueError as error:
        return None, f"cannot be read: {error}"


def _understand(text: TableText, names: PhotoIndex) -> tuple[TableFormat | None, str]:
    """Returns the format of a table, or None and a text that says why the table is not understood, with a cure."""
    try:
        known = _format(text, names)
    except ValueError as error:
        return None, f"is not understood: {error}"
    return known, "" if known else _not_understood(text)


def _format(text: TableText, names: PhotoIndex) -> TableFormat | None:
    if not text.has_header:
        return replace(ISIC_2016 if _is_isic_2016(text) else HEADERLESS, unused=text.names[2:])
    repeated = next((name for name, count in Counter(text.names).items() if name and count > 1), None)
    if repeated:
        raise ValueError(f"the table has two columns '{repeated}'; rename or delete one")
    if ONE_HOT.required <= text.columns and len(text.header) > 2 and _is_one_hot(text):
        return replace(ONE_HOT, one_hot=dict(zip(text.names[1:], text.header[1:], strict=True)))
    if text.columns >= _ANSWERS:
        raise ValueError(
            "the table holds answers of dermedge predict, not labels; give a table of labels (path,label)"
        )
    if catalogue := catalogue_format(text):
        return catalogue
    known = format_of(text.columns)
    if known is None:
        return own_format(text, lambda cell: names.find(cell, text.path))
    if holds_probabilities(text, tuple(known.one_hot)):
        raise ValueError(PROBABILITIES)
    return replace(known, groups=group_columns(text.names, known))


def _is_isic_2016(text: TableText) -> bool:
    """Tells whether a table without a header is the ground truth of the test part of ISIC 2016.

    It holds 0 for benign and 1 for malignant. The table of the training part holds the words instead.
    """
    labels = {row["1"] for row in text.first_rows()}
    return bool(_ISIC_2016.search(text.path.stem)) and labels <= {"0", "1", "0.0", "1.0"}


def _is_one_hot(text: TableText) -> bool:
    """Tells whether the columns beside the file name are classes. All their cells must hold 0 or 1.

    Columns of zeros and ones may also state symptoms: a photo can have several symptoms, and most photos may have none.
    Therefore, if not all columns are named after diagnoses, nearly all rows with a 1 must have only one 1, and at least
    half of the rows must have a 1.
    """
    try:
        rows = [
            [cell for column, cell in row.items() if column not in ONE_HOT.required] for _, row in text.rows()
        ]
    except ValueError:
        return False
    if not all(cell in ("0", "1", "0.0", "1.0") for row in rows for cell in row):
        return False
    if all(is_known(column) for column in text.header[1:]):
        return True
    ones = [sum(number_in(cell) == 1 for cell in row) for row in rows]
    classified = len(ones) - ones.count(0)
    return ones.count(1) >= _NEARLY_ALL * classified and classified >= _HALF * len(ones)


def _not_understood(text: TableText) -> str:
    header = ", ".join(" ".join(name.split()) for name in text.header[:8])
    expected = "a column for the photo ({}, …) and one for its class ({}, …)".format(
        ", ".join(OWN_COLUMNS["image"].split()[:3]), ", ".join(OWN_COLUMNS["label"].split()[:3])
    )
    publishers = ", ".join(dict.fromkeys(known.name.split(" ")[0] for known in FORMATS))
    return (
        f"has columns that are not understood: '{header}'. Expected: {expected}, or a table of {publishers} or "
        "Roboflow. Rename the columns to path and label"
    )


@dataclass
class _Noted:
    """Collects the group columns and the unclear cells of one table. A `TableAccount` is made from them.

    Attributes:
        groups: for each column by which photos are grouped, the photos that have an id in the column.
        unclear: as in `TableAccount`.
    """

    groups: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    unclear: Counter[str] = field(default_factory=Counter)


def _called(text: TableText, column: str) -> str:
    """Returns the name of a column as the table writes it, or its number if the table has no header."""
    return text.header[text.names.index(column)] if text.has_header else f"column {int(column) + 1}"


class _Joined:
    """Collects what the tables state about the photos. Each call of `take` adds one table."""

    def __init__(self, photos: Sequence[FoundPhoto], datasets: Mapping[Path, str]) -> None:
        self.photos = photos
        self.datasets = datasets
        self.names = PhotoIndex(photos)
        self.facts: dict[int, PhotoFacts] = defaultdict(PhotoFacts)
        self.accounts: list[TableAccount] = []
        self._ranks: dict[int, tuple[bool, int]] = {}
        # for each photo, the stated diagnoses with the ranks of their tables; None stands for a row with labels that
        # exclude each other
        self._stated: dict[int, set[tuple[str | None, int]]] = defaultdict(set)

    def has_label(self, index: int) -> bool:
        return index in self.facts and self.facts[index].diagnosis is not None

    def take(self, text: TableText, known: TableFormat) -> None:
        """Adds what one table states about the photos. Raises DataError if a row cannot be read."""
        named: set[int] = set()
        noted = _Noted()
        lesions = self._photos_by_lesion() if not known.image else {}
        strangers = 0
        try:
            closest = self._closest(text, known)
            for line, row in text.rows():
                try:
                    found = self._take_photos(text.path, row, known, lesions, closest, noted)
                except ValueError as error:
                    raise ValueError(f"line {line}: {error}") from error
                named.update(found)
                strangers += not found
        except ValueError as error:
            raise DataError(f"cannot read the table '{text.path}': {error}") from error
        self.accounts.append(
            TableAccount(
                text.path,
                known.name,
                len(named),
                groups={column: len(members) for column, members in noted.groups.items()},
                unused=tuple(_called(text, column) for column in known.unused),
                unclear=noted.unclear,
                strangers=strangers,
            )
        )

    def _take_photos(
        self,
        path: Path,
        row: Mapping[str, str],
        known: TableFormat,
        lesions: Mapping[str, list[int]],
        closest: Mapping[int, float],
        noted: _Noted,
    ) -> list[int]:
        """Adds what a row states to every photo that the row names. Returns the indices of these photos."""
        all_found = []
        for of_one in _one_photo_formats(known):
            found = self._photos_of(path, row, of_one, lesions, closest)
            for index in found:
                self._take_row(index, path, row, of_one, noted)
            all_found += found
        if known.image_of_view and len(set(all_found)) > 1:
            names = sorted({self.photos[index].name for index in all_found})
            for index in all_found:
                self.facts[index].groups.setdefault(f"row with {', '.join(names)}")
        return all_found

    def _photos_by_lesion(self) -> dict[str, list[int]]:
        members: dict[str, list[int]] = defaultdict(list)
        for index, facts in self.facts.items():
            for name in facts.groups:
                members[name].append(index)
        return members

    def _closest(self, text: TableText, known: TableFormat) -> dict[int, float]:
        """Returns, for each photo, the best `PhotoIndex.agreement` of the photo with a row of the table.

        For example, the photo ``train/1.jpg`` may be the only file called 1.jpg, because the folder ``test`` was not
        given. The row ``train/1.jpg`` is then about this photo, and the row ``test/1.jpg`` is not.
        """
        closest: dict[int, float] = defaultdict(float)
        for _, row in text.rows():
            for of_one in _one_photo_formats(known):
                cell = _first(row, of_one.image)
                for index in self.names.find(cell, text.path) if cell else ():
                    closest[index] = max(closest[index], self.names.agreement(index, cell))
        return closest

    def _photos_of(
        self,
        path: Path,
        row: Mapping[str, str],
        known: TableFormat,
        lesions: Mapping[str, list[int]],
        closest: Mapping[int, float],
    ) -> list[int]:
        if not known.image:
            return list(lesions.get(_first(row, known.lesion), ()))
        cell = _first(row, known.image)
        named = self.names.find(cell, path) if cell else []
        found = [index for index in named if self.names.agreement(index, cell) >= closest[index]]
        if len(found) > 1 and not published_id(bare_id(cell)):
            shown = ", ".join(f"'{self.photos[index].name}'" for index in found[:2])
            raise ValueError(
                f"'{cell}' names {len(found)} photos, such as {shown}; write the photo's folder before the name, and "
                "its suffix after the name"
            )
        return found

    def _take_row(
        self,
        index: int,
        path: Path,
        row: Mapping[str, str],
        known: TableFormat,
        noted: _Noted,
    ) -> None:
        facts = self.facts[index]
        if _has_label_columns(known):
            self._take_labels(index, path, _labels_of(row, known), known)
        for name, columns in (("lesion", known.lesion), ("patient", known.patient)):
            value = _id_in(_first(row, columns))
            if value:
                within_patient = name == "lesion" and known.lesion_of_patient
                shared = f"{known.name} {value}" if value.isdigit() else value
                if within_patient:
                    shared = f"{_first(row, known.patient)} lesion {value}"
                facts.groups.setdefault(shared)
                noted.groups[_present(row, columns)].add(index)
                if name == "lesion":
                    facts.lesion_id = facts.lesion_id or shared
                else:
                    facts.patient_id = facts.patient_id or value
        if known.same_photo and (other := _first(row, (known.same_photo,))):
            self._join_photo(index, other, path)
        self._take_people(facts, row, known, noted)
        facts.part = facts.part or part_of(path.stem) or ""
        for column in _take_further_groups(facts, self.datasets[path], row, known):
            noted.groups[column].add(index)

    def _take_labels(self, index: int, path: Path, labels: Sequence[str], known: TableFormat) -> None:
        """Uses the first label of a row. If the labels of the row exclude each other, no label of the row is used."""
        if _exclude_one_another(labels, known):
            self.facts[index].table = self.facts[index].table or path
            self._stated[index].add((None, known.rank))
        else:
            self._take_label(index, path, next(iter(labels), ""), known)
        self._weigh(index)

    def _take_label(self, index: int, path: Path, label: str, known: TableFormat) -> None:
        diagnosis = diagnosis_of(label) if label else None
        if known.closed and (diagnosis or label) and diagnosis not in LESION_DIAGNOSES:
            raise ValueError(f"unknown diagnosis '{label}'; correct it")
        if known.closed and not label:
            raise ValueError("the diagnosis is missing; write it, or remove the row")
        facts = self.facts[index]
        if diagnosis is None:
            facts.table = facts.table or path
            return
        self._stated[index].add((diagnosis, known.rank))
        rank = (len(possible_diagnoses(diagnosis)) > 1, known.rank)
        if index not in self._ranks or rank < self._ranks[index]:
            self._ranks[index] = rank
            facts.original_label, facts.diagnosis, facts.table = label, diagnosis, path

    def _weigh(self, index: int) -> None:
        """Compares the chosen diagnosis of a photo with all diagnoses that were stated for it.

        The result does not depend on the order of the tables and rows.
        """
        facts, stated = self.facts[index], self._stated[index]
        chosen = facts.diagnosis
        if chosen is None:
            facts.undecided = bool(stated)
            return
        against = [(one, rank) for one, rank in stated if one is None or not compatible(one, chosen)]
        facts.contradicted = any(one is not None for one, _ in against)
        facts.undecided = any(rank == self._ranks[index][1] for _, rank in against)

    def _join_photo(self, index: int, other: str, path: Path) -> None:
        name = f"photo {bare_id(other)}"
        self.facts[index].groups.setdefault(name)
        for found in self.names.find(other, path):
            self.facts[found].groups.setdefault(name)

    def _take_people(
        self, facts: PhotoFacts, row: Mapping[str, str], known: TableFormat, noted: _Noted
    ) -> None:
        for fact, columns in known.people.items():
            if fact == "split":
                facts.part = facts.part or _part(row, columns)
                continue
            values = [value for column in columns if (value := _PEOPLE[fact](row.get(column, "")))]
            if values:
                facts.people.setdefault(fact, values[0])
            elif diagnosis_of(cell := _first(row, columns)) is not None:
                noted.unclear[f"{_present(row, columns)} '{cell}'"] += 1
        if known.view:
            facts.people.setdefault("view", known.view)


def _datasets(tables: Iterable[Path]) -> dict[Path, str]:
    """Returns, for each table, the name of the dataset that it belongs to. This is the name of the table's folder.

    The tables in the folders ``clinic/train`` and ``clinic/test`` belong to one dataset, which is called clinic. The
    tables in the folders ``a/meta`` and ``b/meta`` belong to two datasets. But the tables in ``d/nevus/meta`` and
    ``d/melanoma/meta`` belong to one dataset, because ``nevus`` and ``melanoma`` name classes and not datasets. Folds
    and containers do not name datasets either. The tables in ``d/nevus`` and ``d/melanoma``, or in ``d/part_1`` and
    ``d/part_2``, belong to one dataset, too, which is called d.
    """
    folders = {table: _dataset_folder(table.parent) for table in tables}
    within: dict[Path, set[Path]] = defaultdict(set)
    for folder in folders.values():
        within[_above_its_pieces(folder)].add(folder)
    whole = {folder: outer for outer, pieces in within.items() if len(pieces) > 1 for folder in pieces}
    names = distinct_names(whole.get(folder, folder) for folder in folders.values())
    return {table: names[whole.get(folder, folder)] for table, folder in folders.items()}


def _dataset_folder(folder: Path) -> Path:
    """Returns a path without words for parts, and without the classes, folds and containers above the last folder."""
    whole = Path(*map(without_part, folder.parts))
    return Path(*(name for name in whole.parts[:-1] if not _is_within_a_dataset(name)), whole.name)


def _is_within_a_dataset(folder: str) -> bool:
    kinds = (FolderKind.DIAGNOSIS, FolderKind.PLAIN)
    return folder_kind(folder) in kinds or _FOLD.fullmatch(folder) is not None


def _above_its_pieces(folder: Path) -> Path:
    """Returns the folder above the classes, folds and numbered parts at the end of a path, such as ``nevus/part_1``.

    The folders ``set1`` and ``dataset_2`` count as datasets, and not as parts of a dataset.
    """
    piece = _is_within_a_dataset(folder.name) and not _NAMED_AS_DATASET.search(folder.name)
    if piece and (folder_kind(folder.name) is not FolderKind.PLAIN or re.search(r"\d", folder.name)):
        return _above_its_pieces(folder.parent)
    return folder


def _take_further_groups(
    facts: PhotoFacts, dataset: str, row: Mapping[str, str], known: TableFormat
) -> list[str]:
    """Adds the groups that the columns in ``known.groups`` state. Returns the columns that state a group.

    An id that a publisher made means the same group in all tables. Any other name means the same group only if the
    columns have the same name, and the tables belong to the same dataset (`_datasets`). Capitals, accents, spaces and
    signs in the names of columns are ignored, and ids are compared by `matching_id`. An id that is unique only within a
    person is combined with the id of the person. If the person is not known, this id is left out.
    """
    person = next((_id_in(row[column]) for column in known.groups if names_person(column)), "")
    stating = []
    for column in known.groups:
        value = _id_in(row[column])
        if column in known.of_person and value:
            value = f"{value} of {person}" if person else ""
        if not value:
            continue
        shared = _SHARED_ID.fullmatch(value)
        name = value if shared else f"{dataset} {column} {value}"
        facts.groups.setdefault(name)
        if not shared:  # the common name of all spellings, such as patient_id P-7 and PatientID p07
            facts.groups.setdefault(f"{dataset} {compact_name(column)} {matching_id(value)}")
        stating.append(column)
        if names_lesion(column):
            facts.lesion_id = facts.lesion_id or name
        elif names_person(column):
            facts.patient_id = facts.patient_id or name
    return stating


def _id_in(cell: str) -> str:
    """Returns the id of a lesion, person or group; empty if the cell is empty, "unknown", "n/a", -1 or the like.

    A cell without a letter or digit is no id. For example, a quotation mark may stand for "as above". The cell 7.0
    gives the id 7. Some programs write 7.0 for 7 if another cell of the column is empty.
    """
    if diagnosis_of(cell) is None or number_in(cell) == _NO_NUMBER or not any(map(str.isalnum, cell)):
        return ""
    return number[1] if (number := _DECIMALS.fullmatch(cell)) else cell


def _one_photo_formats(known: TableFormat) -> list[TableFormat]:
    """Returns a list of formats whose rows name one photo each.

    If the rows of ``known`` name several photos, the list has one format for each column that names a photo. Otherwise,
    the list has only ``known``.
    """
    if not known.image_of_view:
        return [known]
    return [replace(known, image=(column,), view=view) for column, view in known.image_of_view.items()]


def _has_label_columns(known: TableFormat) -> bool:
    return bool(known.labels or known.one_hot)


def _labels_of(row: Mapping[str, str], known: TableFormat) -> list[str]:
    """Returns the labels of a row as the table writes them; an empty list if the row has none.

    Raises ValueError if a one-hot cell holds neither 0 nor 1.
    """
    if known.one_hot:
        hot = [name for column, name in known.one_hot.items() if column in row and _is_hot(row, column)]
        return hot or [known.otherwise] * bool(known.otherwise)
    written = [row[column] for column in known.labels if row.get(column)]
    return [label for label in written if diagnosis_of(label) is not None]


def _exclude_one_another(labels: Sequence[str], known: TableFormat) -> bool:
    """Tells whether the labels of a row contradict each other.

    The label columns of a publisher's table are not compared, because they hold general and specific names of one
    diagnosis.
    """
    if known.one_hot:
        return len(labels) > 1
    if any(map(lists_several, labels)):
        return True
    if known.name not in (OWN.name, CATALOGUE.name):
        return False
    diagnoses = [diagnosis for label in labels if is_known(label) and (diagnosis := diagnosis_of(label))]
    return any(not compatible(diagnoses[0], other) for other in diagnoses[1:])


def _is_hot(row: Mapping[str, str], column: str) -> bool:
    """Tells whether a cell holds 1 or true. Raises ValueError unless the cell holds 1, 0, true or false."""
    cell = row[column]
    if not cell:
        raise ValueError(f"the column '{column}' is empty; write 0 or 1")
    number = number_in(cell)
    if math.isnan(number):
        raise ValueError(f"'{cell}' in the column '{column}' is not a number; write 0 or 1")
    if number not in (0, 1):
        raise ValueError(f"'{cell}' in the column '{column}' is neither 0 nor 1; correct the cell")
    return number == 1


def _first(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next((row[column] for column in columns if row.get(column)), "")


def _present(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next(column for column in columns if row.get(column))


def _part(row: Mapping[str, str], columns: Sequence[str]) -> str:
    """Returns the split that a row states: train, val or test. If the cell means none of these, returns its text.

    The result is empty if the cell is empty, or holds "unknown", "n/a" or the like.
    """
    cell = _first(row, columns)
    return part_of(cell) or (cell if diagnosis_of(cell) is not None else "")
