"""What calibrated rounding adds to logits on average is taken out of them again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tf_keras as keras

from dermedge.convert.accept.parity import device_logits
from dermedge.convert.load.conversion_input import Subject, subject_of_run
from dermedge.convert.load.network import Network, network_of
from dermedge.convert.pipeline import convert
from dermedge.convert.to_tflite.converter import INT8_PTQ, Form, lower
from dermedge.convert.to_tflite.metadata import with_metadata
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import attach
from dermedge.train.fit.networks import EVIDENCE, LOGITS
from dermedge.train.fit.run_folder import RunFolder

LABELS = ("blue", "brown", "red")


@pytest.fixture(scope="module")
def mapped(trained_run: Path) -> Subject:
    """A network that nobody trained, with a heat map of 8x8 cells, to be proven on the photos of a run."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    x = pixels
    for filters in (16, 32, 32, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    evidence = keras.layers.Conv2D(3, 1, strides=4, name=EVIDENCE)(x)
    logits = keras.layers.GlobalAveragePooling2D(name=LOGITS)(evidence)
    network = network_of(keras.Model(pixels, logits), "mapped", 32, LABELS)
    return replace(subject_of_run(RunFolder(trained_run), 30), network=network)


def average_error(network: Network, model: bytes, subject: Subject, folder: Path) -> np.ndarray:
    """float [3]: what the file adds to the network's logits, on average over the calibration pictures."""
    path = folder / "model.tflite"
    path.write_bytes(model)
    pictures = np.stack(subject.calibration)
    with Classifier(path) as classifier:
        device, _ = device_logits(classifier, pictures)
    added = (device - network.logits(pictures)).mean(axis=0)
    return added - added.mean()


def test_rounding_adds_nothing_on_average(mapped: Subject, tmp_path: Path) -> None:
    form = Form(INT8_PTQ)
    manifest = replace(mapped.manifest, quantization=INT8_PTQ)
    plain = attach(with_metadata(lower(mapped.network, form, mapped.calibration), manifest), manifest)
    before = np.abs(average_error(mapped.network, plain, mapped, tmp_path)).max()
    after = np.abs(average_error(mapped.network, convert(mapped, form, 1.0).model, mapped, tmp_path)).max()
    assert after < before / 3, (before, after)


def test_a_shifted_network_says_more_of_a_class_everywhere(mapped: Subject) -> None:
    pictures = np.stack(mapped.calibration)
    amounts = np.array([0.5, 0.0, -0.25], np.float32)
    shifted = mapped.network.shifted(amounts)
    np.testing.assert_allclose(shifted.logits(pictures), mapped.network.logits(pictures) + amounts, atol=1e-5)
    normalized = mapped.network.normalization(pictures)
    probabilities, evidence = shifted.compute(normalized)
    np.testing.assert_allclose(evidence, mapped.network.compute(normalized)[1] + amounts, atol=1e-5)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)
