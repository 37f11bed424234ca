"""Finds, labels, groups and splits photos, and so turns folders and tables into a catalogue.

The label of a photo comes from a table that names the photo, or else from the name of its folder. Photos of one
lesion or person, and duplicates of one photo, form a group, whatever their file names. A photo whose duplicate
has another label is left out, and so is a lesion with two labels. The rest of the group stays, so that one wrong pair
of duplicates costs two photos and not two lesions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import (
    DIGEST_LENGTH,
    LESION_CLASSES,
    MIN_GROUPS,
    NONE_OF_THESE,
    Catalogue,
    Photo,
    is_catalogue,
    read_catalogue,
)
from dermedge.train.data.classes import choose_classes, mapping_lines
from dermedge.train.data.counts import plural, some_of
from dermedge.train.data.diagnoses import compatible
from dermedge.train.data.groups import lowest_linked, sets_of_equal
from dermedge.train.data.labelled_file import LabelledFile
from dermedge.train.data.labelling import FOLDERS_TOO, label_files
from dermedge.train.data.layout import AUTO
from dermedge.train.data.splits import split_by_group, with_parts_kept

# the search for duplicates is imported where it is called, because scoring a catalogue does not need it
if TYPE_CHECKING:
    from dermedge.train.data.duplicate_cache import Duplicates

__all__ = ["build_catalogue"]

_NO_LABEL = "no table and no folder names it"
_TABLE_SILENT = "its table does not tell its diagnosis"
_TABLE_UNDECIDED = "tables state several diagnoses for it"
_UNREADABLE = "cannot be decoded"
_CONTRADICTING_DUPLICATE = "label contradicts a duplicate of the same photo"
_CONTRADICTING_LESION = "label contradicts another photo of the same lesion"
_LEAKED = "its lesion, person or duplicate is in a part that is held out"
_SHOWN_CLASSES = 4


@dataclass(frozen=True)
class _Draft:
    """Photos with their classes, and for each photo the names that link it with others of its group."""

    photos: list[Photo]
    links: list[tuple[str, ...]]
    parts: list[str]

    def without(self, left_out: Mapping[int, str]) -> _Draft:
        kept = [index for index in range(len(self.photos)) if index not in left_out]
        return _Draft(
            [self.photos[index] for index in kept],
            [self.links[index] for index in kept],
            [self.parts[index] for index in kept],
        )


def build_catalogue(
    paths: Sequence[Path],
    classes: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,
    *,
    labels_from: str = AUTO,
    groups_from: str = FOLDERS_TOO,
    keep_parts: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Catalogue:
    """Finds, labels, groups and splits the photos below ``paths``.

    Args:
        paths: folders of photos, files of tables, and earlier catalogues, whose photos and lesions keep their
            splits; if only earlier catalogues are given, they are not changed.
        classes: classes, as `choose_classes` takes them.
        seed: seed of the split.
        progress: called with (steps done, steps in all).
        cache: a folder that keeps the duplicates among the photos, so that they are searched only once.
        labels_from: a value of `LABEL_SOURCES`.
        groups_from: a value of `GROUP_SOURCES`.
        keep_parts: whether the parts that folders or a split column state become the splits.
        say: called with each line on how the data were understood, before the photos are read.

    Raises:
        DataError: there are no photos, fewer than two classes, or too few photos of a class; or folders or tables
            cannot be understood.
        OptionError: no photo shows a class that was asked for, or a table that was named is not understood.
    """
    tables = [path for path in paths if path.is_file() and is_catalogue(path)]
    earlier = [photo for table in tables for photo in read_catalogue(table)]
    if tables and set(tables) == set(paths):
        return _as_catalogued(earlier, classes, seed)
    if tables and keep_parts:
        raise OptionError("--keep-parts does not go with an earlier catalogue, whose splits are kept already")
    left_out: Counter[str] = Counter()
    given = [path for path in paths if path not in tables]
    draft, order, account = _understood(given, classes, labels_from, groups_from, say, left_out)
    draft = _grouped(draft, cache, progress, left_out)
    _check_sizes(draft.photos, order, draft.links, left_out)
    photos = _split(draft, seed, earlier, keep_parts, left_out)
    lopsided = _lopsided_lines(photos, order)
    for line in lopsided:
        say(line)
    reasons = {why: count for why, count in left_out.items() if count}
    return Catalogue(photos, order, reasons, seed, (*account, *lopsided))


def _understood(
    paths: Sequence[Path],
    classes: Sequence[str] | None,
    labels_from: str,
    groups_from: str,
    say: Callable[[str], object],
    left_out: Counter[str],
) -> tuple[_Draft, tuple[str, ...], tuple[str, ...]]:
    """Returns the photos with their classes, the order of the classes, and the lines, already printed, that explain
    both.
    """
    found = label_files(paths, labels_from, groups_from)
    left_out.update(found.skipped)
    for line in found.account:
        say(line)
    draft, order = _with_classes(_labelled(found.files, left_out, found.skipped), classes, left_out)
    mapping = mapping_lines(draft.photos, order)
    for line in mapping:
        say(line)
    return draft, order, (*found.account, *mapping)


def _split(
    draft: _Draft, seed: int, earlier: Sequence[Photo], keep_parts: bool, left_out: Counter[str]
) -> tuple[Photo, ...]:
    """Returns the photos with their splits; counts those that --keep-parts leaves out."""
    if keep_parts:
        photos, leaked = with_parts_kept(draft.photos, draft.parts, seed)
        left_out[_LEAKED] += leaked
        return photos
    names = {photo.path: links for photo, links in zip(draft.photos, draft.links, strict=True)}
    return split_by_group(draft.photos, seed, earlier, names)


def _lopsided_lines(photos: Sequence[Photo], classes: Sequence[str]) -> tuple[str, ...]:
    """Returns a line for each class that has fewer photos in training than in a part that is held out."""
    lines = []
    for name in classes:
        counts = Counter(photo.split for photo in photos if photo.label == name)
        largest = max(Counter(photo.group for photo in photos if photo.label == name).values(), default=0)
        part = max(("val", "test"), key=counts.__getitem__)
        if counts["train"] < counts[part]:
            lines.append(
                f"'{name}' has only {plural(counts['train'], 'photo')} in training, but {counts[part]:,} in {part}: "
                f"its largest group holds {largest:,} of {counts.total():,}. Another --seed may split it better"
            )
    return tuple(lines)


def _as_catalogued(photos: Sequence[Photo], classes: Sequence[str] | None, seed: int) -> Catalogue:
    """Returns the catalogue of photos that already have groups and splits, with their labels or with ``classes``."""
    if not photos:
        raise DataError("the catalogue has no photos: make it again with dermedge data catalogue")
    left_out: Counter[str] = Counter()
    if classes:
        draft = _Draft(list(photos), [()] * len(photos), [""] * len(photos))
        draft, order = _with_classes(draft, classes, left_out)
        photos = draft.photos
    else:
        there = sorted({photo.label for photo in photos})
        order = (*LESION_CLASSES, *(name for name in there if name != NONE_OF_THESE))
        order = tuple(name for name in dict.fromkeys((*order, NONE_OF_THESE)) if name in there)
    _check_sizes(photos, order)
    return Catalogue(tuple(sorted(photos, key=lambda photo: photo.path)), order, dict(left_out), seed)


def _labelled(files: Sequence[LabelledFile], left_out: Counter[str], skipped: Mapping[str, int]) -> _Draft:
    """Returns the photos that have a diagnosis; counts the others; raises DataError if no photo has one."""
    labelled = [file for file in files if file.photo.diagnosis]
    without = Counter(
        _TABLE_UNDECIDED if file.undecided else _TABLE_SILENT if file.in_table else _NO_LABEL
        for file in files
        if not file.photo.diagnosis
    )
    left_out.update(without)
    if not labelled:
        reasons = ", ".join(f"{count:,} ({why})" for why, count in without.items())
        folders = some_of(sorted({Path(file.photo.path).parent.name for file in files}))
        raise DataError(
            f"none of {plural(len(files), 'photo')} has a label: {reasons}. The folders {folders} name no class; "
            "give the table that does (path,label or a publisher's), or say which folder does with "
            f"--labels-from folder or parent{_left_out_text(skipped)}"
        )
    return _Draft(
        [file.photo for file in labelled], [file.links for file in labelled], [file.part for file in labelled]
    )


def _with_classes(
    draft: _Draft, classes: Sequence[str] | None, left_out: Counter[str]
) -> tuple[_Draft, tuple[str, ...]]:
    """Returns the photos with their classes, and the order of the classes.

    Photos whose label leaves the class open are left out.
    """
    chosen = choose_classes(draft.photos, classes)
    unclear = {
        index: f"'{photo.original_label}' leaves open which of the classes it is"
        for index, (photo, label) in enumerate(zip(draft.photos, chosen.labels, strict=True))
        if label is None
    }
    left_out.update(unclear.values())
    photos = [
        replace(photo, label=label or "") for photo, label in zip(draft.photos, chosen.labels, strict=True)
    ]
    return replace(draft, photos=photos).without(unclear), chosen.names


def _grouped(
    draft: _Draft, cache: Path | None, progress: Callable[[int, int], None], left_out: Counter[str]
) -> _Draft:
    """Returns the photos with their groups, without those that cannot be read or whose labels contradict."""
    from dermedge.train.data.duplicate_cache import find_duplicates

    found = find_duplicates([Path(photo.path) for photo in draft.photos], cache, progress)
    bad = _contradictions(draft, found) | {
        index: f"{_UNREADABLE}: {why.partition(' (')[0]}" for index, why in found.unreadable.items()
    }
    left_out.update(bad.values())
    photos = [
        replace(photo, digest=digest[:DIGEST_LENGTH])
        for photo, digest in zip(_joined(draft, found), found.digests, strict=True)
    ]
    return replace(draft, photos=photos).without(bad)


def _joined(draft: _Draft, duplicates: Duplicates) -> list[Photo]:
    """Returns the photos with their groups: photos that share a name, and duplicates of a photo, are in one group."""
    pairs = [(match.first, match.second) for match in duplicates.near]
    for members in (*duplicates.equal, *sets_of_equal(draft.links), *_sets_of_one_name(draft.photos)):
        pairs += [(members[0], other) for other in members[1:]]
    roots = lowest_linked(len(draft.photos), pairs)
    names: dict[int, str] = {}
    for photo, root in zip(draft.photos, roots, strict=True):
        names[root] = min(names.get(root, photo.group), photo.group)
    return [replace(photo, group=names[root]) for photo, root in zip(draft.photos, roots, strict=True)]


def _sets_of_one_name(photos: Sequence[Photo]) -> list[list[int]]:
    """Returns the photos that share the name of a group or an image id."""
    return sets_of_equal([{photo.group, photo.image_id} for photo in photos])


def _contradictions(draft: _Draft, duplicates: Duplicates) -> dict[int, str]:
    """Returns photo -> why its label cannot be trusted."""
    bad: dict[int, str] = {}
    one_photo = [*duplicates.equal, *sets_of_equal([{photo.image_id} for photo in draft.photos])]
    one_photo += [[match.first, match.second] for match in duplicates.near]
    for members in one_photo:
        if _contradict([draft.photos[index] for index in members]):
            bad |= dict.fromkeys(members, _CONTRADICTING_DUPLICATE)
    for members in sets_of_equal([{photo.lesion_id} - {""} for photo in draft.photos]):
        trusted = [index for index in members if index not in bad]
        if _contradict([draft.photos[index] for index in trusted]):
            bad |= dict.fromkeys(trusted, _CONTRADICTING_LESION)
    return bad


def _contradict(photos: Sequence[Photo]) -> bool:
    """Tells whether photos of one lesion have classes or diagnoses that cannot be of one lesion."""
    if len({photo.label for photo in photos}) > 1:
        return True
    diagnoses = sorted({photo.diagnosis for photo in photos})
    return any(not compatible(one, other) for one in diagnoses for other in diagnoses)


def _check_sizes(
    photos: Sequence[Photo],
    classes: Sequence[str],
    links: Sequence[tuple[str, ...]] = (),
    left_out: Mapping[str, int] | None = None,
) -> None:
    """Raises DataError if a class has too few groups to be split."""
    counts = {name: Counter(photo.group for photo in photos if photo.label == name) for name in classes}
    small = {name: groups for name, groups in counts.items() if len(groups) < MIN_GROUPS}
    if not small:
        return
    shown = ", ".join(
        f"class '{name}' has {plural(groups.total(), 'photo')} in {plural(len(groups), 'group')}"
        for name, groups in list(small.items())[:_SHOWN_CLASSES]
    )
    more = (
        f" and {len(small) - _SHOWN_CLASSES} more classes have too few" if len(small) > _SHOWN_CLASSES else ""
    )
    raise DataError(
        f"{shown}{more}; {MIN_GROUPS} groups (lesions or persons) of each class or more are needed to train, validate "
        f"and test{_cure(small, len(classes), links)}{_left_out_text(left_out or {})}"
    )


def _cure(small: Mapping[str, Counter[str]], classes: int, links: Sequence[tuple[str, ...]]) -> str:
    """Returns advice for classes that have too few groups."""
    in_folders = any(link.startswith("folder ") for names in links for link in names)
    if in_folders and all(groups.total() >= MIN_GROUPS for groups in small.values()):
        return (
            "; the folders below the class folders are kept whole, --groups-from table lets splits cut them"
        )
    if len(small) > _SHOWN_CLASSES and 2 * len(small) > classes:
        return (
            "; folders that hold so few photos may be lesions or persons: give the table that tells their classes "
            "(path,label)"
        )
    return "; add photos of them, or leave them out with --classes" if classes - len(small) > 1 else ""


def _left_out_text(left_out: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count:,} ({why})" for why, count in left_out.items() if count)
    return f"; left out: {reasons}" if reasons else ""
