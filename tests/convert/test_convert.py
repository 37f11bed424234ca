"""A run becomes one .tflite that describes itself and answers as the Keras model does."""

import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.convert.accept.layer_errors import LayerError
from dermedge.convert.accept.parity import compare
from dermedge.convert.calibrate.logit_adjustment import LogitAdjustment, fit_strength
from dermedge.convert.calibrate.temperature import calibrated, calibration_scores, fit_temperature
from dermedge.convert.device import check_input, device_logits
from dermedge.convert.load import run as loading
from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import INT8_PTQ, Form
from dermedge.convert.to_tflite.pixel_input import input_ends
from dermedge.convert.to_tflite.share_buffers import share_buffers
from dermedge.edge.errors import ModelError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import Manifest, attach, read_manifest, strip
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import normalize, to_input
from dermedge.train.data.learned import LEARNED_NAME, find_learned
from dermedge.train.fit.batches import predict_logits
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import trained_network
from dermedge.train.fit.sampling import class_shares

OPTIONS = {
    "float32": ["--float32"],
    "float16": ["--float16"],
    "dynamic": ["--dynamic"],
    "int8-ptq": ["--int8", "--method", "ptq"],
    "int8-qat": ["--int8", "--method", "qat"],
}
# The largest allowed difference from Keras's logits, which lie between -5 and 5.
TOLERANCE = {"float32": 1e-4, "float16": 0.05, "dynamic": 0.5, "int8-ptq": 0.7, "int8-qat": 0.4}


