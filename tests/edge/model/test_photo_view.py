"""A model that tells close-ups from dermoscopic photos answers each with the values of its view."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.decision import decide, softmax
from dermedge.edge.model.golden import record, replay
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.photo_view import ViewCalibration, calibration_of, view_by_probability

VECTORS = json.loads((Path(__file__).parents[1] / "calibration_vectors.json").read_text())
LABELS = ("melanoma", "nevus", "none of these")
SETS = {"coverage": 0.9, "thresholds": dict.fromkeys(LABELS, 0.9)}
ALERT = {"label": "melanoma", "threshold": 0.0}
# The tiny network takes an image with a high mean for a close-up. So it takes the dark one for a dermoscopic image.
DARK, BRIGHT = (np.full((8, 8, 3), level, np.uint8) for level in (100, 156))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    manifest = Manifest(input_size=8, quantization="int8-ptq", **vector["manifest"])
    calibration = calibration_of(manifest, vector["view"])
    probabilities = softmax(vector["logits"], calibration.temperature)
    assert probabilities == pytest.approx(vector["probabilities"], abs=1e-12)
    decision = decide(probabilities, manifest.labels, manifest.none_label, calibration.thresholds)
    for name in ("index", "declined", "uncertain", "alert"):
        assert getattr(decision, name) == vector[name]


def test_each_view_has_its_temperature(make_view_model: Callable[..., Path]) -> None:
    with Classifier(make_view_model(temperature=4.0)) as classifier:
        for frame, view, temperature in ((DARK, "dermoscopic", 1.0), (BRIGHT, "close-up", 4.0)):
            outputs = classifier.infer(classifier.crop(frame))
            prediction = classifier.decide(outputs, outputs.probabilities)
            assert (outputs.view, prediction.view) == (view, view)
            assert outputs.probabilities == softmax(outputs.logits, temperature)
            raw = classifier.raw_outputs(frame)
            assert outputs.close_up == raw["close_up"].values[0] / 256
            assert raw.keys() == {"probabilities", "evidence", "close_up"}


def test_an_output_of_floats_is_read_as_it_is(make_view_model: Callable[..., Path]) -> None:
    with Classifier(make_view_model(network={"dtype": "float32"})) as classifier:
        outputs = classifier.infer(classifier.crop(np.zeros_like(DARK)))
    assert (outputs.close_up, outputs.view) == (0.5, "close-up"), "the sigmoid of 0"


def test_each_view_has_its_thresholds(make_view_model: Callable[..., Path]) -> None:
    path = make_view_model(thresholds={"none": 0.0}, usual={"none": 1.0, "alert": ALERT, "conformal": SETS})
    with Classifier(path, labels=["m", "n", "o"]) as classifier:
        dark, bright = classifier.predict(DARK), classifier.predict(BRIGHT)
        assert (dark.decision.declined, dark.alert) == (False, "m")
        assert (bright.decision.declined, bright.alert) == (True, None)
        assert classifier.alert_label == "m"
        assert classifier.has_prediction_sets
        assert classifier.prediction_set(dark) == ()
        assert classifier.prediction_set(bright) == ("m", "n", "o"), "nothing is ruled out without thresholds"


def test_an_alert_of_close_ups_alone_is_the_model_s(make_view_model: Callable[..., Path]) -> None:
    with Classifier(make_view_model(thresholds={"alert": ALERT})) as classifier:
        assert (classifier.predict(DARK).alert, classifier.predict(BRIGHT).alert) == (None, "melanoma")
        assert classifier.alert_label == "melanoma"


def test_a_file_without_the_output_tells_no_view(make_view_model: Callable[..., Path]) -> None:
    path = make_view_model(temperature=4.0, thresholds={"alert": ALERT}, network={"tells_view": False})
    with Classifier(path) as classifier:
        outputs = classifier.infer(classifier.crop(BRIGHT))
        assert (outputs.close_up, outputs.view, classifier.tells_view) == (None, None, False)
        assert outputs.probabilities == softmax(outputs.logits, 1.0)
        assert (classifier.predict(BRIGHT).alert, classifier.alert_label) == (None, None)


def test_without_a_manifest_the_output_has_no_meaning(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(make_network(dtype="uint8", quantization=(1 / 16, 128), tells_view=True))
    with Classifier(path) as classifier:
        assert (classifier.predict(BRIGHT).view, classifier.tells_view) == (None, False)
        assert classifier.labels == ("class 0", "class 1", "class 2")


def test_tta_averages_the_probability_of_a_close_up(make_view_model: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(100, 160, (8, 8, 3), dtype=np.uint8)
    turns = [frame, frame[:, ::-1], np.rot90(frame, 2), np.rot90(frame[:, ::-1], 2)]
    with Classifier(make_view_model()) as plain, Classifier(plain.path, tta=True) as turned:
        crops = [plain.crop(np.ascontiguousarray(one)) for one in turns]
        wanted = np.mean([plain.infer(crop).close_up for crop in crops])
        outputs = turned.infer(turned.crop(frame))
    assert outputs.close_up == pytest.approx(wanted)
    assert outputs.view == ("close-up" if wanted >= 0.5 else "dermoscopic")


def test_the_golden_test_holds_the_output(make_view_model: Callable[..., Path]) -> None:
    pytest.importorskip("ai_edge_litert")
    path = make_view_model()
    golden = record(path)
    assert golden["outputs"].keys() == {"probabilities", "evidence", "close_up"}
    for name, has_passed in (("close_up", False), ("", True)):
        changed = {key: _zeros(one) if key == name else one for key, one in golden["outputs"].items()}
        written = make_view_model(golden={**golden, "outputs": changed})
        replayed = replay(written)
        assert replayed is not None
        assert replayed.passed == has_passed
        assert [one.output for one in replayed.moved] == [name] * (not has_passed)


def _zeros(encoded: str) -> str:
    return base64.b64encode(bytes(len(base64.b64decode(encoded)))).decode()


def test_a_photo_is_a_close_up_from_a_half_on() -> None:
    views = [view_by_probability(one) for one in (None, 0.0, 0.4999, 0.5, 1.0)]
    assert views == [None, "dermoscopic", "dermoscopic", "close-up", "close-up"]


@pytest.mark.parametrize("view", [None, "close-up"])
def test_without_a_manifest_probabilities_stay_as_they_are(view: str | None) -> None:
    assert calibration_of(None, view) == ViewCalibration(1.0, {})
