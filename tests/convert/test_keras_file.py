"""Keras classifiers of any maker: Keras 2 and 3, files and SavedModels, and the normalizations that they expect."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras as keras3
import tensorflow as tf
import tf_keras as keras2
from sklearn.linear_model import LogisticRegression

from dermedge import cli
from dermedge.convert.accept.parity import compare
from dermedge.convert.device import check_input, device_logits, open_on_device
from dermedge.convert.load.foreign_classifier import load_foreign
from dermedge.convert.load.keras_file import open_keras
from dermedge.convert.load.normalization_choice import choose_normalization
from dermedge.convert.request import ConversionRequest
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import FLOAT32, INT8_PTQ, Form
from dermedge.convert.to_tflite.pixel_input import input_ends
from dermedge.edge.errors import DataError, ModelError, ModelWarning, OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest, attach
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.edge.phone.build import build_app
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input

LABELS = ("blue", "brown", "red")
SIZE = 32


def build(keras: Any, *before: Any, activation: str = "softmax", nested: bool = False) -> Any:
    """A small classifier with preprocessing layers in front."""
    layers = keras.layers
    trunk = [
        layers.Conv2D(12, 3, strides=2, activation="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.GlobalAveragePooling2D(),
    ]
    pixels = keras.Input((SIZE, SIZE, 3))
    x = pixels
    for layer in (*before, *([keras.Sequential(trunk)] if nested else trunk)):
        x = layer(x)
    return keras.Model(pixels, layers.Dense(3, activation=activation)(x))


@pytest.fixture(scope="module")
def blobs(labelled_set: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, s, s, 3] RGB and classes."""
    paths = sorted(labelled_set.rglob("*.png"))
    pixels = np.stack([to_input(read_picture(path), SIZE) for path in paths])
    return pixels, np.array([LABELS.index(path.parent.name) for path in paths])


def lesions(blobs: tuple[np.ndarray, np.ndarray]) -> list[str]:
    """A lesion for each photo."""
    return [str(index) for index in range(len(blobs[1]))]


@pytest.fixture(scope="module")
def trained(blobs: tuple[np.ndarray, np.ndarray]) -> Callable[..., Any]:
    """A function (keras, layers in front, normalization) -> a classifier that is right about the blobs.

    Its convolutions stay random. Its last layer is fitted by logistic regression, which takes milliseconds.
    """

    def train(keras: Any, *before: Any, normalization: str = "pixels", **options: Any) -> Any:
        keras.utils.set_random_seed(0)
        model = build(keras, *before, **options)
        pixels, truth = blobs
        images = NORMALIZATIONS[normalization](pixels)
        features = np.asarray(keras.Model(model.input, model.layers[-1].input)(images))
        # All features have one scale. A scale for each feature would amplify those that hardly vary, and
        # their rounding errors.
        mean, scale = features.mean(axis=0), features.std()
        fitted = LogisticRegression(C=30.0, max_iter=1000).fit((features - mean) / scale, truth)
        kernel = (fitted.coef_ / scale).T
        model.layers[-1].set_weights([kernel, fitted.intercept_ - mean @ kernel])
        answers = np.asarray(model(images)).argmax(axis=1)
        assert (answers == truth).mean() > 0.9
        return model

    return train


def saved(model: Any, path: Path) -> Path:
    if path.suffix:
        model.save(path)
    elif hasattr(model, "export"):
        model.export(path)
    else:
        model.save(path)
    return path


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        ("keras 3", "model.keras"),
        ("keras 3", "model.h5"),
        ("keras 3", "saved_model"),
        ("tf_keras", "model.keras"),
        ("tf_keras", "model.h5"),
        ("tf_keras", "saved_model"),
    ],
)
def test_a_classifier_of_any_form_is_converted_by_the_command_line(
    trained: Callable[..., Any], labelled_set: Path, tmp_path: Path, maker: str, name: str
) -> None:
    keras = keras3 if maker == "keras 3" else keras2
    model = saved(trained(keras, keras.layers.Rescaling(1 / 255)), tmp_path / name)
    target = tmp_path / "model.tflite"
    command = ["convert", str(model), "--int8", "--data", str(labelled_set), "--critical", "red"]
    if name == "saved_model":
        # The layers of a SavedModel cannot be inspected, so the command names the normalization. Of all
        # normalizations, "pixels" has the most right answers.
        command += ["--normalization", "pixels"]
    assert cli.main([*command, "--output", str(target)]) == 0
    paths = sorted(labelled_set.rglob("*.png"))
    with Classifier(target) as classifier:
        assert classifier.labels == LABELS
        assert "evidence" in classifier.raw_outputs(np.zeros((32, 32, 3), np.uint8))
        assert classifier.calibration.thresholds["alert"]["label"] == "red"
        answers = [classifier.predict(read_picture(path)).label == path.parent.name for path in paths]
    assert np.mean(answers) > 0.9
    report = json.loads((tmp_path / "model-report" / "report.json").read_text())
    assert report["delivered"]
    assert report["proof_photos"] + report["calibration_photos"] == len(paths)
    assert report["normalization"] == "pixels"


