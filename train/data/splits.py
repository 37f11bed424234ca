"""Splits photos into train, val and test, so that no group is in two splits."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import MIN_GROUPS, SPLITS, Photo

__all__ = [
    "find_leaks",
    "split_by_group",
    "with_fold",
    "with_parts_kept",
    "with_source_tested",
    "with_validation_learned",
]

_SPLIT_SHARES = {"train": 0.65, "val": 0.15, "test": 0.20}


def split_by_group(
    photos: Iterable[Photo],
    seed: int,
    earlier: Iterable[Photo] = (),
    names: Mapping[str, Iterable[str]] | None = None,
) -> tuple[Photo, ...]:
    """Assigns a split to every photo. All photos of a group get the same split.

    The splits are stratified by class and source: each stratum holds the groups of one class and source, and is split
    in the same proportions.

    A group that shares a photo, lesion or person with ``earlier`` gets the split that ``earlier`` states. If
    ``earlier`` states several splits for the group, test is preferred to val, and val to train. All other groups of a
    stratum are sorted by a hash of the seed and the name of the group. In this order, each group is assigned to the
    split that still needs the most groups. The same photos and the same seed therefore always give the same splits.

    Args:
        photos: photos with their groups.
        seed: seed of the random order.
        earlier: photos that have splits.
        names: for the path of each photo, further names of the photo's lesion or person. They are also looked up in
            ``earlier``.
    """
    photos = sorted(photos, key=lambda photo: photo.path)
    kept = _kept_splits(photos, earlier, names or {})
    strata: dict[tuple[str, str], set[str]] = defaultdict(set)
    for group, stratum in _strata(photos).items():
        strata[stratum].add(group)
    split_of = dict(kept)
    for groups in strata.values():
        lacking = Counter(_shares(len(groups)))
        lacking.subtract(kept[group] for group in groups if group in kept)
        for group in _shuffled(groups - kept.keys(), seed):
            split_of[group] = max(SPLITS, key=lacking.__getitem__)
            lacking[split_of[group]] -= 1
    _fill_empty_splits(split_of, strata, kept.keys(), seed)
    return tuple(replace(photo, split=split_of[photo.group]) for photo in photos)


def _fill_empty_splits(
    split_of: dict[str, str], strata: Mapping[tuple[str, str], set[str]], kept: Collection[str], seed: int
) -> None:
    """Fills splits that have no group of a class: moves groups of the class from the other splits.

    A split can lack a class if the class comes from many sources with few groups each.

    Args:
        split_of: the split of each group. It is changed in place.
        strata: the groups of each class and source.
        kept: groups whose split must not change.
        seed: seed of the random order.
    """
    classes: dict[str, set[str]] = defaultdict(set)
    for (label, _), groups in strata.items():
        classes[label] |= groups
    for groups in classes.values():
        shares = _shares(len(groups))
        counts = Counter(split_of[group] for group in groups)
        for name in SPLITS:
            if counts[name]:
                continue
            for group in _shuffled(groups - set(kept), seed):
                if counts[name] < shares[name] and counts[split_of[group]] > max(1, shares[split_of[group]]):
                    counts.update({name: 1, split_of[group]: -1})
                    split_of[group] = name


def _kept_splits(
    photos: Iterable[Photo], earlier: Iterable[Photo], names: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Returns the groups whose split ``earlier`` determines. The key is the name of the group, the value is its split.

    ``earlier`` determines the split of a group if a photo of the group and a photo in ``earlier`` have the same path,
    bytes, image id, lesion or person.
    """
    known: dict[str, str] = {}
    for photo in earlier:
        for key in _identities(photo):
            known[key] = max(photo.split, known.get(key, photo.split), key=SPLITS.index)
    kept: dict[str, str] = {}
    for photo in photos:
        for key in (*_identities(photo), *names.get(photo.path, ())):
            if key in known:
                kept[photo.group] = max(known[key], kept.get(photo.group, known[key]), key=SPLITS.index)
    return kept


def _identities(photo: Photo) -> set[str]:
    """Returns the path, the ids and the digest of a photo.

    Two photos that share the path, an id or the digest show the same lesion or person.
    """
    return {os.path.abspath(photo.path), photo.image_id, photo.lesion_id, photo.patient_id, photo.digest} - {
        ""
    }


def _strata(photos: Iterable[Photo]) -> dict[str, tuple[str, str]]:
    """Returns the stratum of each group: the class and source of the group's first photo."""
    home: dict[str, tuple[str, str]] = {}
    for photo in photos:
        home.setdefault(photo.group, (photo.label, photo.source))
    return home


def _shares(count: int) -> dict[str, int]:
    """Returns how many of ``count`` groups each split gets."""
    held_out = {name: round(_SPLIT_SHARES[name] * count) for name in ("val", "test")}
    if count >= MIN_GROUPS:
        held_out = {name: max(1, share) for name, share in held_out.items()}
    return {"train": count - sum(held_out.values()), **held_out}


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())


