"""Finds, labels, groups and splits photos: from folders and tables to a catalogue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import (
    LESION_CLASSES,
    MIN_GROUPS,
    NONE_OF_THESE,
    Catalogue,
    Photo,
    is_catalogue,
    read_catalogue,
)
from dermedge.train.data.folders import find_places
from dermedge.train.data.splits import split_by_group
from dermedge.train.data.tables import diagnosis_of, read_tables

# the search for duplicates is imported where it is called: to score a catalogue, no ImageHash is needed
if TYPE_CHECKING:
    from dermedge.train.data.duplicate_cache import Duplicates

__all__ = ["build_catalogue"]

NOT_UTF8 = "its name is not UTF-8, which a table cannot hold: rename it"
UNREADABLE = "the file is no picture that can be decoded"
CONTRADICTING_COPY = "label contradicts a copy of the same picture"
CONTRADICTING_LESION = "label contradicts another photo of the same lesion"


def build_catalogue(
    paths: Sequence[Path],
    classes: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,
) -> Catalogue:
    """Finds, labels, groups and splits the photos below ``paths``.

    Args:
        paths: folders with a folder per class, folders or files of the publishers' tables, and files of
            earlier catalogues, whose photos and lesions keep their splits; these alone are taken as they are.
        classes: the classes to learn; photos of anything else become "none of these". Without it, the
            four lesions of dermedge where all four are there, else every folder's own name.
        seed: of the split.
        progress: called with (steps done, steps in all).
        cache: a folder where the copies among the photos are kept, not to be looked for again.

    Raises:
        DataError: no photos, no classes, fewer than two, or too few photos of one.
        OptionError: a class was asked for that no photo shows.
    """
    from dermedge.train.data.duplicate_cache import find_duplicates

    tables = [path for path in paths if path.is_file() and is_catalogue(path)]
    earlier = [photo for table in tables for photo in read_catalogue(table)]
    if tables and set(tables) == set(paths):
        return _as_catalogued(earlier, classes, seed)
    found, left_out = _label([path for path in paths if path not in tables])
    copies = find_duplicates([Path(photo.path) for photo in found], cache, progress)
    grouped = _join_copies(found, copies)
    bad = _contradictions(found, copies) | dict.fromkeys(copies.unreadable, UNREADABLE)
    left_out.update(bad.values())
    consistent = [photo for index, photo in enumerate(grouped) if index not in bad]
    labelled, order = _with_labels(consistent, classes)
    _check_sizes(labelled, order)
    split = split_by_group(labelled, seed, earlier)
    return Catalogue(split, order, {why: n for why, n in left_out.items() if n}, seed)


def _as_catalogued(photos: Sequence[Photo], classes: Sequence[str] | None, seed: int) -> Catalogue:
    """Photos that have their groups and splits, under the labels that they have or under ``classes``."""
    if classes:
        labelled, order = _with_labels(photos, classes)
    else:
        there = sorted({photo.label for photo in photos})
        labelled, order = list(photos), (*LESION_CLASSES, *(name for name in there if name != NONE_OF_THESE))
        order = tuple(name for name in dict.fromkeys((*order, NONE_OF_THESE)) if name in there)
    if not photos:
        raise DataError("the catalogue has no photos: make it again with dermedge data catalogue")
    _check_sizes(labelled, order)
    return Catalogue(tuple(sorted(labelled, key=lambda photo: photo.path)), order, {}, seed)


def _with_labels(
    photos: Sequence[Photo], classes: Sequence[str] | None
) -> tuple[list[Photo], tuple[str, ...]]:
    """The photos with the class that each is trained as, and the classes in the order of the outputs."""
    names = _choose_classes(photos, classes)
    labelled = [replace(p, label=p.diagnosis if p.diagnosis in names else NONE_OF_THESE) for p in photos]
    others = any(photo.label == NONE_OF_THESE for photo in labelled)
    return labelled, (*names, NONE_OF_THESE) if others and NONE_OF_THESE not in names else names


def _label(paths: Sequence[Path]) -> tuple[list[Photo], Counter[str]]:
    places, tables = find_places(paths)
    known = read_tables(tables, named=paths)
    photos: list[Photo] = []
    left_out: Counter[str] = Counter()
    for place in places:
        if not is_utf8(place.path):
            left_out[NOT_UTF8] += 1
            continue
        image_id = known.image_id(place)
        in_table = image_id in known.diagnoses
        diagnosis = known.diagnosis(image_id) if in_table else diagnosis_of(place.folder)
        if diagnosis is None:
            why = "its table does not tell its diagnosis" if in_table else "no table and no folder names it"
            left_out[why] += 1
            continue
        lesion = known.lesion(image_id) or ""
        photos.append(
            Photo(str(place.path), image_id, lesion, lesion or image_id, diagnosis, "", place.source)
        )
    return photos, left_out


def is_utf8(path: Path) -> bool:
    """Whether a path can be written into a table and read from it again."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _join_copies(photos: list[Photo], copies: Duplicates) -> list[Photo]:
    """The photos with one group for all that shows one lesion or is a copy of such a photo."""
    from dermedge.train.data.duplicates import join

    links = [(match.first, match.second) for match in copies.near]
    for sets in (_sets([photo.group for photo in photos]), _sets([photo.image_id for photo in photos])):
        links += [(members[0], other) for members in sets for other in members[1:]]
    links += [(members[0], other) for members in copies.equal for other in members[1:]]
    joined = join(len(photos), links)
    names: dict[int, str] = {}
    for photo, root in zip(photos, joined, strict=True):
        names[root] = min(names.get(root, photo.group), photo.group)
    return [replace(photo, group=names[root]) for photo, root in zip(photos, joined, strict=True)]