@pytest.mark.parametrize("normalization", ["unit", "caffe"])
def test_what_it_wants_of_pixels_is_found_by_trying(
    trained: Callable[..., Any], blobs: tuple[np.ndarray, np.ndarray], tmp_path: Path, normalization: str
) -> None:
    file = open_keras(saved(trained(keras3, normalization=normalization), tmp_path / "model.keras"))
    assert choose_normalization(file, "auto", *blobs, lesions(blobs), LABELS).name == normalization


def test_a_normalization_that_photos_do_not_tell_from_others_is_used_with_a_warning(
    tmp_path: Path,
) -> None:
    red, green, blue = (np.full((4, 32, 32, 3), colour, np.uint8) for colour in np.eye(3) * 255)
    # the logits are the means of the channels: the same classes for all affine normalizations
    model = keras3.Sequential(
        [keras3.Input((32, 32, 3)), keras3.layers.GlobalAveragePooling2D(), keras3.layers.Dense(3)]
    )
    model.layers[-1].set_weights([np.eye(3), np.zeros(3)])
    file = open_keras(saved(model, tmp_path / "model.keras"))
    plain = np.concatenate([red, green, blue]), np.repeat(np.arange(3), 4)
    groups = [str(number) for number in range(12)]
    with pytest.warns(ModelWarning, match="pixels is used, but with unit, symmetric, imagenet, the balanced"):
        assert choose_normalization(file, "auto", *plain, groups, LABELS).name == "pixels"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        choose_normalization(file, "unit", *plain, groups, LABELS)


