"""Splits photos into train, val and test, so that no group is in two of them."""

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
    """Gives every photo its split: whole groups, stratified by class and source.

    A group with a photo or lesion of ``earlier`` keeps its split; if it has several, test goes before val, and val
    before train. In each stratum, all other groups are sorted by a hash of the seed and their name. One after the
    other is assigned to the split that is furthest below its share. So the same photos always give the same split.

    Args:
        photos: photos with their groups.
        seed: seed of the random order.
        earlier: photos that have splits.
        names: path of a photo -> further names of its lesion or person that ``earlier`` may use.
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
    """Gives a class its share of a split that it is missing from, as when it comes from many sources of few groups.

    Args:
        split_of: group -> its split, which is changed.
        strata: (class, source) -> its groups.
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
    """Returns group -> its split, for groups with a photo whose path, bytes, id, lesion or person is in ``earlier``."""
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
    """Returns the names by which two rows of tables show the same photo, lesion or person."""
    return {os.path.abspath(photo.path), photo.image_id, photo.lesion_id, photo.patient_id, photo.digest} - {
        ""
    }


def _strata(photos: Iterable[Photo]) -> dict[str, tuple[str, str]]:
    """Returns group -> the class and source of its first photo."""
    home: dict[str, tuple[str, str]] = {}
    for photo in photos:
        home.setdefault(photo.group, (photo.label, photo.source))
    return home


def _shares(count: int) -> dict[str, int]:
    """Returns how many of ``count`` groups belong into each split."""
    held_out = {name: round(_SPLIT_SHARES[name] * count) for name in ("val", "test")}
    if count >= MIN_GROUPS:
        held_out = {name: max(1, share) for name, share in held_out.items()}
    return {"train": count - sum(held_out.values()), **held_out}


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())


def with_fold(photos: Iterable[Photo], fold: int, folds: int, seed: int) -> tuple[Photo, ...]:
    """Returns the photos with ``fold`` of ``folds`` as val and the other folds as train; test stays as it is.

    The groups outside test are cut anew, stratified by class and source; the folds of one seed share no group
    and are together all of them.

    Raises:
        OptionError: fewer than two folds, or there is no such fold; the first is 0.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise OptionError(f"there is no fold {fold} of {folds}; 0 is the first, and two are the fewest")
    photos = tuple(photos)
    ordered = sorted((photo for photo in photos if photo.split != "test"), key=lambda photo: photo.path)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group, stratum in _strata(ordered).items():
        strata[stratum].append(group)
    # counting continues from stratum to stratum, because otherwise the first folds would get every remainder
    dealt = [group for stratum in sorted(strata) for group in _shuffled(strata[stratum], seed)]
    held_out = set(dealt[fold::folds])
    return tuple(
        photo
        if photo.split == "test"
        else replace(photo, split="val" if photo.group in held_out else "train")
        for photo in photos
    )


def with_source_tested(photos: Iterable[Photo], source: str) -> tuple[Photo, ...]:
    """Returns the photos with one source as test, to choose between models by a source that they never saw.

    Photos of the test split are left out, those of the source too, so that it stays unused. Photos of other sources are
    left out if they share a group with the source.

    Raises:
        OptionError: there is no such source.
        DataError: all photos of the source are in the test split, or some class has photos of this source only.
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
            f"all photos of '{source}' are in the test split, which stays unused; give another source"
        )
    lost = {photo.label for photo in photos} - {photo.label for photo in cut if photo.split == "train"}
    if lost:
        raise DataError(f"without '{source}' no photo of '{min(lost)}' is left to learn from")
    return cut


def with_validation_learned(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """Returns the photos with the validation split moved to train; the test split is unchanged."""
    return tuple(replace(photo, split="train") if photo.split == "val" else photo for photo in photos)


def with_parts_kept(
    photos: Sequence[Photo], parts: Sequence[str], seed: int
) -> tuple[tuple[Photo, ...], int]:
    """Returns the photos in the parts that their publisher made, and how many of them were left out.

    If a group is in several parts, its photos in test are kept, or else those in val; the others are left out. A
    missing part is taken from train, by group and class.

    Args:
        photos: photos with their groups.
        parts: train, val or test for each photo.
        seed: seed of the random cut.

    Raises:
        DataError: a photo has no part, or an unknown one; or there is no train part.
    """
    for photo, part in zip(photos, parts, strict=True):
        if part not in SPLITS:
            stated = f"has the split '{part}'" if part else "has no split"
            raise DataError(
                f"--keep-parts: '{photo.path}' {stated}. Known: {', '.join(SPLITS)}, as folders or in a split column"
            )
    held_out: dict[str, str] = {}
    for photo, part in zip(photos, parts, strict=True):
        held_out[photo.group] = max(part, held_out.get(photo.group, part), key=SPLITS.index)
    kept = [
        replace(photo, split=part)
        for photo, part in zip(photos, parts, strict=True)
        if part == held_out[photo.group]
    ]
    missing = [name for name in ("val", "test") if name not in set(parts)]
    if "train" not in set(parts):
        raise DataError(f"--keep-parts: there is no train part, only {', '.join(sorted(set(parts)))}")
    return _with_missing_parts(kept, missing, seed), len(photos) - len(kept)


def _with_missing_parts(photos: Sequence[Photo], missing: Sequence[str], seed: int) -> tuple[Photo, ...]:
    """Returns the photos in the order of their paths, with the missing parts cut from train."""
    cut = split_by_group((photo for photo in photos if photo.split == "train"), seed)
    taken = {photo.group: photo.split for photo in cut if photo.split in missing}
    return tuple(
        sorted(
            (replace(photo, split=taken.get(photo.group, photo.split)) for photo in photos),
            key=lambda photo: photo.path,
        )
    )


def find_leaks(photos: Iterable[Photo]) -> list[str]:
    """Returns the groups, lesions, image ids and files that lie in more than one split; empty if nothing leaks."""
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        for name in {photo.group, photo.lesion_id, photo.image_id, photo.path} - {""}:
            splits[name].add(photo.split)
    return sorted(name for name, there in splits.items() if len(there) > 1)
