"""Bias correction removes the mean shift that rounding adds to each logit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tf_keras as keras

from dermedge.convert.conversion import convert_to_form
from dermedge.convert.device import device_logits
from dermedge.convert.load.conversion_input import ConversionInput
from dermedge.convert.load.network import Network
from dermedge.convert.load.run import load_run
from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import INT8_PTQ, Form
from dermedge.convert.to_tflite.metadata import with_metadata
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import attach
from dermedge.train.fit.networks import EVIDENCE, LOGITS
from dermedge.train.fit.run_folder import RunFolder

LABELS = ("blue", "brown", "red")


@pytest.fixture(scope="module")
def mapped(trained_run: Path) -> ConversionInput:
    """An untrained network with a heat map of 8x8 cells, and the photos of a run as proof set."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    x = pixels
    for filters in (16, 32, 32, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    evidence = keras.layers.Conv2D(3, 1, strides=4, name=EVIDENCE)(x)
    logits = keras.layers.GlobalAveragePooling2D(name=LOGITS)(evidence)
    network = network_of(keras.Model(pixels, logits), "mapped", 32, LABELS)
    return replace(load_run(RunFolder(trained_run), 30), network=network)


def mean_shift_of(network: Network, model: bytes, source: ConversionInput, folder: Path) -> np.ndarray:
    """The mean difference of the file's logits from the network's over the calibration images, float [3]."""
    path = folder / "model.tflite"
    path.write_bytes(model)
    images = np.stack(source.calibration)
    with Classifier(path) as classifier:
        device, _ = device_logits(classifier, images)
    added = (device - network.logits(images)).mean(axis=0)
    return added - added.mean()


def test_the_mean_shift_is_removed(mapped: ConversionInput, tmp_path: Path) -> None:
    form = Form(INT8_PTQ)
    manifest = replace(mapped.manifest, quantization=INT8_PTQ)
    plain = attach(with_metadata(to_tflite(mapped.network, form, mapped.calibration), manifest), manifest)
    before = np.abs(mean_shift_of(mapped.network, plain, mapped, tmp_path)).max()
    after = np.abs(
        mean_shift_of(mapped.network, convert_to_form(mapped, form, 1.0).model, mapped, tmp_path)
    ).max()
    assert after < before / 3, (before, after)


def test_moved_logits_move_every_cell_of_the_evidence(mapped: ConversionInput) -> None:
    images = np.stack(mapped.calibration)
    amounts = np.array([0.5, 0.0, -0.25], np.float32)
    moved = mapped.network.with_logits_moved(amounts)
    np.testing.assert_allclose(moved.logits(images), mapped.network.logits(images) + amounts, atol=1e-5)
    normalized = mapped.network.normalization(images)
    probabilities, evidence = moved.compute(normalized)
    np.testing.assert_allclose(evidence, mapped.network.compute(normalized)[1] + amounts, atol=1e-5)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)
