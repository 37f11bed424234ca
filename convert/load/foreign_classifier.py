"""Load a classifier that dermedge did not train, with labelled photos for the calibration and for the proof set."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.conversion_input import (
    ConversionInput,
    ForeignClassifier,
    draft_manifest,
    make_proof_set,
)
from dermedge.convert.load.normalization_choice import choose_normalization
from dermedge.convert.request import ConversionRequest
from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.input_tensor import Layout
from dermedge.train.data.catalogue import is_catalogue
from dermedge.train.data.counts import plural, some_of
from dermedge.train.data.diagnoses import diagnosis_of, own_name
from dermedge.train.data.folders import find_files
from dermedge.train.data.labelling import class_folders
from dermedge.train.data.layout import AUTO, FOLDER, read_layout
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto, labelled_photos

__all__ = ["load_foreign"]

_LABELS_SHOWN = 6


@dataclass(frozen=True)
class _Photos:
    """Decoded photos: RGB images, uint8 [n, h, w, 3], and the class index and the lesion of each photo."""

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    groups: list[str]


def load_foreign(
    file: ForeignClassifier, request: ConversionRequest, log: Callable[[str], None] = lambda line: None
) -> ConversionInput:
    """Load the labels, the normalization and the photos of a classifier that dermedge did not train.

    The labels are looked for in the request, then in the file, then in the names of the class folders. The first place
    that states labels is used. Class folders are sorted by their names on disk, as Keras sorts them. The label of a
    class folder is the diagnosis that the name of the folder stands for.

    The photos of half of the lesions are used for the calibration, and the other photos for the proof set. If there is
    a catalogue.csv, its training photos are used for the calibration, and its validation photos for the proof set.

    Args:
        file: the classifier.
        request: the request for the conversion. Its ``data`` names the photos: a folder per class, a table of labels,
            or a catalogue.csv.
        log: a function that is called with each line for the user. The lines are: the note on the outputs; a line per
            output, if the labels come from folders; and a line per label that had to be translated to a diagnosis.

    Raises:
        DataError: the photos have other classes or are too few, or the network is no better than chance.
        OptionError: an option does not fit the network.
        PictureError: a photo cannot be decoded.
    """
    assert request.data is not None, "check_request refuses a foreign classifier without photos"
    if file.note:
        log(file.note)
    labels, folders = _labels(file, request.data, request.labels, log)
    calibrating, proving = _two_parts(request.data, labels, folders, log)
    calibration = _decoded(sample_evenly(calibrating, request.calibration_photos), file.layout)
    proof = _decoded(proving, file.layout)
    normalization = choose_normalization(
        file, request.normalization, calibration.pixels, calibration.truth, calibration.groups, labels
    )
    network = file.network(labels, normalization)
    reference = network.logits(proof.pixels)
    proof_set = make_proof_set(proof.pixels, proof.truth, proof.groups, labels, reference, request.critical)
    size = min(file.layout.height, file.layout.width)
    manifest = draft_manifest(labels, size, file.path.stem, request.command, request.licence)
    return ConversionInput(network, None, list(calibration.pixels), proof_set, manifest)


def _decoded(photos: Sequence[LabelledPhoto], layout: Layout) -> _Photos:
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        # The array is mapped from a file in ``folder``. The array can still be used after the file was deleted.
        pixels = cached_pixels([one.path for one in photos], layout.height, Path(folder), width=layout.width)
    return _Photos(pixels, np.array([one.label_index for one in photos]), [one.entry.group for one in photos])


def _labels(
    file: ForeignClassifier, data: Path, given: Sequence[str] | None, log: Callable[[str], None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels of the classes, and the folders that the labels come from.

    If the labels come from the request or from the file, no folders are needed, and the second value of the result is
    an empty tuple.
    """
    if given is not None:
        _check_number(file, "--labels has", given)
        twice = next((name for name in given if given.count(name) > 1), None)
        if twice is not None:
            raise OptionError(f"--labels names '{twice}' twice; give each output a name of its own")
        return tuple(given), ()
    if file.known_labels is not None:
        _check_distinct(file, file.known_labels)
        return file.known_labels, ()
    folders = _folders(file, data)
    labels = _names_of(folders)
    for index, (folder, name) in enumerate(zip(folders, labels, strict=True)):
        log(f"{_output_name(file, index)}: folder '{folder}', class {name}")
    return labels, folders


