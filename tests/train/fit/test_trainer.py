"""The values that a trainer gives to the optimizer, the loss and the calibration, without training."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf
import tf_keras as keras

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.fit import training
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.run_folder import Config, RunFolder
from dermedge.train.fit.run_networks import save_weights
from dermedge.train.fit.training import Trainer, describe_epoch

# The number of training photos of each class. Each photo shows a lesion of its own.
COUNTS = {"common": 16, "rare": 4}
CONFIG = Config(
    architecture="cnn",
    classes=("common", "rare"),
    size=32,
    weights="none",
    epochs=5,
    qat_epochs=3,
    photos_per_epoch=40,
    batch_size=4,
    learning_rate=0.2,
    qat_learning_rate=0.03,
    seed=0,
    data=("photos",),
    data_digest="",
    command="",
)


def trainer_of(folder: Path, config: Config = CONFIG) -> Trainer:
    """A trainer on photos that can be told apart by their grey level."""
    photos = []
    for label, count in COUNTS.items():
        for number in range(count + 3):
            path = folder / f"{label}{number}.png"
            level = 8 * number + (4 if label == "rare" else 0)
            cv2.imwrite(str(path), np.full((32, 32, 3), level, np.uint8))
            split = "train" if number < count else "val" if number < count + 2 else "test"
            name = f"{label} {number}"
            photos.append(Photo(str(path), name, name, name, label, label, "s", split))
    run = RunFolder(folder / "runs" / "run")
    run.create(config, Catalogue(tuple(photos), config.classes, {}))
    return Trainer(run, say=lambda line: None)


def compiled(trainer: Trainer, stage: str) -> keras.Model:
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    trainer._compile(model, stage)
    return model


def rate_at(model: keras.Model, step: int) -> float:
    # This is the schedule itself. `learning_rate` is the value of the last step.
    return float(model.optimizer._learning_rate(step))


@pytest.mark.parametrize(("stage", "peak", "epochs"), [("float", 0.2, 5), ("qat", 0.03, 3)])
def test_each_stage_has_its_own_peak_and_length(tmp_path: Path, stage: str, peak: float, epochs: int) -> None:
    # An epoch samples 28 photos of one class and 14 of the other, in 10 batches of 4. The learning rate warms
    # up in the first quarter of all steps.
    model = compiled(trainer_of(tmp_path, replace(CONFIG, photos_per_epoch=42)), stage)
    steps = 10 * epochs
    warmup = steps // 4
    assert rate_at(model, 0) == pytest.approx(peak / warmup, rel=1e-4)
    assert rate_at(model, warmup) == pytest.approx(peak, rel=1e-4)
    middle = warmup + (steps - warmup) // 2
    expected = peak * (1 + math.cos(math.pi * (middle - warmup) / (steps - warmup))) / 2
    assert rate_at(model, middle) == pytest.approx(expected, rel=1e-4)
    assert rate_at(model, steps) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("stage", ["float", "qat"])
def test_a_stage_ends_with_its_last_step_even_if_its_epochs_have_different_numbers_of_steps(
    tmp_path: Path, stage: str
) -> None:
    trainer = trainer_of(tmp_path, replace(CONFIG, photos_per_epoch=40, epochs=30, qat_epochs=30))
    first = {"float": 0, "qat": 30}[stage]
    steps = [len(trainer._batches(epoch)) for epoch in range(first, first + 30)]
    # An epoch samples 26 or 27 photos of one class, and 13 or 14 of the other.
    assert set(steps) == {9, 10}
    model = compiled(trainer, stage)
    assert rate_at(model, sum(steps)) == pytest.approx(0, abs=1e-7)
    assert rate_at(model, sum(steps) - 1) > 1e-6


def test_a_long_stage_warms_up_for_60_steps_and_weights_decay(tmp_path: Path) -> None:
    model = compiled(trainer_of(tmp_path, replace(CONFIG, photos_per_epoch=400)), "float")
    assert rate_at(model, 29) == pytest.approx(0.2 * 30 / 60, rel=1e-4)
    assert rate_at(model, 60) == pytest.approx(0.2, rel=1e-4)
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    assert model.optimizer.weight_decay == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("recipe", "shares"),
    [
        # Classes are sampled in the ratio of the square roots of 16 and 4.
        (Recipe(), [4 / 6, 2 / 6]),
        (Recipe(class_power=1), [16 / 20, 4 / 20]),
        (Recipe(logit_adjustment=False), [0.5, 0.5]),
    ],
)
def test_the_loss_knows_how_often_classes_are_sampled(
    tmp_path: Path, recipe: Recipe, shares: list[float]
) -> None:
    loss = compiled(trainer_of(tmp_path, replace(CONFIG, recipe=recipe)), "float").loss
    for label, share in enumerate(shares):
        # With equal logits, the adjusted probabilities are the shares.
        found = loss(tf.constant(np.eye(2, dtype=np.float32)[[label]]), tf.constant([[0.0, 0.0]]))
        assert float(found[0]) == pytest.approx(-math.log(share), rel=1e-5)


def test_calibration_is_on_training_photos_as_they_are_with_classes_alike_often(tmp_path: Path) -> None:
    images = np.concatenate(trainer_of(tmp_path).calibration_batches())
    assert images.shape == (20, 32, 32, 3)
    assert np.ptp(images, axis=(1, 2, 3)).max() == 0, "unaugmented"
    levels = Counter(round(float(image[0, 0, 0]) * 127.5 + 128) for image in images)
    rare = {level: count for level, count in levels.items() if level % 8 == 4}
    # Half of the 20 images are of the rare class. The held-out photos have the levels 36, 44, 128 and 136,
    # and are not among them.
    assert sum(rare.values()) == 10
    assert set(rare) == {4, 12, 20, 28}
    assert max(level for level in levels if level % 8 == 0) < 128


class ByGrey:
    """A network whose first logit rises with the grey level of an image, and whose second one is 0."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        # The first logit is below 0 at the levels 36 and 44 (rare), 0 at level 128 (common), and above 0 at
        # level 136 (common).
        first = images[:, 0, 0, 0] * 127.5
        return np.stack([first, np.zeros_like(first)], axis=1)


