"""A converted file tells close-ups from dermoscopic photos. It has a temperature and thresholds for each view."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

import tf_keras as keras

from dermedge import Classifier, cli
from dermedge.convert.calibrate import calibration
from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.calibrate.temperature import calibrated
from dermedge.convert.load import close_up
from dermedge.convert.load.close_up import (
    CloseUpProbe,
    ViewSample,
    close_up_probability,
    feature_output,
    fit_on_features,
    fit_probe,
    has_both_views,
    sample_views,
)
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.convert.load.tensorflow_network import TensorFlowNetwork, network_of
from dermedge.convert.report.summary import decision_lines, view_line
from dermedge.convert.to_tflite.bias_correction import to_corrected_tflite
from dermedge.convert.to_tflite.form import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8_PTQ,
    INT8_QAT,
    INT16X8,
    ONNX_INT8,
    Form,
)
from dermedge.edge.model.golden import replay
from dermedge.edge.model.manifest import Manifest, attach, read_manifest
from dermedge.train.data.catalogue import Photo
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.quantize_aware import make_quantization_aware
from dermedge.train.fit.tflite_weights import take_tflite_weights

SIZE, LABELS = 32, ("a", "b", "c")
PTQ = ("--int8", "--method", "ptq")


def photos(dermoscopic: int, close_ups: int, unknown: int = 0) -> list[Photo]:
    views = ["dermoscopic"] * dermoscopic + ["close-up"] * close_ups + [""] * unknown
    return [Photo(f"{n}", f"{n}", "", f"{n}", "", "nevus", "s", view=view) for n, view in enumerate(views)]


@pytest.mark.parametrize(
    ("training", "held_out", "is_enough"),
    [
        (photos(50, 50), photos(20, 20), True),
        (photos(50, 50, unknown=9), photos(20, 20, unknown=9), True),
        (photos(500, 49), photos(200, 200), False),
        (photos(49, 500), photos(200, 200), False),
        (photos(500, 500), photos(200, 19), False),
        (photos(0, 500), photos(0, 200), False),
        (photos(0, 0, unknown=500), photos(0, 0, unknown=200), False),
    ],
)
def test_a_file_tells_the_view_only_if_there_are_photos_of_both(
    training: list[Photo], held_out: list[Photo], is_enough: bool
) -> None:
    assert has_both_views(training, held_out) == is_enough


def test_at_most_2000_photos_of_each_view_are_read_and_the_seed_chooses_them() -> None:
    training = photos(2500, 60, unknown=30)
    pixels = np.zeros((len(training), 1, 1, 3), np.uint8)
    sample = sample_views(training, pixels, seed=1)
    assert len(sample.indices) == len(set(sample.indices.tolist())) == 2060
    assert sample.is_close_up.sum() == 60
    assert [training[at].view == "close-up" for at in sample.indices] == sample.is_close_up.tolist()
    assert np.array_equal(sample.indices, sample_views(training, pixels, seed=1).indices)
    assert not np.array_equal(sample.indices, sample_views(training, pixels, seed=2).indices)


def test_both_views_weigh_the_same_however_many_photos_they_have() -> None:
    rng = np.random.default_rng(0)
    is_close_up = np.arange(2200) >= 2000
    features = rng.normal(0, 0.2, (2200, 5)).astype(np.float32)
    features[:, 0] += np.where(is_close_up, 3, 1)
    probe = fit_on_features(features, is_close_up)
    between = np.array([2, 0, 0, 0, 0], np.float32)
    assert between @ probe.weights + probe.bias == pytest.approx(0, abs=0.5)
    assert ((features @ probe.weights + probe.bias > 0) == is_close_up).mean() > 0.99
    again = fit_on_features(features, is_close_up)
    assert np.array_equal(probe.weights, again.weights)
    assert probe.bias == again.bias


def test_the_mean_and_the_unit_of_the_features_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    is_close_up = np.arange(200) >= 100
    features = rng.normal(0, 0.2, (200, 5))
    features[:, 0] += 0.3 * is_close_up
    probe = fit_on_features(features.astype(np.float32), is_close_up)
    moved = fit_on_features((2 * features + np.arange(5)).astype(np.float32), is_close_up)
    assert moved.weights == pytest.approx(probe.weights / 2, abs=2e-3)
    assert moved.bias == pytest.approx(probe.bias - moved.weights @ np.arange(5), abs=0.02)


def bright_images(count: int = 120) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images of noise, uint8 [n, 32, 32, 3], and whether each is bright. Bright images stand for close-ups."""
    rng = np.random.default_rng(0)
    is_close_up = rng.random(count) < 0.5
    images = rng.integers(0, 120, (count, SIZE, SIZE, 3)).astype(np.uint8)
    images[is_close_up] += 100
    return images, is_close_up


