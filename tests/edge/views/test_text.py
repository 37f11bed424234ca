"""The words of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dermedge.edge.results import UNCERTAIN, Classification
from dermedge.edge.views.text import notes_line, rows_that_fit


def test_the_notes_are_words_of_the_decision_and_no_advice(
    make_classification: Callable[..., Classification], noted_classification: Classification
) -> None:
    assert notes_line(make_classification()) == ""
    assert notes_line(noted_classification) == "uncertain, melanoma alert"
    assert notes_line(replace(noted_classification, label=UNCERTAIN)) == "melanoma alert", "not twice"


def test_more_classes_than_fit_show_the_most_probable_in_the_model_s_order() -> None:
    assert rows_that_fit((0.1, 0.5, 0.05, 0.35), 3) == [0, 1, 3]
