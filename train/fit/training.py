"""Training: a float stage, then quantization-aware fine-tuning; each can be stopped and resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import write_beside
from dermedge.edge.preprocess import normalize
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.splits import find_leaks
from dermedge.train.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix
from dermedge.train.fit.batches import Teacher, TrainingBatches, predict_logits
from dermedge.train.fit.distribution import is_chief, reseed_dropout, share_batches, share_dropout
from dermedge.train.fit.networks import build_network, freeze_batch_norms
from dermedge.train.fit.parents import check_origins
from dermedge.train.fit.quantize_aware import make_quantization_aware, restore_input_range, uncalibrated_twin
from dermedge.train.fit.run_folder import NO_WEIGHTS, STAGES, Config, Progress, RunFolder
from dermedge.train.fit.sampling import class_shares, label_indices, sample_evenly
from dermedge.train.fit.schedule import WarmupCosine
from dermedge.train.fit.teacher import make_teacher
from dermedge.train.progress import progress_line

WARMUP_STEPS = 60
WEIGHT_DECAY = 1e-4
# "100 to 500 photos of the training split, unaugmented" is the field's practice.
CALIBRATION_PHOTOS, CALIBRATION_BATCH = 320, 32
FEED_BATCHES = 8


class Trainer:
    """One run in progress: the photos of its splits and the stages of its fitting.

    Args:
        run: the folder, with its config and catalogue.
        strategy: of `dermedge.train.fit.distribution.STRATEGIES`; one device if not given.
        say: called with each line of progress.

    Raises:
        DataError: photos have gone, or a lesion is in two splits.
    """

    def __init__(
        self,
        run: RunFolder,
        strategy: tf.distribute.Strategy | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.run, self.say, self.config = run, say, run.config()
        self.strategy = strategy or tf.distribute.get_strategy()
        photos = run.photos()
        leaks = find_leaks(photos)
        if leaks:
            raise DataError(
                f"lesion '{leaks[0]}' and {len(leaks) - 1} more are in two splits of '{run.path}'"
            )
        self.train_photos = [photo for photo in photos if photo.split == "train"]
        self.val_photos = [photo for photo in photos if photo.split == "val"]
        check_origins(self.config, photos)
        self.teacher = self._teacher()
        self.train_pixels = self._pixels(self.train_photos, "training")
        self.val_pixels = self._pixels(self.val_photos, "validation")

    def fit(self) -> None:
        """Runs all stages from where the run stands."""
        progress = self.run.progress()
        if self.config.epochs or self.config.qat_epochs:
            self.say(f"making the pictures, without the network: {self._feed_rate():.0f} photos/s")
        for stage in STAGES[STAGES.index(progress.stage) :]:
            if not self.config.stage_epochs(stage):
                if stage == "float":
                    self._keep_start()
                continue
            if progress.stage != stage:
                progress = Progress(stage=stage)
                self.run.save_progress(progress)
            with self.strategy.scope():
                progress = self._fit_stage(progress)
        self.run.save_progress(replace(progress, finished=True))
        self.run.keep_checkpoint("")

    def _keep_start(self) -> None:
        """What finished runs have learned is the float stage."""
        network = start_network(self.config)
        save_weights(network, self.run.weights_path("float"))
        if self.val_photos:
            self.say(f"float as it starts  {describe_validation(self._validate(network))}")

    def _pixels(self, photos: Sequence[Photo], name: str) -> NDArray[np.uint8]:
        paths = [Path(photo.path) for photo in photos]
        gone = next((path for path in paths if not path.is_file()), None)
        if gone:
            raise DataError(f"the photo '{gone}' of this run has gone")
        show = progress_line(f"decoding {len(paths)} {name} photos")
        return cached_pixels(paths, self.config.size, self.run.cache, show)

    def _teacher(self) -> Teacher | None:
        if not self.config.teachers:
            return None
        runs = [RunFolder(Path(path)) for path in self.config.teachers]
        networks = [trained_network(run, "float") for run in runs]
        return make_teacher(networks, [run.config().size for run in runs], len(self.config.classes))

    def _fit_stage(self, progress: Progress) -> Progress:
        config = self.config
        keras.backend.experimental.enable_tf_random_generator()
        keras.utils.set_random_seed(config.seed)
        model = self._stage_model(progress.stage)
        share_dropout(model)
        total = config.stage_epochs(progress.stage)
        self._compile(model, progress.stage)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        if progress.checkpoint:
            checkpoint.restore(str(self.run.path / progress.checkpoint / "state")).expect_partial()
        for epoch in range(progress.epoch, total):
            row = self._fit_epoch(model, progress.stage, epoch)
            if not np.isfinite([value for key, value in row.items() if key.endswith("loss")]).all():
                rate = "--lr" if progress.stage == "float" else "--qat-lr"
                raise DataError(f"the loss is not finite after epoch {epoch + 1}: train with a lower {rate}")
            # the last epoch is kept and not the best: among noisy scores of few photos, that is a lucky one
            save_weights(model, self.run.weights_path(progress.stage))
            self.run.add_history(row)
            progress = self.run.save_checkpoint(checkpoint, replace(progress, epoch=epoch + 1))
            self.say(describe(row, total))
        return progress

    def _stage_model(self, stage: str) -> keras.Model:
        network = start_network(self.config)
        if stage == "float":
            return network
        network.load_weights(self.run.weights_path("float"))
        return make_quantization_aware(network, self.calibration_batches())

    def calibration_batches(self) -> list[NDArray[np.float32]]:
        """float32 [n, s, s, 3] batches of unaugmented training photos, drawn evenly over the classes."""
        count = min(CALIBRATION_PHOTOS, len(self.train_photos))
        chosen = sample_evenly(self.train_photos, count, np.random.default_rng(self.config.seed))
        return [
            normalize(self.train_pixels[np.sort(chosen[start : start + CALIBRATION_BATCH])])
            for start in range(0, len(chosen), CALIBRATION_BATCH)
        ]

    def _compile(self, model: keras.Model, stage: str) -> None:
        config = self.config
        steps = config.stage_epochs(stage) * len(self._batches(0))
        peak = config.learning_rate if stage == "float" else config.qat_learning_rate
        optimizer = keras.optimizers.AdamW(WarmupCosine(peak, steps, WARMUP_STEPS), weight_decay=WEIGHT_DECAY)
        optimizer.build(model.trainable_variables)
        shares = class_shares(self.train_photos, config.classes, config.recipe)
        adjustment = shares if config.recipe.logit_adjustment else np.ones_like(shares)
        model.compile(optimizer, loss=adjusted_loss(adjustment), metrics=["accuracy"])

    def _batches(self, epoch: int) -> TrainingBatches:
        return TrainingBatches(
            self.train_pixels,
            self.train_photos,
            self.config.classes,
            batch_size=self.config.batch_size,
            photos_per_epoch=self.config.photos_per_epoch,
            seed=self.config.seed,
            epoch=epoch,
            teacher=self.teacher,
            recipe=self.config.recipe,
        )

    def _feed_rate(self) -> float:
        """Photos a second that can be made ready, with the teacher's answers where there is one."""
        batches = self._batches(0)
        batches[0]
        count = min(FEED_BATCHES, len(batches))
        started = perf_counter()
        for batch in range(count):
            batches[batch]
        return count * self.config.batch_size / (perf_counter() - started)

    def _fit_epoch(self, model: keras.Model, stage: str, epoch: int) -> dict[str, Any]:
        started = perf_counter()
        # the stages see different draws
        draw = epoch + STAGES.index(stage) * self.config.epochs
        batches = self._batches(draw)
        reseed_dropout(model, self.config.seed, draw)
        shown = is_chief(self.strategy) and sys.stderr.isatty() and sys.stdout.isatty()
        fitted = model.fit(
            share_batches(batches, self.strategy),
            steps_per_epoch=len(batches),
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=1 if shown else 0,
        )
        if stage == "qat":
            restore_input_range(model)
        seconds = perf_counter() - started
        return {
            "stage": stage,
            "epoch": epoch + 1,
            "loss": round(fitted.history["loss"][0], 5),
            "accuracy": round(fitted.history["accuracy"][0], 5),
            **self._validate(model),
            "learning_rate": float(f"{float(model.optimizer.learning_rate.numpy()):.3g}"),
            "photos_per_second": round(len(batches) * self.config.batch_size / seconds, 1),
            "seconds": round(perf_counter() - started, 1),
        }

    def _validate(self, model: keras.Model) -> dict[str, float]:
        """The columns of an epoch's row; none where there is nothing to validate on."""
        if not self.val_photos:
            return {}
        truth = label_indices(self.val_photos, self.config.classes)
        logits = predict_logits(model, self.val_pixels)
        loss = keras.losses.sparse_categorical_crossentropy(truth, logits, from_logits=True)
        matrix = confusion_matrix(truth, logits.argmax(axis=1), len(self.config.classes))
        return {
            "val_loss": round(float(np.mean(loss)), 5),
            "val_accuracy": round(accuracy(matrix), 5),
            "val_balanced_accuracy": round(balanced_accuracy(matrix), 5),
        }


