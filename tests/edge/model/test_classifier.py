"""One model file, opened once, that turns frames into predictions."""

import copy
import itertools
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.errors import ModelError, OptionError, PictureError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.model.manifest import attach, read_manifest, strip
from dermedge.edge.model.photo_view import calibration_of
from dermedge.edge.model.prediction import Tensor
from dermedge.edge.model.shipped import DEFAULT_MODEL, FIVE_CLASSES_MODEL, SHIPPED

FRAME = np.random.default_rng(3).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def test_a_model_that_ships_is_opened_by_its_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Classifier() as default, Classifier("dermedge-128") as fast:
        assert default.path == DEFAULT_MODEL
        assert fast.path == SHIPPED["dermedge-128"]
        assert (default.input_size, fast.input_size) == (192, 128)


def test_the_mean_of_the_evidence_is_the_logits(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        prediction = classifier.predict(FRAME)
    assert prediction.evidence is not None
    assert np.allclose(prediction.evidence.mean(axis=(0, 1)), prediction.logits, atol=1e-4)
    assert prediction.label == classifier.labels[prediction.index]
    assert prediction.probability == prediction.probabilities[prediction.index]


def test_the_manifests_temperature_calibrates_the_probabilities(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        assert classifier.manifest is not None
        prediction = classifier.predict(FRAME)
        temperature = calibration_of(classifier.manifest, prediction.view).temperature
        scaled = np.exp(np.array(prediction.logits) / temperature)
    assert np.allclose(prediction.probabilities, scaled / scaled.sum(), atol=1e-6)


def test_the_networks_own_softmax_agrees_within_its_steps(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        logits = np.array(classifier.predict(FRAME).logits)
        own = classifier.raw_outputs(FRAME)["probabilities"].dequantize()
    softmax = np.exp(logits - logits.max())
    assert np.abs(own - softmax / softmax.sum()).max() < 0.03


def test_equal_frames_give_equal_predictions_whatever_came_between(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        first = classifier.predict(FRAME).logits
        classifier.predict(255 - FRAME)
        assert classifier.predict(FRAME).logits == first


def test_colours_are_not_swapped(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        crop = classifier.crop(np.full((50, 50, 3), (200, 100, 0), np.uint8))
        assert (crop.image_rgb == (0, 100, 200)).all()
        classifier.infer(crop)
        [details] = classifier.interpreter.get_input_details()
        assert (classifier.interpreter.tensor(details["index"])()[0] == (0, 100, 200)).all()


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


def test_without_thresholds_the_most_probable_class_is_the_answer(
    make_deciding_model: Callable[..., Path],
) -> None:
    with Classifier(make_deciding_model()) as classifier:
        prediction = classifier.predict(FRAME)
        assert not classifier.has_prediction_sets
    assert prediction.index == int(np.argmax(prediction.logits))
    assert (prediction.decision.uncertain, prediction.alert) == (False, None)


def test_the_label_and_its_probability_follow_the_thresholds(
    make_deciding_model: Callable[..., Path],
) -> None:
    with Classifier(make_deciding_model(none=0)) as classifier:
        declined = classifier.predict(FRAME)
        none_index = classifier.labels.index("none of these")
    assert declined.label == "none of these"
    assert declined.probability == declined.probabilities[none_index]
    with Classifier(make_deciding_model(none=1)) as classifier:
        answered = classifier.predict(FRAME)
    assert answered.probability == max(np.delete(answered.probabilities, none_index))


def test_thresholds_hold_for_their_classes_whatever_these_are_called(
    make_deciding_model: Callable[..., Path],
) -> None:
    labels = Classifier(make_deciding_model()).labels
    of_classes = dict.fromkeys(labels, 1)
    names = {"melanoma": "mélanome", "nevus": "naevus", "none of these": "autre"}
    path = make_deciding_model(
        none=0,
        alert={"label": "melanoma", "threshold": 0},
        conformal={"coverage": 0.9, "thresholds": {**of_classes, "nevus": 0}},
    )
    with Classifier(path, labels=[names.get(label, f"{label} (fr)") for label in labels]) as classifier:
        prediction = classifier.predict(FRAME)
        assert (prediction.label, prediction.alert) == ("autre", "mélanome")
        assert classifier.prediction_set(prediction) == ("naevus",)


def test_a_manifest_that_names_too_few_classes_is_refused(model_path: Path, tmp_path: Path) -> None:
    manifest = read_manifest(model_path)
    assert manifest is not None
    path = tmp_path / "few.tflite"
    short = replace(manifest, labels=manifest.labels[1:], thresholds={}, views={})
    path.write_bytes(attach(model_path.read_bytes(), short))
    with pytest.raises(ModelError, match=f"its manifest names {len(short.labels)}"):
        Classifier(path)


def turned(frame: np.ndarray) -> list[np.ndarray]:
    """Returns the frame, its mirror image, and each of the two turned by 180 degrees."""
    mirrored = frame[:, ::-1]
    return [np.ascontiguousarray(one) for one in (frame, mirrored, np.rot90(frame, 2), np.rot90(mirrored, 2))]


@pytest.mark.parametrize("evidence", [True, False])
def test_tta_is_the_mean_of_the_logits_of_four_turns(model_path: Path, evidence: bool) -> None:
    with Classifier(model_path) as plain, Classifier(model_path, tta=True) as classifier:
        if not evidence:
            plain._evidence = classifier._evidence = None
        size = plain.input_size
        frame = np.random.default_rng(5).integers(0, 256, (size, size, 3), dtype=np.uint8)
        each = [plain.predict(one).logits for one in turned(frame)]
        close_ups = [plain.infer(plain.crop(one)).close_up for one in turned(frame)]
        close_up = classifier.infer(classifier.crop(frame)).close_up
        prediction = classifier.predict(frame)
        again = classifier.predict(frame)
    assert len(set(each)) == 4
    assert np.allclose(prediction.logits, np.mean(each, axis=0), atol=1e-6)
    assert again.logits == prediction.logits
    assert all(one is not None for one in close_ups)
    assert len(set(close_ups)) > 1
    assert close_up == pytest.approx(np.mean(np.array(close_ups, float)))


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
def test_the_size_of_an_input_that_is_no_square_is_its_shorter_side(
    height: int, width: int, model_path: Path
) -> None:
    with Classifier(model_path) as classifier:
        classifier.layout = replace(classifier.layout, height=height, width=width)
        assert classifier.input_size == 32


def test_the_time_of_all_four_inferences_is_told(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=1_000_000)  # one millisecond passes between two readings
    with Classifier(model_path, tta=True) as classifier:
        monkeypatch.setattr("dermedge.edge.model.classifier.perf_counter_ns", lambda: next(clock))
        timing = classifier.predict(FRAME).timing
    assert (timing.preprocess_ms, timing.invoke_ms, timing.postprocess_ms) == (2, 4, 5)
    assert timing.total_ms == next(clock) / 1e6 - 3, "all, but what lies between the three steps"


def test_tta_keeps_the_evidence_of_the_picture_itself(model_path: Path) -> None:
    with Classifier(model_path) as plain, Classifier(model_path, tta=True) as classifier:
        assert np.array_equal(classifier.predict(FRAME).evidence, plain.predict(FRAME).evidence)


def test_given_labels_that_are_repeated_stay_apart() -> None:
    labels = ["mole", "mole", "scar", "mole", "none"]
    with Classifier(FIVE_CLASSES_MODEL, labels=labels) as classifier:
        assert classifier.labels == ("mole", "mole (2)", "scar", "mole (3)", "none")


def test_a_classifier_can_be_closed_within_its_block(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        classifier.close()
        assert not hasattr(classifier, "interpreter")
    assert not hasattr(classifier, "interpreter")


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


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int8"])
def test_a_frame_of_another_type_is_an_error_and_never_misread(model_path: Path, dtype: str) -> None:
    with (
        Classifier(model_path) as classifier,
        pytest.raises(PictureError, match=f"the frame is {dtype}, and"),
    ):
        classifier.predict(FRAME.astype(dtype))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        ("photo.jpg", "of the type str"),
        (None, "of the type NoneType"),
        (FRAME.tolist(), "of the type list"),
        (FRAME[None], r"the shape \(1, 120, 160, 3\)"),
        (FRAME.transpose(2, 0, 1), r"the shape \(3, 120, 160\)"),
        (FRAME[:0], r"the shape \(0, 160, 3\)"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_so(model_path: Path, frame: Any, fault: str) -> None:
    with Classifier(model_path) as classifier, pytest.raises(PictureError, match=fault):
        classifier.predict(frame)


def test_threads_that_share_a_classifier_get_the_answers_of_their_own_frames(model_path: Path) -> None:
    frames = [FRAME, 255 - FRAME, FRAME[:90], 255 - FRAME[:, :100]] * 50
    with Classifier(model_path) as classifier, ThreadPoolExecutor(4) as pool:
        alone = [classifier.predict(frame).logits for frame in frames[:4]]
        together = [prediction.logits for prediction in pool.map(classifier.predict, frames)]
        raw = [one["evidence"].values.tobytes() for one in pool.map(classifier.raw_outputs, frames)]
    assert together == alone * 50
    assert len(set(raw)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_was_forked_during_an_inference_does_not_wait_for_it(model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        child = multiprocessing.get_context("fork").Process(target=classifier.predict, args=(FRAME,))
        with classifier._lock.held():
            child.start()
        child.join(20)
        child.kill()
        assert child.exitcode == 0


def test_the_time_of_a_frame_does_not_hold_the_wait_for_another_thread(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    with Classifier(model_path) as classifier:
        monkeypatch.setattr(
            "dermedge.edge.model.classifier.perf_counter_ns",
            lambda: held.append(classifier._lock.held().locked()) or len(held) * 10**6,
        )
        crop = classifier.crop(FRAME)
        classifier.infer(crop)
    assert crop.took_ms == 1
    assert held[:2] == [True, True]
    assert all(held)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 38.9, -0.2])
def test_a_probability_that_is_not_from_0_to_1_is_an_error_and_no_answer(
    model_path: Path, broken: float
) -> None:
    with Classifier(model_path) as classifier:
        outputs = classifier.infer(classifier.crop(FRAME))
        probabilities = (*outputs.probabilities[:-1], broken)
        with pytest.raises(ModelError, match=f"answered with the probability {broken:g}, which is not a"):
            classifier.decide(outputs, probabilities)


def test_a_map_of_the_image_beside_a_single_probability_is_no_evidence(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "map.tflite"
    content = make_network(shape=(1, 8, 8, 1), dtype="uint8", quantization=(1 / 16, 0), head="LOGISTIC")
    path.write_bytes(with_the_input_as_output(content))
    with Classifier(path) as classifier:
        prediction = classifier.predict(FRAME)
        assert not classifier.has_heat_map
    assert len(prediction.probabilities) == 2
    assert heat_map(prediction) is None


def with_the_input_as_output(network: bytes) -> bytes:
    """Returns the network with a copy of the image as a second output.

    A segmentation network has such an output: a map as large as the image.
    """
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.convert.to_tflite.share_buffers import pack

    root = schema.ModelT.InitFromPackedBuf(network)
    graph, code, operator = root.subgraphs[0], schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = schema.BuiltinOperator.RELU
    root.operatorCodes.append(code)
    graph.tensors.append(copy.copy(graph.tensors[graph.inputs[0]]))
    operator.opcodeIndex, operator.inputs = len(root.operatorCodes) - 1, list(graph.inputs)
    operator.outputs = [len(graph.tensors) - 1]
    graph.operators.append(operator)
    graph.outputs = [*graph.outputs, *operator.outputs]
    return pack(root)