def test_one_that_is_right_under_no_normalization_is_refused(
    blobs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    model = build(keras3)
    model.layers[-1].set_weights([np.zeros((16, 3)), np.array([1.0, 0, 0])])
    file = open_keras(saved(model, tmp_path / "model.keras"))
    with pytest.raises(
        DataError, match=r"hardly better than chance on \d+ calibration photos.* unit 0\.33, "
    ):
        choose_normalization(file, "auto", *blobs, lesions(blobs), LABELS)
    with pytest.raises(OptionError, match="Known: auto, dermedge, pixels"):
        choose_normalization(file, "zscore", *blobs, lesions(blobs), LABELS)


@pytest.mark.parametrize("normalization", ["unit", "symmetric", "imagenet", "caffe"])
@pytest.mark.parametrize("kind", [FLOAT32, INT8_PTQ])
def test_every_normalization_is_inside_the_file(
    trained: Callable[..., Any],
    blobs: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    normalization: str,
    kind: str,
) -> None:
    file = open_keras(saved(trained(keras3, normalization=normalization), tmp_path / "model.keras"))
    network, form = file.network(LABELS, NORMALIZATIONS[normalization]), Form(kind)
    pixels = blobs[0]
    path = tmp_path / "model.tflite"
    model = to_tflite(network, form, list(pixels[::3]))
    path.write_bytes(attach(model, Manifest(LABELS, SIZE, kind)))
    with Classifier(path) as classifier:
        check_input(classifier, (SIZE, SIZE), input_ends(network, form))
        device, _ = device_logits(classifier, pixels)
    reference = network.logits(pixels)
    parity = compare(reference, device)
    assert parity.agreement >= (1 if kind == FLOAT32 else 0.95)
    assert parity.max_logit_difference < (1e-4 if kind == FLOAT32 else 0.1) * np.ptp(reference)


@pytest.mark.parametrize("activation", ["softmax", "linear"])
@pytest.mark.parametrize("nested", [False, True])
def test_logits_are_had_whatever_the_last_layer_says(
    trained: Callable[..., Any],
    blobs: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    activation: str,
    nested: bool,
) -> None:
    keras = keras2
    model = trained(keras, keras.layers.Rescaling(1 / 255), activation=activation, nested=nested)
    said = model.predict(blobs[0].astype(np.float32), verbose=0)
    file = open_keras(saved(model, tmp_path / "model.keras"))
    probabilities, evidence = file.compute(tf.constant(blobs[0].astype(np.float32)))
    assert evidence.shape == (len(blobs[0]), 1, 1, 3)
    wanted = said if activation == "softmax" else tf.nn.softmax(said).numpy()
    assert np.allclose(probabilities, wanted, atol=1e-5)
    assert np.allclose(tf.nn.softmax(evidence[:, 0, 0]), wanted, atol=1e-5)


def branched(keras: Any) -> Any:
    """Separable, squeezed, cropped, pooled, added and joined branches, as architecture search builds them."""
    layers = keras.layers
    pixels = keras.Input((32, 32, 3))
    wide = layers.SeparableConv2D(8, 5, strides=2, padding="same", use_bias=False)(pixels)
    wide = layers.Activation("swish")(layers.BatchNormalization()(wide))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(wide)
    wide = layers.Multiply()([wide, layers.Conv2D(8, 1, activation="sigmoid")(squeezed)])
    shifted = layers.Cropping2D(((1, 0), (1, 0)))(layers.ZeroPadding2D(((0, 1), (0, 1)))(pixels))
    narrow = layers.Conv2D(8, 1)(layers.AveragePooling2D(1, strides=2)(shifted))
    joined = [wide, layers.MaxPooling2D(3, 1, padding="same")(wide), layers.Add()([wide, narrow])]
    features = layers.GlobalAveragePooling2D()(layers.Concatenate()(joined))
    return keras.Model(pixels, layers.Dense(7, activation="softmax")(features))


def application(name: str) -> Callable[[Any], Any]:
    """A function (keras) -> a network of `keras.applications` with random weights."""
    return lambda keras: getattr(keras.applications, name)(input_shape=(32, 32, 3), weights=None, classes=7)


# Each entry has the Keras version, the network, and whether the network takes pixel values.
FOREIGN_NETWORKS = [
    pytest.param(keras2, application("MobileNetV2"), False, id="MobileNetV2"),
    pytest.param(keras3, application("MobileNetV3Small"), True, id="MobileNetV3Small"),
    pytest.param(keras3, branched, False, id="branched"),
]


@pytest.mark.parametrize(("keras", "make", "takes_pixels"), FOREIGN_NETWORKS)
def test_networks_that_nobody_here_wrote_answer_as_in_keras(
    tmp_path: Path, keras: Any, make: Callable[[Any], Any], takes_pixels: bool
) -> None:
    keras.utils.set_random_seed(0)
    file = open_keras(saved(make(keras), tmp_path / "model.keras"))
    assert (file.layout, file.classes) == (Layout(32, 32, 3, channels_first=False), 7)
    assert (file.known_normalization == NORMALIZATIONS["pixels"]) == takes_pixels
    labels = tuple("abcdefg")
    network = file.network(labels, NORMALIZATIONS["pixels" if takes_pixels else "symmetric"])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    reference = network.logits(pixels)
    for kind in (FLOAT32, INT8_PTQ):
        form = Form(kind)
        model = attach(to_tflite(network, form, list(pixels)), Manifest(labels, 32, kind))
        with open_on_device(model) as classifier:
            check_input(classifier, (32, 32), input_ends(network, form))
            device, _ = device_logits(classifier, pixels)
        if kind == FLOAT32:
            # The weights are random, so the logits are small. The test compares their differences.
            spread = np.abs(reference - reference.mean(axis=1, keepdims=True)).max()
            assert compare(reference, device).max_logit_difference < max(1e-2 * spread, 1e-6)


def test_a_network_of_any_size_needs_one(tmp_path: Path) -> None:
    pixels = keras2.Input((None, None, 3))
    x = keras2.layers.Conv2D(4, 3)(pixels)
    x = keras2.layers.Dense(3)(keras2.layers.GlobalAveragePooling2D()(x))
    path = saved(keras2.Model(pixels, x), tmp_path / "any.keras")
    with pytest.raises(OptionError, match="choose a size with --imgsz"):
        open_keras(path)
    assert open_keras(path, 40).layout == Layout(40, 40, 3, channels_first=False)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("damaged", "cannot read the Keras model"),
        ("weights", "holds only weights"),
        (
            "map",
            r"is not a classifier: it has an output of \[n, 14, 14, 3\] .* a single output of this shape",
        ),
        ("two outputs", "is not a classifier: it has 2 outputs"),
        ("five channels", r"is \[None, 16, 16, 5\], instead of gray or colour images"),
        ("channels first", r"is \[None, 3, 16, 16\], instead of gray or colour images"),
        ("custom", "the layer 'doubling' uses 'Doubling' of .* Export the network as a SavedModel"),
    ],
)
def test_what_is_no_classifier_is_one_clear_line(tmp_path: Path, what: str, message: str) -> None:
    layers = keras2.layers
    path = tmp_path / "model.keras"
    shapes = {"five channels": (16, 16, 5), "channels first": (3, 16, 16)}
    pixels = keras2.Input(shapes.get(what, (16, 16, 3)))
    flat = layers.Flatten()(pixels)
    if what == "damaged":
        path.write_bytes(b"PK not a zip")
    elif what == "weights":
        path = tmp_path / "model.weights.h5"
        keras2.Model(pixels, layers.Dense(3)(flat)).save_weights(path)
    elif what == "custom":

        class Doubling(layers.Layer):
            def call(self, inputs: Any) -> Any:
                return 2 * inputs

        saved(keras2.Model(pixels, layers.Dense(3)(Doubling()(flat))), path)
    else:
        outputs = {
            "map": lambda: layers.Conv2D(3, 3)(pixels),
            "two outputs": lambda: [layers.Dense(3)(flat), layers.Dense(3)(flat)],
        }.get(what, lambda: layers.Dense(3)(flat))()
        saved(keras2.Model(pixels, outputs), path)
    with pytest.raises(ModelError, match=message) as caught:
        open_keras(path)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_are_told_and_leave_nothing_behind(
    trained: Callable[..., Any], labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(trained(keras3, keras3.layers.Rescaling(1 / 255)), tmp_path / "model.keras")
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    command = ["convert", str(model), "--int8", "--data", str(labelled_set), "--labels", str(labels)]
    assert cli.main(command) == 2
    assert "has 3 outputs, and --labels has 2 classes" in capsys.readouterr().err
    assert cli.main(["convert", str(model), "--int8"]) == 2
    assert "needs labelled photos: with --data, give" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.txt", "model.keras"]


NINE = (
    "actinic keratosis",
    "basal cell carcinoma",
    "dermatofibroma",
    "melanoma",
    "nevus",
    "pigmented benign keratosis",
    "seborrheic keratosis",
    "squamous cell carcinoma",
    "vascular lesion",
)


@pytest.fixture(scope="module")
def nine_classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Keras file with nine outputs, and photos in nine folders. The classes differ in their colour."""
    folder = tmp_path_factory.mktemp("nine")
    rng = np.random.default_rng(0)
    pixels, truth = [], []
    for index, name in enumerate(NINE):
        (folder / "photos" / name).mkdir(parents=True)
        colour = (40 + 80 * (index % 3), 40 + 80 * (index // 3), 120)
        for number in range(8):
            photo = (rng.normal(0, 8, (SIZE, SIZE, 3)) + colour).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "photos" / name / f"{name}{number}.png"), photo)
            pixels.append(photo[..., ::-1])
            truth.append(index)
    means = np.array(pixels).mean(axis=(1, 2)) / 255
    fitted = LogisticRegression(C=1e4, max_iter=2000).fit(means, truth)
    assert fitted.score(means, truth) == 1
    layers = keras3.layers
    mean = [layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), layers.Dense(9, activation="softmax")]
    model = keras3.Sequential([keras3.Input((SIZE, SIZE, 3)), *mean])
    model.layers[-1].set_weights([fitted.coef_.T, fitted.intercept_])
    return saved(model, folder / "nine.keras"), folder / "photos"


def test_outputs_are_numbered_by_the_folders_as_they_are_on_disk(nine_classes: tuple[Path, Path]) -> None:
    model, photos = nine_classes
    lines: list[str] = []
    source = load_foreign(open_keras(model), ConversionRequest(model, "int8", data=photos), lines.append)
    # The outputs are numbered by folder name, not by diagnosis. The diagnosis of 'pigmented benign keratosis'
    # and 'seborrheic keratosis' is benign keratosis, which would come before dermatofibroma.
    assert source.proof.labels == NINE
    assert lines[5] == "output 5: folder 'pigmented benign keratosis', class pigmented benign keratosis"
    assert set(source.proof.truth) == set(range(9))
    assert (source.proof.reference.argmax(axis=1) == source.proof.truth).all()


def test_a_folder_is_renamed_in_its_place(nine_classes: tuple[Path, Path], tmp_path: Path) -> None:
    model, photos = nine_classes
    codes = {"dermatofibroma": "df", "melanoma": "mel", "nevus": "nv", "vascular lesion": "vasc"}
    for name in NINE:
        shutil.copytree(photos / name, tmp_path / "photos" / codes.get(name, name))
    lines: list[str] = []
    request = ConversionRequest(model, "int8", data=tmp_path / "photos")
    source = load_foreign(open_keras(model), request, lines.append)
    assert lines[3:5] == [
        "output 3: folder 'mel', class melanoma",
        "output 4: folder 'nv', class nevus",
    ]
    assert source.proof.labels == NINE
    assert source.proof.critical == "melanoma"
    assert (source.proof.reference.argmax(axis=1) == source.proof.truth).all()


def test_labels_in_another_order_are_refused_and_named(
    nine_classes: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, photos = nine_classes
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join((*NINE[1:], NINE[0])))
    target = tmp_path / "nine.tflite"
    command = ["convert", str(model), "--float32", "--data", str(photos), "--labels", str(labels)]
    assert cli.main([*command, "--output", str(target)]) == 3
    error = capsys.readouterr().err
    assert "another order fits clearly better, with a balanced accuracy of 1.000 instead of 0.000" in error
    assert "'melanoma' should be 'dermatofibroma'" in error
    assert "give the labels in the order of the outputs" in error
    assert not target.exists()


@pytest.fixture(scope="module")
def dark_and_light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes that differ in their brightness.

    Each class has a folder, and the photos are 1.5 times as wide as high.
    """
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    for name, brightness in {"benign": 90, "malignant": 160}.items():
        (folder / name).mkdir()
        for number in range(24):
            photo = rng.normal(brightness + rng.normal(0, 20), 12, (48, 72, 3)).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{name}{number}.png"), photo)
    return folder


def brightness_network(
    shape: tuple[int, int, int], *, activation: str = "sigmoid", units: int = 1, keras: Any = keras3
) -> Any:
    """A network that answers with the second class for photos brighter than 125.

    Brighter photos get surer answers.
    """
    layers = keras.layers
    parts = [layers.GlobalAveragePooling2D(), layers.Dense(units, activation=activation)]
    model = keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 255), *parts])
    slope = np.full((shape[2], 1), 30 / shape[2])
    kernel, bias = (slope, [-30 * 125 / 255]) if units == 1 else (slope * [-1, 1], np.array([15.0, -14.4]))
    model.layers[-1].set_weights([kernel, np.array(bias)])
    return model


