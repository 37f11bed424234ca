"""Trains a run: a float stage, and then quantization-aware fine-tuning. Both stages can be stopped and resumed."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import DataError
from dermedge.edge.preprocess import normalize
from dermedge.train.data.catalogue import Photo, check_photos
from dermedge.train.data.counts import plural
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.splits import find_leaks
from dermedge.train.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix
from dermedge.train.fit.batches import Teacher, TrainingBatches, predict_logits
from dermedge.train.fit.distribution import (
    describe_devices,
    end_stalled_training,
    is_chief,
    reseed_dropout,
    share_batches,
    share_dropout,
)
from dermedge.train.fit.interrupts import InterruptGuard
from dermedge.train.fit.loss import adjusted_loss
from dermedge.train.fit.networks import add_to_logits
from dermedge.train.fit.parents import check_parents
from dermedge.train.fit.quantize_aware import make_quantization_aware, restore_input_range
from dermedge.train.fit.run_folder import STAGES, RunFolder, RunProgress
from dermedge.train.fit.run_networks import load_weights, save_weights, start_network, trained_network
from dermedge.train.fit.sampling import class_shares, label_indices, sample_balanced
from dermedge.train.fit.schedule import WarmupCosine
from dermedge.train.fit.teacher import make_teacher
from dermedge.train.fit.weight_average import WeightAverage
from dermedge.train.progress import progress_line

__all__ = ["Trainer", "chance_bound", "describe_epoch"]

_WARMUP_STEPS = 60
_WEIGHT_DECAY = 1e-4
# The activation ranges are measured on this many training photos without augmentation. 100 to 500 photos are usual.
_CALIBRATION_PHOTOS, _CALIBRATION_BATCH = 320, 32
# Before the training, this many batches are prepared to measure how fast photos can be prepared.
_TIMED_BATCHES = 8
# The 95 % quantile of the standard normal distribution.
_Z_ONE_SIDED = 1.645


class Trainer:
    """Trains one run. It holds the decoded photos of the training and validation splits.

    Args:
        run: folder of the run, with settings and catalogue.
        strategy: strategy that a function of `dermedge.train.fit.distribution.STRATEGIES` returned. With None, one
            device is used.
        say: function that is called with each line of progress.
        guard: guard that remembers Ctrl-C, and raises KeyboardInterrupt again if a library swallowed it. With None, a
            swallowed interrupt is lost.

    Raises:
        DataError: photos are missing or were replaced; or a lesion is in two splits; or a parent was trained on photos
            of the validation or test split of this run.
        OptionError: a teacher or a run to start from has other classes or no weights; or a run to start from has
            another architecture.
    """

    def __init__(
        self,
        run: RunFolder,
        strategy: tf.distribute.Strategy | None = None,
        say: Callable[[str], None] = print,
        guard: InterruptGuard | None = None,
    ) -> None:
        self.run, self.say, self.config = run, say, run.config()
        self.strategy = strategy or tf.distribute.get_strategy()
        self.guard = guard or InterruptGuard()
        photos = run.photos()
        leaks = find_leaks(photos)
        if leaks:
            raise DataError(
                f"'{run.path}' has photos of one lesion or person in several splits, such as those of '{leaks[0]}'; "
                "start a new run with a new catalogue"
            )
        self.train_photos = [photo for photo in photos if photo.split == "train"]
        self.val_photos = [photo for photo in photos if photo.split == "val"]
        check_photos([*self.train_photos, *self.val_photos])
        check_parents(self.config, photos)
        self.teacher = self._teacher()
        self.train_pixels = self._pixels(self.train_photos, "training")
        self.val_pixels = self._pixels(self.val_photos, "validation")
        self.guard.check()

    def fit(self) -> None:
        """Runs all stages that are not finished. The training continues from the last checkpoint of the run.

        Raises:
            DataError: the loss is not finite.
            StorageError: weights or a checkpoint cannot be written.
            KeyboardInterrupt: the user pressed Ctrl-C. All finished epochs are saved.
        """
        progress = self.run.progress()
        if self.config.epochs or self.config.qat_epochs:
            self.say(describe_devices(self.strategy))
            self.say(f"speed of preparing batches, without training steps: {self._batch_rate():.0f} photos/s")
        for stage in STAGES[STAGES.index(progress.stage) :]:
            if not self.config.stage_epochs(stage):
                if stage == "float":
                    self._keep_start()
                continue
            if progress.stage != stage:
                progress = RunProgress(stage=stage)
                self.run.save_progress(progress)
            with self.strategy.scope():
                progress = self._fit_stage(progress)
        self.run.save_progress(replace(progress, finished=True))
        self.run.keep_checkpoint("")

    def warning(self) -> str | None:
        """Returns a warning if the validation balanced accuracy of the last epoch is no better than random guessing.

        Returns None if the balanced accuracy is better than random guessing, or if the last epoch was not scored on
        validation photos.
        """
        history = self.run.history()
        if not self.val_photos or not history or "val_balanced_accuracy" not in history[-1]:
            return None
        counts = Counter(photo.label for photo in self.val_photos)
        bound = chance_bound([counts[name] for name in self.config.classes])
        score = float(history[-1]["val_balanced_accuracy"])
        if score > bound:
            return None
        return (
            f"warning: the network may be no better than random guessing: its validation balanced accuracy is "
            f"{score:.3f}, and guessing among {len(self.config.classes)} classes can reach {bound:.3f} on "
            f"{plural(len(self.val_photos), 'photo')}; check the labels, or train with more photos or more epochs"
        )

    def calibration_batches(self) -> list[NDArray[np.float32]]:
        """Returns batches of training images without augmentation, float32 [n, s, s, 3] normalized RGB.

        The photos are sampled so that all classes are equally frequent.
        """
        count = min(_CALIBRATION_PHOTOS, len(self.train_photos))
        chosen = sample_balanced(self.train_photos, count, np.random.default_rng(self.config.seed))
        return [
            normalize(self.train_pixels[np.sort(chosen[start : start + _CALIBRATION_BATCH])])
            for start in range(0, len(chosen), _CALIBRATION_BATCH)
        ]

    def _keep_start(self) -> None:
        """Saves the initial weights as the weights of the float stage. This is for a float stage without epochs."""
        network = start_network(self.config)
        save_weights(network, self.run.weights_path("float"))
        if self.val_photos:
            self.say(f"initial weights  {_describe_validation(self._validate(network))}")

    def _pixels(self, photos: Sequence[Photo], name: str) -> NDArray[np.uint8]:
        show = progress_line(f"decoding {len(photos)} {name} photos")
        return cached_pixels([Path(photo.path) for photo in photos], self.config.size, self.run.cache, show)

    def _teacher(self) -> Teacher | None:
        if not self.config.teachers:
            return None
        runs = [RunFolder(Path(path)) for path in self.config.teachers]
        networks = [_teaching_network(run) for run in runs]
        return make_teacher(networks, [run.config().size for run in runs], self.config.size)

    def _fit_stage(self, progress: RunProgress) -> RunProgress:
        config, stage = self.config, progress.stage
        keras.backend.experimental.enable_tf_random_generator()
        keras.utils.set_random_seed(config.seed)
        model = self._stage_model(stage)
        share_dropout(model)
        self._compile(model, stage)
        average = self._average(model, stage)
        kept = {"model": model, "optimizer": model.optimizer} | ({"average": average} if average else {})
        checkpoint = tf.train.Checkpoint(**kept)
        if progress.checkpoint:
            self.run.restore_checkpoint(checkpoint, progress.checkpoint)
        for epoch in range(progress.epoch, config.stage_epochs(stage)):
            row = self._fit_epoch(model, stage, epoch, average)
            if not np.isfinite([value for key, value in row.items() if key.endswith("loss")]).all():
                rate = "--lr" if stage == "float" else "--qat-lr"
                raise DataError(
                    f"the loss is not finite after epoch {epoch + 1}; start a new run with a lower {rate}"
                )
            self._save(model, stage, average)
            self.run.add_history(row)
            progress = self.run.save_checkpoint(checkpoint, replace(progress, epoch=epoch + 1))
            self.say(describe_epoch(row, config.stage_epochs(stage)))
            self.guard.check()
        return progress

    def _average(self, model: keras.Model, stage: str) -> WeightAverage | None:
        decay = self.config.recipe.ema_decay if stage == "float" else 0
        return WeightAverage(model, decay) if decay else None

    def _stage_model(self, stage: str) -> keras.Model:
        network = start_network(self.config)
        if stage == "float":
            return network
        load_weights(network, self.run, "float")
        return make_quantization_aware(network, self.calibration_batches())

    def _compile(self, model: keras.Model, stage: str) -> None:
        config = self.config
        # Not all epochs have equally many batches, because the number of sampled photos varies.
        epochs = range(config.stage_epochs(stage))
        steps = sum(len(self._batches(self._sample(stage, epoch))) for epoch in epochs)
        peak = config.learning_rate if stage == "float" else config.qat_learning_rate
        schedule = WarmupCosine(peak, steps, _WARMUP_STEPS)
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=_WEIGHT_DECAY)
        optimizer.build(model.trainable_variables)
        shares = class_shares(self.train_photos, config.classes, config.recipe)
        adjusted = shares if config.recipe.logit_adjustment else np.ones_like(shares)
        model.compile(optimizer, loss=adjusted_loss(adjusted), metrics=["accuracy"])

    def _sample(self, stage: str, epoch: int) -> int:
        """Returns the index of an epoch, counted over both stages.

        Because of this count, the second stage does not repeat the samples of the first stage.
        """
        return epoch + STAGES.index(stage) * self.config.epochs

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

    def _batch_rate(self) -> float:
        """Returns the number of photos that are prepared per second.

        Each photo is augmented and blended with another photo. If the run has a teacher, the teacher also predicts each
        photo.
        """
        batches = self._batches(0)
        batches[0]
        started = perf_counter()
        photos = sum(len(batches[batch][0]) for batch in range(min(_TIMED_BATCHES, len(batches))))
        return photos / (perf_counter() - started)

    def _fit_epoch(
        self, model: keras.Model, stage: str, epoch: int, average: WeightAverage | None
    ) -> dict[str, Any]:
        """Trains one epoch, and returns the row of the epoch for the history."""
        started = perf_counter()
        sample = self._sample(stage, epoch)
        batches = self._batches(sample)
        reseed_dropout(model, self.config.seed, sample)
        shown = is_chief(self.strategy) and sys.stderr.isatty() and sys.stdout.isatty()
        with end_stalled_training(self.strategy) as step_ended:
            fitted = model.fit(
                share_batches(batches, self.strategy),
                steps_per_epoch=len(batches),
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=[_AfterStep(self.guard, average, step_ended)],
                verbose=1 if shown else 0,
            )
        if stage == "qat":
            restore_input_range(model)
        seconds = perf_counter() - started
        with _averaged(average):
            scores = self._validate(model)
        return {
            "stage": stage,
            "epoch": epoch + 1,
            "loss": round(fitted.history["loss"][0], 5),
            "accuracy": round(fitted.history["accuracy"][0], 5),
            **scores,
            "learning_rate": float(f"{float(model.optimizer.learning_rate.numpy()):.3g}"),
            "photos_per_second": round(batches.photos / seconds, 1),
            "seconds": round(perf_counter() - started, 1),
        }

    def _save(self, model: keras.Model, stage: str, average: WeightAverage | None) -> None:
        """Saves the weights, or their average if there is one.

        Each epoch overwrites the weights of the previous epoch. The weights of the best epoch are not kept: scores on
        few photos are noisy, so the epoch with the best score is mostly just the luckiest epoch.
        """
        with _averaged(average):
            save_weights(model, self.run.weights_path(stage))

    def _validate(self, model: keras.Model) -> dict[str, float]:
        """Scores a model on the validation photos. Returns a dict: name of a column of the history -> score.

        The dict is empty if the run has no validation photos.
        """
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


def _teaching_network(run: RunFolder) -> keras.Model:
    """Returns the float network of a teacher. Its logits assume that all classes are equally frequent.

    Without logit adjustment, a network learns how often the classes are sampled. The logarithm of the share of each
    class is then subtracted from its logit.
    """
    network, config = trained_network(run, "float"), run.config()
    if not config.recipe.logit_adjustment:
        learned = [photo for photo in run.photos() if photo.split == "train"]
        add_to_logits(network, -np.log(class_shares(learned, config.classes, config.recipe)))
    return network


def _averaged(average: WeightAverage | None) -> AbstractContextManager[None]:
    """Returns a context in which the model has its averaged weights. Without an average, the context does nothing."""
    return average.applied() if average else nullcontext()


class _AfterStep(keras.callbacks.Callback):
    """Reports the end of each training step, checks for Ctrl-C, and updates the average of the weights."""

    def __init__(
        self, guard: InterruptGuard, average: WeightAverage | None, step_ended: Callable[[], None]
    ) -> None:
        super().__init__()
        self._guard, self._average, self._step_ended = guard, average, step_ended

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step_ended()
        self._guard.check()
        if self._average:
            self._average.update()


def chance_bound(counts: Sequence[int]) -> float:
    """Returns the balanced accuracy that random guessing exceeds with a probability of only 5 %.

    With random guessing, the recall of each of the K classes has the mean 1/K and the variance of a binomial
    proportion. The mean of the recalls is assumed to be normally distributed. With very few photos, the result is 1,
    because even the best score may then be luck.

    Args:
        counts: number of photos of each of the K classes. Classes without photos have no recall, and are left out of
            the mean.
    """
    chance = 1 / len(counts)
    there = [count for count in counts if count]
    variance = sum(chance * (1 - chance) / count for count in there) / len(there) ** 2
    return min(1.0, chance + _Z_ONE_SIDED * math.sqrt(variance))


def describe_epoch(row: dict[str, Any], epochs: int) -> str:
    """Returns one line about a finished epoch.

    Args:
        row: values of the epoch, as in the history.
        epochs: number of epochs of the stage.
    """
    validated = _describe_validation(row) or f"accuracy {row['accuracy']:.3f}"
    return (
        f"{row['stage']:<5} epoch {row['epoch']:>3}/{epochs}  loss {row['loss']:.3f}  {validated}  "
        f"{row['photos_per_second']:.0f} photos/s  {row['seconds']:.0f} s"
    )


def _describe_validation(row: dict[str, Any]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in row.items() if name.startswith("val_")
    )
