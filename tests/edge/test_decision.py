"""Probabilities from what a network puts out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decision import HALF_STEP, logits_of_outputs, softmax

logits = st.lists(st.floats(-50, 50), min_size=2, max_size=8)


@given(logits, st.floats(0.1, 10))
def test_probabilities_sum_to_one_and_keep_the_order(values: list[float], temperature: float) -> None:
    probabilities = softmax(values, temperature)
    assert math.isclose(sum(probabilities), 1)
    assert probabilities[values.index(max(values))] == max(probabilities)


def test_a_higher_temperature_is_less_sure() -> None:
    assert max(softmax((2.0, 0.0), 2.0)) < max(softmax((2.0, 0.0), 1.0))
    assert softmax((2.0, 0.0), 2.0)[0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_probabilities_become_logits_and_a_rounded_zero_is_half_a_step() -> None:
    assert logits_of_outputs((0.75, 0.25, 0.0)) == pytest.approx(
        (math.log(0.75), math.log(0.25), math.log(HALF_STEP))
    )


def test_outputs_that_are_no_distribution_are_logits_already() -> None:
    assert logits_of_outputs((3.0, -1.0)) == (3.0, -1.0)
    assert logits_of_outputs((3.0, 1.0)) == (3.0, 1.0)
