"""A run starts from a delivered .tflite: it computes the same, and keeps the record of learned photos."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import Classifier, cli
from dermedge.convert.load.conversion_input import draft_manifest
from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.form import Form
from dermedge.edge.errors import OptionError
from dermedge.edge.model.associated import attach_file
from dermedge.edge.model.manifest import attach
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.preprocess import normalize
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.learned import LEARNED_NAME, learned_photos, merge_learned
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.parents import learned_by
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.tflite_weights import start_labels, take_tflite_weights

TRUNK = "efficientnet_lite0_trunk"


def _smooth_images(count: int, size: int) -> np.ndarray:
    """uint8 [n, size, size, 3] RGB of random colours that change slowly."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return np.repeat(np.repeat(coarse, size // 4, axis=1), size // 4, axis=2)


def test_the_network_computes_what_the_shipped_file_computes() -> None:
    labels = start_labels("dermedge-128")
    network = build_network(TRUNK, 128, len(labels))
    take_tflite_weights(network, "dermedge-128", labels)
    images = _smooth_images(12, 128)
    logits = network.predict(normalize(images), verbose=0)
    with Classifier("dermedge-128") as classifier:
        answers = np.array([classifier.predict(image[..., ::-1]).logits for image in images])
    assert np.corrcoef(logits.ravel(), answers.ravel())[0, 1] > 0.99
    assert np.abs(logits - answers).mean() < 0.1 * np.ptp(answers)


def test_classes_that_the_file_does_not_know_start_afresh() -> None:
    labels = start_labels("dermedge-128")
    classes = ("basal cell carcinoma", labels[2], labels[0])
    network = build_network(TRUNK, 64, len(classes))
    whole = build_network(TRUNK, 64, len(labels))
    fresh = network.get_layer("evidence").get_weights()[0][..., 0].copy()
    take_tflite_weights(network, "dermedge-128", classes)
    take_tflite_weights(whole, "dermedge-128", labels)
    kernel, bias = network.get_layer("evidence").get_weights()
    given, given_bias = whole.get_layer("evidence").get_weights()
    assert np.array_equal(kernel[..., 0], fresh)
    assert bias[0] == 0
    assert np.array_equal(kernel[..., 1:], given[..., [2, 0]])
    assert np.array_equal(bias[1:], given_bias[[2, 0]])


@pytest.mark.parametrize(("kind", "io"), [("float32", "float32"), ("dynamic", "float32")])
def test_a_file_whose_first_layer_holds_the_normalization_is_refused(
    kind: str, io: str, tmp_path: Path
) -> None:
    network = build_network("cnn", 32, 2)
    labels = ("melanoma", "nevus")
    path = tmp_path / "float.tflite"
    made = network_of(network, "cnn", 32, labels).float_tflite(Form(kind, io))
    path.write_bytes(attach(made, draft_manifest(labels, 32, "cnn", "", None)))
    with pytest.raises(OptionError, match=r"first layer also normalizes the pixels.*--int8"):
        take_tflite_weights(network, str(path), labels)


def test_another_architecture_and_a_missing_file_are_refused() -> None:
    with pytest.raises(OptionError, match="another architecture"):
        take_tflite_weights(build_network("cnn", 32, 5), "dermedge-128", start_labels("dermedge-128"))
    with pytest.raises(OptionError, match="does not exist"):
        start_labels("missing.tflite")


def test_a_run_goes_on_from_a_file_and_keeps_what_that_has_learned(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, run = tmp_path / "start.tflite", tmp_path / "run"
    start.write_bytes(attach_file(SHIPPED["dermedge-128"].read_bytes(), LEARNED_NAME, b"\x00\x00\x00\x07"))
    train = f"train --data {labelled_set} --weights {start} --imgsz 32 --qat-epochs 0 --batch 12 --epochs 1"
    assert cli.main([*train.split(), "--photos-per-epoch", "12", "--output", str(run)]) == 0
    learned = learned_by(RunFolder(run))
    own = learned_photos(photo for photo in RunFolder(run).photos() if photo.split == "train")
    assert learned == merge_learned([own, b"\x00\x00\x00\x07"])
    assert len(learned) == len(own) + 4
    assert "does not state which photos" not in capsys.readouterr().out


def test_a_file_that_has_learned_from_what_is_held_out_is_refused(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = build_catalogue([labelled_set]).photos
    start, run = tmp_path / "start.tflite", tmp_path / "run"
    start.write_bytes(attach_file(SHIPPED["dermedge-128"].read_bytes(), LEARNED_NAME, learned_photos(photos)))
    train = f"train --data {labelled_set} --weights {start} --imgsz 32 --epochs 1 --output {run}"
    assert cli.main(train.split()) == 2
    assert "of the photos in the validation or test split" in capsys.readouterr().err
    assert not run.exists()