def adjusted_loss(shares: NDArray[np.float32]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Cross-entropy for logits that see classes by these shares, and speak as if all were alike often.

    The logarithms of the shares are added to the logits in training alone: Menon et al., "Long-Tail Learning
    via Logit Adjustment", 2021, equation 10.
    """
    adjustment = np.log(shares)

    def loss(wanted: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return keras.losses.categorical_crossentropy(wanted, logits + adjustment, from_logits=True)

    return loss


def start_network(config: Config) -> keras.Model:
    """The float network of a run before its first step.

    The mean of several runs' weights: Wortsman et al., "Model soups", 2022, where all start alike.

    Raises:
        OptionError: it starts with a run of a size that its fully connected layers do not fit.
    """
    weights = NO_WEIGHTS if config.starts else config.weights
    network = build_network(config.architecture, config.size, len(config.classes), weights)
    if config.freezes_batch_norms:
        freeze_batch_norms(network)
    if not config.starts:
        return network
    learned = []
    for path in config.starts:
        origin = RunFolder(Path(path))
        try:
            network.set_weights(trained_network(origin, "float").get_weights())
        except ValueError as error:
            raise OptionError(
                f"'{path}' was trained at {origin.config().size} pixels, and no {config.architecture} "
                f"of {config.size} can start with its weights"
            ) from error
        learned.append(network.get_weights())
    network.set_weights([np.mean(parts, axis=0) for parts in zip(*learned, strict=True)])
    return network


def trained_network(run: RunFolder, stage: str) -> keras.Model:
    """The network of a run with the weights of a stage's last epoch, ``float`` or ``qat``.

    Raises:
        DataError: the stage has no weights.
    """
    config = run.config()
    weights = run.weights_path(stage)
    if not weights.is_file():
        raise DataError(f"'{run.path}' has no {stage} weights; continue it with: train --resume '{run.path}'")
    network = build_network(config.architecture, config.size, len(config.classes))
    if config.freezes_batch_norms:
        # the order of the stored weights depends on it
        freeze_batch_norms(network)
    if stage == "qat":
        network = uncalibrated_twin(network)
    network.load_weights(weights)
    return network


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights, whole or not at all."""
    with write_beside(path) as part:
        model.save_weights(part)


def describe(row: dict[str, Any], epochs: int) -> str:
    """One line for a finished epoch."""
    validated = describe_validation(row) or f"accuracy {row['accuracy']:.3f}"
    return (
        f"{row['stage']:<5} epoch {row['epoch']:>3}/{epochs}  loss {row['loss']:.3f}  {validated}  "
        f"{row['photos_per_second']:.0f} photos/s  {row['seconds']:.0f} s"
    )


def describe_validation(row: dict[str, Any]) -> str:
    """What a row says of validation, or nothing where it was not validated."""
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in row.items() if name.startswith("val_")
    )