@pytest.mark.parametrize(
    ("shape", "activation", "units", "form"),
    [
        ((32, 48, 1), "sigmoid", 1, "--int8"),
        ((24, 24, 3), "linear", 1, "--float32"),
        ((32, 32, 1), "sigmoid", 2, "--int16x8"),
    ],
)
def test_one_sigmoid_gray_and_not_square_networks_are_converted(
    dark_and_light: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shape: tuple[int, int, int],
    activation: str,
    units: int,
    form: str,
) -> None:
    model = brightness_network(shape, activation=activation, units=units)
    path, target = saved(model, tmp_path / "model.keras"), tmp_path / "model.tflite"
    command = ["convert", str(path), form, "--data", str(dark_and_light), "--output", str(target)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    second = "the output p" if units == 1 else "output 1"
    assert f"{second}: folder 'malignant', class malignant" in said
    assert ("independent sigmoids" in said) == (units > 1)
    photos = sorted(dark_and_light.rglob("*.png"))[::5]
    with Classifier(target) as classifier:
        assert (classifier.layout.height, classifier.layout.width, classifier.layout.channels) == shape
        assert classifier.labels == ("benign", "malignant")
        assert classifier.manifest is not None
        assert [one["shape"] for one in classifier.manifest.inputs] == [[1, *shape]]
        assert classifier.manifest.golden
        predictions = [classifier.predict(read_picture(photo)) for photo in photos]
        images = np.stack([classifier.crop(read_picture(photo)).image_rgb for photo in photos])
    if shape[2] == 1:
        images = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])[..., np.newaxis]
    if form == "--int8":
        with pytest.raises(
            ModelError, match=r"32 x 48 pixels .* the phone app supports only square colour images"
        ):
            build_app(target, tmp_path / "app")
    raw = np.asarray(model(images.astype(np.float32)))
    wanted = (
        raw[:, 0] if units == 1 else np.log(raw[:, 1] / (1 - raw[:, 1])) - np.log(raw[:, 0] / (1 - raw[:, 0]))
    )
    if activation == "sigmoid" and units == 1:
        wanted = np.log(wanted / (1 - wanted))
    found = [one.logits[1] - one.logits[0] for one in predictions]
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.ptp(wanted))


