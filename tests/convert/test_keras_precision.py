"""Keras networks that compute in another precision than float32 are read in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras as keras3
import tf_keras as keras2

from dermedge import cli
from dermedge.convert.device import device_logits, open_on_device
from dermedge.convert.load.keras_file import open_keras
from dermedge.convert.load.keras_precision import config_in_float32
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import FLOAT16, FLOAT32, INT8_PTQ, Form
from dermedge.edge.model.manifest import Manifest, attach
from dermedge.edge.model.normalization import NORMALIZATIONS

LABELS = ("a", "b", "c")
SIZE = 16


def network(keras: Any, policy: str) -> Any:
    """A classifier whose layers have a policy, one of them in a nested network."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    keras.mixed_precision.set_global_policy(policy)
    try:
        pixels = keras.Input((SIZE, SIZE, 3))
        x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(pixels))
        inner = keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
        x = inner(layers.BatchNormalization()(x))
        return keras.Model(pixels, layers.Dense(3, activation="softmax", dtype="float32")(x))
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("keras", [keras2, keras3])
def test_a_network_of_another_precision_answers_in_float32_as_before(
    tmp_path: Path, keras: Any, name: str, policy: str
) -> None:
    model, path = network(keras, policy), tmp_path / name
    model.save(path)
    before = path.read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    read = open_keras(path).network(LABELS, NORMALIZATIONS["pixels"])
    logits = read.logits(pixels).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # bfloat16 has 8 bits of precision
    tolerance = 0.02 if policy == "mixed_bfloat16" else 0.003
    assert probabilities == pytest.approx(np.asarray(model(pixels.astype(np.float32))), abs=tolerance)
    assert path.read_bytes() == before
    made = attach(to_tflite(read, Form(FLOAT32), list(pixels)), Manifest(LABELS, SIZE, FLOAT32))
    with open_on_device(made) as classifier:
        found, _ = device_logits(classifier, pixels)
    assert np.ptp(found, axis=1) == pytest.approx(np.ptp(logits, axis=1), abs=1e-3)


@pytest.mark.parametrize("kind", [FLOAT16, INT8_PTQ])
def test_a_network_of_mixed_precision_is_converted_to_every_form(tmp_path: Path, kind: str) -> None:
    network(keras3, "mixed_float16").save(tmp_path / "model.keras")
    read = open_keras(tmp_path / "model.keras").network(LABELS, NORMALIZATIONS["pixels"])
    pixels = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    assert to_tflite(read, Form(kind), list(pixels))[4:8] == b"TFL3"


@pytest.mark.parametrize("keras", [keras2, keras3])
def test_a_saved_model_of_mixed_precision_is_refused_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keras: Any
) -> None:
    model, path = network(keras, "mixed_float16"), tmp_path / "saved"
    (model.export if keras is keras3 else model.save)(path)
    capsys.readouterr()
    assert cli.main(["convert", str(path), "--int8", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "computes in float16" in error
    assert "give the network as a .keras or .h5 file" in error
    assert error.count("\n") == 1


def test_only_floating_point_dtypes_become_float32() -> None:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
    layers = [
        {"name": "float16", "dtype": policy},
        {"dtype": "int64"},
        {"dtype": None},
        {"dtype": "bfloat16"},
    ]
    before = json.dumps(layers)
    found = config_in_float32(layers)
    assert [one["dtype"] for one in found] == ["float32", "int64", None, "float32"]
    assert found[0]["name"] == "float16"
    assert json.dumps(layers) == before
