"""Builds a catalogue from folders and tables: finds, labels, groups and splits the photos.

The label of a photo comes from a table that names the photo, or else from the name of the photo's folder. Photos of
one lesion or person form a group, and so do duplicates of one photo. Duplicates are found by their content, even if
their file names differ. If two duplicates have different labels, both photos are left out, and the other photos of
their group are kept. If two photos of different lesions are mistaken for duplicates, only these two photos are
therefore lost, and not all photos of both lesions. If photos of one lesion have different labels, all photos of the
lesion are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.printable import printable
from dermedge.train.data.catalogue import (
    DIGEST_LENGTH,
    MIN_GROUPS,
    Catalogue,
    Photo,
    is_catalogue,
    read_catalogue,
)
from dermedge.train.data.classes import (
    choose_classes,
    classes_in_order,
    label_under,
    mapping_lines,
    with_corrections,
)
from dermedge.train.data.counts import plural, some_of
from dermedge.train.data.diagnoses import compatible
from dermedge.train.data.groups import sets_of_equal, with_groups
from dermedge.train.data.labelled_file import LabelledFile
from dermedge.train.data.labelling import FOLDERS_TOO, label_files
from dermedge.train.data.layout import AUTO
from dermedge.train.data.splits import find_leaks, split_by_group, with_parts_kept

# the search for duplicates is imported where it is called, because scoring a catalogue does not need it
if TYPE_CHECKING:
    from dermedge.train.data.duplicate_cache import Duplicates

__all__ = ["build_catalogue"]

_NO_LABEL = "no table and no folder states a label"
_TABLE_SILENT = "the table that names the photo states no diagnosis"
_TABLE_UNDECIDED = "tables state diagnoses that exclude each other"
_UNREADABLE = "cannot be decoded"
_CONTRADICTING_DUPLICATE = "the label contradicts that of a duplicate of the photo"
_CONTRADICTING_LESION = "the label contradicts that of another photo of the lesion"
_LEAKED = "a duplicate, or a photo of the same lesion or person, is in a held-out part"
_KEPT_ALREADY = (
    "--keep-parts cannot be used with an earlier catalogue, which keeps the splits of its own photos; leave "
    "--keep-parts out"
)
_SHOWN_CLASSES = 4


@dataclass(frozen=True)
class _Draft:
    """Labelled photos that are not split yet.

    Attributes:
        photos: the photos.
        links: for each photo, names of lesions, persons, folders and photos. Photos that share a name are in the same
            group.
        parts: the part (train, val or test) that folders or tables state for each photo; empty if they state none.
    """

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
        paths: folders of photos, table files, and earlier catalogues. The photos and lesions of an earlier catalogue
            keep their splits. If all paths are earlier catalogues, their photos also keep their groups.
        classes: names of the classes to learn, as in `choose_classes`.
        seed: seed of the random split.
        progress: a function that is called with the number of steps done and the total number of steps.
        cache: a folder in which the list of duplicates is stored, so that the search runs only once.
        labels_from: a value of `LABEL_SOURCES`.
        groups_from: a value of `GROUP_SOURCES`.
        keep_parts: whether the parts (train, val, test) that folders or a split column state become the splits.
        say: a function that is called with each line about how the data were understood and split.

    Raises:
        DataError: there are no photos, fewer than two classes, or too few groups of a class; folders or tables cannot
            be understood; or ``keep_parts`` is set and a photo has no part.
        OptionError: no photo shows a requested class; a table among ``paths`` cannot be understood; or ``keep_parts``
            is set although ``paths`` has an earlier catalogue.
        StorageError: the duplicates or a temporary file cannot be written.
    """
    tables = [path for path in paths if path.is_file() and is_catalogue(path)]
    catalogues = [read_catalogue(table) for table in tables]
    if tables and set(tables) == set(paths):
        return _as_catalogued(catalogues, classes, seed)
    if tables and keep_parts:
        raise OptionError(_KEPT_ALREADY)
    left_out: Counter[str] = Counter()
    given = [path for path in paths if path not in tables]
    draft, order, account = _understood(given, classes, labels_from, groups_from, say, left_out)
    draft = _grouped(draft, cache, progress, left_out)
    _check_sizes(draft.photos, order, draft.links, left_out)
    photos = _split(draft, seed, list(chain.from_iterable(catalogues)), keep_parts, left_out)
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
    """Finds the labels and the classes of the photos, and calls ``say`` with lines that explain the labels and classes.

    Returns the photos with their classes, the order of the classes, and the lines that ``say`` was called with.
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
    """Returns the photos with their splits. Photos that --keep-parts leaves out are counted in ``left_out``."""
    if keep_parts:
        photos, leaked = with_parts_kept(draft.photos, draft.parts, seed)
        left_out[_LEAKED] += leaked
        return photos
    names = {photo.path: links for photo, links in zip(draft.photos, draft.links, strict=True)}
    return split_by_group(draft.photos, seed, earlier, names)


def _lopsided_lines(photos: Sequence[Photo], classes: Sequence[str]) -> tuple[str, ...]:
    """Returns a line for each class that has fewer photos in train than in val or in test."""
    lines = []
    for name in classes:
        counts = Counter(photo.split for photo in photos if photo.label == name)
        largest = max(Counter(photo.group for photo in photos if photo.label == name).values(), default=0)
        part = max(("val", "test"), key=counts.__getitem__)
        if counts["train"] < counts[part]:
            lines.append(
                f"the class '{name}' has only {plural(counts['train'], 'photo')} in train, but {counts[part]:,} in "
                f"{part}. Its largest group has {largest:,} of {counts.total():,} photos. Another --seed may give a "
                "better split"
            )
    return tuple(map(printable, lines))


def _as_catalogued(
    catalogues: Sequence[Sequence[Photo]], classes: Sequence[str] | None, seed: int
) -> Catalogue:
    """Returns a catalogue of photos that already have groups and splits.

    The photos keep their labels if ``classes`` is None, or if there is only one catalogue and its labels are exactly
    ``classes``. Otherwise, the photos are labelled again.
    """
    photos = [photo for one in catalogues for photo in one]
    if not photos:
        raise DataError(
            "the catalogue has no photos; make a new one: dermedge data catalogue PHOTOS --output CATALOGUE.csv"
        )
    if leaks := find_leaks(photos):
        raise DataError(
            f"the catalogues put photos of one lesion or person into several splits, such as those of '{leaks[0]}'; "
            "make a new catalogue: give the folders of all photos, and also one of the earlier catalogues: "
            "dermedge data catalogue PHOTOS EARLIER.csv --output CATALOGUE.csv"
        )
    left_out: Counter[str] = Counter()
    there = sorted({photo.label for photo in photos})
    if classes and sorted(classes) == there and len(catalogues) == 1:
        order = tuple(classes)
    elif classes:
        corrected = [photo for one in catalogues for photo in with_corrections(one)]
        draft = _Draft(corrected, [()] * len(photos), [""] * len(photos))
        draft, order = _with_classes(draft, classes, left_out)
        photos = draft.photos
    else:
        order = classes_in_order(there)
        _check_same_classes(catalogues, order)
    photos = _once(photos)
    _check_sizes(photos, order)
    return Catalogue(tuple(sorted(photos, key=lambda photo: photo.path)), order, dict(left_out), seed)


def _check_same_classes(catalogues: Sequence[Sequence[Photo]], classes: Sequence[str]) -> None:
    """Raises DataError if the catalogues were made for different classes.

    Photos of one diagnosis would then have different labels.
    """
    if len(catalogues) < 2:
        return
    photos = [photo for one in catalogues for photo in with_corrections(one)]
    others = [(photo, label_under(photo, classes)) for photo in photos]
    wrong = [(photo, label) for photo, label in others if label not in (photo.label, None)]
    if wrong:
        photo, label = wrong[0]
        raise DataError(
            f"the catalogues were made for different classes: the label of '{photo.path}' is '{photo.label}', but with "
            f"the classes of all catalogues it would be '{label}' ({plural(len(wrong), 'photo')} would change). Choose "
            "the classes with --classes"
        )


def _once(photos: Sequence[Photo]) -> list[Photo]:
    """Returns each photo once. Raises DataError if several catalogues give a photo different classes."""
    labels: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        labels[photo.path].add(photo.label)
    if several := [path for path, names in labels.items() if len(names) > 1]:
        shown = " and ".join(f"'{name}'" for name in sorted(labels[several[0]]))
        raise DataError(
            f"the catalogues give {plural(len(several), 'photo')} different classes, such as '{several[0]}': {shown}; "
            "correct the label in one of the catalogues, or give only one catalogue"
        )
    return list({photo.path: photo for photo in photos}.values())


def _labelled(files: Sequence[LabelledFile], left_out: Counter[str], skipped: Mapping[str, int]) -> _Draft:
    """Returns the photos that have a diagnosis, and counts the other photos in ``left_out``.

    Raises DataError if no photo has a diagnosis.
    """
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
        roots = {Path(file.photo.root) for file in files}
        if {Path(file.photo.path).parent for file in files} == roots and len(roots) > 1:
            raise DataError(
                f"none of {plural(len(files), 'photo')} has a label: {reasons}. If the given folders {folders} are the "
                f"classes, give the folder that contains them, such as '{min(roots).parent}'. Or give a table of "
                f"labels (path,label, or a publisher's table){_left_out_text(skipped)}"
            )
        raise DataError(
            f"none of {plural(len(files), 'photo')} has a label: {reasons}. The photos are in folders that were not "
            f"read as classes: {folders}. Give a table of labels (path,label, or a publisher's table). Or add "
            "--labels-from folder if the first folder is the class, or --labels-from parent if the folder that "
            f"contains the photos is the class{_left_out_text(skipped)}"
        )
    return _Draft(
        [file.photo for file in labelled], [file.links for file in labelled], [file.part for file in labelled]
    )


def _with_classes(
    draft: _Draft, classes: Sequence[str] | None, left_out: Counter[str]
) -> tuple[_Draft, tuple[str, ...]]:
    """Returns the photos with their classes, and the order of the classes.

    Photos whose label can mean more than one class are left out.
    """
    chosen = choose_classes(draft.photos, classes)
    unclear = {
        index: f"the label '{photo.original_label}' can mean more than one class"
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
    """Returns the photos with their groups.

    Photos that cannot be decoded, and photos whose labels contradict each other, are left out.
    """
    from dermedge.train.data.duplicate_cache import find_duplicates

    found = find_duplicates([Path(photo.path) for photo in draft.photos], cache, progress)
    bad = _contradictions(draft, found) | {
        index: f"{_UNREADABLE}: {why.partition(' (')[0]}" for index, why in found.unreadable.items()
    }
    left_out.update(bad.values())
    grouped = with_groups(draft.photos, draft.links, found.of_one_photo)
    photos = [
        replace(photo, digest=digest[:DIGEST_LENGTH])
        for photo, digest in zip(grouped, found.digests, strict=True)
    ]
    return replace(draft, photos=photos).without(bad)


def _contradictions(draft: _Draft, duplicates: Duplicates) -> dict[int, str]:
    """Returns the index of each photo whose label cannot be trusted, with the reason."""
    bad: dict[int, str] = {}
    of_one_id = sets_of_equal([{photo.image_id} for photo in draft.photos])
    for members in (*duplicates.of_one_photo, *of_one_id):
        if _contradict([draft.photos[index] for index in members]):
            bad |= dict.fromkeys(members, _CONTRADICTING_DUPLICATE)
    for members in sets_of_equal([{photo.lesion_id} - {""} for photo in draft.photos]):
        trusted = [index for index in members if index not in bad]
        if _contradict([draft.photos[index] for index in trusted]):
            bad |= dict.fromkeys(trusted, _CONTRADICTING_LESION)
    return bad


def _contradict(photos: Sequence[Photo]) -> bool:
    """Tells whether photos of one lesion have different classes, or diagnoses that exclude each other."""
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
        f", and {len(small) - _SHOWN_CLASSES} more classes have too few groups"
        if len(small) > _SHOWN_CLASSES
        else ""
    )
    links = [names for photo, names in zip(photos, links, strict=False) if photo.label in small]
    raise DataError(
        f"{shown}{more}. At least {MIN_GROUPS} groups (lesions or persons) of each class are needed to train, validate "
        f"and test{_cure(small, len(classes), links)}{_left_out_text(left_out or {})}"
    )


def _cure(small: Mapping[str, Counter[str]], classes: int, links: Sequence[tuple[str, ...]]) -> str:
    """Returns advice for classes that have too few groups. ``links`` are the links of their photos."""
    kinds = {link.partition(" ")[0] for names in links for link in names}
    enough = all(groups.total() >= MIN_GROUPS for groups in small.values())
    if "folder" in kinds and enough:
        return (
            ". All photos of a folder below a class folder stay in one split. If these folders are not lesions or "
            "persons, give --groups-from table"
        )
    if "made" in kinds and enough:
        return (
            ". Names such as img_crop_1.jpg and img_crop_2.jpg mean copies of one photo, or frames of one video, which "
            "stay in one split. If your photos show different lesions, rename them, for example to img1.jpg and "
            "img2.jpg"
        )
    if len(small) > _SHOWN_CLASSES and 2 * len(small) > classes:
        return (
            ". Folders with so few photos may be lesions or persons. If they are, give a table with the class of each "
            "photo (path,label)"
        )
    return (
        "; for each such class, add photos of other lesions, or remove all photos of the class"
        if classes - len(small) > 1
        else ""
    )


def _left_out_text(left_out: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count:,} ({why})" for why, count in left_out.items() if count)
    return f". Left out: {reasons}" if reasons else ""