def test_the_validation_scores_are_on_the_photos_held_out_without_the_adjustment(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    # the held-out photos have the levels 128 and 136 (common), and 36 and 44 (rare)
    assert sorted(int(one[0, 0, 0]) for one in trainer.val_pixels) == [36, 44, 128, 136]
    found = trainer._validate(ByGrey())  # type: ignore[arg-type]
    # The first logits are 0, 8, -92 and -84. The common photo with 0 is undecided, which counts as the first
    # class. The answers to the other three photos are right.
    losses = [math.log(2), math.log(1 + math.exp(-8)), math.log1p(math.exp(-92)), math.log1p(math.exp(-84))]
    assert found == {
        "val_loss": pytest.approx(sum(losses) / 4, abs=1e-5),
        "val_accuracy": 1.0,
        "val_balanced_accuracy": 1.0,
    }
    trainer.val_photos.append(trainer.val_photos[0])
    trainer.val_pixels = np.concatenate([trainer.val_pixels, np.full((1, 32, 32, 3), 0, np.uint8)])
    found = trainer._validate(ByGrey())  # type: ignore[arg-type]
    # A black photo of the common class is taken for a rare one. So 4 of 5 photos are right: 2 of 3 common
    # ones, and both rare ones.
    assert found["val_accuracy"] == pytest.approx(4 / 5)
    assert found["val_balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-5)
    trainer.val_photos.clear()
    assert trainer._validate(ByGrey()) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(("stage", "sample", "restored"), [("float", 1, 0), ("qat", 6, 1)])
def test_an_epoch_has_its_own_samples_and_its_row_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, sample: int, restored: int
) -> None:
    trainer = trainer_of(tmp_path, replace(CONFIG, seed=3))
    asked: list[tuple[Any, ...]] = []
    batches = trainer._batches
    monkeypatch.setattr(
        trainer, "_batches", lambda epoch: (asked.append(("batches", epoch)), batches(epoch))[1]
    )
    monkeypatch.setattr(
        training, "reseed_dropout", lambda model, seed, at: asked.append(("dropout", seed, at))
    )
    monkeypatch.setattr(training, "restore_input_range", lambda model: asked.append(("range",)))
    monkeypatch.setattr(trainer, "_validate", lambda model: {"val_loss": 0.75})

    def fit(batches: object, **settings: Any) -> SimpleNamespace:
        asked.append(("fit", settings["initial_epoch"], settings["epochs"], settings["steps_per_epoch"]))
        return SimpleNamespace(history={"loss": [0.1234567], "accuracy": [0.7654321]})

    rate = SimpleNamespace(numpy=lambda: 0.0123456)
    model = SimpleNamespace(fit=fit, optimizer=SimpleNamespace(learning_rate=rate))
    row = trainer._fit_epoch(model, stage, 1, None)  # type: ignore[arg-type]
    # The first stage has five epochs. This is the second epoch of the second stage.
    assert asked == [
        ("batches", sample),
        ("dropout", 3, sample),
        ("fit", 1, 2, 10),
        *[("range",)] * restored,
    ]
    assert row.pop("photos_per_second") > 0
    assert row.pop("seconds") >= 0
    assert row == {
        "stage": stage,
        "epoch": 2,
        "loss": 0.12346,
        "accuracy": 0.76543,
        "val_loss": 0.75,
        "learning_rate": 0.0123,
    }


@pytest.mark.parametrize(("batch_size", "photos"), [(8, 40), (64, 40)])
def test_the_speed_counts_the_photos_of_an_epoch_and_not_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, photos: int
) -> None:
    trainer = trainer_of(tmp_path, replace(CONFIG, batch_size=batch_size))
    monkeypatch.setattr(trainer, "_validate", lambda model: {})
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr(training, "perf_counter", lambda: float(next(seconds)))
    assert trainer._batch_rate() == pytest.approx(photos / 10, rel=0.03)
    found = SimpleNamespace(history={"loss": [0.5], "accuracy": [0.5]})
    rate = SimpleNamespace(numpy=lambda: 0.01)
    model = SimpleNamespace(
        fit=lambda *_, **__: found, optimizer=SimpleNamespace(learning_rate=rate), submodules=()
    )
    row = trainer._fit_epoch(model, "float", 0, None)  # type: ignore[arg-type]
    assert row["photos_per_second"] == pytest.approx(photos / 10, rel=0.03)


