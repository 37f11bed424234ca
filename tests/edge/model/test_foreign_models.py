"""The files of shared/foreign_models, each as its README says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge import cli
from dermedge.edge.errors import DermedgeError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.refusal import repair_dimensions
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime
from dermedge.edge.preprocess import to_input

FRAME = cv2.resize(
    np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8),
    (640, 480),
    interpolation=cv2.INTER_CUBIC,
)


def foreign(name: str) -> Path:
    """Returns the path of a foreign model. If the file is missing, the test is skipped."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("DERMEDGE_DATA", beside)).parent / "foreign_models" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    return path


def direct(path: Path, image: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Lets the runtime itself compute the first output. Returns the levels, the scale and the zero point."""
    from importlib import import_module

    content = path.read_bytes()
    make: Any = import_module(RUNTIMES[choose_runtime()].module).Interpreter
    interpreter = make(model_content=repair_dimensions(content) or content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    output = interpreter.get_output_details()[0]
    return interpreter.get_tensor(output["index"])[0], *output["quantization"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("mobilenet_v1_0.5_160_quant", None),
        ("mobilenet_v1_0.25_224_quant", "background"),
        ("automl_labeler_model", "daisy"),
    ],
)
def test_an_integer_classifier_reports_what_the_runtime_computes(name: str, labels: str | None) -> None:
    path = foreign(name)
    with Classifier(path) as classifier:
        prediction = classifier.predict(FRAME)
        levels, scale, zero_point = direct(path, to_input(FRAME, classifier.input_size))
    assert np.array_equal(np.array(prediction.probabilities) / scale + zero_point, levels)
    assert prediction.index == int(levels.argmax())
    assert labels is None or labels in classifier.labels


def test_a_float_classifier_gets_the_normalization_of_its_metadata() -> None:
    path = foreign("mobilenet_v1_0.25_224_1_metadata_1")
    with Classifier(path) as classifier:
        prediction = classifier.predict(FRAME)
    values, _, _ = direct(
        path, (to_input(FRAME, 224).astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    )
    assert prediction.probabilities == tuple(values.tolist())


def test_a_gray_classifier_gets_a_gray_frame() -> None:
    path = foreign("person_detect")
    with Classifier(path) as classifier:
        prediction = classifier.predict(FRAME)
    gray = cv2.cvtColor(to_input(FRAME, 96), cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    levels, scale, zero_point = direct(path, (gray.astype(int) - 128).astype(np.int8))
    assert np.array_equal(np.array(prediction.probabilities) / scale + zero_point, levels)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("edgetpu", "Edge TPU"),
        ("person_detect_vela", "Ethos-U"),
        ("model_invoking_error", "fake-op-double"),
        ("simple_add", "2 inputs"),
    ],
)
def test_what_cannot_run_is_named_in_one_line(name: str, said: str) -> None:
    with pytest.raises(DermedgeError, match=said) as refused:
        Classifier(foreign(name))
    message = str(refused.value)
    assert "damaged" not in message
    assert "copy" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name",
    [
        "automl_labeler_model",
        "edgetpu",
        "model_invoking_error",
        "person_detect",
        "person_detect_vela",
        "simple_add",
    ],
)
def test_every_file_is_inspected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert.schema_py_generated")
    assert cli.main(["inspect", str(foreign(name))]) == 0
    assert name in capsys.readouterr().out
