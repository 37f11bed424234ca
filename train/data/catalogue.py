"""One table of all photos: what each shows, which lesion it belongs to, and which split it is in.

Labels: by image id from the publishers' tables where one knows it, else from the folder's name. Groups:
the lesion id, else the image id; copies of one picture (equal bytes, near-duplicates) join a group whatever
they are called. A photo whose copy has another label is left out, and so is a lesion of two labels; the
rest of a group stays, so that one wrong pair of copies costs two photos and not two lesions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import write_text
from dermedge.train.data.folders import find_places
from dermedge.train.data.tables import diagnosis_of, read_tables

# copies is imported by the functions that build a catalogue: to score one, no ImageHash is needed
if TYPE_CHECKING:
    from dermedge.edge.model.classifier import Classifier
    from dermedge.train.data.copies import Copies

NONE_OF_THESE = "none of these"
LESION_CLASSES = ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma")
SPLITS = ("train", "val", "test")
SPLIT_SHARES = {"train": 0.65, "val": 0.15, "test": 0.20}
# With fewer groups than this, a class cannot be in all three splits and still be learned.
MIN_GROUPS = 5

NOT_UTF8 = "its name is not UTF-8, which a table cannot hold: rename it"
UNREADABLE = "the file is no picture that can be decoded"
CONTRADICTING_COPY = "label contradicts a copy of the same picture"
CONTRADICTING_LESION = "label contradicts another photo of the same lesion"


@dataclass(frozen=True)
class Photo:
    """One labelled file.

    Attributes:
        path: of the file.
        image_id: the publisher's id, else where it lies below the folder that was given.
        lesion_id: the publisher's, or empty.
        group: photos of one lesion, and copies of one picture, have one.
        diagnosis: what it shows, as a table or its folder says.
        label: the class it is trained as.
        source: the set it came from.
        split: train, val or test.
    """

    path: str
    image_id: str
    lesion_id: str
    group: str
    diagnosis: str
    label: str
    source: str
    split: str = ""


@dataclass(frozen=True)
class Catalogue:
    """Photos and the classes they are trained as.

    Attributes:
        photos: in the order of their paths.
        classes: in the order of the network's outputs.
        left_out: reason -> number of files that were found and are not among the photos.
        seed: of the split.
    """

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    left_out: dict[str, int]
    seed: int = 0

    @property
    def none_label(self) -> str | None:
        return NONE_OF_THESE if NONE_OF_THESE in self.classes else None

    def of(self, split: str) -> tuple[Photo, ...]:
        return tuple(photo for photo in self.photos if photo.split == split)

    def to_csv(self) -> str:
        """The table as CSV text, the same bytes for the same photos."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([one.name for one in fields(Photo)])
        writer.writerows(astuple(photo) for photo in self.photos)
        return text.getvalue()

    @property
    def digest(self) -> str:
        """SHA-256 over what was learned from: ids, groups, labels and splits, not where the files lie."""
        rows = sorted((p.image_id, p.group, p.label, p.source, p.split) for p in self.photos)
        return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()

    def to_json(self) -> str:
        """What the table is, as JSON text: its digest, seed, classes, counts, and what was left out."""
        counts = Counter((photo.label, photo.split) for photo in self.photos)
        about = {
            "digest": self.digest,
            "seed": self.seed,
            "classes": self.classes,
            "photos": len(self.photos),
            "groups": len({photo.group for photo in self.photos}),
            "counts": {name: {split: counts[name, split] for split in SPLITS} for name in self.classes},
            "left_out": self.left_out,
        }
        return json.dumps(about, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Writes the table; raises StorageError."""
        write_text(path, self.to_csv())


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo for scoring: where it is, which class it shows, which lesion it is of, and what that is."""

    path: Path
    label_index: int
    group: str
    source: str
    diagnosis: str


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
    from dermedge.train.data.copies import find_copies

    tables = [path for path in paths if path.is_file() and is_catalogue(path)]
    earlier = [photo for table in tables for photo in read_catalogue(table)]
    if tables and set(tables) == set(paths):
        return _as_catalogued(earlier, classes, seed)
    found, left_out = _label([path for path in paths if path not in tables])
    copies = find_copies([Path(photo.path) for photo in found], cache, progress)
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


def _join_copies(photos: list[Photo], copies: Copies) -> list[Photo]:
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


def _contradictions(photos: list[Photo], copies: Copies) -> dict[int, str]:
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


def split_by_group(photos: Iterable[Photo], seed: int, earlier: Iterable[Photo] = ()) -> tuple[Photo, ...]:
    """Gives every photo its split: whole groups, stratified by class and source.

    A group with a photo or lesion of ``earlier`` keeps the split of that; of several, the most held out.
    Within each stratum the others are taken in the order of a hash of the seed and their name, each into the
    split that then lacks most of its share, so that the same photos always give the same split.
    """
    photos = sorted(photos, key=lambda photo: photo.path)
    kept = _kept_splits(photos, earlier)
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
    return tuple(replace(photo, split=split_of[photo.group]) for photo in photos)


def _kept_splits(photos: Iterable[Photo], earlier: Iterable[Photo]) -> dict[str, str]:
    """Group -> its split, where ``earlier`` knows the path, the id or the lesion of one of its photos."""
    known: dict[tuple[str, str], str] = {}
    for photo in earlier:
        for key in _identities(photo):
            known[key] = max(photo.split, known.get(key, photo.split), key=SPLITS.index)
    kept: dict[str, str] = {}
    for photo in photos:
        for key in _identities(photo):
            if key in known:
                kept[photo.group] = max(known[key], kept.get(photo.group, known[key]), key=SPLITS.index)
    return kept


def _identities(photo: Photo) -> list[tuple[str, str]]:
    """What tells that two rows of tables show the same."""
    named = [("photo", os.path.abspath(photo.path)), ("image", photo.image_id), ("lesion", photo.lesion_id)]
    return [key for key in named if key[1]]


def _strata(photos: Iterable[Photo]) -> dict[str, tuple[str, str]]:
    """Group -> the class and source of its first photo."""
    home: dict[str, tuple[str, str]] = {}
    for photo in photos:
        home.setdefault(photo.group, (photo.label, photo.source))
    return home


def _shares(count: int) -> dict[str, int]:
    """How many of ``count`` groups belong into each split."""
    held_out = {name: round(SPLIT_SHARES[name] * count) for name in ("val", "test")}
    if count >= MIN_GROUPS:
        held_out = {name: max(1, share) for name, share in held_out.items()}
    return {"train": count - sum(held_out.values()), **held_out}


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())


