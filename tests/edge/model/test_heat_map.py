"""Where the evidence lies."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.results import Classification


def test_heat_is_the_lead_of_the_predicted_class_from_0_to_1(
    make_classification: Callable[..., Classification],
) -> None:
    heat = heat_map(make_classification().prediction)
    assert heat is not None
    assert heat.tolist() == [[1, 0], [0, 0]]


def prediction_with(evidence: np.ndarray | None, index: int) -> Any:
    return SimpleNamespace(evidence=evidence, index=index)


def test_heat_is_evidence_for_the_class_less_the_mean_of_the_others() -> None:
    evidence = np.array([[[1, 4, 3], [0, 1, 2]], [[9, 1, 0], [1, 6, 3]]], np.float32)
    heat = heat_map(prediction_with(evidence, 1))
    assert heat is not None
    assert (heat.shape, heat.dtype) == ((2, 2), np.float32)
    # The leads of the four cells are 4 - 2, 1 - 1, 1 - 4.5 and 6 - 2. They are divided by the largest lead, and a
    # negative lead becomes 0.
    assert heat.tolist() == [[0.5, 0], [0, 1]]
    # for another class, the same evidence gives the leads 1 - 3.5, 0 - 1.5, 9 - 0.5 and 1 - 4.5
    other = heat_map(prediction_with(evidence, 0))
    assert other is not None
    assert other.tolist() == [[0, 0], [1, 0]]


def test_noise_is_not_hot() -> None:
    """A cell is fully hot only if its lead is at least two logits."""
    for lead, heat in ((0.5, 0.25), (1.98, 0.99), (2.0, 1.0), (8.0, 1.0)):
        found = heat_map(prediction_with(np.array([[[0, lead, 0]]], np.float32), 1))
        assert found is not None
        assert found[0, 0] == pytest.approx(heat)


def test_without_evidence_there_is_no_heat() -> None:
    assert heat_map(prediction_with(None, 1)) is None