def test_gray_and_two_classes_are_told_where_an_option_does_not_fit(
    dark_and_light: Path, labelled_set: Path, tmp_path: Path
) -> None:
    path = saved(brightness_network((32, 48, 1)), tmp_path / "model.keras")
    file, request = open_keras(path), ConversionRequest(path, "int8", data=dark_and_light)
    with pytest.raises(
        OptionError, match=r"imagenet is for colour, .* is gray.* Known for gray: auto, dermedge"
    ):
        load_foreign(file, replace(request, normalization="imagenet"))
    with pytest.raises(OptionError, match=r"1 output, which means 2 classes, and .* has 3 classes"):
        load_foreign(file, replace(request, data=labelled_set))
    with pytest.raises(OptionError, match=r"--imgsz is 32, but .* expects 32 x 48 pixels"):
        open_keras(path, 32)


@pytest.mark.parametrize(
    ("layers", "takes_pixels"),
    [
        ([("Rescaling", (1 / 255,))], True),
        ([("Rescaling", (1 / 127.5, -1.0))], True),
        ([("Normalization", (-1, [123.0, 116.0, 103.0], [3000.0] * 3))], True),
        # EfficientNet first scales pixels to the range from 0 to 1.
        ([("Rescaling", (1 / 255,)), ("Normalization", (-1, [0.5] * 3, [0.05] * 3))], True),
        ([("Rescaling", (2.0, -1.0))], False),
        ([("Normalization", (-1, [0.5] * 3, [0.05] * 3))], False),
        ([], False),
    ],
)
def test_layers_that_are_made_for_pixels_are_told_from_those_for_scaled_values(
    tmp_path: Path, layers: list[tuple[str, tuple[Any, ...]]], takes_pixels: bool
) -> None:
    before = [getattr(keras3.layers, name)(*arguments) for name, arguments in layers]
    file = open_keras(saved(build(keras3, *before), tmp_path / "model.keras"))
    assert file.known_normalization == (NORMALIZATIONS["pixels"] if takes_pixels else None)


