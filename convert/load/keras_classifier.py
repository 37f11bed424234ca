"""Load a Keras classifier from anywhere for conversion, with the labelled photos that prove it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dermedge.convert.load.conversion_input import ConversionInput, draft_manifest, make_proof_set
from dermedge.convert.load.keras_file import KerasFile, choose_normalization, open_keras
from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import read_catalogue
from dermedge.train.data.diagnoses import diagnosis_of
from dermedge.train.data.labelling import class_folders
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
) -> ConversionInput:
    """Load a Keras classifier with its photos.

    Args:
        path: a .keras or .h5 file, or a SavedModel folder.
        data: a folder per class, half of whose lesions calibrate and half prove; or a catalogue.csv, whose
            training photos calibrate and whose validation photos prove.
        command: command line, for the manifest.
        calibration_photos: number of calibration photos.
        labels: labels of the outputs; the names of the folders in alphabetical order by default.
        size: side of the input in pixels, for a network that takes any.
        normalization: as in `choose_normalization`.
        licence: licence of the weights, for the manifest.
        critical: the class whose misses weigh most; melanoma by default, if it is a class.

    Raises:
        ModelError: the path holds no image classifier.
        DataError: the photos are of other classes, or too few.
        OptionError: an option does not fit the network.
        PictureError: a photo cannot be decoded.
    """
    file = open_keras(path, size)
    names = _labels(file, data, labels)
    calibrating, proving = _two_parts(data, names)
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


def _labels(file: KerasFile, data: Path, given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None and data.is_file():
        raise OptionError(
            f"'{data}' does not say in which order the {file.classes} outputs of '{file.path}' are; give --labels"
        )
    labels = _folder_labels(data) if given is None else list(given)
    if len(labels) != file.classes:
        origin = f"'{data}' has" if given is None else "--labels has"
        more = ", …" if len(labels) > _LABELS_SHOWN else ""
        raise OptionError(
            f"'{file.path}' has {file.classes} outputs, and {origin} {len(labels)} classes "
            f"({', '.join(labels[:_LABELS_SHOWN])}{more}); "
            "name them in the order of the outputs with --labels FILE"
        )
    return tuple(labels)


def _folder_labels(data: Path) -> list[str]:
    return sorted({diagnosis_of(name) or name for name in class_folders(data)})


def _two_parts(data: Path, labels: tuple[str, ...]) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """The photos that calibrate and those that prove; no lesion is in both."""
    if data.is_file():
        read_catalogue(data)
        return labelled_photos(data, labels, "train"), labelled_photos(data, labels, "val")
    photos = labelled_photos(data, labels)
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


def _shuffle_key(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