def _check_distinct(file: ForeignClassifier, known: Sequence[str]) -> None:
    """Raise OptionError if a label in a file is empty, or stands for several outputs."""
    wrong = next((name for name in known if not name.strip() or known.count(name) > 1), None)
    if wrong is not None:
        found = f"the label '{wrong}' twice" if wrong.strip() else "an empty label"
        raise OptionError(
            f"'{file.path}' holds {found}; name the classes in the order of the outputs with --labels FILE"
        )


def _output_name(file: ForeignClassifier, index: int) -> str:
    if file.outputs == file.classes:
        return f"output {index}"
    return "the output p" if index else "1 - p"


def _folders(file: ForeignClassifier, data: Path) -> tuple[str, ...]:
    """Return the folders of the classes, sorted by their names on disk. Keras numbers the classes in this order."""
    folders = [] if data.is_file() else class_folders(data)
    if not folders:
        raise OptionError(
            f"'{data}' does not say in which order the {file.classes} classes of '{file.path}' are; give --labels FILE"
        )
    _check_number(file, f"'{data}' has", folders)
    return tuple(folders)


def _check_number(file: ForeignClassifier, found: str, classes: Sequence[str]) -> None:
    if len(classes) != file.classes:
        outputs = f"{file.outputs} outputs" if file.outputs > 1 else "1 output, which means 2 classes"
        raise OptionError(
            f"'{file.path}' has {outputs}, and {found} {len(classes)} classes "
            f"({some_of(classes, _LABELS_SHOWN)}); "
            "name the classes in the order of the outputs with --labels FILE"
        )


def _names_of(folders: Sequence[str]) -> tuple[str, ...]:
    """Return a class name for each folder: the diagnosis that the name of the folder stands for.

    If the names of several folders stand for the same diagnosis, these folders keep their own names.
    """
    names = [diagnosis_of(folder) or folder for folder in folders]
    for rename in (own_name, str):
        times = Counter(names)
        names = [
            rename(folder) if times[name] > 1 else name for folder, name in zip(folders, names, strict=True)
        ]
    return tuple(names)


def _two_parts(
    data: Path, labels: tuple[str, ...], folders: Sequence[str], log: Callable[[str], None]
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """Return the photos for the calibration and the photos for the proof set. No lesion is in both."""
    if is_catalogue(data):
        return labelled_photos(data, labels, "train"), labelled_photos(data, labels, "val")
    photos = _photos_in(data, folders) if folders else labelled_photos(data, labels, say=log)
    groups = sorted({photo.entry.group for photo in photos}, key=_shuffle_key)
    proving = set(groups[::2])
    parts = (
        [photo for photo in photos if photo.entry.group not in proving],
        [photo for photo in photos if photo.entry.group in proving],
    )
    if not all(parts):
        raise DataError(
            f"'{data}' has {plural(len(photos), 'photo')} of {plural(len(groups), 'lesion')}; a conversion needs "
            "photos of at least 2 lesions, to calibrate on one part and to compare on the other"
        )
    return parts


def _photos_in(data: Path, folders: Sequence[str]) -> list[LabelledPhoto]:
    """Return the photos. As in Keras, the folder of a photo is its class, and tables of labels are ignored."""
    found = find_files([data]).photos
    first = {one.class_name for one in read_layout(found, [False] * len(found), FOLDER)} - {""}
    photos = labelled_photos(data, folders, labels_from=FOLDER if first == set(folders) else AUTO)
    index = {folder: position for position, folder in enumerate(folders)}
    return [
        replace(photo, label_index=index.get(photo.entry.original_label, photo.label_index))
        for photo in photos
    ]


def _shuffle_key(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