def _sets(keys: list[str]) -> list[list[int]]:
    """The indices that have a key in common, for every key."""
    sets: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        sets[key].append(index)
    return list(sets.values())


def _contradictions(photos: list[Photo], copies: Duplicates) -> dict[int, str]:
    """Photo -> why its label cannot be trusted; ``photos`` have the groups of before the copies joined."""
    bad: dict[int, str] = {}
    one_picture = [*copies.equal, *_sets([photo.image_id for photo in photos])]
    one_picture += [[match.first, match.second] for match in copies.near]
    for members in one_picture:
        if len({photos[index].diagnosis for index in members}) > 1:
            bad |= dict.fromkeys(members, CONTRADICTING_COPY)
    for members in _sets([photo.group for photo in photos]):
        trusted = [index for index in members if index not in bad]
        if len({photos[index].diagnosis for index in trusted}) > 1:
            bad |= dict.fromkeys(trusted, CONTRADICTING_LESION)
    return bad


def _choose_classes(photos: Sequence[Photo], classes: Sequence[str] | None) -> tuple[str, ...]:
    there = sorted({photo.diagnosis for photo in photos})
    if classes is None:
        classes = LESION_CLASSES if set(LESION_CLASSES) <= set(there) else there
    for name in classes:
        if name not in there and name != NONE_OF_THESE:
            raise OptionError(f"no photo shows the class '{name}'. There are: {', '.join(there)}")
    if len(set(classes)) < 2:
        raise DataError(f"a classifier needs two classes or more; found: {', '.join(there) or 'none'}")
    return tuple(dict.fromkeys(classes))


def _check_sizes(photos: list[Photo], classes: Sequence[str]) -> None:
    for name in classes:
        members = [photo for photo in photos if photo.label == name]
        groups = len({photo.group for photo in members})
        if groups < MIN_GROUPS:
            raise DataError(
                f"class '{name}' has {len(members)} photos of {groups} lesions; "
                f"{MIN_GROUPS} lesions or more are needed to train, validate and test"
            )