def with_fold(photos: Iterable[Photo], fold: int, folds: int, seed: int) -> tuple[Photo, ...]:
    """Returns the photos with one fold as val and all other folds as train. The test split is unchanged.

    The groups outside test are divided into folds, stratified by class and source. For a given seed, each of these
    groups is in exactly one fold.

    Raises:
        OptionError: there are fewer than two folds, or ``fold`` is not one of 0 to ``folds`` - 1.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise OptionError(
            f"there is no fold {fold} if the number of folds is {folds}; use at least two folds, and count from 0"
        )
    photos = tuple(photos)
    ordered = sorted((photo for photo in photos if photo.split != "test"), key=lambda photo: photo.path)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group, stratum in _strata(ordered).items():
        strata[stratum].append(group)
    # The groups of all strata form one sequence. With n folds, each fold gets every n-th group of the sequence. If each
    # stratum were divided separately, and its number of groups were not a multiple of n, the extra groups of every
    # stratum would go to the first folds.
    dealt = [group for stratum in sorted(strata) for group in _shuffled(strata[stratum], seed)]
    held_out = set(dealt[fold::folds])
    return tuple(
        photo
        if photo.split == "test"
        else replace(photo, split="val" if photo.group in held_out else "train")
        for photo in photos
    )


def with_source_tested(photos: Iterable[Photo], source: str) -> tuple[Photo, ...]:
    """Returns the photos with one source as the test split. No photo of this source is left in train.

    All photos of the original test split are left out, including photos of ``source``, so that the original test split
    stays unused. A photo of another source is left out if its group contains a photo of ``source``.

    Raises:
        OptionError: there is no such source.
        DataError: all photos of the source are in the test split, or a class has no training photos of another source.
    """
    photos = tuple(photos)
    known = sorted({photo.source for photo in photos})
    if source not in known:
        raise OptionError(f"there is no source '{source}'. There are: {', '.join(known)}")
    groups = {photo.group for photo in photos if photo.source == source}
    unused = (photo for photo in photos if photo.split != "test")
    cut = tuple(
        replace(photo, split="test") if photo.source == source else photo
        for photo in unused
        if photo.source == source or photo.group not in groups
    )
    if not any(photo.source == source for photo in cut):
        raise DataError(
            f"all photos of the source '{source}' are in the original test split, which --test-source does not use; "
            "give another source"
        )
    lost = {photo.label for photo in photos} - {photo.label for photo in cut if photo.split == "train"}
    if lost:
        raise DataError(
            f"without the source '{source}', no photo of the class '{min(lost)}' is left in train; give another source"
        )
    return cut


def with_validation_learned(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """Returns the photos with the validation split moved to train; the test split is unchanged."""
    return tuple(replace(photo, split="train") if photo.split == "val" else photo for photo in photos)


def with_parts_kept(
    photos: Sequence[Photo], parts: Sequence[str], seed: int
) -> tuple[tuple[Photo, ...], int]:
    """Gives each photo the split in ``parts``. Returns the photos, and the number of photos that were left out.

    A group may have photos in several splits. The group then keeps only its test photos or, if it has no test photo,
    only its validation photos. The other photos of the group are left out. If val or test is empty after that, some
    groups of train are moved to the empty split. The choice of these groups is stratified by class and source.

    Args:
        photos: photos with their groups.
        parts: the split of each photo, as a folder or a table states it: train, val or test.
        seed: seed of the random choice of the groups that are moved.

    Raises:
        DataError: the split of a photo is empty or unknown, or no photo is left in train.
    """
    for photo, part in zip(photos, parts, strict=True):
        if part not in SPLITS:
            problem = (
                f"has the unknown split '{part}' in a table. Write train, val or test into this cell, or rename the "
                "column if it does not state the split"
                if part
                else "has no split. Put it into a folder named train, val or test, or write one of these names into a "
                "column named split"
            )
            raise DataError(f"--keep-parts: '{photo.path}' {problem}")
    held_out: dict[str, str] = {}
    for photo, part in zip(photos, parts, strict=True):
        held_out[photo.group] = max(part, held_out.get(photo.group, part), key=SPLITS.index)
    kept = [
        replace(photo, split=part)
        for photo, part in zip(photos, parts, strict=True)
        if part == held_out[photo.group]
    ]
    there = {photo.split for photo in kept}
    missing = [name for name in ("val", "test") if name not in there]
    if "train" not in there:
        raise DataError(
            f"--keep-parts: no photo is in train, only in {', '.join(sorted(there))}"
            f"{_left_out_of_train(parts)}; leave --keep-parts out"
        )
    return _with_missing_parts(kept, missing, seed), len(photos) - len(kept)


def _left_out_of_train(parts: Sequence[str]) -> str:
    """Returns the part of an error message that says why photos of train were left out; empty if there were none."""
    count = parts.count("train")
    return f". The groups of all {count:,} photos of train also have photos in val or test" if count else ""


def _with_missing_parts(photos: Sequence[Photo], missing: Sequence[str], seed: int) -> tuple[Photo, ...]:
    """Returns the photos in the order of their paths. Groups of train are moved to the missing splits (val or test)."""
    cut = split_by_group((photo for photo in photos if photo.split == "train"), seed)
    taken = {photo.group: photo.split for photo in cut if photo.split in missing}
    return tuple(
        sorted(
            (replace(photo, split=taken.get(photo.group, photo.split)) for photo in photos),
            key=lambda photo: photo.path,
        )
    )


def find_leaks(photos: Iterable[Photo]) -> list[str]:
    """Returns the groups, lesions, persons, image ids, paths and digests that are in several splits.

    The result is empty if nothing leaks. A person is named as in "person P7".
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        person = f"person {photo.patient_id}" if photo.patient_id else ""
        for name in {photo.group, photo.lesion_id, person, photo.image_id, photo.path, photo.digest} - {""}:
            splits[name].add(photo.split)
    return sorted(name for name, there in splits.items() if len(there) > 1)
