"""What is to be converted, with the photos to calibrate it on and those to prove it on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.convert.accept.acceptance import ProofSet
from dermedge.convert.calibrate.logit_adjustment import adjustment_amounts, adjustment_of
from dermedge.convert.load.keras_file import KerasFile, choose_normalization, open_keras
from dermedge.convert.load.network import Network, network_of
from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.manifest import Manifest
from dermedge.train.data.catalogue import NONE_OF_THESE, LabelledPhoto, Photo, labelled_photos, read_catalogue
from dermedge.train.data.folders import find_places
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.sampling import draw_evenly as draw_evenly_labelled
from dermedge.train.data.tables import diagnosis_of
from dermedge.train.fit.batches import draw_evenly, drawn_shares, label_indices, predict_logits
from dermedge.train.fit.networks import add_to_logits
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.training import trained_network

TOOLS = ("dermedge", "tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")
CRITICAL = "melanoma"
Progress = Callable[[int, int], None]
Told = Callable[[str], Progress]


@dataclass(frozen=True)
class Subject:
    """A trained classifier before its conversion.

    Attributes:
        network: in float.
        quantization_aware: makes its fine-tuned twin, or None where there is none.
        calibration: uint8 [s, s, 3] RGB pictures that it was not proven on, drawn evenly over the classes.
        proof: the photos it is proven on.
        manifest: what is known of a file before it is made.
        validated: where ``network`` has learned from the photos of the proof: what a run by the same recipe
            is that has not. It is converted alike, and what it shows there fits temperature and thresholds.
    """

    network: Network
    quantization_aware: Callable[[], Network] | None
    calibration: Sequence[NDArray[np.uint8]]
    proof: ProofSet
    manifest: Manifest
    validated: Subject | None = None


def subject_of_run(
    run: RunFolder,
    calibration_photos: int,
    evidence: bool = True,
    licence: str | None = None,
    critical: str | None = None,
    progress: Told = lambda what: lambda done, total: None,
) -> Subject:
    """A run folder: calibrated on its training photos, proven on its validation photos.

    Its logits are adjusted once more for rare classes, as `dermedge.convert.calibrate.logit_adjustment` finds on validation. A run
    that learned from the validation photos of another one is proven on these, as that one is beside it.

    Args:
        run: a folder of `dermedge train`.
        calibration_photos: how many are drawn.
        evidence: whether the heat map is an output.
        licence: of the weights, for the manifest.
        critical: the class whose misses weigh most; melanoma, where there is such a class, if not given.
        progress: for a text, a callback (done, total).

    Raises:
        DataError: the run lacks the weights, or photos of it have gone.
        OptionError: there is no such critical class.
    """
    config = run.config()
    trained = trained_network(run, "float")
    judged = _validated(run) if config.validated else run
    validated = None
    if judged != run:
        validated = subject_of_run(judged, calibration_photos, evidence, licence, critical, progress)
    training = [photo for photo in run.photos() if photo.split == "train"]
    held_out = [photo for photo in judged.photos() if photo.split == "val"]
    show = progress(f"decoding {len(training) + len(held_out)} photos")
    pixels = cached_pixels(_paths(training), config.size, run.cache, show)
    chosen = draw_evenly(training, min(calibration_photos, len(training)), np.random.default_rng(config.seed))
    proof_pixels = cached_pixels(_paths(held_out), config.size, run.cache, show)
    truth, logits = label_indices(held_out, config.classes), predict_logits(trained, proof_pixels)
    shares = drawn_shares(training, config.classes)
    if validated:
        metrics = validated.manifest.metrics | {"validated_by": config.validated}
        amounts = adjustment_amounts(metrics["logit_adjustment"], shares)
    else:
        adjustment = adjustment_of(logits, truth, shares)
        amounts, metrics = adjustment.amounts, adjustment.metrics
    return Subject(
        _network(run, "float", amounts, evidence),
        (lambda: _network(run, "qat", amounts, evidence)) if run.weights_path("qat").is_file() else None,
        [np.asarray(pixels[index]) for index in chosen],
        _proof(
            config.classes,
            proof_pixels,
            truth,
            [photo.group for photo in held_out],
            logits + amounts,
            critical,
        ),
        replace(
            _manifest(config.classes, config.size, config.architecture, config.command, licence),
            data_digest=config.data_digest,
            metrics=metrics,
        ),
        validated,
    )


def subject_of_keras(
    path: Path,
    data: Path,
    command: str,
    calibration_photos: int,
    labels: Sequence[str] | None = None,
    size: int | None = None,
    normalization: str = "auto",
    licence: str | None = None,
    critical: str | None = None,
) -> Subject:
    """A Keras classifier of any maker.

    Args:
        path: a .keras or .h5 file, or a SavedModel.
        data: a folder per class, half of whose lesions calibrate and half prove; or a catalogue of dermedge,
            of which the training photos calibrate and the validation photos prove.
        command: the command line, for the manifest.
        calibration_photos: how many are drawn.
        labels: of its outputs; the folders' names in alphabetical order if not given.
        size: side of the input in pixels, for a network that takes any.
        normalization: as `choose_normalization` takes it.
        licence: of the weights, for the manifest.
        critical: as in `subject_of_run`.

    Raises:
        ModelError: no classifier can be read from the path.
        DataError: photos of other classes, or too few of them.
        OptionError: an option that does not fit.
        PictureError: a photo cannot be decoded.
    """
    file = open_keras(path, size)
    names = _labels(file, data, labels)
    calibrating, proving = _two_parts(data, names)
    calibrating = draw_evenly_labelled(calibrating, calibration_photos)
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        # the files are mapped, and may be unlinked
        pixels = cached_pixels([photo.path for photo in calibrating], file.size, Path(folder))
        proof_pixels = cached_pixels([photo.path for photo in proving], file.size, Path(folder))
    truth = np.array([photo.label_index for photo in calibrating])
    network = file.network(names, choose_normalization(file, normalization, pixels, truth))
    return Subject(
        network,
        None,
        list(pixels),
        _proof(
            network.labels,
            proof_pixels,
            np.array([photo.label_index for photo in proving]),
            [photo.group for photo in proving],
            network.logits(proof_pixels),
            critical,
        ),
        _manifest(names, file.size, file.path.stem, command, licence),
    )


def _validated(run: RunFolder) -> RunFolder:
    """The run that tells what the recipe of one is worth which has learned from the validation photos."""
    validated = RunFolder(Path(run.config().validated))
    if not validated.progress().finished:
        raise DataError(
            f"'{validated.path}', which tells the thresholds of '{run.path}', is not finished; "
            f"train --resume '{validated.path}'"
        )
    return validated


def _network(run: RunFolder, stage: str, amounts: NDArray[np.float32], evidence: bool) -> Network:
    config = run.config()
    # layers are named by counting, and names are in the file: equal conversions give equal bytes
    keras.backend.clear_session()
    trained = trained_network(run, stage)
    add_to_logits(trained, amounts)
    return network_of(trained, config.architecture, config.size, config.classes, evidence)


def _manifest(
    labels: tuple[str, ...], size: int, architecture: str, command: str, licence: str | None
) -> Manifest:
    return Manifest(
        labels=labels,
        input_size=size,
        quantization="",
        architecture=architecture,
        none_label=_none_label(labels),
        command=command,
        licence=licence,
        tools=tool_versions(),
    )


def _paths(photos: Sequence[Photo]) -> list[Path]:
    paths = [Path(photo.path) for photo in photos]
    gone = next((path for path in paths if not path.is_file()), None)
    if gone:
        raise DataError(f"the photo '{gone}' of this run has gone")
    return paths


def _none_label(labels: Sequence[str]) -> str | None:
    return NONE_OF_THESE if NONE_OF_THESE in labels else None


def _proof(
    labels: tuple[str, ...],
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    groups: list[str],
    reference: NDArray[np.float32],
    critical: str | None,
) -> ProofSet:
    if critical is not None and critical not in labels:
        raise OptionError(f"--critical is '{critical}'. Known: {', '.join(labels)}")
    if critical is None and CRITICAL in labels:
        critical = CRITICAL
    return ProofSet(
        pixels,
        truth,
        groups,
        labels,
        _none_label(labels),
        reference.astype(np.float64),
        critical,
    )


def _labels(file: KerasFile, data: Path, given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None and data.is_file():
        raise OptionError(
            f"'{data}' does not tell the order of the {file.classes} outputs of '{file.path}'; give --labels"
        )
    if given is None:
        places, _ = find_places([data])
        given = sorted({name for place in places if (name := diagnosis_of(place.folder)) is not None})
        whence = f"'{data}' shows"
    else:
        whence = "--labels has"
    if len(given) != file.classes:
        raise OptionError(
            f"'{file.path}' has {file.classes} outputs, and {whence} {len(given)} classes "
            f"({', '.join(given[:6])}{', …' if len(given) > 6 else ''}); "
            "name them in the order of the outputs with --labels FILE"
        )
    return tuple(given)


def _two_parts(data: Path, labels: tuple[str, ...]) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """The photos to calibrate on, and those to prove on; no lesion is in both."""
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
            f"'{data}' has {len(photos)} photos; conversion needs some to calibrate and some to prove"
        )
    return parts


def _shuffle_key(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()


def tool_versions() -> dict[str, str]:
    """Package -> version, of those that make a model and are installed."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
