"""A model of many classes is scored on some of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

from dermedge import cli
from dermedge.edge.errors import OptionError
from dermedge.edge.model.decision import softmax
from dermedge.edge.model.photo_view import ViewCalibration
from dermedge.train.data.catalogue import NONE_OF_THESE
from dermedge.train.evaluation.coarser import merge_classes, merge_classes_of_all, merge_logits
from dermedge.train.evaluation.evaluate import EvaluatedModel
from dermedge.train.evaluation.scorecard import ModelOutputs

LABELS = ("melanoma", "nevus", "keratosis", NONE_OF_THESE)
LOGITS = np.array([[1.0, 0.5, 2.0, -1.0], [0.0, 3.0, -2.0, 1.0]])
THRESHOLDS = {
    "none": 0.4,
    "uncertain": 0.6,
    "alert": {"label": "melanoma", "threshold": 0.2},
    "conformal": {"coverage": 0.9, "thresholds": dict.fromkeys(LABELS, 0.1)},
}


def model(
    labels: tuple[str, ...] = LABELS, temperature: float = 1.7, independent: bool = False
) -> EvaluatedModel:
    none_label = NONE_OF_THESE if NONE_OF_THESE in labels else None
    return EvaluatedModel(
        "drawn",
        labels,
        none_label,
        temperature,
        THRESHOLDS,
        {},
        None,
        lambda frames: ModelOutputs(LOGITS),
        lambda frame: None,
        independent,
    )


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_none_of_these_has_the_sum_of_the_probabilities_of_the_other_classes(temperature: float) -> None:
    merged = merge_classes(model(temperature=temperature), ["nevus", "melanoma"])
    assert merged.labels == ("nevus", "melanoma", NONE_OF_THESE)
    for before, after in zip(LOGITS.tolist(), merged.outputs([]).logits.tolist(), strict=True):
        melanoma, nevus, keratosis, none = softmax(before, temperature)
        assert softmax(after, temperature) == pytest.approx((nevus, melanoma, keratosis + none))


def test_the_sum_is_right_at_temperature_1_too() -> None:
    merged = merge_classes(model(temperature=1.7), ["nevus", "melanoma"])
    parts = [merged.outputs([]), merged.outputs([])]
    answers = merged.answers(ModelOutputs.joined(parts)).where(np.array([0, 3]))
    for before, after in zip(LOGITS.tolist(), answers.raw_probabilities.tolist(), strict=True):
        melanoma, nevus, keratosis, none = softmax(before)
        assert after == pytest.approx((nevus, melanoma, keratosis + none))
    # Without a merge of classes, the temperature does not change the logits.
    plain = model().answers(model().outputs([]))
    assert plain.raw_probabilities.tolist() == [pytest.approx(softmax(row)) for row in LOGITS.tolist()]


def test_independent_probabilities_are_summed_as_they_are() -> None:
    merged = merge_classes(model(independent=True), ["melanoma", "nevus"])
    expected = np.exp(LOGITS[:, 2]) + np.exp(LOGITS[:, 3])
    np.testing.assert_allclose(np.exp(merged.outputs([]).logits[:, 2]), expected)


def test_close_ups_are_summed_at_their_own_temperature() -> None:
    of_close_ups = ViewCalibration(3.0, THRESHOLDS)
    outputs = ModelOutputs(LOGITS, np.array([False, True]))
    two_views = replace(model(), outputs=lambda frames: outputs, of_close_ups=of_close_ups)
    merged = merge_classes(two_views, ["nevus", "melanoma"])
    answers = merged.answers(merged.outputs([]))
    for before, after, temperature in zip(LOGITS.tolist(), answers.probabilities, (1.7, 3.0), strict=True):
        melanoma, nevus, keratosis, none = softmax(before, temperature)
        assert after.tolist() == pytest.approx((nevus, melanoma, keratosis + none))
    assert answers.of_close_ups == ViewCalibration(3.0, {"alert": THRESHOLDS["alert"]})


def test_large_logits_do_not_overflow() -> None:
    merged = merge_logits(np.array([[900.0, 1000.0, 1000.0]]), [0], [1, 2], np.ones(1))
    np.testing.assert_allclose(merged, [[900.0, 1000.0 + np.log(2)]])


def test_of_the_thresholds_the_alert_alone_stays() -> None:
    assert merge_classes(model(), ["melanoma", "nevus"]).thresholds == {"alert": THRESHOLDS["alert"]}
    assert merge_classes(model(), ["nevus", "keratosis"]).thresholds == {}


def test_all_classes_of_a_model_without_none_of_these_stay_as_they_are() -> None:
    merged = merge_classes(model(LABELS[:3]), LABELS[:3])
    assert merged.none_label is None
    assert merged.labels == LABELS[:3]


def test_all_classes_of_a_model_can_be_named_in_any_order() -> None:
    three = replace(model(LABELS[:3]), outputs=lambda frames: ModelOutputs(LOGITS[:, :3]))
    merged = merge_classes(three, ["keratosis", "melanoma", "nevus"])
    assert merged.labels == ("keratosis", "melanoma", "nevus")
    assert merged.outputs([]).logits.tolist() == [[2.0, 1.0, 0.5], [-2.0, 0.0, 3.0]]


def test_models_with_and_without_further_classes_get_the_same_labels() -> None:
    close_up, of_close_ups = np.array([True, False]), ViewCalibration(3.0, THRESHOLDS)
    two = replace(
        model(("nevus", "melanoma")),
        outputs=lambda frames: ModelOutputs(LOGITS[:, :2], close_up),
        of_close_ups=of_close_ups,
    )
    many, few = merge_classes_of_all([model(), two], ["melanoma", "nevus"])
    assert many.labels == few.labels == ("melanoma", "nevus", NONE_OF_THESE)
    assert many.none_label == few.none_label == NONE_OF_THESE
    assert few.thresholds == {"alert": THRESHOLDS["alert"]}
    answers = few.answers(few.outputs([]))
    expected = [softmax((0.5, 1.0), 3.0), softmax((3.0, 0.0), 1.7)]
    assert answers.probabilities.tolist() == [pytest.approx((*one, 0.0)) for one in expected]
    assert answers.index.tolist() == [1, 0]
    # If no model has "none of these", no model gets it.
    assert [one.labels for one in merge_classes_of_all([two, two], ["melanoma", "nevus"])] == [
        ("melanoma", "nevus")
    ] * 2


@pytest.mark.parametrize("classes", [["melanoma"], ["melanoma", "melanoma"], ["melanoma", NONE_OF_THESE]])
def test_less_than_two_classes_are_refused(classes: list[str]) -> None:
    with pytest.raises(
        OptionError, match="at least two classes besides 'none of these', and each class only once"
    ):
        merge_classes(model(), classes)


def test_an_unknown_class_is_named_with_those_that_are_known() -> None:
    with pytest.raises(OptionError, match=r"'psoriasis'.*Known: melanoma, nevus, keratosis"):
        merge_classes(model(), ["melanoma", "psoriasis"])


def test_the_command_scores_the_chosen_classes(
    model_path: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(model_path), "--data", str(labelled_set), "--classes", "melanoma, nevus"]
    assert cli.main([*command, "--output", str(tmp_path / "report")]) == 0
    labels = json.loads((tmp_path / "report" / "evaluation.json").read_text())["labels"]
    assert labels == ["melanoma", "nevus", NONE_OF_THESE]
    assert cli.main([*command[:-1], "melanoma,wart"]) == 2
    assert "--classes names 'wart'" in capsys.readouterr().err
