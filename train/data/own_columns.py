"""Finds the columns of a user's own table by their names or, if no name is known, by their cells.

A catalogue that dermedge wrote has known columns, to which the user may have added further ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

from dermedge.train.data.catalogue import Photo
from dermedge.train.data.diagnoses import diagnosis_of, is_known
from dermedge.train.data.folder_names import says_mask
from dermedge.train.data.group_names import compact_name, is_group_name, names_part_of_person, names_person
from dermedge.train.data.photo_names import is_photo_name
from dermedge.train.data.table_files import TableText, number_in
from dermedge.train.data.table_formats import CATALOGUE, OWN, OWN_COLUMNS, TableFormat

__all__ = [
    "PROBABILITIES",
    "catalogue_format",
    "group_columns",
    "holds_probabilities",
    "own_format",
]

# The error message about a table that holds predicted probabilities instead of labels.
PROBABILITIES = "the table holds probabilities, not labels; write one label for each photo (path,label)"

# A column with an unknown name counts as a column of photos if at least this fraction of its cells name photos. It
# counts as a column of diagnoses if at least this fraction of its cells are diagnoses.
_NEARLY_ALL = 0.9
# A column whose name means "label" counts as a column of diagnoses if at least this fraction of its cells are known
# diagnoses. A column of file names counts as a column of further photos if at least this fraction of the files exist.
_HALF = 0.5
# If at least this fraction of the persons have a lesion of the same number, the numbers of lesions begin anew for each
# person.
_MANY = 0.25

_Rows = Sequence[Mapping[str, str]]


def own_format(text: TableText, find: Callable[[str], Sequence[int]]) -> TableFormat | None:
    """Returns the format of a user's own table; None if no column names photos, or no other column is understood.

    Args:
        text: the table.
        find: a function that returns the indices of the photos that a cell names.

    Raises:
        ValueError: the table names photos, but its first line does not name the columns, it holds probabilities, it is
            a template for answers, or it has several columns that may be the label or the number of the photo.
    """
    rows = list(text.first_rows())
    columns = [column for column in text.names if column]
    image = _image_column(columns, rows, find)
    if not image:
        return None
    if not _usual("image", image) and find(first := _written(text)[image[0]]):
        raise ValueError(
            f"its first line names the photo '{first}' and not the columns. Add a line above the first line with the "
            "names of the columns, such as path,label"
        )
    rest = [column for column in columns if column not in image]
    labels = _label_columns(rest, rows)
    known = _with_facts(replace(OWN, image=image), [column for column in rest if column not in labels])
    free = [column for column in rest if column not in (*labels, *_columns_used(known))]
    if not labels:
        labels = _columns_of_diagnoses(free, rows)
    elif holds_probabilities(text, labels[:1]):
        raise ValueError(PROBABILITIES)
    elif _is_submission(text, labels[0], rows):
        raise ValueError(
            "the table is a template for answers to a challenge, and not a table of labels; write one label for each "
            "photo (path,label)"
        )
    one_hot = {} if labels else _one_hot(free, rows, text)
    if not (labels or one_hot or known.groups or known.people):
        return None
    further = _further_image_columns(image[0], free, rows, find)
    used = {*labels, *one_hot, *further}
    unused = tuple(column for column in free if column not in used and any(row[column] for row in rows))
    return replace(
        known,
        labels=labels,
        one_hot=one_hot,
        unused=unused,
        of_person=_columns_of_person(known.groups, rows),
        image_of_view=dict.fromkeys((*image, *further), "") if further else {},
    )


def catalogue_format(text: TableText) -> TableFormat | None:
    """Returns the format of a catalogue, with the columns that the user added; None if the table is not a catalogue."""
    if not text.columns >= CATALOGUE.required:
        return None
    groups = group_columns(text.names, CATALOGUE)
    known = {*groups, *(one.name for one in fields(Photo))}
    unused = tuple(column for column in text.names if column and column not in known)
    return replace(CATALOGUE, groups=groups, unused=unused)


def group_columns(columns: Sequence[str], known: TableFormat) -> tuple[str, ...]:
    """Returns the columns that name a lesion, a person or another group, without those that the format already uses."""
    used = _columns_used(known)
    return tuple(column for column in columns if is_group_name(column) and column not in used)


def holds_probabilities(text: TableText, columns: Sequence[str]) -> bool:
    """Tells whether a cell of ``columns`` holds a number above 0 and below 1, such as a predicted probability."""
    cells = [row.get(column, "") for row in text.first_rows() for column in columns]
    return any(0 < number < 1 for number in map(number_in, cells))


def _is_submission(text: TableText, label: str, rows: _Rows) -> bool:
    """Tells whether a table is a template for answers, such as Kaggle's sample_submission.csv.

    The name of a template contains "submission", and all its labels are the same number.
    """
    numbers = {number_in(row[label]) for row in rows}
    return "submission" in text.path.stem.lower() and len(numbers) == 1 and max(numbers) >= 0


def _columns_of_person(groups: Sequence[str], rows: _Rows) -> tuple[str, ...]:
    """Returns the columns of lesions whose ids are unique only within a person.

    In such a column, most rows have an id that also occurs for other persons, and one id, such as 1, occurs for many
    persons. If no id occurs for more than two or three persons, each id is one lesion, and the column of persons is
    wrong or means something else.
    """
    persons = [column for column in groups if names_person(column)]
    found = []
    for column in groups if persons else ():
        pairs = [(row[column], row[persons[0]]) for row in rows if row[column] and row[persons[0]]]
        owners: dict[str, set[str]] = defaultdict(set)
        for lesion, person in pairs:
            owners[lesion].add(person)
        shared = sum(len(owners[lesion]) > 1 for lesion, _ in pairs)
        recurring = max(map(len, owners.values()), default=0) >= _MANY * len({person for _, person in pairs})
        if names_part_of_person(column) and 2 * shared > len(pairs) and recurring:
            found.append(column)
    return tuple(found)


def _written(text: TableText) -> dict[str, str]:
    """Returns, for each name of a column in lower case, the name as the table writes it."""
    return dict(zip(text.names, text.header, strict=True))


def _usual(fact: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that have one of the usual names for ``fact``, such as "age". The most usual comes first."""
    names = [compact_name(name) for name in OWN_COLUMNS[fact].split()]
    found = [column for column in columns if compact_name(column) in names]
    return tuple(sorted(found, key=lambda column: names.index(compact_name(column))))


