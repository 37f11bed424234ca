"""Load a Keras classifier from anywhere for conversion, with the labelled photos that prove it."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dermedge.convert.load.conversion_input import ConversionInput, draft_manifest, make_proof_set
from dermedge.convert.load.keras_file import KerasFile, choose_normalization, open_keras
from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import read_catalogue
from dermedge.train.data.diagnoses import diagnosis_of, own_name
from dermedge.train.data.folders import find_files
from dermedge.train.data.labelling import class_folders
from dermedge.train.data.layout import AUTO, FOLDER, read_layout
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto, labelled_photos

__all__ = ["load_keras"]

_LABELS_SHOWN = 6


def load_keras(
    path: Path,
    data: Path,
    command: str,
    calibration_photos: int = 200,
    labels: Sequence[str] | None = None,
    size: int | None = None,
    normalization: str = "auto",
    licence: str | None = None,
    critical: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> ConversionInput:
    """Load a Keras classifier with its photos.

    Args:
        path: a .keras or .h5 file, or a SavedModel folder.
        data: a folder per class, half of whose lesions calibrate and half prove; or a catalogue.csv, whose
            training photos calibrate and whose validation photos prove.
        command: command line, for the manifest.
        calibration_photos: number of calibration photos.
        labels: labels of the outputs; by default the folders of the classes, sorted by their names on disk as
            Keras sorts them, and each then called by its diagnosis.
        size: side of the input in pixels, for a network that takes any.
        normalization: as in `choose_normalization`.
        licence: licence of the weights, for the manifest.
        critical: the class whose misses weigh most; melanoma by default, if it is a class.
        log: called with one line per output, if the labels come from folders.

    Raises:
        ModelError: the path holds no image classifier.
        DataError: the photos are of other classes, or too few.
        OptionError: an option does not fit the network.
        PictureError: a photo cannot be decoded.
    """
    file = open_keras(path, size)
    folders = () if labels is not None else _folders(file, data)
    names = _given_labels(file, labels) if labels is not None else _names_of(folders)
    for index, (folder, name) in enumerate(zip(folders, names, strict=False)):
        log(f"output {index} = folder '{folder}' -> class {name}")
    calibrating, proving = _two_parts(data, names, folders)
    calibrating = sample_evenly(calibrating, calibration_photos)
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        # The arrays are mapped files, which may be unlinked.
        pixels = cached_pixels([photo.path for photo in calibrating], file.size, Path(folder))
        proof_pixels = cached_pixels([photo.path for photo in proving], file.size, Path(folder))
    truth = np.array([photo.label_index for photo in calibrating])
    groups = [photo.group for photo in calibrating]
    network = file.network(names, choose_normalization(file, normalization, pixels, truth, groups))
    proof = make_proof_set(
        proof_pixels,
        np.array([photo.label_index for photo in proving]),
        [photo.group for photo in proving],
        names,
        network.logits(proof_pixels),
        critical,
    )
    manifest = draft_manifest(names, file.size, file.path.stem, command, licence)
    return ConversionInput(network, None, list(pixels), proof, manifest)


def _given_labels(file: KerasFile, labels: Sequence[str]) -> tuple[str, ...]:
    _check_number(file, "--labels has", labels)
    return tuple(labels)


def _folders(file: KerasFile, data: Path) -> tuple[str, ...]:
    """The folders of the classes in the order in which Keras numbers them: sorted by name, before any renaming."""
    if data.is_file():
        raise OptionError(
            f"'{data}' does not say in which order the {file.classes} outputs of '{file.path}' are; give --labels"
        )
    folders = class_folders(data)
    _check_number(file, f"'{data}' has", folders)
    return tuple(folders)


def _check_number(file: KerasFile, found: str, classes: Sequence[str]) -> None:
    if len(classes) != file.classes:
        more = ", …" if len(classes) > _LABELS_SHOWN else ""
        raise OptionError(
            f"'{file.path}' has {file.classes} outputs, and {found} {len(classes)} classes "
            f"({', '.join(classes[:_LABELS_SHOWN])}{more}); "
            "name them in the order of the outputs with --labels FILE"
        )


def _names_of(folders: Sequence[str]) -> tuple[str, ...]:
    """A class name for each folder: its diagnosis, or its own name where two folders have one diagnosis."""
    names = [diagnosis_of(folder) or folder for folder in folders]
    for rename in (own_name, str):
        times = Counter(names)
        names = [
            rename(folder) if times[name] > 1 else name for folder, name in zip(folders, names, strict=True)
        ]
    return tuple(names)


def _two_parts(
    data: Path, labels: tuple[str, ...], folders: Sequence[str]
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """The photos that calibrate and those that prove; no lesion is in both."""
    if data.is_file():
        read_catalogue(data)
        return labelled_photos(data, labels, "train"), labelled_photos(data, labels, "val")
    photos = _photos_in(data, folders) if folders else labelled_photos(data, labels)
    groups = sorted({photo.group for photo in photos}, key=_shuffle_key)
    proving = set(groups[::2])
    parts = (
        [photo for photo in photos if photo.group not in proving],
        [photo for photo in photos if photo.group in proving],
    )
    if not all(parts):
        raise DataError(
            f"'{data}' has {len(photos)} photos; a conversion needs some to calibrate and others to prove"
        )
    return parts


def _photos_in(data: Path, folders: Sequence[str]) -> list[LabelledPhoto]:
    """The photos, each of the class of its folder, which is what Keras trains on, whatever a table says."""
    found = find_files([data]).photos
    first = {one.class_name for one in read_layout(found, [False] * len(found), FOLDER)} - {""}
    photos = labelled_photos(data, folders, labels_from=FOLDER if first == set(folders) else AUTO)
    index = {folder: position for position, folder in enumerate(folders)}
    return [
        replace(photo, label_index=index.get(photo.original_label, photo.label_index)) for photo in photos
    ]


def _shuffle_key(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
