"""A float .tflite of any maker is quantized and proven, without TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf
import tf_keras as keras

from dermedge import cli
from dermedge.convert.accept.parity import compare
from dermedge.convert.device import check_input, device_logits, open_on_device
from dermedge.convert.load.tflite_file import open_tflite
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import FLOAT16, FLOAT32, INT8_PTQ, INT16X8, Form
from dermedge.convert.to_tflite.graph import read_model
from dermedge.convert.to_tflite.pixel_input import input_ends
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest, attach
from dermedge.edge.model.normalization import NORMALIZATIONS

SIZE = 16
LABELS = ("dark", "light", "red")


def network(
    shape: tuple[int, int, int] = (SIZE, SIZE, 3), units: int = 3, activation: str = "softmax"
) -> Any:
    """A network with random weights. For a shape [C, H, W], its channels come first."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    pixels = keras.Input(shape)
    x = layers.Permute((2, 3, 1))(pixels) if shape[0] == 3 else pixels
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(8, 3, activation="relu6")(x)
    return keras.Model(pixels, layers.Dense(units, activation=activation)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def foreign_models() -> Path:
    """The folder of .tflite files of other makers, which are not part of the project."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "foreign_models"
    if not folder.is_dir():
        pytest.skip("no foreign models beside the checkout")
    return folder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 [12, 16, 24, 3] RGB: spots of many colours on noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(60, 180, (12, SIZE, SIZE + 8, 3), dtype=np.uint8)
    for image in noise:
        cv2.circle(image, (12, 8), 5, rng.integers(0, 256, 3).tolist(), -1)
    return noise


def test_sparse_weights_are_refused_with_the_option_that_made_them(tmp_path: Path) -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(pixels))
    model = keras.Model(pixels, dense)
    kernel, bias = model.layers[-1].get_weights()
    kernel[16:] = 0
    model.layers[-1].set_weights([kernel, bias])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    path = tmp_path / "sparse.tflite"
    path.write_bytes(converter.convert())
    assert any(tensor.sparsity for tensor in read_model(path.read_bytes()).subgraphs[0].tensors)
    with pytest.raises(ModelError, match=r"sparse format, .* without EXPERIMENTAL_SPARSITY"):
        open_tflite(path)
    converter.optimizations = []
    path.write_bytes(converter.convert())
    assert open_tflite(path).classes == 3


@pytest.mark.parametrize(
    ("shape", "units", "activation", "normalization"),
    [
        ((SIZE, SIZE, 3), 3, "softmax", "symmetric"),
        ((SIZE, SIZE + 8, 3), 3, "linear", "imagenet"),
        ((SIZE, SIZE, 1), 1, "sigmoid", "unit"),
        ((3, SIZE, SIZE), 3, "softmax", "caffe"),
        ((SIZE, SIZE, 3), 1, "linear", "pixels"),
        ((SIZE, SIZE, 3), 2, "sigmoid", "imagenet"),
    ],
)
def test_a_file_of_any_head_and_layout_answers_as_it_did(
    float_file: Callable[[Any], bytes],
    images: np.ndarray,
    tmp_path: Path,
    shape: tuple[int, int, int],
    units: int,
    activation: str,
    normalization: str,
) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(float_file(network(shape, units, activation)))
    file = open_tflite(path)
    assert (file.outputs, file.classes) == (units, max(units, 2))
    assert ("independent sigmoids" in file.note) == (activation == "sigmoid" and units > 1)
    labels = LABELS[: file.classes]
    source = file.network(labels, NORMALIZATIONS[normalization])
    images = np.ascontiguousarray(images[:, :, : file.layout.width])
    with Classifier(path, normalization=normalization) as classifier:
        direct = np.array([classifier.predict(one[..., ::-1]).probabilities for one in images])
    reference = source.logits(images)
    if file.note:
        # The logits are the logarithms of the odds. Their softmax is the odds, divided by the sum of all odds.
        direct = direct / (1 - direct)
        direct /= direct.sum(axis=1, keepdims=True)
    softmax = np.exp(reference - reference.max(axis=1, keepdims=True))
    np.testing.assert_allclose(softmax / softmax.sum(axis=1, keepdims=True), direct, atol=1e-4)

    spread = np.abs(reference - reference.mean(axis=1, keepdims=True)).max()
    for kind, tolerance in ((FLOAT32, 1e-3), (FLOAT16, 0.02), (INT8_PTQ, 0.15), (INT16X8, 0.1)):
        form = Form(kind)
        model = attach(to_tflite(source, form, list(images)), Manifest(labels, SIZE, kind))
        with open_on_device(model) as classifier:
            check_input(classifier, images.shape[1:3], input_ends(source, form))
            assert classifier.input_dtype == np.uint8
            device, _ = device_logits(classifier, images)
        assert compare(reference, device).max_logit_difference < tolerance * spread, kind


@pytest.mark.parametrize("kind", ["pairs", "scaled"])
def test_a_softmax_of_pairs_or_of_scaled_logits_answers_as_it_did(
    float_file: Callable[[Any], bytes], images: np.ndarray, tmp_path: Path, kind: str
) -> None:
    layers, path = keras.layers, tmp_path / "foreign.tflite"
    model = network(units=4, activation="linear" if kind == "pairs" else "softmax")
    if kind == "pairs":
        pairs = layers.Softmax()(layers.Reshape((2, 2))(model.output))
        model = keras.Model(model.input, layers.Flatten()(pairs))
    root = read_model(float_file(model))
    for operator in root.subgraphs[0].operators:
        if kind == "scaled" and hasattr(operator.builtinOptions, "beta"):
            operator.builtinOptions.beta = 0.25
    path.write_bytes(pack(root))
    source = open_tflite(path).network(("a", "b", "c", "d"), NORMALIZATIONS["unit"])
    square = np.ascontiguousarray(images[:, :, :SIZE])
    with Classifier(path, normalization="unit") as classifier:
        direct = np.array([classifier.predict(one[..., ::-1]).probabilities for one in square])
    answers = np.exp(source.logits(square))
    np.testing.assert_allclose(answers, direct, atol=1e-4)


def test_a_file_of_several_outputs_is_refused(float_file: Callable[[Any], bytes], tmp_path: Path) -> None:
    model, path = network(), tmp_path / "foreign.tflite"
    age = keras.layers.Dense(1)(model.layers[-2].output)
    path.write_bytes(float_file(keras.Model(model.input, [model.output, age])))
    with pytest.raises(ModelError, match=r"has 2 outputs .*only has the output for the classes"):
        open_tflite(path)


@pytest.mark.parametrize("name", [None, b"same"])
@pytest.mark.parametrize("kind", [FLOAT32, FLOAT16, INT8_PTQ, INT16X8])
def test_tensors_need_no_names_of_their_own(
    float_file: Callable[[Any], bytes], images: np.ndarray, tmp_path: Path, name: bytes | None, kind: str
) -> None:
    root = read_model(float_file(network()))
    square = np.ascontiguousarray(images[:, :, :SIZE])
    answers = []
    for path in (tmp_path / "named.tflite", tmp_path / "unnamed.tflite"):
        path.write_bytes(pack(root))
        source = open_tflite(path).network(LABELS, NORMALIZATIONS["unit"])
        model = to_tflite(source, Form(kind), list(square))
        with open_on_device(attach(model, Manifest(LABELS, SIZE, kind))) as classifier:
            answers.append(device_logits(classifier, square)[0])
        for tensor in root.subgraphs[0].tensors:
            tensor.name = name
        root.signatureDefs = []
    named, unnamed = answers
    np.testing.assert_array_equal(named, unnamed)


def test_a_file_with_a_second_signature_is_quantized_without_its_graph(
    float_file: Callable[[Any], bytes], images: np.ndarray, tmp_path: Path
) -> None:
    root, path = read_model(float_file(network())), tmp_path / "two_signatures.tflite"
    (second,) = read_model(float_file(network())).subgraphs
    for tensor in second.tensors:
        tensor.name = b"second_" + (tensor.name or b"")
        tensor.buffer += len(root.buffers)
    root.buffers += read_model(float_file(network())).buffers
    root.subgraphs.append(second)
    path.write_bytes(pack(root))
    source = open_tflite(path).network(LABELS, NORMALIZATIONS["unit"])
    square = np.ascontiguousarray(images[:, :, :SIZE])
    model = to_tflite(source, Form(INT8_PTQ), list(square))
    assert len(read_model(model).subgraphs) == 1


def test_a_converted_file_that_the_runtime_refuses_is_not_named_by_a_temporary_path() -> None:
    with (
        pytest.raises(ModelError, match=r"^the converted file is not a \.tflite"),
        open_on_device(b"damaged"),
    ):
        pass


def test_labels_and_normalization_of_the_file_are_believed(foreign_models: Path) -> None:
    file = open_tflite(foreign_models / "mobilenet_v1_0.25_224_1_metadata_1.tflite")
    assert file.layout == Layout(224, 224, 3, channels_first=False)
    assert file.known_normalization is not None
    assert (file.known_normalization.mean[0], file.known_normalization.std[0]) == (127.5, 127.5)
    assert file.known_labels is not None
    assert len(file.known_labels) == file.classes == 1001


def test_a_quantized_file_is_refused(foreign_models: Path) -> None:
    with pytest.raises(ModelError, match=r"quantized already \(uint8\)"):
        open_tflite(foreign_models / "mobilenet_v1_0.25_224_quant.tflite")


def test_what_cannot_be_quantized_is_one_clear_line(
    float_file: Callable[[Any], bytes], images: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(float_file(network()))
    source = open_tflite(path).network(LABELS, NORMALIZATIONS["unit"])
    made = tmp_path / "float16.tflite"
    made.write_bytes(source.finished_tflite(Form(FLOAT16, "float32")))
    with pytest.raises(ModelError, match=r"quantized already \(float32 with float16 weights\)"):
        open_tflite(made)
    made.write_bytes(attach(source.finished_tflite(Form(FLOAT32)), Manifest(LABELS, SIZE, FLOAT32)))
    with pytest.raises(ModelError, match="was made by dermedge convert"):
        open_tflite(made)
    for options, message in (
        (["--int8"], "needs labelled photos: with --data, give"),
        (["--dynamic", "--data", "x"], "--dynamic is for a run or a Keras classifier"),
        (["--int8", "--data", "x", "--trust"], "--trust is for a Keras classifier"),
        (["--int8", "--data", "x", "--imgsz", "9"], "--imgsz is for a Keras classifier"),
        (["--int8", "--data", "x", "--method", "qat"], "--method qat needs a run"),
    ):
        assert cli.main(["convert", str(path), *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"):
    sys.modules[name] = None  # an import of it fails
from dermedge.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_one_command_without_tensorflow_delivers_int8_with_its_report(
    float_file: Callable[[Any], bytes], labelled_set: Path, tmp_path: Path
) -> None:
    """The normalization is found by trying. Only the last layer is fitted, which takes milliseconds."""
    from sklearn.linear_model import LogisticRegression

    from dermedge.edge.photos import read_picture
    from dermedge.edge.preprocess import to_input

    model = network((32, 32, 3))
    paths = sorted(labelled_set.rglob("*.png"))
    pixels = NORMALIZATIONS["imagenet"](np.stack([to_input(read_picture(one), 32) for one in paths]))
    features = keras.Model(model.input, model.layers[-2].output).predict(pixels, verbose=0)
    mean, scale = features.mean(axis=0), features.std()
    truth = [one.parent.name for one in paths]
    fitted = LogisticRegression(C=30.0, max_iter=1000).fit((features - mean) / scale, truth)
    kernel = (fitted.coef_ / scale).T
    model.layers[-1].set_weights([kernel, fitted.intercept_ - mean @ kernel])
    path, target = tmp_path / "foreign.tflite", tmp_path / "made.tflite"
    path.write_bytes(float_file(model))

    command = ["convert", str(path), "--int8", "--data", str(labelled_set), "--output", str(target)]
    run = [sys.executable, "-c", WITHOUT_TENSORFLOW, *command]
    done = subprocess.run(
        run, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": "."}
    )
    assert done.returncode == 0, done.stderr
    assert "output 2: folder 'red', class red" in done.stdout
    report = json.loads((tmp_path / "made-report" / "report.json").read_text())
    assert report["delivered"]
    assert report["normalization"] == "imagenet"
    assert report["form"]["kind"] == INT8_PTQ
    with Classifier(target) as classifier:
        answers = [classifier.predict(read_picture(one)).label == one.parent.name for one in paths]
    assert np.mean(answers) > 0.9


def test_a_mobilenet_v2_of_keras_is_delivered_as_int8(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ImageNet's features, with a last layer that is fitted to the photos."""
    from sklearn.linear_model import LogisticRegression

    from dermedge.edge.photos import read_picture
    from dermedge.edge.preprocess import to_input

    weights = Path(__file__).resolve().parents[3] / "shared/weights/mobilenet_v2_1.0_224_imagenet_no_top.h5"
    if not weights.is_file():
        pytest.skip("no ImageNet weights beside the checkout")
    shape = (64, 64, 3)
    features = keras.applications.MobileNetV2(shape, include_top=False, weights=str(weights), pooling="avg")
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([features, head])
    model.build((None, *shape))
    paths = sorted(labelled_set.rglob("*.png"))
    pixels = NORMALIZATIONS["symmetric"](np.stack([to_input(read_picture(one), 64) for one in paths]))
    found = features.predict(pixels, verbose=0)
    mean, scale = found.mean(axis=0), found.std()
    truth = [one.parent.name for one in paths]
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit((found - mean) / scale, truth)
    kernel = (fitted.coef_ / scale).T
    head.set_weights([kernel, fitted.intercept_ - mean @ kernel])
    path = tmp_path / "mobilenet_v2.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())

    assert cli.main(["convert", str(path), "--int8", "--data", str(labelled_set)]) == 0
    report = json.loads((tmp_path / "mobilenet_v2-int8-report" / "report.json").read_text())
    assert report["delivered"]
    assert report["normalization"] == "symmetric"
    assert not [layer["name"] for layer in report["layers"] if layer["in_float"]]
    assert (tmp_path / "mobilenet_v2-int8.tflite").stat().st_size < 0.35 * path.stat().st_size