def _image_column(
    columns: Sequence[str], rows: _Rows, find: Callable[[str], Sequence[int]]
) -> tuple[str, ...]:
    """Returns a tuple with the column that names the photos; an empty tuple if there is no such column.

    Columns with a usual name are preferred, except a column of numbers that is called id, because its numbers may count
    the rows. Of the preferred columns, the one that names the most photos is chosen. If several columns name equally
    many photos, a column of file names is preferred to a column of numbers. Raises ValueError if two columns of numbers
    name different photos, and neither has a usual name.
    """
    usual = _usual("image", columns)
    named = {column: sum(bool(find(row[column])) for row in rows if row[column]) for column in columns}
    numbers = {column for column in columns if _holds_numbers(column, rows)}
    enough = max(1.0, _NEARLY_ALL * len(rows))
    others = [
        column
        for column in columns
        if (named[column] >= enough and _are_different(column, rows))
        or (named[column] and _holds_file_names(column, rows))
    ]
    sure = [column for column in usual if column not in numbers or compact_name(column) != "id"]
    best = [column for column in sure if named[column]]
    best = best or [column for column in dict.fromkeys((*usual, *others)) if named[column]]
    if not best:
        return usual[:1]
    chosen = max(best, key=lambda column: (named[column], column not in numbers))
    if chosen not in usual and chosen in numbers:
        _check_one_column_of_numbers([column for column in best if not is_group_name(column)], rows)
    return (chosen,)


def _check_one_column_of_numbers(columns: Sequence[str], rows: _Rows) -> None:
    """Raises ValueError if two columns hold different numbers in the same row."""
    for other in columns[1:]:
        if any(number_in(row[columns[0]]) != number_in(row[other]) for row in rows):
            raise ValueError(
                f"the columns '{columns[0]}' and '{other}' both hold numbers of photos. Rename the right one to 'path'"
            )


def _further_image_columns(
    image: str, columns: Sequence[str], rows: _Rows, find: Callable[[str], Sequence[int]]
) -> tuple[str, ...]:
    """Returns the columns that name further photos of the lesion in a row, such as a close-up beside the dermoscopic
    photo. ``image`` is the column that names the first photo.

    A column such as "previous" or "similar" names photos that have rows of their own. It is not returned.
    """
    firsts = [find(row[image]) for row in rows]
    with_row = {photo for photos in firsts for photo in photos}
    further = []
    for column in columns:
        if _holds_numbers(column, rows) or says_mask(column):
            continue
        found = [(find(row[column]), first) for row, first in zip(rows, firsts, strict=True) if row[column]]
        counts = [len(photos) for photos, _ in found]
        others = [photos for photos, first in found if photos != first]
        share = _HALF if _holds_file_names(column, rows) else _NEARLY_ALL
        if (
            sum(counts) >= share * len(counts)
            and max(counts) == 1
            and any(others)
            and with_row.isdisjoint(photo for photos in others for photo in photos)
        ):
            further.append(column)
    return tuple(further)


def _holds_numbers(column: str, rows: _Rows) -> bool:
    return all(number_in(row[column]) >= 0 for row in rows if row[column])