def with_fold(photos: Iterable[Photo], fold: int, folds: int, seed: int) -> tuple[Photo, ...]:
    """The photos with ``fold`` of ``folds`` as val and the other folds as train; test stays as it is.

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
    # counted on over the strata, or the first folds would get the rests of all of them
    dealt = [group for stratum in sorted(strata) for group in _shuffled(strata[stratum], seed)]
    held_out = set(dealt[fold::folds])
    return tuple(
        photo
        if photo.split == "test"
        else replace(photo, split="val" if photo.group in held_out else "train")
        for photo in photos
    )


def with_source_tested(photos: Iterable[Photo], source: str) -> tuple[Photo, ...]:
    """The photos with all of one source as test, to see what becomes of a model on another source.

    Of the other sources, what shares a group with that source is left out, and so is what was test.

    Raises:
        OptionError: there is no such source.
        DataError: without it no photo of some class is left to learn from.
    """
    photos = tuple(photos)
    known = sorted({photo.source for photo in photos})
    if source not in known:
        raise OptionError(f"there is no source '{source}'. There are: {', '.join(known)}")
    groups = {photo.group for photo in photos if photo.source == source}
    cut = tuple(
        replace(photo, split="test") if photo.source == source else photo
        for photo in photos
        if photo.source == source or (photo.group not in groups and photo.split != "test")
    )
    lost = {photo.label for photo in photos} - {photo.label for photo in cut if photo.split == "train"}
    if lost:
        raise DataError(f"without '{source}' no photo of '{min(lost)}' is left to learn from")
    return cut


def with_validation_learned(photos: Iterable[Photo]) -> tuple[Photo, ...]:
    """The photos with those of the validation split in training; the test split stays."""
    return tuple(replace(photo, split="train") if photo.split == "val" else photo for photo in photos)


def find_leaks(photos: Iterable[Photo]) -> list[str]:
    """The groups, lesions, image ids and files that lie in more than one split; empty if it is honest."""
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        for name in {photo.group, photo.lesion_id, photo.image_id, photo.path} - {""}:
            splits[name].add(photo.split)
    return sorted(name for name, there in splits.items() if len(there) > 1)


def is_catalogue(path: Path) -> bool:
    """Whether a file has the header of a table that `Catalogue.save` wrote."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header = next(csv.reader(handle), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"path", "image_id", "group", "label", "split"} <= set(header)


