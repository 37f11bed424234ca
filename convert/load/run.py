"""Load a run folder of `dermedge train` for conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.convert.calibrate.logit_adjustment import LogitAdjustment, adjustment_amounts, fit_adjustment
from dermedge.convert.load.close_up import ViewSample, fit_probe, has_both_views, sample_views
from dermedge.convert.load.conversion_input import (
    ConversionInput,
    ShowProgress,
    draft_manifest,
    make_proof_set,
)
from dermedge.convert.load.tensorflow_network import TensorFlowNetwork, network_of
from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.fit.batches import predict_logits
from dermedge.train.fit.networks import add_to_logits
from dermedge.train.fit.parents import learned_by
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import trained_network
from dermedge.train.fit.sampling import class_shares, label_indices, sample_balanced

__all__ = ["load_run"]


@dataclass(frozen=True)
class _RunPhotos:
    """The decoded photos of a run: RGB images, uint8 [n, s, s, 3]."""

    training: list[Photo]
    training_pixels: NDArray[np.uint8]
    held_out: list[Photo]
    held_out_pixels: NDArray[np.uint8]

    @property
    def groups(self) -> list[str]:
        """The lesion of each held-out photo."""
        return [photo.group for photo in self.held_out]

    @property
    def views(self) -> list[str]:
        """The view of each held-out photo, or an empty text for a photo whose view is not known."""
        return [photo.view for photo in self.held_out]


def load_run(
    run: RunFolder,
    calibration_photos: int = 200,
    evidence: bool = True,
    licence: str | None = None,
    critical: str | None = None,
    show_progress: ShowProgress = lambda what: lambda done, total: None,
) -> ConversionInput:
    """Load a run folder. The calibration photos are training photos, and the proof set is the validation photos.

    A network may have been retrained on the training photos and the validation photos together. Then, the validation
    photos and the strength of the logit adjustment come from an earlier run, which did not train on these photos.
    The logit adjustment is applied here, because it changes the weights that are converted.

    Args:
        run: the folder of the run.
        calibration_photos: the number of calibration photos.
        evidence: whether the evidence, from which heat maps are made, is an output.
        licence: the licence of the weights, for the manifest.
        critical: the class that must not be missed. By default, it is melanoma, if the run has that class.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).

    Raises:
        DataError: weights or photos are missing.
        OptionError: the critical class is not a class of the run.
    """
    config = run.config()
    trained = trained_network(run, "float")
    validating_run = _validating_run(run) if config.validated else None
    others = (calibration_photos, evidence, licence, critical, show_progress)
    validated_by = load_run(validating_run, *others) if validating_run else None
    photos = _read_photos(run, validating_run or run, show_progress)
    truth = label_indices(photos.held_out, config.classes)
    logits = predict_logits(trained, photos.held_out_pixels)
    shares = class_shares(photos.training, config.classes, config.recipe)
    adjustment = _adjustment(validated_by, config.validated, logits, truth, shares)
    sample = _view_sample(photos, validated_by, config.seed)
    facts = photos.groups, config.classes, logits + adjustment.amounts, critical
    proof = make_proof_set(photos.held_out_pixels, truth, *facts, photos.views if sample else ())
    build = _Builder(run, adjustment.amounts, evidence, sample, show_progress)
    manifest = draft_manifest(config.classes, config.size, config.architecture, config.command, licence)
    return ConversionInput(
        build.network("float"),
        build.quantization_aware,
        _calibration_images(photos, calibration_photos, config.seed),
        proof,
        replace(manifest, data_digest=config.data_digest, metrics=adjustment.metrics),
        validated_by,
        learned_by(run),
    )


def _validating_run(run: RunFolder) -> RunFolder:
    """Return the earlier run that has the same settings, but was trained without the validation photos."""
    validating = RunFolder(Path(run.config().validated))
    if not validating.progress().finished:
        raise DataError(
            f"'{run.path}' cannot be converted yet, because its thresholds come from the run '{validating.path}', "
            f"which is not finished; finish that run with: dermedge train --resume '{validating.path}'"
        )
    return validating


def _read_photos(run: RunFolder, validating_run: RunFolder, show_progress: ShowProgress) -> _RunPhotos:
    training = [photo for photo in run.photos() if photo.split == "train"]
    held_out = [photo for photo in validating_run.photos() if photo.split == "val"]
    show = show_progress(f"decoding {len(training) + len(held_out)} photos")
    size = run.config().size
    return _RunPhotos(
        training,
        cached_pixels(_existing_paths(training), size, run.cache, show),
        held_out,
        cached_pixels(_existing_paths(held_out), size, run.cache, show),
    )


def _existing_paths(photos: Sequence[Photo]) -> list[Path]:
    paths = [Path(photo.path) for photo in photos]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing:
        raise DataError(f"the photo '{missing}' of this run is missing; restore the file at this path")
    return paths


def _calibration_images(photos: _RunPhotos, count: int, seed: int) -> list[NDArray[np.uint8]]:
    count = min(count, len(photos.training))
    indices = sample_balanced(photos.training, count, np.random.default_rng(seed))
    return [np.asarray(photos.training_pixels[index]) for index in indices]


def _adjustment(
    validated_by: ConversionInput | None,
    validated_path: str,
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    shares: NDArray[np.float32],
) -> LogitAdjustment:
    """Return the logit adjustment of a run.

    The strength of the adjustment is fitted on photos that the run was not trained on. A run that was trained on its
    validation photos has no such photos. Therefore, its strength is taken from ``validated_by``, an earlier run that
    was trained without the validation photos.
    """
    if validated_by is None:
        return fit_adjustment(logits, truth, shares)
    # the file that is made may be published, so it must not name the folders of this machine
    name = Path(validated_path).name
    metrics: dict[str, Any] = validated_by.manifest.metrics | {"validated_by": name}
    return LogitAdjustment(adjustment_amounts(metrics["logit_adjustment"], shares), metrics)


def _view_sample(photos: _RunPhotos, validated_by: ConversionInput | None, seed: int) -> ViewSample | None:
    """Return training photos of both views, dermoscopic and close-up. The output that tells the view is fitted on them.

    The result is None if this run has too few photos of one of the views. The result is also None if there is an
    earlier run, ``validated_by``, whose network does not tell views.
    """
    is_fitted_there = validated_by is None or len(validated_by.proof.views) > 0
    if not is_fitted_there or not has_both_views(photos.training, photos.held_out):
        return None
    return sample_views(photos.training, photos.training_pixels, seed)


@dataclass(frozen=True)
class _Builder:
    """Builds the networks that are converted for a run.

    Attributes:
        run: the folder of the run.
        amounts: the amounts of the logit adjustment, float32 [K].
        evidence: whether the evidence is an output.
        sample: the training photos that the output for the view is fitted on; None if there is no such output.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).
    """

    run: RunFolder
    amounts: NDArray[np.float32]
    evidence: bool
    sample: ViewSample | None
    show_progress: ShowProgress

    @property
    def quantization_aware(self) -> Callable[[], TensorFlowNetwork] | None:
        """A function that builds the network of the QAT stage; None if the run has no QAT stage."""
        return (lambda: self.network("qat")) if self.run.weights_path("qat").is_file() else None

    def network(self, stage: str) -> TensorFlowNetwork:
        """Return the network of a stage, ``float`` or ``qat``."""
        config = self.run.config()
        # Keras numbers the layers that a process creates. The numbers become a part of the names in the file. The
        # numbering is restarted here, so that equal conversions give equal bytes.
        keras.backend.clear_session()
        trained = trained_network(self.run, stage)
        add_to_logits(trained, self.amounts)
        probe = None
        if self.sample:
            show = self.show_progress(f"computing the features of {len(self.sample.indices)} photos")
            probe = fit_probe(trained, self.sample, show)
        facts = (config.architecture, config.size, config.classes)
        return network_of(trained, *facts, self.evidence, probe)