def drawn_network(stage: str) -> tuple[keras.Model, ViewSample]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    images, is_close_up = bright_images()
    network = build_network("cnn", SIZE, len(LABELS), width=0.25)
    for weights in network.weights:
        if "bias" in weights.name:
            # The converter leaves out biases that are all zero. A trained network has no such biases.
            weights.assign(np.linspace(-0.1, 0.1, weights.shape[0]))
    sample = ViewSample(images, np.arange(len(images)), is_close_up)
    if stage == "qat":
        normalized = (images[:40].astype(np.float32) - 128) / 127.5
        return make_quantization_aware(network, [normalized]), sample
    return network, sample


@pytest.fixture(scope="module")
def networks() -> dict[str, tuple[TensorFlowNetwork, TensorFlowNetwork]]:
    """Stage -> two networks: one with the output for the view, and the same one without it."""
    made = {}
    for stage in ("float", "qat"):
        pair = []
        for tells_view in (True, False):
            network, sample = drawn_network(stage)
            probe = fit_probe(network, sample) if tells_view else None
            pair.append(network_of(network, "cnn", SIZE, LABELS, probe=probe))
        made[stage] = (pair[0], pair[1])
    return made


def told(network: TensorFlowNetwork, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return network.compute(network.normalization(images))[2].numpy().ravel()


def file_of(network: TensorFlowNetwork, form: Form, path: Path) -> Path:
    images, _ = bright_images()
    manifest = Manifest(LABELS, SIZE, form.kind)
    path.write_bytes(attach(to_corrected_tflite(network, form, list(images[:20]), manifest), manifest))
    return path


@pytest.mark.parametrize(
    ("kind", "io"),
    [
        (FLOAT32, "uint8"),
        (FLOAT16, "uint8"),
        (DYNAMIC, "uint8"),
        (INT16X8, "uint8"),
        (INT8_PTQ, "uint8"),
        (INT8_PTQ, "int8"),
        (INT8_PTQ, "float32"),
        (INT8_QAT, "uint8"),
        (INT8_QAT, "int8"),
    ],
)
def test_every_form_tells_the_view_as_the_network_does_and_answers_as_without_it(
    networks: dict[str, tuple[TensorFlowNetwork, TensorFlowNetwork]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    io: str,
) -> None:
    network, plain = networks["qat" if kind == INT8_QAT else "float"]
    images, is_close_up = bright_images()
    expected = told(network, images[:30])
    assert np.array_equal(expected >= 0.5, is_close_up[:30])
    paths = [file_of(one, Form(kind, io), tmp_path / name) for one, name in ((network, "a"), (plain, "b"))]
    with Classifier(paths[0]) as telling, Classifier(paths[1]) as silent:
        crops = [telling.crop(np.ascontiguousarray(image[..., ::-1])) for image in images[:30]]
        outputs = [telling.infer(crop) for crop in crops]
        assert [one.logits for one in outputs] == [silent.infer(crop).logits for crop in crops]
        details = telling.interpreter.get_output_details()
    found = np.array([one.close_up for one in outputs])
    assert np.abs(found - expected).max() < 0.05
    assert [one["shape"].tolist() for one in details] == [[1, 3], [1, 1, 1, 3], [1, 1]]
    if io == "uint8" and kind in (INT8_PTQ, INT8_QAT):
        assert (details[2]["dtype"], details[2]["quantization"]) == (np.uint8, (1 / 256, 0))
    manifest = read_manifest(paths[0])
    assert manifest is not None
    assert manifest.outputs[2]["name"].startswith("close_up")
    assert "AutoGraph" not in capfd.readouterr().err


def test_a_file_without_evidence_tells_the_view_too(tmp_path: Path) -> None:
    network, sample = drawn_network("float")
    made = network_of(network, "cnn", SIZE, LABELS, evidence=False, probe=fit_probe(network, sample))
    images, is_close_up = bright_images()
    with Classifier(file_of(made, Form(INT8_PTQ), tmp_path / "plain.tflite")) as classifier:
        assert classifier.raw_outputs(images[0]).keys() == {"probabilities", "close_up"}
        crops = [classifier.crop(np.ascontiguousarray(image[..., ::-1])) for image in images[:30]]
        found = [classifier.infer(crop).close_up for crop in crops]
    assert [one is not None and one >= 0.5 for one in found] == is_close_up[:30].tolist()
    logits = made.logits(images[:5])
    assert calibrated(logits, 1.0) == pytest.approx(network_probabilities(network, images[:5]), abs=1e-5)


def network_probabilities(network: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    logits = network.predict((images.astype(np.float32) - 128) / 127.5, verbose=0)
    return calibrated(logits, 1.0)


def test_onnx_tells_the_view(networks: dict[str, tuple[TensorFlowNetwork, TensorFlowNetwork]]) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    from dermedge.convert.to_onnx.converter import describe_tensors, to_onnx
    from dermedge.convert.to_onnx.runtime import onnx_logits

    images, _ = bright_images()
    network, plain = networks["float"]
    model = to_onnx(network, Form(ONNX_INT8, "float32"), list(images[:20]))
    assert [one["name"] for one in describe_tensors(model)[1]] == ["probabilities", "evidence", "close_up"]
    answers = onnx_logits(model, images[:30])
    assert answers.close_up is not None
    assert np.abs(answers.close_up - told(network, images[:30])).max() < 0.05
    silent = onnx_logits(to_onnx(plain, Form(ONNX_INT8, "float32"), list(images[:20])), images[:30])
    assert silent.close_up is None
    assert np.abs(answers.logits - silent.logits).max() < 1e-5


def test_training_goes_on_from_a_file_that_tells_the_view(
    networks: dict[str, tuple[TensorFlowNetwork, TensorFlowNetwork]], tmp_path: Path
) -> None:
    network, _ = networks["float"]
    started = build_network("cnn", SIZE, len(LABELS), width=0.25)
    take_tflite_weights(started, str(file_of(network, Form(INT8_PTQ), tmp_path / "a.tflite")), LABELS)
    images, _ = bright_images()
    logits, expected = started.predict(network.normalization(images), verbose=0), network.logits(images)
    apart = (logits - expected) - (logits - expected).mean(axis=0)  # the file has its bias corrected
    assert np.abs(apart).max() < 0.1 * np.ptp(expected, axis=0).min()


@pytest.mark.parametrize("architecture", ["cnn", "mobilenet_v2", "efficientnet_lite0_trunk"])
def test_the_features_are_those_before_the_last_downsampling(architecture: str) -> None:
    network = build_network(architecture, 64, 3)
    features = feature_output(network)
    assert features.shape[1:3] == (8, 8) if architecture == "cnn" else (4, 4)
    assert features.shape[1] == 2 * network.get_layer("evidence").input.shape[1] or architecture == "cnn"


def drawn_answers(count: int = 4000) -> tuple[ProofSet, NDArray[np.float64], NDArray[np.float64]]:
    """Photos, their logits, and the probability of a close-up. The logits of close-ups are three times too large."""
    rng = np.random.default_rng(0)
    is_close_up = np.arange(count) % 4 == 0
    true_logits = rng.normal(0, 2, (count, 3))
    truth = (calibrated(true_logits, 1.0).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    logits = np.where(is_close_up[:, np.newaxis], 3, 1) * true_logits
    views = np.where(is_close_up, "close-up", "dermoscopic").tolist()
    # Of 100 photos, 5 are taken for the other view. The view of another one is not known.
    said = np.where(is_close_up ^ (np.arange(count) % 100 < 5), 0.9, 0.1)
    views[99::100] = [""] * len(views[99::100])
    empty = np.zeros((count, 1, 1, 3), np.uint8)
    groups = [str(n) for n in range(count)]
    labels = ("melanoma", "nevus", "none of these")
    return ProofSet(empty, truth, groups, labels, labels[2], logits, "melanoma", views), logits, said


def test_each_view_gets_the_temperature_and_the_thresholds_of_its_own_photos() -> None:
    proof, logits, said = drawn_answers()
    right = np.where(np.array(proof.views) == "close-up", 0.9, 0.1)
    both = calibrate(proof, logits, right)
    close_up = both.views["close-up"]
    assert both.temperature == pytest.approx(1, rel=0.1)
    assert close_up["temperature"] == pytest.approx(3, rel=0.1)
    assert (
        close_up["thresholds"].keys() == both.thresholds.keys() == {"none", "alert", "uncertain", "conformal"}
    )
    one = calibrate(proof, logits)
    assert one.views == {}
    assert both.metrics["val_ece"] < 0.02 < one.metrics["val_ece"]
    among = right >= 0.5
    alone = calibrate(replace(proof, truth=proof.truth[among]), logits[among])
    assert (alone.temperature, alone.thresholds) == (close_up["temperature"], close_up["thresholds"])
    assert both.metrics["val_views"]["close-up"] == alone.metrics
    assert both.metrics["val_view_accuracy"] == 1
    assert calibrate(proof, logits, said).metrics["val_view_accuracy"] == pytest.approx(1 - 5 / 99, abs=1e-4)


def test_a_view_whose_sure_answers_err_more_takes_the_uncertain_threshold_of_all_photos() -> None:
    proof, logits, _ = drawn_answers()
    right = np.where(np.arange(len(logits)) % 4 == 0, 0.9, 0.1)
    odds = logits[:, 0] - logits[:, 1]
    # Melanoma and nevus are confused in the close-ups whose logits for the two are far apart.
    wrong = (right > 0.5) & (proof.truth != 2) & (np.abs(odds) > 6)
    swapped = replace(proof, truth=np.where(wrong, (odds > 0).astype(int), proof.truth))
    made = calibrate(swapped, logits, right)
    of_all = calibrate(swapped, logits).thresholds["uncertain"]
    assert made.views["close-up"]["thresholds"]["uncertain"] == of_all != made.thresholds["uncertain"]
    fallback = f"answers are uncertain below {of_all:.4f}, the threshold that was fitted on all photos"
    assert f"close-up: {fallback}" in made.warnings


def test_the_figures_of_all_photos_are_those_of_each_with_the_values_of_its_view() -> None:
    proof, logits, said = drawn_answers(400)
    both = calibrate(proof, logits, said)
    parts = both.metrics["val_views"]
    sizes = np.array([part["val_photos"] for part in parts.values()])
    shares = [part["val_accuracy"] for part in parts.values()]
    assert both.metrics["val_photos"] == sizes.sum() == 400
    assert both.metrics["val_accuracy"] == pytest.approx(shares @ sizes / 400, abs=1e-3)
    named = [(proof.truth[mask] != 2).sum() for mask in (said < 0.5, said >= 0.5)]
    declined = [part["val_declined"] for part in parts.values()]
    assert both.metrics["val_declined"] == pytest.approx(declined @ np.array(named) / sum(named), abs=1e-3)


def test_a_file_that_says_of_hardly_any_photo_that_it_is_a_close_up_has_one_set_of_values() -> None:
    proof, logits, said = drawn_answers(400)
    said[:] = 0.1
    said[:19] = 0.9
    made, plain = calibrate(proof, logits, said), calibrate(proof, logits)
    assert made.views == {}
    assert (made.temperature, made.thresholds) == (plain.temperature, plain.thresholds)
    assert "only 19 of the validation photos as close-up" in made.warnings[0]
    said[:20] = 0.9
    assert calibrate(proof, logits, said).views.keys() == {"close-up"}


def test_a_file_that_confuses_the_views_is_named() -> None:
    proof, logits, said = drawn_answers(400)
    assert not any("is right for only" in line for line in calibrate(proof, logits, said).warnings)
    confused = np.where(np.arange(400) % 3 == 0, 0.9, 0.1)
    warnings = calibrate(proof, logits, confused).warnings
    assert any("the view that the file tells is right for only" in line for line in warnings)


def test_the_summary_tells_the_accuracy_of_the_view_in_one_line_and_each_views_values() -> None:
    proof, logits, said = drawn_answers(400)
    both = calibrate(proof, logits, said)
    manifest = Manifest(
        proof.labels,
        SIZE,
        INT8_PTQ,
        none_label=proof.none_label,
        temperature=both.temperature,
        thresholds=both.thresholds,
        views=both.views,
        metrics=both.metrics,
    )
    lines = decision_lines(manifest)
    (view,) = (line for line in lines if line.startswith("the view is right for "))
    assert view == view_line(both.metrics)
    assert "the view is right for 95.0% of the validation photos; 296 were classified as dermoscopic" in view
    for name, temperature in (
        ("dermoscopic", both.temperature),
        ("close-up", both.views["close-up"]["temperature"]),
    ):
        assert sum(line.startswith(f"{name}: temperature {temperature:.2f}") for line in lines) == 1
        assert sum(line.startswith(f"{name}: alert if p(melanoma)") for line in lines) == 1
    plain = calibrate(proof, logits)
    assert view_line(plain.metrics) == ""


def with_views(run: Path, target: Path) -> Path:
    """A copy of a run whose catalogue states that the red photos are close-ups."""
    shutil.copytree(run, target)
    with (target / "catalogue.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (target / "catalogue.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"view": "close-up" if row["label"] == "red" else "dermoscopic"})
    return target


@pytest.fixture
def few_photos_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(close_up, "_LEAST_TRAINING_PHOTOS", 5)
    monkeypatch.setattr(close_up, "_LEAST_HELD_OUT_PHOTOS", 2)
    monkeypatch.setattr(calibration, "_LEAST_PHOTOS_OF_A_VIEW", 2)


@pytest.mark.usefixtures("few_photos_suffice")
def test_a_run_with_both_views_becomes_a_file_that_tells_them(
    trained_run: Path, refitted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = with_views(trained_run, tmp_path / "run"), tmp_path / "a.tflite"
    assert cli.main(["convert", str(run), *PTQ, "--output", str(target)]) == 0
    said = capsys.readouterr().out
    manifest = read_manifest(target)
    assert manifest is not None
    assert manifest.metrics["val_view_accuracy"] == 1
    assert manifest.views.keys() == {"close-up"}
    assert said.count("the view is right for 100.0% of the validation photos") == 1
    assert "the view is right for 100.0%" in (tmp_path / "a-report" / "report.html").read_text()
    golden = replay(target)
    assert golden is not None
    assert golden.passed
    assert manifest.golden["outputs"].keys() == {"probabilities", "evidence", "close_up"}

    again = tmp_path / "b.tflite"
    assert cli.main(["convert", str(run), *PTQ, "--output", str(again)]) == 0
    assert again.read_bytes() == target.read_bytes()

    refitted = with_views(refitted_run, tmp_path / "refitted")
    config = (refitted / "config.json").read_text().replace(str(trained_run), str(run))
    (refitted / "config.json").write_text(config)
    assert (
        cli.main(
            ["convert", str(refitted), "--int8", "--method", "ptq", "--output", str(tmp_path / "c.tflite")]
        )
        == 0
    )
    of_refit = read_manifest(tmp_path / "c.tflite")
    assert of_refit is not None
    assert of_refit.views.keys() == {"close-up"}
    # The file may be published, so it does not name a folder of this machine.
    assert of_refit.metrics["validated_by"] == run.name
    assert of_refit.outputs[2]["shape"] == [1, 1]


def test_a_run_with_too_few_photos_of_a_view_becomes_the_file_of_before(
    trained_run: Path, tmp_path: Path
) -> None:
    run = with_views(trained_run, tmp_path / "run")
    made: dict[str, Any] = {}
    for name, one in (("views", run), ("plain", trained_run)):
        target = tmp_path / f"{name}.tflite"
        assert cli.main(["convert", str(one), "--float32", "--output", str(target)]) == 0
        made[name] = target.read_bytes()
    assert made["views"] == made["plain"]


def test_a_probe_says_what_its_formula_says() -> None:
    probe = CloseUpProbe(np.array([2, -1], np.float32), 0.5)
    features = np.array([[[[1, 2], [3, 0]]]], np.float32)  # mean: 2 and 1
    for rounds, tolerance in ((False, 1e-6), (True, 0.01)):
        found = float(close_up_probability(probe, features, rounds)[0, 0])
        assert found == pytest.approx(1 / (1 + np.exp(-3.5)), abs=tolerance)


def test_the_progress_of_a_probe_counts_the_photos_of_the_sample() -> None:
    images, is_close_up = bright_images()
    network = build_network("cnn", SIZE, len(LABELS), width=0.25)
    shown: list[tuple[int, int]] = []
    sample = ViewSample(images, np.arange(len(images)), is_close_up)
    fit_probe(network, sample, lambda done, total: shown.append((done, total)))
    assert shown[-1] == (len(images), len(images))
    assert shown == sorted(set(shown))
