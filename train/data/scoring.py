"""Reads the labelled photos that a classifier is scored on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.printable import printable
from dermedge.train.data.catalogue import (
    NONE_OF_THESE,
    SPLITS,
    Catalogue,
    Photo,
    check_photos,
    is_catalogue,
    read_catalogue,
)
from dermedge.train.data.classes import check_spelling, label_under, mapping_lines, with_corrections
from dermedge.train.data.counts import plural, some_of
from dermedge.train.data.groups import with_groups
from dermedge.train.data.labelling import label_files
from dermedge.train.data.layout import AUTO
from dermedge.train.data.splits import with_validation_learned
from dermedge.train.data.table_files import number_in

if TYPE_CHECKING:
    from dermedge.edge.model.classifier import Classifier

__all__ = ["LabelledPhoto", "check_unlearned", "labelled_photos"]

_SHOWN_LABELS = 12


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo for scoring.

    Attributes:
        path: path of the file.
        label_index: index of the photo's class among the classes of the classifier.
        entry: the photo as in a catalogue, with its label, lesion, group and other values.
    """

    path: Path
    label_index: int
    entry: Photo


def check_unlearned(data: Path, split: str | None, classifiers: Sequence[Classifier]) -> None:
    """Checks that no model is scored on validation photos that it was trained on.

    A model that was trained with `dermedge train --refit` has learned the validation photos too, so that its score on
    them would be too good.

    Args:
        data: the photos to score on: a folder, a table or a catalogue. Only a catalogue is checked.
        split: train, val or test for a catalogue. Only val is checked.
        classifiers: the models. A model is checked only if its manifest has the digest of its training photos.

    Raises:
        DataError: a model was trained on the validation photos of ``data``.
    """
    if split != "val" or not is_catalogue(data):
        return
    learned = Catalogue(with_validation_learned(read_catalogue(data)), (), {}, 0).digest
    for classifier in classifiers:
        if classifier.manifest and classifier.manifest.data_digest == learned:
            raise DataError(
                f"'{classifier.path}' was trained on the validation photos of '{data}' (train --refit). With "
                "--split val, score the earlier run from which --refit started. When all choices are made, score "
                "this file with --split test"
            )


def labelled_photos(
    data: Path,
    labels: Sequence[str],
    split: str | None = None,
    labels_from: str = AUTO,
    say: Callable[[str], object] = lambda line: None,
    moved_to: Sequence[Path] = (),
) -> list[LabelledPhoto]:
    """Returns the photos to score a classifier on.

    Args:
        data: the ``catalogue.csv`` of a run, a folder of photos, or a table. `label_files` reads folders and tables. If
            the catalogue was made for other classes than ``labels``, its diagnoses decide the classes of the photos.
        labels: the classes of the classifier. If "none of these" is one of the classes, a photo that belongs to no
            other class of the classifier belongs to "none of these".
        split: train, val or test for a catalogue; None for other data.
        labels_from: a value of `LABEL_SOURCES`; ignored for a catalogue.
        say: a function that is called with each line that describes how folders and tables were understood.
        moved_to: folders where the photos of a catalogue are now, if the photos have moved; see `read_catalogue`.

    Raises:
        DataError: there is no photo to score, a photo has been replaced since it was catalogued, a photo has a class
            that the classifier does not know, or a label is a misspelled diagnosis.
        OptionError: the split of a catalogue is unknown, or a split is given for other data.
    """
    if is_catalogue(data):
        photos = _of_classes(_of_split(data, split, moved_to), labels, say)
    else:
        if split is not None:
            raise OptionError(
                "--split can only be used with the catalogue.csv of a run; leave it out for other photos or tables"
            )
        found = label_files([data], labels_from)
        for line in (*found.account, *_skipped_lines(found.skipped)):
            say(line)
        photos = with_groups([file.photo for file in found.files], [file.links for file in found.files])
        photos = _under_labels(photos, labels, say)
    index = {label: position for position, label in enumerate(labels)}
    if NONE_OF_THESE in index:
        photos = [p if p.label in index else replace(p, label=NONE_OF_THESE) for p in photos]
    _check_labels(photos, labels)
    if not photos:
        where = f", split {split}" if split else ""
        cure = (
            ""
            if split
            else "; put the photos of each class into a folder, or add a table of labels (path,label)"
        )
        raise DataError(f"no labelled photos in '{data}'{where}{cure}")
    return [LabelledPhoto(Path(photo.path), index[photo.label], photo) for photo in photos]