def test_a_stage_begins_with_the_seed_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tmp_path, replace(CONFIG, seed=11))
    seeds: list[int] = []
    monkeypatch.setattr(keras.utils, "set_random_seed", seeds.append)

    def stop(stage: str) -> keras.Model:
        assert seeds == [11], "before the weights are made"
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_stage_model", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer._fit_stage(trainer.run.progress())


@pytest.mark.parametrize(("stage", "option"), [("float", "--lr"), ("qat", "--qat-lr")])
@pytest.mark.parametrize("column", ["loss", "val_loss"])
def test_a_loss_that_is_not_finite_ends_the_training_with_the_option_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, option: str, column: str
) -> None:
    trainer = trainer_of(tmp_path)
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    monkeypatch.setattr(trainer, "_stage_model", lambda stage: model)
    losses = {"loss": 0.5, "val_loss": 0.5, column: math.nan}
    history = {"loss": [losses["loss"]], "accuracy": [0.5]}
    monkeypatch.setattr(model, "fit", lambda *batches, **settings: SimpleNamespace(history=history))
    monkeypatch.setattr(trainer, "_validate", lambda model: {"val_loss": losses["val_loss"]})
    monkeypatch.setattr(training, "restore_input_range", lambda model: None)
    progress = replace(trainer.run.progress(), stage=stage)
    weights = trainer.run.weights_path(stage)
    weights.write_bytes(b"of the last finished epoch")
    with pytest.raises(DataError, match=f"the loss is not finite after epoch 1; .* a lower {option}$"):
        trainer._fit_stage(progress)
    assert trainer.run.history() == []
    assert weights.read_bytes() == b"of the last finished epoch"


def test_only_the_float_stage_is_averaged_with_the_decay_of_the_recipe(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, replace(CONFIG, recipe=Recipe(ema_decay=0.25)))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.weights[0].assign([[0.0]])
    average = trainer._average(model, "float")
    assert average is not None
    model.weights[0].assign([[8.0]])
    # The decay of step t is at most (1 + t) / (10 + t). So it is 2/11 in the first step, and 0.25 from the
    # second one on.
    average.update()
    average.update()
    with average.applied():
        assert float(model.weights[0].numpy()[0, 0]) == pytest.approx(8 * (1 - 2 / 11 * 0.25), rel=1e-5)
    assert trainer._average(model, "qat") is None
    (tmp_path / "other").mkdir()
    assert trainer_of(tmp_path / "other")._average(model, "float") is None


