"""The values that a trainer gives to the optimizer, the loss and the calibration, without training."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf
import tf_keras as keras

from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.run_folder import Config, RunFolder
from dermedge.train.fit.training import Trainer

# Training photos of each class, each of its own lesion.
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
        for number in range(count + 2):
            path = folder / f"{label}{number}.png"
            level = 8 * number + (4 if label == "rare" else 0)
            cv2.imwrite(str(path), np.full((32, 32, 3), level, np.uint8))
            split = "train" if number < count else "val"
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
    # the schedule itself; `learning_rate` is that of the last step taken
    return float(model.optimizer._learning_rate(step))


@pytest.mark.parametrize(("stage", "peak", "epochs"), [("float", 0.2, 5), ("qat", 0.03, 3)])
def test_each_stage_has_its_own_peak_and_length(tmp_path: Path, stage: str, peak: float, epochs: int) -> None:
    model = compiled(trainer_of(tmp_path), stage)
    # 40 photos in batches of 4, of which the first quarter warms up
    steps = 10 * epochs
    warmup = steps // 4
    assert rate_at(model, 0) == pytest.approx(peak / warmup, rel=1e-4)
    assert rate_at(model, warmup) == pytest.approx(peak, rel=1e-4)
    middle = warmup + (steps - warmup) // 2
    expected = peak * (1 + math.cos(math.pi * (middle - warmup) / (steps - warmup))) / 2
    assert rate_at(model, middle) == pytest.approx(expected, rel=1e-4)
    assert rate_at(model, steps) == pytest.approx(0, abs=1e-7)


def test_a_long_stage_warms_up_for_60_steps_and_weights_decay(tmp_path: Path) -> None:
    model = compiled(trainer_of(tmp_path, replace(CONFIG, photos_per_epoch=400)), "float")
    assert rate_at(model, 29) == pytest.approx(0.2 * 30 / 60, rel=1e-4)
    assert rate_at(model, 60) == pytest.approx(0.2, rel=1e-4)
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    assert model.optimizer.weight_decay == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("recipe", "shares"),
    [
        # classes are sampled by the roots of 16 and 4
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
        # with equal logits, the adjusted probabilities are the shares
        found = loss(tf.constant(np.eye(2, dtype=np.float32)[[label]]), tf.constant([[0.0, 0.0]]))
        assert float(found[0]) == pytest.approx(-math.log(share), rel=1e-5)


def test_calibration_is_on_training_photos_as_they_are_with_classes_alike_often(tmp_path: Path) -> None:
    images = np.concatenate(trainer_of(tmp_path).calibration_batches())
    assert images.shape == (20, 32, 32, 3)
    assert np.ptp(images, axis=(1, 2, 3)).max() == 0, "unaugmented"
    levels = Counter(round(float(image[0, 0, 0]) * 127.5 + 128) for image in images)
    rare = {level: count for level, count in levels.items() if level % 8 == 4}
    # half of 20 are of the rare class; the photos held out, of levels 36 and 44 or 128 and 136, are not among them
    assert sum(rare.values()) == 10
    assert set(rare) == {4, 12, 20, 28}
    assert max(level for level in levels if level % 8 == 0) < 128
