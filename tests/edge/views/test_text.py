"""The words of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dermedge.edge.model.decision import Headline
from dermedge.edge.model.prediction import Timing
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.views.text import (
    DISCLAIMER,
    answer_line,
    hint_line,
    latency_line,
    name_line,
    notes_line,
    rate_line,
    rows_that_fit,
    set_line,
    title_of,
    with_legend,
)


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


def test_times_of_a_frame_are_named_by_their_step(make_classification: Callable[..., Classification]) -> None:
    prediction = replace(make_classification().prediction, timing=Timing(1.25, 8.04, 0.36))
    one = make_classification(prediction=prediction, capture_ms=12.54)
    assert latency_line(one) == "ms: capture 12.5  pre 1.2  invoke 8.0  post 0.4"
    assert latency_line(one, with_capture=False) == "ms: pre 1.2  invoke 8.0  post 0.4"


@pytest.mark.parametrize(
    ("fps", "temperature_c", "line"),
    [
        (29.46, None, "29.5 fps"),
        (29.46, 61.6, "62 C  29.5 fps"),
        (None, 0.0, "0 C"),
        (None, None, ""),
        (0.0, None, "0.0 fps"),
    ],
)
def test_the_rate_comes_after_the_temperature(
    fps: float | None, temperature_c: float | None, line: str
) -> None:
    assert rate_line(fps, temperature_c) == line


def test_classes_of_the_prediction_set_are_marked_and_the_mark_is_explained(
    make_classification: Callable[..., Classification],
) -> None:
    plain = make_classification()
    chosen = make_classification(prediction_set=(plain.labels[1],))
    assert [name_line(chosen, index) for index in (0, 1)] == [plain.labels[0], f"* {plain.labels[1]}"]
    assert name_line(plain, 1) == plain.labels[1]
    assert set_line(("melanoma", "nevus")) == "{melanoma, nevus}"
    assert set_line(()) == "{}"
    assert with_legend("text", chosen) == "text, * not ruled out"
    assert with_legend("", make_classification(prediction_set=())) == "* not ruled out"
    assert with_legend("text", plain) == with_legend("text", None) == "text"


def test_every_view_says_what_it_is_not() -> None:
    assert DISCLAIMER == "not a medical device"