def read_catalogue(path: Path) -> tuple[Photo, ...]:
    """The photos of a table that `Catalogue.save` wrote; raises DataError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            # the tables of 0.1 have no lesion_id
            photos = tuple(Photo(**({"lesion_id": ""} | row)) for row in csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise DataError(f"'{path}' is no catalogue of dermedge: {error}") from error
    for photo in photos:
        if photo.split not in SPLITS:
            raise DataError(
                f"'{path}' has the split '{photo.split}' for '{photo.path}'. Known: {', '.join(SPLITS)}"
            )
    return photos


def check_unlearned(data: Path, split: str | None, classifiers: Sequence[Classifier]) -> None:
    """Makes sure that no model has been refitted on the validation photos that it is to be scored on.

    Args:
        data: as `labelled_photos` takes it.
        split: likewise.
        classifiers: with the digest of what they were trained on in their manifests, where they have one.

    Raises:
        DataError: one was: its figures would be those of learned photos.
    """
    if split != "val" or not data.is_file():
        return
    learned = Catalogue(with_validation_learned(read_catalogue(data)), (), {}, 0).digest
    for classifier in classifiers:
        if classifier.manifest and classifier.manifest.data_digest == learned:
            raise DataError(
                f"'{classifier.path}' has learned the validation photos of '{data}' (train --refit); "
                "score it on --split test, once all is chosen, and on val the run that it was refitted from"
            )


def labelled_photos(data: Path, labels: Sequence[str], split: str | None = None) -> list[LabelledPhoto]:
    """The photos to score a classifier on.

    Args:
        data: a ``catalogue.csv`` of a run, or a folder with a folder per class.
        labels: the classifier's classes; folders with other names count as "none of these" where it has it.
        split: train, val or test, for a catalogue only.

    Raises:
        DataError: nothing to score, or photos of classes that the classifier does not know.
        OptionError: an unknown split, or a split of a folder.
    """
    if data.is_file():
        if split not in SPLITS:
            raise OptionError(f"--split is '{split}' for the catalogue '{data}'. Known: {', '.join(SPLITS)}")
        photos = [photo for photo in read_catalogue(data) if photo.split == split]
    else:
        if split is not None:
            raise OptionError("--split goes with a run's catalogue.csv, and not with a folder of photos")
        photos = [replace(photo, label=photo.diagnosis) for photo in _label([data])[0]]
    index = {label: position for position, label in enumerate(labels)}
    if NONE_OF_THESE in index:
        photos = [p if p.label in index else replace(p, label=NONE_OF_THESE) for p in photos]
    strangers = sorted({photo.label for photo in photos} - set(index))
    if strangers:
        raise DataError(f"the model has no class '{strangers[0]}'. It knows: {', '.join(labels)}")
    if not photos:
        where = f", split {split}" if split else ""
        raise DataError(f"no labelled photos in '{data}'{where}")
    return [LabelledPhoto(Path(p.path), index[p.label], p.group, p.source, p.diagnosis) for p in photos]
