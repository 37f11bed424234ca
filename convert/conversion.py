"""One conversion from a run folder: the file, its manifest and its proof, as one value."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from convert.compact import share_vectors
from convert.lower import INT8_PTQ, INT8_QAT, lower
from convert.proof import (
    Parity,
    calibrated,
    calibration_scores,
    check_input,
    compare,
    device_logits,
    fit_temperature,
    parity_json,
)
from convert.thresholds import decision_scores, fit_thresholds
from edge.classifier import Classifier
from edge.errors import OptionError, StorageError
from edge.files import write_bytes
from edge.manifest import Manifest, attach
from train.catalogue import NONE_OF_THESE, Photo
from train.feed import draw_evenly, label_indices, predict_logits
from train.fit import trained_network
from train.pixels import cached_pixels
from train.run_folder import Config, RunFolder

TOOLS = ("dermedge", "tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Conversion:
    """What one conversion made.

    Attributes:
        model: the whole .tflite with its manifest.
        manifest: of the file.
        parity: the file beside its Keras model on the validation photos.
    """

    model: bytes
    manifest: Manifest
    parity: Parity

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            StorageError: there is one already, or it cannot be written.
        """
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with --output")
        write_bytes(path, self.model)


def convert_run(
    run: RunFolder,
    kind: str,
    calibration_photos: int = 200,
    evidence: bool = True,
    licence: str | None = None,
    progress: Callable[[str], Callable[[int, int], None]] = lambda what: lambda done, total: None,
) -> Conversion:
    """Converts a run, and runs the result on every validation photo beside the Keras model.

    Temperature and thresholds are fitted on what the converted file itself says of these photos.

    Args:
        run: a folder of `dermedge train`.
        kind: one of `convert.lower.KINDS`.
        calibration_photos: for ``int8-ptq``: training photos, drawn evenly over the classes, unaugmented.
        evidence: whether the heat map is an output.
        licence: of the weights, for the manifest.
        progress: for a text, a callback (done, total).

    Raises:
        DataError: the run lacks the weights, or photos of it have gone.
        ModelError: the converter, or the device runtime, refuses the model.
    """
    config = run.config()
    photos = run.photos()
    # layers are named by counting, and names are in the file: equal conversions give equal bytes
    keras.backend.clear_session()
    network = trained_network(run, "qat" if kind == INT8_QAT else "float")
    calibration = _calibration(run, config, photos, calibration_photos) if kind == INT8_PTQ else []
    model = share_vectors(lower(network, kind, calibration, evidence))
    manifest = _describe(config, kind, licence)
    held_out = [photo for photo in photos if photo.split == "val"]
    pixels = cached_pixels([Path(photo.path) for photo in held_out], config.size, run.cache)
    truth = label_indices(held_out, config.classes)
    device = _run_on_device(attach(model, manifest), pixels, progress(f"running {len(pixels)} photos"))
    parity = compare(predict_logits(network, pixels), device)
    temperature = fit_temperature(device, truth)
    decided = (calibrated(device, temperature), truth, config.classes, manifest.none_label)
    thresholds = fit_thresholds(*decided)
    manifest = replace(
        manifest,
        temperature=temperature,
        thresholds=thresholds,
        metrics={
            "val_photos": len(truth),
            **calibration_scores(device, truth, temperature),
            **decision_scores(*decided, thresholds),
        },
        parity=parity_json(parity),
    )
    return Conversion(attach(model, manifest), manifest, parity)


def better(qat: Conversion, ptq: Conversion) -> Conversion:
    """The one that is right more often on validation by its most probable class, classes weighed alike.

    Its manifest also tells that figure of both: ``val_balanced_accuracy_argmax_of``, kind -> figure.
    """
    key = "val_balanced_accuracy_argmax"
    figures = {one.manifest.quantization: one.manifest.metrics[key] for one in (qat, ptq)}
    best = ptq if ptq.manifest.metrics[key] > qat.manifest.metrics[key] else qat
    manifest = replace(best.manifest, metrics=best.manifest.metrics | {f"{key}_of": figures})
    return Conversion(attach(best.model, manifest), manifest, best.parity)


def _describe(config: Config, kind: str, licence: str | None) -> Manifest:
    """What is known of a file before it has run."""
    return Manifest(
        labels=config.classes,
        input_size=config.size,
        quantization=kind,
        architecture=config.architecture,
        none_label=NONE_OF_THESE if NONE_OF_THESE in config.classes else None,
        data_digest=config.data_digest,
        command=config.command,
        licence=licence,
        tools=tool_versions(),
    )


def _calibration(
    run: RunFolder, config: Config, photos: tuple[Photo, ...], count: int
) -> list[NDArray[np.uint8]]:
    training = [photo for photo in photos if photo.split == "train"]
    if count < 1:
        raise OptionError(f"--calibration-photos is {count}; it must be 1 or more")
    pixels = cached_pixels([Path(photo.path) for photo in training], config.size, run.cache)
    chosen = draw_evenly(training, min(count, len(training)), np.random.default_rng(config.seed))
    return [np.asarray(pixels[index]) for index in chosen]


def _run_on_device(
    model: bytes, pixels: NDArray[np.uint8], progress: Callable[[int, int], None]
) -> NDArray[np.float64]:
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        path = Path(folder) / "converted.tflite"
        write_bytes(path, model)
        check_input(path)
        with Classifier(path, num_threads=2) as classifier:
            return device_logits(classifier, pixels, progress)


def tool_versions() -> dict[str, str]:
    """Package -> version, of those that make a model and are installed."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
