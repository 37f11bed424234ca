"""Logits are told from probabilities in Keras networks. The answer to a photo is always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras as keras3
import tensorflow as tf
import tf_keras as keras2

from dermedge.convert.device import device_logits, open_on_device
from dermedge.convert.load.keras_file import open_keras
from dermedge.convert.load.keras_head import find_head
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import FLOAT32, Form
from dermedge.edge.errors import ModelError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest, attach
from dermedge.edge.model.normalization import NORMALIZATIONS

SIZE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def network(keras: Any, *before: Any, units: int = 3, activation: str | None = None) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    pixels = x = keras.Input((SIZE, SIZE, 3))
    for layer in before:
        x = layer(x)
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    return keras.Model(pixels, layers.Dense(units, activation=activation)(features))


def exported(function: Any, folder: Path, batch: int | None) -> Path:
    """A SavedModel of a function, which accepts ``batch`` images at a time."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec([batch, SIZE, SIZE, 3], tf.float32)])
    module.kept = function
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve})
    return folder


@pytest.mark.parametrize("keras", [keras2, keras3])
@pytest.mark.parametrize("name", ["model.keras", "saved"])
def test_a_logit_that_is_near_a_half_is_no_probability(tmp_path: Path, keras: Any, name: str) -> None:
    model = network(keras, keras.layers.Rescaling(1 / 255), units=1)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0.1, np.array([0.4])])
    said = np.asarray(model(PIXELS.astype(np.float32)))
    assert said.min() > 0
    assert said.max() < 1
    path = tmp_path / name
    model.save(path) if path.suffix else model.export(path)
    logits = open_keras(path).network(("a", "b"), NORMALIZATIONS["pixels"]).logits(PIXELS)
    assert logits == pytest.approx(np.concatenate([0 * said, said], axis=1), abs=1e-5)


def test_a_weighted_mean_of_probabilities_may_exceed_1_by_rounding(tmp_path: Path) -> None:
    model = network(keras2, activation="softmax")
    terms = [keras2.layers.Rescaling(0.1)(model.output) for _ in range(10)]
    whole, path = keras2.Model(model.input, keras2.layers.Add()(terms)), tmp_path / "model.keras"
    assert np.asarray(whole(PIXELS.astype(np.float32) * 1e4)).max() > 1
    whole.save(path)
    read = open_keras(path).network(("a", "b", "c"), NORMALIZATIONS["unit"])
    [probabilities] = read.compute(tf.constant(PIXELS, tf.float32))
    assert probabilities.numpy() == pytest.approx(np.asarray(whole(PIXELS.astype(np.float32))), abs=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("keras", [keras2, keras3])
def test_a_saved_model_gives_the_logits_behind_its_last_activation(
    tmp_path: Path, keras: Any, activation: str
) -> None:
    model = network(keras, activation=activation)
    # with such weights, the probabilities are 0 or 1 in float32
    model.layers[-1].set_weights([weight * 50 for weight in model.layers[-1].get_weights()])
    model.export(tmp_path / "saved")
    model.layers[-1].activation = tf.identity
    said = np.asarray(model(PIXELS.astype(np.float32)))
    file = open_keras(tmp_path / "saved")
    assert bool(file.note) == (activation == "sigmoid")
    logits = file.network(("a", "b", "c"), NORMALIZATIONS["pixels"]).logits(PIXELS)
    assert logits == pytest.approx(said, rel=1e-4)


def test_a_saved_model_for_one_image_answers_many(tmp_path: Path) -> None:
    model = network(keras2, activation="softmax")
    many = open_keras(exported(model, tmp_path / "many", None)).network(
        ("a", "b", "c"), NORMALIZATIONS["unit"]
    )
    one = open_keras(exported(model, tmp_path / "one", 1)).network(("a", "b", "c"), NORMALIZATIONS["unit"])
    assert one.logits(PIXELS) == pytest.approx(many.logits(PIXELS), abs=1e-4)
    assert to_tflite(one, Form(FLOAT32))
    with pytest.raises(ModelError, match=r"expects 4 images at a time; export it with a batch of 1$"):
        open_keras(exported(model, tmp_path / "four", 4))


@pytest.mark.parametrize("keras", [keras2, keras3])
def test_an_output_that_has_a_name_is_the_output(tmp_path: Path, keras: Any) -> None:
    model = network(keras)
    path = tmp_path / "model.keras"
    keras.Model(model.input, {"diagnosis": model.output}).save(path)
    logits = open_keras(path).network(("a", "b", "c"), NORMALIZATIONS["pixels"]).logits(PIXELS)
    assert logits == pytest.approx(np.asarray(model(PIXELS.astype(np.float32))), rel=1e-4)


def in_training_mode(kind: str) -> Any:
    """A network of tf_keras with a layer of a kind that runs in training mode."""
    layer = {
        "dropout": keras2.layers.Dropout(0.3),
        "noise": keras2.layers.GaussianNoise(5.0),
        "batch norm": keras2.layers.BatchNormalization(),
    }[kind]
    return network(keras2, lambda x: layer(x, training=True))


@pytest.mark.parametrize("kind", ["dropout", "noise", "batch norm"])
@pytest.mark.parametrize("name", ["model.keras", "saved"])
def test_a_layer_in_training_mode_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    model, path = in_training_mode(kind), tmp_path / name
    model.save(path) if path.suffix else model.export(path)
    with pytest.raises(
        ModelError, match=r"depends on chance or on the other photos .* give the \.keras file$"
    ):
        open_keras(path)


@pytest.mark.parametrize("keras", [keras2, keras3])
def test_augmentation_that_an_export_leaves_on_is_refused(tmp_path: Path, keras: Any) -> None:
    model = network(keras, keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2))
    model.export(tmp_path / "saved")
    with pytest.raises(ModelError, match="runs in training mode"):
        open_keras(tmp_path / "saved")
    model.save(tmp_path / "model.keras")
    assert open_keras(tmp_path / "model.keras").classes == 3


def test_probabilities_near_0_are_limited_in_the_float_network_as_on_the_device(tmp_path: Path) -> None:
    model = network(keras2, activation="softmax")
    model.layers[-1].set_weights([weight * 50 for weight in model.layers[-1].get_weights()])
    # this softmax is not the last operator, so the file has no logits
    path = tmp_path / "model.keras"
    keras2.Model(model.input, model.output * 1.0).save(path)
    labels = ("a", "b", "c")
    read = open_keras(path).network(labels, NORMALIZATIONS["pixels"])
    with open_on_device(
        attach(to_tflite(read, Form(FLOAT32)), Manifest(labels, SIZE, FLOAT32))
    ) as classifier:
        device, _ = device_logits(classifier, PIXELS)
    assert np.ptp(device) > 5
    assert read.logits(PIXELS) == pytest.approx(device, abs=1e-3)


def test_the_outputs_are_inspected_for_noise_in_the_range_of_each_usual_normalization() -> None:
    asked: list[Any] = []

    def answer(images: Any) -> Any:
        asked.extend(images.numpy())
        return tf.zeros((len(images), 3))

    find_head(Path("a.keras"), answer, Layout(SIZE, SIZE, 3, channels_first=False))
    ends = [(image.min(), image.max()) for image in asked]
    for low, high in ((0, 1), (-1, 1), (0, 255)):
        near = pytest.approx((low, high), abs=0.02 * (high - low))
        assert sum(end == near for end in ends) == 3, (low, high)
