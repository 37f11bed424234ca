"""The words of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dermedge.edge.model.decision import Headline
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.views.text import answer_line, hint_line, notes_line, rows_that_fit, title_of


def test_the_note_is_the_alert_and_no_advice(
    make_classification: Callable[..., Classification], noted_classification: Classification
) -> None:
    assert notes_line(make_classification()) == ""
    assert notes_line(noted_classification) == "melanoma alert"


def test_a_close_up_is_noted_after_the_alert(
    make_classification: Callable[..., Classification], noted_classification: Classification
) -> None:
    for view, note in (("close-up", "close-up: less certain"), ("dermoscopic", ""), (None, "")):
        plain = make_classification(prediction=replace(make_classification().prediction, view=view))
        assert notes_line(plain) == note
        assert plain.meaning == "; ".join(filter(None, ("nevus", note)))
    noted = replace(
        noted_classification, prediction=replace(noted_classification.prediction, view="close-up")
    )
    assert notes_line(noted) == "melanoma alert, close-up: less certain"


def test_the_headline_has_the_probability_of_the_class_that_it_names(
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
    noted_classification: Classification,
) -> None:
    assert answer_line(make_classification()) == "nevus  70%"
    assert answer_line(noted_classification) == "uncertain; nearest: nevus  70%"
    result = make_result(classification=noted_classification)
    assert title_of(result) == "uncertain"
    assert hint_line(result) == "nearest: nevus  70%, melanoma alert"
    prediction = make_classification().prediction
    declined = replace(prediction, decision=replace(prediction.decision, index=2, declined=True))
    unclear = Headline("not clearly one of the 2 classes", "nevus")
    line = answer_line(make_classification(prediction=declined, headline=unclear))
    assert line == "not clearly one of the 2 classes; nearest: nevus  70%"


def test_more_classes_than_fit_show_the_most_probable_in_the_model_s_order() -> None:
    assert rows_that_fit((0.1, 0.5, 0.05, 0.35), 3) == [0, 1, 3]