@pytest.fixture(scope="module")
def converted(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> file. The command line makes each file."""
    folder = tmp_path_factory.mktemp("converted")
    for kind, options in OPTIONS.items():
        target = folder / f"{kind}.tflite"
        assert cli.main(["convert", str(trained_run), *options, "--output", str(target)]) == 0
    return {kind: folder / f"{kind}.tflite" for kind in OPTIONS}


def adjustment(manifest: Manifest, run: Path) -> np.ndarray:
    """The difference of the file's logits from those of the run's network, float32 [K]."""
    training = [photo for photo in RunFolder(run).photos() if photo.split == "train"]
    strength: float = manifest.metrics["logit_adjustment"]
    return -strength * np.log(class_shares(training, manifest.labels))


def test_the_file_knows_the_photos_that_its_network_has_learned_from(
    converted: dict[str, Path], trained_run: Path
) -> None:
    learned = read_associated(converted["int8-ptq"], LEARNED_NAME)
    assert learned is not None
    by_split = {
        split: [photo for photo in RunFolder(trained_run).photos() if photo.split == split]
        for split in ("train", "val", "test")
    }
    counts = {split: len(find_learned(learned, photos)) for split, photos in by_split.items()}
    assert counts == {"train": len(by_split["train"]), "val": 0, "test": 0}


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_file_answers_as_its_keras_model_does(
    converted: dict[str, Path], trained_run: Path, labelled_set: Path, kind: str
) -> None:
    network = trained_network(RunFolder(trained_run), "qat" if kind == "int8-qat" else "float")
    frames = [read_picture(path) for path in sorted(labelled_set.rglob("*.png"))[::4]]
    reference = network.predict_on_batch(np.stack([normalize(to_input(frame, 32)) for frame in frames]))
    with Classifier(converted[kind]) as classifier:
        assert classifier.manifest is not None
        reference += adjustment(classifier.manifest, trained_run)
        device = np.array([classifier.predict(frame).logits for frame in frames])
    parity = compare(reference, device)
    assert parity.agreement == 1
    assert parity.max_logit_difference < TOLERANCE[kind]


@pytest.fixture(scope="module")
def refitted(refitted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("refitted") / "refitted.tflite"
    command = ["convert", str(refitted_run), "--int8", "--method", "ptq", "--output", str(target)]
    assert cli.main(command) == 0
    return target


def test_a_refitted_run_decides_as_the_run_that_has_not_learned_the_photos(
    refitted: Path, converted: dict[str, Path], trained_run: Path, refitted_run: Path
) -> None:
    own, of_other = read_manifest(refitted), read_manifest(converted["int8-ptq"])
    assert own is not None
    assert of_other is not None
    assert own.temperature == of_other.temperature
    assert own.thresholds == of_other.thresholds
    assert own.metrics == of_other.metrics | {"validated_by": trained_run.name}
    assert own.data_digest == RunFolder(refitted_run).config().data_digest
    assert own.parity != of_other.parity
    assert strip(refitted.read_bytes()) != strip(converted["int8-ptq"].read_bytes())
    report = json.loads((refitted.with_name("refitted-report") / "report.json").read_text())
    page = (refitted.with_name("refitted-report") / "report.html").read_text()
    assert report["manifest"]["metrics"]["validated_by"] == trained_run.name
    assert "a run of the same recipe without these photos" in page


@pytest.mark.parametrize("verb", ["evaluate", "benchmark"])
def test_a_refitted_file_is_not_scored_on_what_it_has_learned(
    refitted: Path, trained_run: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    scored = [verb, str(refitted), "--data", str(trained_run / "catalogue.csv"), "--split"]
    assert cli.main([*scored, "val"]) == 2
    assert "was trained on the validation photos" in capsys.readouterr().err


def test_a_refit_waits_for_the_run_that_tells_its_thresholds(
    trained_run: Path, refitted_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished, run = tmp_path / "first", tmp_path / "second"
    shutil.copytree(trained_run, unfinished)
    (unfinished / "progress.json").write_text('{"stage": "qat", "epoch": 1}')
    shutil.copytree(refitted_run, run)
    config = json.loads((run / "config.json").read_text()) | {"validated": str(unfinished)}
    (run / "config.json").write_text(json.dumps(config))
    assert cli.main(["convert", str(run), "--int8"]) == 2
    assert f"thresholds come from the run '{unfinished}', which is not finished" in capsys.readouterr().err


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_file_takes_pixels_and_tells_what_it_is(
    converted: dict[str, Path], trained_run: Path, kind: str
) -> None:
    with Classifier(converted[kind]) as classifier:
        manifest = classifier.manifest
        assert manifest is not None
        assert classifier.labels == ("blue", "brown", "red")
        assert classifier.raw_outputs(np.zeros((32, 32, 3), np.uint8)).keys() == {"probabilities", "evidence"}
    assert manifest.quantization == kind
    assert manifest.architecture == "cnn"
    assert manifest.none_label is None
    assert manifest.data_digest == RunFolder(trained_run).config().data_digest
    assert manifest.command is not None
    assert manifest.command.startswith("dermedge train --data")
    assert manifest.metrics["val_balanced_accuracy"] > 0.8
    assert manifest.thresholds.keys() == {"uncertain", "conformal"}, "no class for the others"
    assert manifest.metrics["val_set_coverage"] >= 0.9
    assert manifest.parity["pictures"] == manifest.metrics["val_photos"]
    assert "tensorflow" in manifest.tools


@pytest.fixture(scope="module")
def lesion_run(tmp_path_factory: pytest.TempPathFactory, labelled_set: Path) -> Path:
    """A run with melanoma and "none of these" among its classes."""
    folder = tmp_path_factory.mktemp("lesions")
    for colour, name in {"brown": "melanoma", "red": "nevus", "blue": "shirt"}.items():
        shutil.copytree(labelled_set / colour, folder / "photos" / name)
    command = f"train --data {folder / 'photos'} --classes melanoma,nevus --arch cnn --imgsz 32"
    options = f"--epochs 4 --qat-epochs 0 --batch 12 --output {folder / 'run'}"
    assert cli.main([*command.split(), *options.split()]) == 0
    return folder / "run"


def test_thresholds_are_fitted_on_what_the_file_itself_says_of_validation(
    lesion_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "lesions.tflite"
    capsys.readouterr()
    assert cli.main(["convert", str(lesion_run), "--int8", "--output", str(target)]) == 0
    said = capsys.readouterr().out
    photos = [photo for photo in RunFolder(lesion_run).photos() if photo.split == "val"]
    with Classifier(target) as classifier:
        predictions = [classifier.predict(read_picture(photo.path)) for photo in photos]
        manifest = classifier.manifest
        sets = [classifier.prediction_set(one) for one in predictions]
    assert manifest is not None
    assert manifest.none_label == "none of these"
    assert manifest.thresholds.keys() == {"none", "alert", "uncertain", "conformal"}
    truth = [photo.label for photo in photos]
    labels = [one.label for one in predictions]
    assert manifest.metrics["val_accuracy"] == pytest.approx(
        np.mean([said == true for said, true in zip(labels, truth, strict=True)]), abs=1e-4
    )
    alerts = [one.alert for one, true in zip(predictions, truth, strict=True) if true == "melanoma"]
    assert manifest.metrics["val_alert_sensitivity"] == alerts.count("melanoma") / len(alerts) >= 0.9
    declined = [label == "none of these" for label in labels]
    assert not any(gone for gone, true in zip(declined, truth, strict=True) if true != "none of these")
    assert manifest.metrics["val_declined"] == 0
    assert manifest.metrics["val_set_size"] == pytest.approx(np.mean([len(one) for one in sets]), abs=1e-4)
    for part in (
        "\ntemperature ",
        "declined if p(none of these)",
        "alert if p(melanoma)",
        "uncertain below",
        "prediction sets with a coverage of 90%",
    ):
        assert said.count(part) == 1


def test_an_int8_file_has_no_float_tensor_and_at_most_three_tenths_of_the_size(
    converted: dict[str, Path],
) -> None:
    for kind in ("int8-ptq", "int8-qat"):
        with Classifier(converted[kind]) as classifier:
            details = classifier.interpreter.get_tensor_details()  # type: ignore[attr-defined]
            assert not [one["name"] for one in details if one["dtype"] == np.float32]
        assert converted[kind].stat().st_size <= 0.3 * converted["float32"].stat().st_size


def test_a_file_of_which_few_photos_cannot_tell_is_delivered_or_not_as_asked(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", str(trained_run), "--float32", "--output"]
    assert cli.main([*command, str(tmp_path / "a.tflite")]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("Cannot tell: ")
    assert first.endswith(" The file is written.")
    assert "photos are too few, because they only reveal a loss of balanced accuracy of at least" in first
    manifest = read_manifest(tmp_path / "a.tflite")
    assert manifest is not None
    assert manifest.metrics["acceptance"] == "cannot tell"
    report = json.loads((tmp_path / "a-report" / "report.json").read_text())
    assert (report["verdict"], report["verdict_sentence"]) == ("cannot tell", first)
    assert set(report) == {
        *(
            "schema",
            "created",
            "dermedge",
            "command",
            "disclaimer",
            "target",
            "files",
            "delivered",
            "verdict",
        ),
        *(
            "verdict_sentence",
            "doubts",
            "form",
            "bytes",
            "normalization",
            "calibration_photos",
            "proof_photos",
        ),
        *("labels", "critical", "warnings", "manifest", "attempts", "layers", "advice"),
    }
    assert report["schema"] == "dermedge-conversion/1"
    assert report["command"].startswith("dermedge convert ")
    [attempt] = report["attempts"]
    assert set(attempt) == {"form", "passed", "bytes", "invoke_ms", "parity", "network_checks", "checks"}
    for check in attempt["checks"]:
        assert set(check) == {
            *("name", "reference", "device", "drop", "limit", "detectable", "passed", "status")
        }
    assert all(set(layer) == {one.name for one in fields(LayerError)} for layer in report["layers"])
    page = (tmp_path / "a-report" / "report.html").read_text()
    assert re.search(r"<dt>size</dt><dd>\d\.\d\d MB, of which the network takes \d\.\d\d MB</dd>", page)
    assert f"<h2>{first}</h2>" in page

    assert cli.main([*command, str(tmp_path / "b.tflite"), "--cannot-tell", "refuse"]) == 3
    assert not (tmp_path / "b.tflite").exists()
    captured = capsys.readouterr()
    assert captured.out.startswith("Cannot tell: ")
    assert captured.out.splitlines()[0].endswith(" No file is written.")
    assert "no file was written; give more labelled photos, or accept the file with" in captured.err


def manifest_of(path: Path) -> Manifest:
    """The manifest of a file, which must have one."""
    manifest = read_manifest(path)
    assert manifest is not None
    return manifest


def test_int8_delivers_the_better_of_qat_and_ptq_and_tells_both(
    converted: dict[str, Path], trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "int8.tflite"
    assert cli.main(["convert", str(trained_run), "--int8", "--output", str(target)]) == 0
    manifest = manifest_of(target)
    figures = manifest.metrics["val_balanced_accuracy_argmax_of"]
    alone = {
        kind: manifest_of(converted[kind]).metrics["val_balanced_accuracy_argmax"]
        for kind in ("int8-qat", "int8-ptq")
    }
    assert figures == alone
    assert figures[manifest.quantization] == max(alone.values())
    told = capsys.readouterr().out
    assert all(f"{kind} {value:.3f}" in told for kind, value in alone.items())


def test_two_conversions_give_equal_bytes(
    converted: dict[str, Path], trained_run: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.tflite"
    assert cli.main(["convert", str(trained_run), *OPTIONS["int8-ptq"], "--output", str(again)]) == 0
    assert again.read_bytes() == converted["int8-ptq"].read_bytes()


def test_a_plain_classifier_is_left_without_evidence(trained_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "plain.tflite"
    command = [
        "convert",
        str(trained_run),
        "--int8",
        "--no-evidence",
        "--licence",
        "CC0",
        "--output",
        str(target),
    ]
    assert cli.main(command) == 0
    with Classifier(target) as classifier:
        assert classifier.raw_outputs(np.zeros((32, 32, 3), np.uint8)).keys() == {"probabilities"}
        assert classifier.manifest is not None
        assert classifier.manifest.licence == "CC0"


def test_sharing_vectors_changes_no_answer_and_keeps_the_buffers_aligned(converted: dict[str, Path]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = strip(converted["int8-ptq"].read_bytes())
    assert share_buffers(model) == model
    root = schema.Model.GetRootAs(model)
    filled = [b for b in map(root.Buffers, range(root.BuffersLength())) if b.DataLength()]
    offsets = [one._tab.Vector(one._tab.Offset(4)) for one in filled]
    assert offsets
    assert all(offset % 16 == 0 for offset in offsets)


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_the_input_takes_real_pixels_whatever_its_type(trained_run: Path, tmp_path: Path, io: str) -> None:
    network = network_of(trained_network(RunFolder(trained_run), "float"), "cnn", 32, ("a", "b", "c"))
    dark = np.random.default_rng(0).integers(0, 90, (4, 32, 32, 3), dtype=np.uint8)
    path, form = tmp_path / "dark.tflite", Form(INT8_PTQ, io)
    path.write_bytes(attach(to_tflite(network, form, list(dark)), Manifest(network.labels, 32, INT8_PTQ)))
    bright = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    with Classifier(path) as classifier:
        check_input(classifier, (32, 32), input_ends(network, form))
        assert classifier.input_dtype.name == io
        device, _ = device_logits(classifier, bright)
    assert compare(network.logits(bright), device).max_logit_difference < TOLERANCE["int8-ptq"]


def test_an_input_that_would_misread_pixels_is_refused(trained_run: Path, tmp_path: Path) -> None:
    network = network_of(trained_network(RunFolder(trained_run), "float"), "cnn", 32, ("a", "b", "c"))
    path = tmp_path / "model.tflite"
    path.write_bytes(to_tflite(network, Form(INT8_PTQ), [np.zeros((32, 32, 3), np.uint8)]))
    with Classifier(path, labels=network.labels) as classifier, pytest.raises(ModelError, match="misread"):
        check_input(classifier, (32, 32), (0.0, 255.0))


def test_the_fitted_temperature_is_the_one_that_the_labels_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 4))
    probabilities = np.exp(logits / 2.5)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, truth) == pytest.approx(2.5, rel=0.05)


def test_the_fitted_logit_adjustment_is_the_part_of_the_imbalance_that_is_left() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.6, 0.3, 0.1])
    balanced = rng.normal(0, 2, (30_000, 3))
    truth = (calibrated(balanced, 1.0).cumsum(axis=1) < rng.random((30_000, 1))).sum(axis=1)
    biased = 1.6 * (balanced + 0.4 * np.log(shares))
    assert fit_strength(biased, truth, shares) == pytest.approx(1.6 * 0.4, abs=0.05)
    assert fit_strength(balanced, truth, shares) == pytest.approx(0, abs=0.05)
    assert fit_strength(biased, truth, np.full(3, 1 / 3)) == 0


def test_scaling_by_the_fitted_temperature_calibrates() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 4))
    probabilities = calibrated(logits, 2.5)
    assert np.allclose(probabilities.sum(axis=1), 1)
    truth = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    scores = calibration_scores(logits, truth, fit_temperature(logits, truth))
    right = logits.argmax(axis=1) == truth
    assert scores["val_ece_unscaled"] == pytest.approx(
        calibrated(logits, 1.0).max(axis=1).mean() - right.mean(), abs=0.01
    ), "without it every bin is overconfident"
    assert scores["val_ece"] < 0.015


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--int8"], "is not a run folder"),
        (["RUN", "--int8", "--data", "x"], "--data is for a Keras classifier"),
        (
            ["RUN", "--int8", "--critical", "x"],
            "--critical is 'x', which is not a class. Known: blue, brown, red",
        ),
        (["RUN", "--int8", "--max-drop", "-1"], "'-1' is not a number of percentage points"),
        (["RUN", "--float16", "--float-layers", "2"], "--float-layers is for --int8"),
        (["RUN", "--int8", "--method", "ptq", "--float-layers", "x"], "no layer has that name"),
        (["x.keras", "--int8", "--data", "y"], "there is no model 'x.keras'"),
        (["RUN", "--int16x8", "--io", "int8"], "--int16x8 has no int8 input"),
        (["RUN"], "--int8"),
        (["RUN", "--int8", "--int4"], "--int4"),
        (["RUN", "--int8", "--calibration-photos", "0"], "'0' is not a whole number"),
        (["RUN", "--int8", "--output", "/proc/x/y.tflite"], "cannot write"),
    ],
)
def test_bad_input_is_one_line(
    trained_run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["convert", *(one.replace("RUN", str(trained_run)) for one in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("dermedge: error:") == 1


def test_an_existing_file_is_not_overwritten(
    converted: dict[str, Path], trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = converted["int8-qat"].read_bytes()
    assert cli.main(["convert", str(trained_run), "--int8", "--output", str(converted["int8-qat"])]) == 2
    assert "exists already" in capsys.readouterr().err
    assert converted["int8-qat"].read_bytes() == before


def test_a_tflite_is_evaluated_through_the_device_runtime(
    converted: dict[str, Path], labelled_set: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores"
    command = ["evaluate", str(converted["int8-qat"]), "--data", str(labelled_set), "--output", str(scores)]
    assert cli.main(command) == 0
    values = json.loads((scores / "evaluation.json").read_text())
    with Classifier(converted["int8-qat"]) as classifier:
        right = [
            classifier.predict(read_picture(p)).label == p.parent.name for p in labelled_set.rglob("*.png")
        ]
    assert values["photos"] == len(right)
    assert values["models"][0]["figures"]["accuracy"]["value"] == pytest.approx(np.mean(right))


def test_a_file_is_proven_beside_the_network_with_its_logit_adjustment(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The classes of this run have equally many photos, so the adjustment of the run itself is 0.
    amounts = np.array([0.5, 0.25, -0.75], np.float32)
    monkeypatch.setattr(loading, "_adjustment", lambda *given: LogitAdjustment(amounts, {}))
    run = RunFolder(trained_run)
    source = loading.load_run(run, 5)
    plain = predict_logits(trained_network(run, "float"), source.proof.pixels)
    assert source.proof.reference == pytest.approx(plain + amounts, abs=1e-4)
    assert source.network.logits(source.proof.pixels) == pytest.approx(plain + amounts, abs=1e-4)