def _holds_file_names(column: str, rows: _Rows) -> bool:
    return all(is_photo_name(row[column]) for row in rows if row[column])


def _are_different(column: str, rows: _Rows) -> bool:
    """Tells whether nearly all cells of a column are different.

    For example, numbers that identify photos are all different, but ages and class numbers are not.
    """
    return len({row[column] for row in rows}) >= _NEARLY_ALL * len(rows)


def _label_columns(columns: Sequence[str], rows: _Rows) -> tuple[str, ...]:
    """Returns the columns of diagnoses.

    If no column holds diagnoses, returns the label columns that hold words which are not diagnoses. If there are no
    such columns either, returns the label columns that hold numbers.
    """
    filled = [column for column in columns if any(row[column] for row in rows)]
    kinds = {column: _kind_of_label(column, rows) for column in _usual("label", filled)}
    # a column such as "lesion" or "case" is a label column only if it holds diagnoses, and not names of groups
    groups = [column for column in filled if is_group_name(column) and column not in kinds]
    kinds |= {column: 0 for column in groups if _kind_of_label(column, rows) == 0}
    return tuple(column for column, kind in kinds.items() if kind == min(kinds.values()))


def _kind_of_label(column: str, rows: _Rows) -> int:
    """Returns 0 for a column of diagnoses, 1 for a column of other words, and 2 for a column of numbers."""
    if _share_of_diagnoses(column, rows) >= _HALF:
        return 0
    return 2 if _holds_numbers(column, rows) else 1


def _share_of_diagnoses(column: str, rows: _Rows) -> float:
    cells = [row[column] for row in rows if diagnosis_of(row[column]) is not None]
    return sum(map(is_known, cells)) / len(cells) if cells else 0.0


def _columns_of_diagnoses(columns: Sequence[str], rows: _Rows) -> tuple[str, ...]:
    """Returns a tuple with the column whose cells are diagnoses; an empty tuple if there is no such column.

    Raises ValueError if the cells of several columns are diagnoses.
    """
    found = tuple(column for column in columns if _share_of_diagnoses(column, rows) >= _NEARLY_ALL)
    if len(found) > 1:
        shown = ", ".join(f"'{column}'" for column in found)
        raise ValueError(
            f"the table has several columns of diagnoses: {shown}. Rename the right one to 'label'"
        )
    return found


def _with_facts(known: TableFormat, columns: Sequence[str]) -> TableFormat:
    """Returns the format with the group columns added, and with the columns of age, sex, site and similar values."""
    people = {fact: _usual(fact, columns) for fact in OWN_COLUMNS if fact not in ("image", "label")}
    found = {fact: names for fact, names in people.items() if names}
    return replace(known, people=found, groups=group_columns(columns, replace(known, people=found)))


def _one_hot(columns: Sequence[str], rows: _Rows, text: TableText) -> dict[str, str]:
    """Returns, for each one-hot column, the name of the class as the header writes it.

    Columns of zeros and ones are one-hot columns if, in nearly every row, exactly one of these columns is 1. Raises
    ValueError if the columns of diagnoses hold probabilities, or mark the diagnosis with another text than 1.
    """
    written = _written(text)
    diagnoses = [column for column in columns if is_known(written[column])]
    _check_marks(diagnoses, rows)
    found = [column for column in columns if rows and all(number_in(row[column]) in (0, 1) for row in rows)]
    hot = [sum(number_in(row[column]) == 1 for column in found) for row in rows]
    if len(found) > 1 and hot.count(1) >= _NEARLY_ALL * len(rows):
        return {column: written[column] for column in found}
    if len(diagnoses) > 1 and holds_probabilities(text, diagnoses):
        raise ValueError(PROBABILITIES)
    return {}


def _check_marks(columns: Sequence[str], rows: _Rows) -> None:
    """Raises ValueError if the columns of diagnoses mark the diagnosis of a photo, but not with 1, as with x."""
    texts = sorted({row[column].lower() for row in rows for column in columns})
    if len(columns) < 2 or len(texts) != 2 or all(number_in(text) in (0, 1) for text in texts):
        return
    for mark in texts:
        marks = [sum(row[column].lower() == mark for column in columns) for row in rows]
        if marks.count(1) >= _NEARLY_ALL * len(rows):
            shown = ", ".join(f"'{column}'" for column in columns)
            held = " or ".join(f"'{text}'" if text else "nothing" for text in texts)
            raise ValueError(
                f"the cells of the columns {shown} hold {held}. In the column of each class, "
                "write 1 for the photos of the class, and 0 for all other photos"
            )


def _columns_used(known: TableFormat) -> frozenset[str]:
    facts = (column for names in known.people.values() for column in names)
    views = known.image_of_view
    columns = (*known.image, *known.labels, *known.one_hot, *known.lesion, *known.patient, *known.groups)
    return frozenset((*columns, *facts, *views, known.same_photo))
