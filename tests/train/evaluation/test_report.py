"""The warnings of a report, and their limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

from dermedge.edge.errors import PictureError
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.evaluate import Evaluation, Scored
from dermedge.train.evaluation.figures import FIGURES, GROUPS, SLICE_FIGURES, applicable
from dermedge.train.evaluation.report import cautions, to_html, to_text, verdict
from dermedge.train.evaluation.scorecard import Answers, Truth, compare, make_card, needs_met

LABELS = ("cat", "dog")


HEADINGS = {
    "Recognition": [
        "balanced_accuracy",
        "balanced_accuracy_named",
        "balanced_accuracy_end_to_end",
        "accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
    ],
    "Critical class": [
        "critical_auroc_named",
        "critical_auroc_all",
        "critical_sensitivity_named",
        "critical_sensitivity_all",
    ],
    "Declining": [
        "declined_named",
        "declined_other",
        "declined_no_lesion",
        "decline_auroc_other",
        "decline_auroc_no_lesion",
    ],
    "Calibration": [
        "calibration_error",
        "calibration_error_before",
        "calibration_error_balanced",
        "calibration_error_balanced_before",
        "brier",
        "brier_before",
    ],
    "Decisions by the thresholds of the manifest": [
        "alert_sensitivity",
        "alert_specificity",
        "uncertain",
        "answered",
        "risk_answered",
        "conformal_coverage",
        "conformal_size",
    ],
}


def evaluation(
    counts: tuple[int, int], thresholds: dict[str, Any] | None = None, learned: int | None = None, **more: Any
) -> Evaluation:
    """An evaluation of one model, right on each photo of its own lesion with 80 % confidence."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    photos = [
        LabelledPhoto(Path(f"{n}.jpg"), label, Photo("", "", "", f"g{n}", LABELS[label], LABELS[label], "s"))
        for n, label in enumerate(labels)
    ]
    truth = Truth.of(photos, LABELS, None)
    logits = np.log(np.where(np.eye(2)[labels], 0.8, 0.2))
    answers = Answers(logits, LABELS, None, 1.0, thresholds or {})
    model = Scored("pets", {}, learned, answers, make_card(truth, answers), [])
    values = {"unreadable": (), "comparisons": (), **more}
    return Evaluation(
        "photos", tuple(photos), values["unreadable"], truth, (model,), values["comparisons"], (), 0
    )


def test_a_class_of_fewer_than_eight_lesions_is_too_small_to_judge() -> None:
    assert cautions(evaluation((8, 8))) == []
    assert cautions(evaluation((8, 7))) == ["'dog' has 7 lesions here, too few to judge its recall"]
    assert cautions(evaluation((8, 0))) == ["no photo here shows 'dog'"]


def test_learned_and_undecodable_photos_are_named_first() -> None:
    found = cautions(evaluation((9, 9), learned=5, unreadable=(PictureError("a"), PictureError("b"))))
    assert found == [
        "photos that could not be decoded and are not scored: 2",
        "pets has learned from 5 of these 18 photos: its figures are better than on new ones",
    ]
    assert cautions(evaluation((9, 9), learned=0)) == []


def test_sets_that_hold_all_classes_for_more_than_half_of_the_photos_say_nothing() -> None:
    def sets(cat: float, dog: float) -> dict[str, Any]:
        return {"conformal": {"coverage": 0.9, "thresholds": {"cat": cat, "dog": dog}}}

    # each photo has probabilities of 0.8 and 0.2
    assert cautions(evaluation((10, 10), sets(0.1, 0.1))) == [
        "pets: 100% of its prediction sets hold all classes"
    ]
    assert cautions(evaluation((10, 10), sets(0.5, 0.1))) == []
    assert cautions(evaluation((11, 10), sets(0.5, 0.1))) == [
        "pets: 52% of its prediction sets hold all classes"
    ]


def test_titles_and_definitions_name_the_critical_class() -> None:
    figure = FIGURES["critical_auroc_all"]
    assert figure.titled("nevus") == "nevus AUROC"
    assert figure.defined("nevus") == (
        "The area below the ROC curve of p(nevus), for nevus against all other photos."
    )
    assert FIGURES["accuracy"].titled(None) == "accuracy"


def test_the_figures_stand_below_their_headings() -> None:
    assert {heading: [one.name for one in part] for heading, part in GROUPS.items()} == HEADINGS
    assert list(FIGURES) == [name for names in HEADINGS.values() for name in names]
    assert SLICE_FIGURES == (
        "balanced_accuracy",
        "balanced_accuracy_named",
        "accuracy",
        "critical_auroc_named",
        "declined_named",
        "decline_auroc_other",
        "calibration_error",
    )


def test_a_figure_is_shown_where_what_it_needs_is_there() -> None:
    truth = evaluation((9, 9)).truth
    plain = Answers(np.zeros((18, 2)), LABELS, None, 1.0, {})
    shown = {one.name for one in applicable(needs_met(truth, [plain]))}
    assert {"accuracy", "balanced_accuracy", "brier"} <= shown
    assert not [
        name for name in shown if name.startswith(("critical", "declined", "alert", "conformal", "uncertain"))
    ]
    critical = {one.name for one in applicable(needs_met(replace(truth, critical="cat"), [plain]))} - shown
    assert critical == set(HEADINGS["Critical class"])
    declining = {one.name for one in applicable(needs_met(replace(truth, none_label="dog"), [plain]))} - shown
    assert {"declined_named", "decline_auroc_other", "balanced_accuracy_end_to_end"} <= declining
    warm = Answers(np.zeros((18, 2)), LABELS, None, 1.5, {"alert": {"label": "cat", "threshold": 0.5}})
    more = {one.name for one in applicable(needs_met(truth, [plain, warm]))} - shown
    assert {"alert_sensitivity", "alert_specificity", "brier_before"} <= more
    assert "uncertain" not in more


def test_the_page_opens_with_the_verdict_and_shows_equal_figures_once() -> None:
    made = evaluation((9, 9))
    [model] = made.models
    assert verdict(made).startswith(f"{model.name} has a balanced accuracy of ")
    assert "guessing reaches 0.50" in verdict(made)
    page = to_html(made, "")
    assert page.index(verdict(made)) < page.index("<h2>Figures</h2>")
    assert "balanced accuracy" in page
    assert "macro recall" not in page, "it is the balanced accuracy"


def test_a_worse_model_is_reported_as_worse() -> None:
    base = evaluation((10, 10))
    logits = np.array(base.models[0].answers.logits)
    # four photos of cats are dogs to the other model
    logits[:4] = logits[:4, ::-1]
    other = Answers(logits, LABELS, None, 1.0, {})
    worse = compare(("pets", "other"), base.truth, base.models[0].answers, other)
    text = to_text(evaluation((10, 10), comparisons=(worse,)))
    assert "other against pets: 80.0% answered alike; balanced accuracy -0.200 [-0." in text
    assert "right alone 0 against 4, McNemar p = 0.1250" in text
    better = compare(("other", "pets"), base.truth, other, base.models[0].answers)
    assert "balanced accuracy +0.200 [+0." in to_text(evaluation((10, 10), comparisons=(better,)))
    assert better.flips["cat"] == (10, 4, 0, 4)