def test_a_layer_for_scaled_values_gets_them(
    trained: Callable[..., Any], blobs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    model = trained(keras3, keras3.layers.Rescaling(2.0, -1.0), normalization="unit")
    file = open_keras(saved(model, tmp_path / "model.keras"))
    assert choose_normalization(file, "auto", *blobs, lesions(blobs), LABELS).name == "unit"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"\x08\x07", "is not a Keras model; convert it to a .tflite in float32 first"),
        ("model.pth", b"PK\3\4", "is not a Keras model; export the network to a .tflite in float32 first"),
        ("saved_model.pb", b"\n", "give the SavedModel folder that holds saved_model.pb"),
        (
            "model.mlmodel",
            b"x",
            "is not a Keras model; give a .keras or .h5 file, or a SavedModel folder, or a .tflite",
        ),
        (
            "empty.keras",
            b"",
            "the file is damaged, or was not saved by Keras (0 bytes); copy the file again, or save it again with "
            "Keras",
        ),
        ("cut.keras", b"PK\3\4half", "the file is damaged"),
        ("text.h5", b"hello", "the file is damaged"),
    ],
)
def test_files_of_other_frameworks_and_damaged_ones_have_a_cure(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as raised:
        open_keras(tmp_path / name)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("written", "given", "cure"),
    [
        ("a.keras", "a.h5", "is a zip archive; if Keras saved it, rename it so that its name ends in .keras"),
        (
            "a.keras",
            "a.KERAS",
            "is a zip archive; if Keras saved it, rename it so that its name ends in .keras",
        ),
        ("a.h5", "a.keras", "is an HDF5 file; rename it so that its name ends in .h5"),
    ],
)
def test_a_renamed_file_is_told_which_name_it_needs(
    tmp_path: Path, written: str, given: str, cure: str
) -> None:
    model = build(keras3, keras3.layers.Rescaling(1 / 255))
    saved(model, tmp_path / written).rename(tmp_path / "moved")
    path = (tmp_path / "moved").rename(tmp_path / given)
    with pytest.raises(ModelError) as raised:
        open_keras(path)
    assert str(raised.value) == f"'{path}' {cure}"
    assert open_keras(path.rename(tmp_path / written)).layout.channels == 3


