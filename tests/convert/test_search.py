"""A refused file is not delivered, and the search finds the fastest form that is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from sklearn.linear_model import LogisticRegression

from dermedge import cli
from dermedge.convert.accept.layer_errors import worst_layers
from dermedge.convert.conversion import convert_to_form, explain
from dermedge.convert.load.conversion_input import ConversionInput
from dermedge.convert.load.run import load_run
from dermedge.convert.search import mixed_form, search_forms, try_forms
from dermedge.convert.to_tflite.form import (
    CALIBRATED_KINDS,
    FLOAT16,
    INT8_MIXED,
    INT8_PTQ,
    INT8_QAT,
    INT16X8,
    Form,
)
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.fit.run_folder import RunFolder

ONE_POINT = 0.01


def silent(what: str):
    return lambda done, total: None


@pytest.fixture(scope="module")
def source(trained_run: Path) -> ConversionInput:
    """The run, proven on all of its photos."""
    return load_run(RunFolder(trained_run), 30)


@pytest.fixture
def misled(source: ConversionInput) -> ConversionInput:
    """The run without a quantization-aware twin, calibrated on grey images, so that all its int8 files are wrong."""
    rng = np.random.default_rng(0)
    grey = [rng.integers(124, 132, (32, 32, 3), dtype=np.uint8) for _ in range(20)]
    return replace(source, calibration=grey, quantization_aware=None)


def test_a_refused_conversion_delivers_nothing_and_says_what_was_lost(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "mse", lambda histogram: (-1e-3, 1e-3))
    target = tmp_path / "model.tflite"
    command = ["convert", str(trained_run), "--int8", "--method", "ptq", "--ranges", "mse"]
    capsys.readouterr()
    assert cli.main([*command, "--output", str(target)]) == 3
    printed = capsys.readouterr()
    (refused,) = [line for line in printed.err.splitlines() if line.startswith("dermedge: refused")]
    assert "lost" in refused
    assert "the worst layers are " in refused
    assert "try --search" in refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-report"]
    report = json.loads((tmp_path / "model-report" / "report.json").read_text())
    assert report["delivered"] is False
    assert [one["passed"] for one in report["attempts"]] == [False]
    assert any(not check["passed"] for check in report["attempts"][0]["checks"])
    assert any(layer["collapsed"] for layer in report["layers"])
    page = (tmp_path / "model-report" / "report.html").read_text()
    assert "<h2>Refused: " in page
    assert "<svg" in page


def test_a_report_that_is_there_is_not_overwritten(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    target = tmp_path / "model.tflite"
    command = ["convert", str(trained_run), "--float32", "--output", str(target), "--report", str(folder)]
    assert cli.main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert not target.exists()
    assert not list(folder.iterdir())


def test_a_file_that_cannot_be_written_leaves_no_report(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    command = ["convert", str(trained_run), "--float32", "--output", "/proc/no/model.tflite"]
    assert cli.main([*command, "--report", str(report)]) == 2
    assert "cannot write '/proc/no/model.tflite'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("itself", [True, False])
def test_a_refitted_network_passes_where_it_does_and_the_run_that_stands_for_it_does(
    source: ConversionInput, misled: ConversionInput, itself: bool
) -> None:
    refitted = replace(misled, validated_by=source) if itself else replace(source, validated_by=misled)
    assert convert_to_form(replace(source, validated_by=source), Form(INT8_PTQ), ONE_POINT).acceptance.passed
    assert not convert_to_form(refitted, Form(INT8_PTQ), ONE_POINT).acceptance.passed


def test_of_int8_files_the_one_that_is_right_most_often_is_chosen(source: ConversionInput) -> None:
    lines: list[str] = []
    result = try_forms(source, [Form(INT8_QAT), Form(INT8_PTQ)], ONE_POINT, silent, lines.append)
    assert lines == [one.line for one in result.attempts]
    assert all(": passed, " in line or ": cannot tell, " in line for line in lines)
    figures = {
        one.form.kind: one.conversion.manifest.metrics["val_balanced_accuracy_argmax"]
        for one in result.attempts
        if one.conversion
    }
    assert result.delivered
    assert figures[result.best.form.kind] == max(figures.values())
    assert result.best.manifest.metrics["val_balanced_accuracy_argmax_of"] == figures


def test_the_search_ends_with_int8_if_that_is_accepted(source: ConversionInput) -> None:
    lines: list[str] = []
    result = search_forms(source, "uint8", ONE_POINT, silent, lines.append)
    assert result.delivered
    assert {one.form for one in result.attempts} == {Form(INT8_QAT), Form(INT8_PTQ)}
    assert len(lines) == 2
    assert all(": passed, " in line or ": cannot tell, " in line for line in lines)


def test_the_search_goes_on_to_the_fastest_accepted_form(misled: ConversionInput) -> None:
    lines: list[str] = []
    result = search_forms(misled, "uint8", ONE_POINT, silent, lines.append)
    tried = [one.form.kind for one in result.attempts]
    assert tried[: len(METHODS)] == [INT8_PTQ] * len(METHODS)
    assert tried[-3:] == [INT8_MIXED, INT16X8, FLOAT16]
    passed = [one.conversion for one in result.attempts if one.accepted and one.conversion]
    assert result.delivered
    assert result.best.form.kind not in (INT8_PTQ, INT8_QAT)
    assert result.best.invoke_ms == min(one.invoke_ms for one in passed)
    assert "refused, " in lines[0]
    assert "points" in lines[0]


def test_named_and_worst_layers_stay_in_float(source: ConversionInput, tmp_path: Path) -> None:
    layers = explain(source, convert_to_form(source, Form(INT8_PTQ), ONE_POINT))
    worst = worst_layers(layers, 2)
    by_count = mixed_form(source, Form(INT8_PTQ), "2")
    assert by_count == Form(INT8_MIXED, float_layers=tuple(worst))
    assert mixed_form(source, Form(INT8_PTQ), ",".join(worst)) == by_count
    made = convert_to_form(source, by_count, ONE_POINT)
    assert worst[0] in {layer.name for layer in explain(source, made) if layer.in_float}
    path = tmp_path / "mixed.tflite"
    made.save(path)
    assert read_manifest(path).quantization == INT8_MIXED
    with Classifier(path) as classifier:
        assert classifier.input_quantization[0] > 0
    with pytest.raises(OptionError, match="no layer has that name; the worst layers are"):
        mixed_form(source, Form(INT8_PTQ), "nothing")
    with pytest.raises(OptionError, match="layers can stay in float; give a smaller number"):
        mixed_form(source, Form(INT8_PTQ), "900")


def test_a_fine_tuned_file_is_explained_by_the_layers_that_keep_their_names(source: ConversionInput) -> None:
    made = convert_to_form(source, Form(INT8_QAT), ONE_POINT)
    layers = explain(source, made)
    assert layers
    assert all(layer.name for layer in layers)


@pytest.fixture(scope="module")
def fragile(
    make_labelled_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A Keras classifier that is right about blobs, and 180 photos of these.

    One channel of its first layer is a constant that is ten thousand times as large as the other channels. The next
    layer scales it back. All channels share one int8 scale, which rounds the other channels to 0.
    """
    folder = tmp_path_factory.mktemp("fragile")
    data = make_labelled_set(folder / "photos", 60)
    paths = sorted(data.rglob("*.png"))
    images = np.stack([to_input(read_picture(path), 32) for path in paths]).astype(np.float32)
    truth = np.array([("blue", "brown", "red").index(path.parent.name) for path in paths])
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    first = keras.layers.Conv2D(12, 3, strides=2, activation="relu")
    x = first(keras.layers.Rescaling(1 / 255)(pixels))
    uneven = keras.layers.DepthwiseConv2D(1, use_bias=False, depthwise_initializer="ones")
    even = keras.layers.Conv2D(16, 3, strides=2, activation="relu")
    features = keras.layers.GlobalAveragePooling2D()(even(uneven(x)))
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Model(pixels, head(features))
    kernel, bias = first.get_weights()
    kernel[..., 0], bias[0] = 0, 1
    first.set_weights([kernel, bias])
    scales = np.array([1e4] + [1.0] * 11, np.float32)
    uneven.set_weights([scales[None, None, :, None]])
    kernel, bias = even.get_weights()
    even.set_weights([kernel / scales[:, None], bias])
    values = np.asarray(keras.Model(pixels, features)(images))
    mean, scale = values.mean(axis=0), values.std()
    fitted = LogisticRegression(C=30.0, max_iter=1000).fit((values - mean) / scale, truth)
    weights = (fitted.coef_ / scale).T
    head.set_weights([weights, fitted.intercept_ - mean @ weights])
    model.save(folder / "fragile.keras")
    return folder / "fragile.keras", data