def _skipped_lines(skipped: Mapping[str, int]) -> list[str]:
    return [printable(f"not scored: {count:,} ({why})") for why, count in skipped.items()]


def _of_split(catalogue: Path, split: str | None, moved_to: Sequence[Path]) -> list[Photo]:
    if split not in SPLITS:
        stated = f"has no split '{split}'" if split else "has several splits"
        raise OptionError(
            f"the catalogue '{catalogue}' {stated}; give --split with one of: {', '.join(SPLITS)}"
        )
    photos = [photo for photo in read_catalogue(catalogue, moved_to) if photo.split == split]
    # photos that are missing are reported later, with the photos that cannot be decoded
    check_photos(photo for photo in photos if os.access(photo.path, os.R_OK))
    return photos


def _of_classes(photos: Sequence[Photo], labels: Sequence[str], say: Callable[[str], object]) -> list[Photo]:
    """Returns the photos of a catalogue with classes of the model as labels.

    If the catalogue and the model have the same classes, all photos keep their labels. Otherwise, "none of these" of
    the catalogue is not "none of these" of the model. Then a photo keeps its label only if the label is a named class
    of the model, and each other photo is labelled by its diagnosis. If the label of a photo contradicts its diagnosis,
    the user has corrected the label, and the diagnosis is not used.
    """
    named = set(labels) - {NONE_OF_THESE}
    if {photo.label for photo in photos} - {NONE_OF_THESE} == named:
        return list(photos)
    others = [photo for photo in with_corrections(photos) if photo.label not in named]
    under = {photo.path: photo for photo in _under_labels(others, labels, say)}
    placed = (photo if photo.label in named else under.get(photo.path) for photo in photos)
    return [photo for photo in placed if photo]


def _check_labels(photos: Sequence[Photo], labels: Sequence[str]) -> None:
    """Raises DataError if a photo has a class that is not among ``labels``."""
    strangers = sorted({photo.original_label or photo.label for photo in photos if photo.label not in labels})
    if strangers:
        more = f", … ({len(labels):,} classes)" if len(labels) > _SHOWN_LABELS else ""
        raise DataError(
            f"the model has no class '{strangers[0]}'. Its classes: {', '.join(labels[:_SHOWN_LABELS])}{more}. "
            "Rename the folder or the label to a class of the model, or name the outputs of the model with --labels"
        )


def _check_names(photos: Sequence[Photo], labels: Sequence[str]) -> None:
    """Raises DataError if the label of a photo is a number, but no class of the model has a number as its name.

    It is not known which class the number means, and the photo would count as "none of these". ``photos`` are the
    photos that show none of the named classes.
    """
    numbers = sorted({photo.original_label for photo in photos if _is_number(photo.original_label)})
    if numbers and not any(map(_is_number, labels)):
        raise DataError(
            f"the labels {some_of(numbers)} are numbers, and the model has no such classes. Write the names of its "
            "classes into the table, or rename the folders"
        )


def _is_number(label: str) -> bool:
    return not math.isnan(number_in(label))


def _under_labels(
    photos: Sequence[Photo], labels: Sequence[str], say: Callable[[str], object]
) -> list[Photo]:
    """Returns the photos with the model's classes as labels.

    Photos without a diagnosis, and photos whose label can mean more than one class, are left out.
    """
    under = [(photo, label_under(photo, labels)) for photo in photos if photo.diagnosis]
    kept = [replace(photo, label=label) for photo, label in under if label is not None]
    others = [photo for photo in kept if photo.label == NONE_OF_THESE]
    check_spelling(others)
    _check_names(others, labels)
    there = {photo.label for photo in kept}
    if there <= set(labels) and any(photo.label != photo.original_label for photo in kept):
        for line in mapping_lines(kept, [name for name in labels if name in there]):
            say(line)
    if unlabelled := len(photos) - len(under):
        say(f"not scored: {plural(unlabelled, 'photo')} without a label")
    open_names = sorted({photo.original_label for photo, label in under if label is None})
    if open_names:
        say(
            f"not scored: {plural(len(under) - len(kept), 'photo')} whose label can mean more than one class: "
            f"{', '.join(open_names)}"
        )
    return kept
