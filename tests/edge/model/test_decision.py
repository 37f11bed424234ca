"""Probabilities from what a network puts out, and answers from probabilities."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermedge.edge.model.decision import decide, headline, prediction_set, softmax

VECTORS = json.loads((Path(__file__).parents[1] / "decision_vectors.json").read_text())
LABELS = ("melanoma", "nevus", "squamous cell carcinoma", "none of these")
NONE = LABELS.index("none of these")

logits = st.lists(st.floats(-50, 50), min_size=2, max_size=8)
four_probabilities = st.lists(st.floats(-8, 8), min_size=4, max_size=4).map(softmax)
threshold = st.floats(0, 1)


def decided(probabilities: tuple[float, ...], **thresholds: Any) -> Any:
    return decide(probabilities, LABELS, LABELS[NONE], thresholds)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    decision = decide(vector["probabilities"], vector["labels"], vector["none_label"], vector["thresholds"])
    for name in ("index", "declined", "uncertain", "alert"):
        assert getattr(decision, name) == vector[name]
    has_none = vector["none_label"] is not None
    said = headline(vector["probabilities"], decision, vector["labels"], has_none)
    assert {"title": said.title, "nearest": said.nearest} == vector["headline"]
    if vector["set"] is not None:
        chosen = prediction_set(vector["probabilities"], vector["labels"], vector["thresholds"])
        assert list(chosen) == vector["set"]


@given(four_probabilities)
def test_without_thresholds_the_most_probable_class_is_the_answer(probabilities: tuple[float, ...]) -> None:
    decision = decided(probabilities)
    assert probabilities[decision.index] == max(probabilities)
    assert decision.declined == (decision.index == NONE)
    assert not decision.uncertain
    assert not decision.alert


@given(four_probabilities, threshold)
def test_declined_exactly_where_none_reaches_its_threshold(
    probabilities: tuple[float, ...], least: float
) -> None:
    decision = decided(probabilities, none=least)
    assert decision.declined == (probabilities[NONE] >= least)
    if not decision.declined:
        assert probabilities[decision.index] == max(probabilities[:NONE])


@given(st.lists(st.floats(-8, 8), min_size=4, max_size=4), st.floats(0, 8), threshold)
def test_more_none_never_undoes_a_declining(values: list[float], more: float, least: float) -> None:
    raised = [*values[:NONE], values[NONE] + more]
    assert decided(softmax(values), none=least).declined <= decided(softmax(raised), none=least).declined


@given(st.lists(st.floats(-8, 8), min_size=4, max_size=4), st.floats(0, 8), threshold, threshold)
def test_more_melanoma_never_ends_the_alert_and_the_answer_has_no_say_in_it(
    values: list[float], more: float, least: float, none: float
) -> None:
    alert = {"label": "melanoma", "threshold": least}
    before, after = softmax(values), softmax([values[0] + more, *values[1:]])
    assert decided(before, alert=alert).alert <= decided(after, alert=alert).alert
    assert decided(before, alert=alert).alert == decided(before, alert=alert, none=none).alert


@given(st.lists(st.floats(-8, 8), min_size=4, max_size=4), st.floats(-8, 8), threshold)
def test_whether_an_answer_is_uncertain_does_not_depend_on_none(
    values: list[float], other: float, least: float
) -> None:
    """At a threshold of 1, the answer is never "none of these". So only the shares of the named classes count."""
    named = softmax(values[:NONE])
    for none in (values[NONE], other):
        decision = decided(softmax([*values[:NONE], none]), none=1.0, uncertain=least)
        if not math.isclose(max(named), least):
            assert decision.uncertain == (max(named) < least)


@given(four_probabilities, threshold, threshold)
def test_a_lower_threshold_never_takes_a_class_out_of_the_set(
    probabilities: tuple[float, ...], one: float, other: float
) -> None:
    low, high = sorted((one, other))

    def chosen(least: float) -> set[int]:
        conformal = {"coverage": 0.9, "thresholds": dict.fromkeys(LABELS, least)}
        return set(prediction_set(probabilities, LABELS, {"conformal": conformal}))

    assert chosen(high) <= chosen(low)
    assert chosen(0.0) == set(range(len(LABELS)))


@given(logits, st.floats(0.1, 10))
def test_probabilities_sum_to_one_and_keep_the_order(values: list[float], temperature: float) -> None:
    probabilities = softmax(values, temperature)
    assert math.isclose(sum(probabilities), 1)
    assert probabilities[values.index(max(values))] == max(probabilities)


def test_a_higher_temperature_is_less_sure() -> None:
    assert max(softmax((2.0, 0.0), 2.0)) < max(softmax((2.0, 0.0), 1.0))
    assert softmax((2.0, 0.0), 2.0)[0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_an_answer_below_the_confidence_asked_for_is_uncertain() -> None:
    probabilities = (0.1, 0.6, 0.2, 0.1)
    decision = decided(probabilities)
    assert headline(probabilities, decision, LABELS, True, confidence=0.6).text == "nevus"
    assert headline(probabilities, decision, LABELS, True, confidence=0.7).text == "uncertain; nearest: nevus"


@given(four_probabilities, threshold, threshold)
def test_a_class_is_named_alone_exactly_where_no_class_is_more_probable_and_it_is_certain(
    probabilities: tuple[float, ...], none: float, uncertain: float
) -> None:
    decision = decided(probabilities, none=none, uncertain=uncertain)
    said = headline(probabilities, decision, LABELS, True)
    is_most_probable = probabilities[decision.index] == max(probabilities)
    assert (said.title in LABELS) == (is_most_probable and not decision.uncertain)
    assert (said.nearest is None) == (said.title in LABELS)
    assert said.nearest != LABELS[NONE]
