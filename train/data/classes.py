"""Chooses the classes to learn, and the class of each photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.printable import printable
from dermedge.train.data.catalogue import LESION_CLASSES, NONE_OF_THESE, Photo
from dermedge.train.data.counts import counted, plural
from dermedge.train.data.diagnoses import (
    class_of,
    diagnosis_of,
    is_open,
    likely_meant,
    own_name,
    possible_diagnoses,
    spelling_key,
)

__all__ = [
    "ALL",
    "ClassesChosen",
    "check_spelling",
    "choose_classes",
    "classes_in_order",
    "label_under",
    "mapping_lines",
    "with_corrections",
]

# The value of --classes that makes every label a class.
ALL = "all"


@dataclass(frozen=True)
class ClassesChosen:
    """The classes to learn, and the class of each photo.

    Attributes:
        labels: class of each photo; None if the photo's label can mean more than one class.
        names: names of the classes, in the order of the network's outputs.
    """

    labels: tuple[str | None, ...]
    names: tuple[str, ...]


def choose_classes(photos: Sequence[Photo], requested: Sequence[str] | None) -> ClassesChosen:
    """Returns the classes to learn, and the class of each photo.

    Args:
        photos: photos with their diagnoses and original labels.
        requested: names of the classes to learn. A name may be a diagnosis, or a label as a table or folder writes
            it. All other photos become "none of these". With ["all"], every label is a class. With None, the classes
            are the four `LESION_CLASSES` if there are photos of each of the four. If one of the four has no photos,
            every diagnosis of the photos is a class.

    Raises:
        OptionError: no photo shows a requested class.
        DataError: there are fewer than two classes, or a label is a misspelled diagnosis.
    """
    names = _names(photos, requested)
    labels = [label_under(photo, names) for photo in photos]
    if requested is None:
        check_spelling(photos, ". To keep it as a class, give --classes all")
    elif list(requested) != [ALL]:
        others = [photo for photo, label in zip(photos, labels, strict=True) if label == NONE_OF_THESE]
        check_spelling(others, ". To keep it as a class, name it in --classes")
    present = set(labels)
    for name in names:
        if name not in present and name != NONE_OF_THESE:
            raise OptionError(
                f"no photo shows the class '{name}'. There are: {', '.join(_known_names(photos))}"
            )
    if NONE_OF_THESE in present and NONE_OF_THESE not in names:
        names = (*names, NONE_OF_THESE)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(
            f"a classifier needs two classes or more; found: {found}; add photos of another class"
        )
    return ClassesChosen(tuple(labels), names)


def classes_in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Returns classes in the order of the network's outputs, if the user has not given an order.

    The four `LESION_CLASSES` come first if all of them are there. The others are in the order of the alphabet, and
    "none of these" is the last.
    """
    there = set(names)
    first = LESION_CLASSES if set(LESION_CLASSES) <= there else ()
    last = [NONE_OF_THESE] if NONE_OF_THESE in there else []
    return (*first, *sorted(there.difference(first, last)), *last)


def check_spelling(photos: Sequence[Photo], keep: str = "") -> None:
    """Checks that no label is a misspelled diagnosis. The photos of such a label would be put into a wrong class.

    Args:
        photos: photos whose label would become a class of its own, or "none of these".
        keep: the end of the error message. It says how the user can keep an unusual label as a class.

    Raises:
        DataError: a label is not a known diagnosis, but is spelled nearly like one.
    """
    counts = Counter(photo.original_label for photo in photos)
    for name, count in counts.items():
        if meant := likely_meant(name):
            raise DataError(
                f"the label '{name}' of {plural(count, 'photo')} is not a known diagnosis. If it means '{meant}', "
                f"rename the folder or correct the table{keep}"
            )


def mapping_lines(photos: Iterable[Photo], names: Sequence[str]) -> list[str]:
    """Returns one line for each class. The line lists the labels that belong to the class, with their counts.

    If every label has the same name as its class, a single line lists all classes with their counts.
    """
    mapped: dict[str, Counter[str]] = {name: Counter() for name in names}
    for photo in photos:
        mapped[photo.label][photo.original_label] += 1
    if all(set(labels) == {name} for name, labels in mapped.items()):
        counts = ", ".join(f"{name} {labels.total():,}" for name, labels in mapped.items())
        return [printable(f"classes: {counts}")]
    return [
        printable(
            f"class '{name}', {plural(labels.total(), 'photo')} with the labels: {counted(labels, len(labels))}"
        )
        for name, labels in mapped.items()
    ]


def _names(photos: Sequence[Photo], requested: Sequence[str] | None) -> tuple[str, ...]:
    if requested is None:
        there = {class_of(photo.diagnosis) for photo in photos}
        return LESION_CLASSES if set(LESION_CLASSES) <= there else classes_in_order(there)
    if list(requested) == [ALL]:
        return classes_in_order(own_name(photo.original_label) for photo in photos)
    return tuple(dict.fromkeys(requested))


def label_under(photo: Photo, names: Sequence[str]) -> str | None:
    """Returns the class of a photo. The classes to choose from are ``names``.

    Four candidates are looked up in ``names``, in this order: the photo's label as the table or folder writes it, the
    class name that `own_name` returns for the label, the photo's diagnosis, and the class of the diagnosis.

    Returns:
        The first candidate that is in ``names``. If no candidate is in ``names``: ``None`` for an ambiguous diagnosis
        that can mean a class in ``names``, and "none of these" for any other diagnosis.
    """
    by_spelling = _by_spelling(tuple(names))
    called = (
        photo.original_label,
        own_name(photo.original_label),
        photo.diagnosis,
        class_of(photo.diagnosis),
    )
    for name in called:
        if (key := spelling_key(name)) in by_spelling:
            return by_spelling[key]
    may_be = {class_of(name) for name in possible_diagnoses(photo.diagnosis)}
    return None if is_open(photo.diagnosis) and not may_be.isdisjoint(by_spelling) else NONE_OF_THESE


def with_corrections(photos: Sequence[Photo]) -> list[Photo]:
    """Returns the photos of one catalogue. A label that the user has corrected also becomes the diagnosis of the photo.

    A label counts as corrected if the diagnosis of the photo leads to another class of the catalogue.
    """
    own = tuple(sorted({photo.label for photo in photos}))
    return [
        photo
        if label_under(photo, own) in (photo.label, None)
        else replace(photo, original_label=photo.label, diagnosis=diagnosis_of(photo.label) or photo.label)
        for photo in photos
    ]


@lru_cache
def _by_spelling(names: tuple[str, ...]) -> dict[str, str]:
    return {spelling_key(name): name for name in names}


def _known_names(photos: Iterable[Photo]) -> list[str]:
    """Returns all class names that `choose_classes` accepts for these photos."""
    photos = list(photos)
    own = {own_name(photo.original_label) for photo in photos} | {photo.original_label for photo in photos}
    return sorted(
        own | {photo.diagnosis for photo in photos} | {class_of(photo.diagnosis) for photo in photos}
    )