def test_a_folder_that_holds_no_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["convert", str(tmp_path / "empty"), "--int8", "--data", str(tmp_path)]) == 2
    assert "empty' holds neither a run of dermedge train nor a SavedModel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "outputs", "cure"),
    [
        ((3, 32, 32), 1, "channels last"),
        ((32, 32, 4), 1, "export it with one gray or colour image as its only input"),
        ((32, 32, 3), 2, "a single output of this shape"),
    ],
)
def test_wrong_channels_and_several_outputs_have_a_cure(
    tmp_path: Path, shape: tuple[int, int, int], outputs: int, cure: str
) -> None:
    pixels = keras3.Input(shape)
    answers = [keras3.layers.Dense(3)(keras3.layers.Flatten()(pixels)) for _ in range(outputs)]
    with pytest.raises(ModelError, match=cure):
        open_keras(saved(keras3.Model(pixels, answers), tmp_path / "model.keras"))


def test_weights_that_are_not_finite_are_called_so(
    blobs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    model = build(keras3, keras3.layers.Rescaling(1 / 255))
    model.layers[-1].set_weights([np.full((16, 3), np.nan), np.zeros(3)])
    file = open_keras(saved(model, tmp_path / "model.keras"))
    with pytest.raises(ModelError, match="numbers that are not finite; its weights are damaged"):
        choose_normalization(file, "auto", *blobs, lesions(blobs), LABELS)


def test_a_table_alone_calibrates_and_proves_and_is_told(
    nine_classes: tuple[Path, Path], tmp_path: Path
) -> None:
    model, photos = nine_classes
    shutil.copytree(photos, tmp_path / "photos")
    paths = sorted((tmp_path / "photos").rglob("*.png"))
    for path in paths:
        path.rename(tmp_path / path.name)
    rows = [f"{path.name},{path.parent.name}" for path in paths]
    (tmp_path / "labels.csv").write_text("\n".join(["image,dx", *rows]) + "\n")
    request = ConversionRequest(model, "int8", data=tmp_path / "labels.csv")
    with pytest.raises(OptionError, match="give --labels"):
        load_foreign(open_keras(model), request, print)
    lines: list[str] = []
    source = load_foreign(open_keras(model), replace(request, labels=NINE), lines.append)
    assert f"labels from 'labels.csv' (your own table): {len(paths)} photos" in lines
    assert (source.proof.reference.argmax(axis=1) == source.proof.truth).all()


def test_evaluate_names_labels_in_another_order(
    nine_classes: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, photos = nine_classes
    target, labels = tmp_path / "nine.tflite", tmp_path / "labels.txt"
    assert cli.main(["convert", str(model), "--float32", "--data", str(photos), "--output", str(target)]) == 0
    for names, warns in ((NINE, False), ((NINE[1], NINE[0], *NINE[2:]), True)):
        labels.write_text("\n".join(names))
        capsys.readouterr()
        assert cli.main(["evaluate", str(target), "--data", str(photos), "--labels", str(labels)]) == 0
        said = capsys.readouterr().out
        told = "'actinic keratosis' should be 'basal cell carcinoma'"
        assert (f"{told}; give the labels in the order of the outputs with --labels" in said) == warns


def test_a_label_that_is_given_twice_is_refused(nine_classes: tuple[Path, Path]) -> None:
    model, photos = nine_classes
    request = ConversionRequest(model, "int8", data=photos, labels=(*NINE[:8], NINE[0]))
    with pytest.raises(OptionError, match="--labels names 'actinic keratosis' twice"):
        load_foreign(open_keras(model), request, print)