def test_int8_of_a_network_that_breaks_is_refused_and_what_holds_is_delivered(
    fragile: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = map(str, fragile)
    target = tmp_path / "model.tflite"
    command = ["convert", model, "--data", data, "--output", str(target)]
    assert cli.main([*command, "--int8", "--report", str(tmp_path / "refused")]) == 3
    assert not target.exists()
    assert "dermedge: refused: " in capsys.readouterr().err
    assert cli.main([*command, "--float16"]) == 0
    manifest = read_manifest(target)
    assert manifest.quantization == FLOAT16
    assert manifest.metrics["val_balanced_accuracy_argmax"] > 0.85


@pytest.mark.parametrize(
    ("options", "io"),
    [
        ("--int16x8", "uint8"),
        ("--int16x8 --io float32", "float32"),
        ("--int8 --method ptq --io int8", "int8"),
        ("--int8 --method ptq --io float32", "float32"),
        ("--int8 --method qat --io int8", "int8"),
        ("--int8 --method qat --io float32", "float32"),
        ("--int8 --float-layers 2", "uint8"),
        ("--dynamic --io float32", "float32"),
        ("--float16 --io int8", "int8"),
    ],
)
def test_every_form_is_made_proven_and_reported_by_the_command_line(
    trained_run: Path, tmp_path: Path, options: str, io: str
) -> None:
    target = tmp_path / "model.tflite"
    assert cli.main(["convert", str(trained_run), *options.split(), "--output", str(target)]) == 0
    with Classifier(target) as classifier:
        assert classifier.input_dtype.name == io
        assert classifier.manifest is not None
        calibrated = classifier.manifest.quantization in CALIBRATED_KINDS
    report = tmp_path / "model-report"
    assert json.loads((report / "report.json").read_text())["delivered"]
    page = (report / "report.html").read_text()
    assert ("no photos, because this form needs no calibration" in page) == (not calibrated)
