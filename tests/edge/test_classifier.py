"""One model file, opened once, that turns frames into predictions."""

from pathlib import Path

import numpy as np
import pytest

from edge.classifier import Classifier, Tensor
from edge.errors import ModelError, OptionError
from edge.manifest import strip

FRAME = np.random.default_rng(3).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def test_the_mean_of_the_evidence_is_the_logits(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        prediction = classifier.predict(FRAME)
    assert prediction.evidence is not None
    assert np.allclose(prediction.evidence.mean(axis=(0, 1)), prediction.logits, atol=1e-4)
    assert prediction.label == classifier.labels[int(np.argmax(prediction.logits))]


def test_the_manifests_temperature_calibrates_the_probabilities(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        assert classifier.manifest is not None
        prediction = classifier.predict(FRAME)
        scaled = np.exp(np.array(prediction.logits) / classifier.manifest.temperature)
    assert np.allclose(prediction.probabilities, scaled / scaled.sum(), atol=1e-6)


def test_the_networks_own_softmax_agrees_within_its_steps(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        logits = np.array(classifier.predict(FRAME).logits)
        own = classifier.raw_outputs()["probabilities"].dequantize()
    softmax = np.exp(logits - logits.max())
    assert np.abs(own - softmax / softmax.sum()).max() < 0.03


def test_equal_frames_give_equal_predictions_whatever_came_between(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        first = classifier.predict(FRAME).logits
        classifier.predict(255 - FRAME)
        assert classifier.predict(FRAME).logits == first


def test_colours_are_not_swapped(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        classifier.preprocess(np.full((50, 50, 3), (200, 100, 0), np.uint8))
        seen = classifier._interpreter.tensor(classifier._input["index"])()[0]
        assert (seen == (0, 100, 200)).all()


def test_a_model_without_manifest_runs_with_given_labels_and_with_numbers(
    model_path: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(strip(model_path.read_bytes()))
    with Classifier(bare) as classifier:
        count = len(classifier.labels)
        assert classifier.labels[0] == "class 0"
    with Classifier(bare, labels=[f"name {index}" for index in range(count)]) as classifier:
        assert classifier.predict(FRAME).label.startswith("name ")


def test_a_wrong_number_of_labels_is_refused(model_path: Path) -> None:
    with pytest.raises(OptionError, match="2 labels"):
        Classifier(model_path, labels=["a", "b"])


def test_an_unknown_runtime_names_the_known_ones(model_path: Path) -> None:
    with pytest.raises(OptionError, match="litert, tflite-runtime"):
        Classifier(model_path, runtime="onnx")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.9])
def test_a_truncated_model_is_refused_by_name(model_path: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.tflite"
    whole = model_path.read_bytes()
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"cut\.tflite"):
        Classifier(cut)


def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_text("hello " * 1000)
    with pytest.raises(ModelError, match=r"other\.tflite"):
        Classifier(other)
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        Classifier(tmp_path / "gone.tflite")


def test_integers_mean_scale_times_their_distance_from_the_zero_point() -> None:
    levels = np.array([[[0, 255], [128, 129]]], np.uint8)
    tensor = Tensor(levels, 0.5, 128)
    assert np.allclose(tensor.dequantize(), (levels.astype(float) - 128) / 2)
    assert tensor.mean_over_cells() == pytest.approx((-32.0, 32.0))


def test_floats_pass_through() -> None:
    values = np.array([[[0.25, -1.0]], [[0.75, 3.0]]], np.float32)
    tensor = Tensor(values, 0.0, 0)
    assert np.array_equal(tensor.dequantize(), values)
    assert tensor.mean_over_cells() == pytest.approx((0.5, 1.0))
