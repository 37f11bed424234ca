"""Where the evidence lies."""

from __future__ import annotations

from collections.abc import Callable

from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.results import Classification


def test_heat_is_the_lead_of_the_predicted_class_from_0_to_1(
    make_classification: Callable[..., Classification],
) -> None:
    heat = heat_map(make_classification().prediction)
    assert heat is not None
    assert heat.tolist() == [[1, 0], [0, 0]]