def test_scores_no_better_than_guessing_are_warned_about(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    assert trainer.warning() is None, "nothing was trained yet"
    # Each of the two classes has two held-out photos, so the bound is 0.5 + 1.645 * sqrt(2 * 0.25 / 2) / 2.
    bound = 0.5 + 1.645 / 4
    row = {"stage": "float", "epoch": 1, "loss": 0.5}
    for score, warned in ((bound - 0.001, True), (bound + 0.001, False)):
        trainer.run.add_history({**row, "val_balanced_accuracy": score})
        assert bool(trainer.warning()) == warned, score
    trainer.run.add_history({**row, "val_balanced_accuracy": 0.5})
    warning = trainer.warning()
    assert warning is not None
    assert (
        f"its validation balanced accuracy is 0.500, and guessing among 2 classes can reach {bound:.3f}"
        in warning
    )
    assert "on 4 photos" in warning


def test_the_line_of_an_epoch() -> None:
    row = {
        "stage": "qat",
        "epoch": 2,
        "loss": 0.5,
        "accuracy": 0.25,
        "photos_per_second": 12.4,
        "seconds": 7.6,
    }
    assert describe_epoch(row, 3) == "qat   epoch   2/3  loss 0.500  accuracy 0.250  12 photos/s  8 s"
    scored = {**row, "val_loss": 0.75, "val_accuracy": 0.5}
    assert describe_epoch(scored, 3) == (
        "qat   epoch   2/3  loss 0.500  val loss 0.750  val accuracy 0.500  12 photos/s  8 s"
    )


def test_a_teacher_is_the_float_network_at_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher").mkdir()
    teacher = trainer_of(tmp_path / "teacher", replace(CONFIG, size=48)).run
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(training, "check_parents", lambda config, photos: None)
    monkeypatch.setattr(training, "trained_network", lambda run, stage: (run.path, stage))
    monkeypatch.setattr(training, "make_teacher", lambda *arguments: asked.append(arguments))
    trainer_of(tmp_path, replace(CONFIG, teachers=(str(teacher.path),)))
    assert asked == [([(teacher.path, "float")], [48], 32)]


@pytest.mark.parametrize("adjusted", [True, False])
def test_a_teacher_that_learned_the_shares_of_the_classes_teaches_equally_frequent_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adjusted: bool
) -> None:
    (tmp_path / "teacher").mkdir()
    recipe = Recipe(logit_adjustment=adjusted, class_power=1.0)
    teacher = trainer_of(tmp_path / "teacher", replace(CONFIG, recipe=recipe)).run
    network = build_network("cnn", 32, 2)
    # The answers of this network are the shares among the samples, 16 of 20 and 4 of 20.
    for weight in network.weights:
        weight.assign(tf.zeros_like(weight))
    network.weights[-1].assign(np.log([0.8, 0.2]))
    save_weights(network, teacher.weights_path("float"))
    monkeypatch.setattr(training, "check_parents", lambda config, photos: None)
    student = trainer_of(tmp_path, replace(CONFIG, teachers=(str(teacher.path),)))
    assert student.teacher is not None
    answers = student.teacher(np.zeros((3, 32, 32, 3), np.float32))
    np.testing.assert_allclose(answers, [[0.8, 0.2] if adjusted else [0.5, 0.5]] * 3, atol=1e-5)


def test_batches_follow_the_settings_of_the_run(tmp_path: Path) -> None:
    recipe = Recipe(label_smoothing=0.25, mixup=0)
    trainer = trainer_of(tmp_path, replace(CONFIG, recipe=recipe, seed=5))
    trainer.teacher = lambda images: np.full((len(images), 2), 0.5, np.float32)
    batches = trainer._batches(2)
    assert (batches.recipe, batches.seed, batches.epoch, batches.batch_size) == (recipe, 5, 2, 4)
    assert batches.teacher is trainer.teacher
    assert len(batches.order) in (39, 40)
    assert not np.array_equal(batches.order, trainer._batches(3).order)
