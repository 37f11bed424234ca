"""The warnings of a report, and their limits."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

from dermedge.edge.errors import PictureError
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation import report
from dermedge.train.evaluation.evaluate import Evaluation, Mistake, Scored
from dermedge.train.evaluation.figures import FIGURES, GROUPS, SLICE_FIGURES, applicable
from dermedge.train.evaluation.metrics import Score
from dermedge.train.evaluation.report import _thresholds_text, cautions, to_html, to_json, to_text, verdict
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
    "Decisions with the thresholds of the manifest": [
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
    """An evaluation of one model. Its answers have 80 % confidence, and each photo shows a lesion of its own."""
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
    few = "of the class 'dog', too few to judge the recall of this class"
    assert cautions(evaluation((8, 7))) == [f"the scored photos show only 7 lesions {few}"]
    assert cautions(evaluation((8, 1))) == [f"the scored photos show only 1 lesion {few}"]
    assert cautions(evaluation((8, 0))) == ["no scored photo shows the class 'dog'"]


def test_learned_and_undecodable_photos_are_named_first() -> None:
    found = cautions(evaluation((9, 9), learned=5, unreadable=(PictureError("a"), PictureError("b"))))
    assert found == [
        "photos that could not be decoded and are not scored: 2",
        "pets was trained on 5 of these 18 photos; on new photos, its scores are likely to be lower",
    ]
    assert cautions(evaluation((9, 9), learned=0)) == []


def test_sets_that_hold_all_classes_for_more_than_half_of_the_photos_say_nothing() -> None:
    def sets(cat: float, dog: float) -> dict[str, Any]:
        return {"conformal": {"coverage": 0.9, "thresholds": {"cat": cat, "dog": dog}}}

    # The probabilities of each photo are 0.8 and 0.2.
    assert cautions(evaluation((10, 10), sets(0.1, 0.1))) == [
        "100% of the prediction sets of pets contain all classes, and so do not narrow the answer down"
    ]
    assert cautions(evaluation((10, 10), sets(0.5, 0.1))) == []
    assert cautions(evaluation((11, 10), sets(0.5, 0.1))) == [
        "52% of the prediction sets of pets contain all classes, and so do not narrow the answer down"
    ]


def test_titles_and_definitions_name_the_critical_class() -> None:
    figure = FIGURES["critical_auroc_all"]
    assert figure.titled("nevus") == "nevus AUROC"
    assert figure.defined("nevus") == (
        "The area under the ROC curve that separates nevus from all other photos. The score is the probability of "
        "nevus."
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
    assert "Guessing among 2 classes reaches 0.50." in verdict(made)
    page = to_html(made, "")
    assert page.index(verdict(made)) < page.index("<h2>Metrics</h2>")
    assert "balanced accuracy" in page
    assert "macro recall" not in page, "it is the balanced accuracy"


def test_a_worse_model_is_reported_as_worse() -> None:
    base = evaluation((10, 10))
    logits = np.array(base.models[0].answers.logits)
    # The other model takes four photos of cats for dogs.
    logits[:4] = logits[:4, ::-1]
    other = Answers(logits, LABELS, None, 1.0, {})
    worse = compare(("pets", "other"), base.truth, base.models[0].answers, other)
    text = to_text(evaluation((10, 10), comparisons=(worse,)))
    assert (
        "other compared with pets: same answer to 80.0% of the photos; change of balanced accuracy -0.2"
        in text
    )
    assert "only other is right on 0 photos, only pets on 4; McNemar's test: p = 0.1250" in text
    better = compare(("other", "pets"), base.truth, other, base.models[0].answers)
    assert "balanced accuracy +0.200 [+0." in to_text(evaluation((10, 10), comparisons=(better,)))
    assert better.flips["cat"] == (10, 4, 0, 4)


THRESHOLDS = {
    "none": 0.4,
    "uncertain": 0.6,
    "alert": {"label": "melanoma", "threshold": 0.2},
    "conformal": {"coverage": 0.9, "thresholds": {"melanoma": 0.1, "nevus": 0.1, "none of these": 0.1}},
}
LESIONS = ("melanoma", "nevus", "none of these")


@pytest.fixture(scope="module")
def lesions() -> Evaluation:
    """Two models on 30 photos. The first is right on all, and the other takes 2 of 10 melanomas for nevi."""
    labels = [number // 10 for number in range(30)]
    diagnoses = ("melanoma", "nevus", "neurofibroma")
    photos = tuple(
        LabelledPhoto(
            Path(f"{number}.jpg"),
            label,
            Photo(
                "",
                f"id {number}",
                "",
                f"g{number}",
                "clothing" if number > 24 else diagnoses[label],
                LESIONS[label],
                "ab"[number % 2],
            ),
        )
        for number, label in enumerate(labels)
    )
    truth = Truth.of(photos, LESIONS, LESIONS[-1], "melanoma")
    probabilities = np.where(np.eye(3)[labels], 0.9, 0.05)
    changed = probabilities.copy()
    changed[:2] = [0.25, 0.7, 0.05]
    mistake = Mistake("wrong", "id 0", "a", "melanoma", "nevus", 0.7, 0.25, b"jpeg", None)
    models = []
    for name, values, thresholds, temperature in (
        ("right", probabilities, {}, 1.0),
        ("a model of a very long name", changed, THRESHOLDS, 1.25),
    ):
        answers = Answers(np.log(values) * temperature, LESIONS, LESIONS[-1], temperature, thresholds)
        card = make_card(truth, answers)
        models.append(Scored(name, {"size": "1 MB"}, None, answers, card, [mistake] if thresholds else []))
    worse = compare(("right", "other"), truth, models[0].answers, models[1].answers)
    strains: Any = tuple(
        SimpleNamespace(
            model=model.name,
            perturbation="blur",
            severity="weak",
            gain=Score(-0.1, -0.2, 0.0),
            flips=Score(0.25, 0.1, 0.3),
        )
        for model in models
    )
    return Evaluation("photos", photos, (), truth, tuple(models), (worse,), strains, 12)


def test_the_text_names_what_each_model_reaches(lesions: Evaluation) -> None:
    lines = to_text(lesions).splitlines()
    assert lines[0] == "photos: 30 photos of 30 lesions; 95 % confidence intervals are in brackets"
    heads = next(line for line in lines if "right" in line and "…" in line)
    # The name is cut at its beginning, to 20 characters.
    assert heads.endswith("  …of a very long name")
    [recall] = [line for line in lines if line.startswith("melanoma (10)")]
    assert re.findall(r"\d\.\d+ \[", recall) == ["1.000 [", "0.800 ["]
    at = lines.index(next(line for line in lines if line.startswith("a model of a very long name  melanoma")))
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["melanoma", "8", "2", "0"],
        ["nevus", "0", "10", "0"],
        ["none", "of", "these", "0", "0", "10"],
    ]
    assert any(line.startswith("source a (15)") for line in lines)
    head = "stress on 12 photos: change of balanced accuracy, share of photos whose answer changes"
    at = lines.index(head)
    cell = "-0.100 [-0.200, +0.000]  25.0%"
    assert re.sub(" +", " ", lines[at + 1]) == re.sub(" +", " ", f"blur, weak {cell} {cell}")
    assert lines[-1].startswith("For research and education only")


def test_each_threshold_is_described_whichever_others_there_are() -> None:
    shown = {"none": "0.400", "uncertain": "0.600", "alert": "0.200", "conformal": "90%"}
    for name, number in shown.items():
        text = _thresholds_text({name: THRESHOLDS[name]})
        assert [other for other in shown.values() if other in text] == [number]
    assert all(number in _thresholds_text(THRESHOLDS) for number in shown.values())
    assert not re.search(r"\d", _thresholds_text({}))


def test_at_most_three_models_stand_side_by_side(lesions: Evaluation) -> None:
    four = replace(lesions, models=tuple(replace(lesions.models[0], name=name) for name in "abcd"))
    heads = [line.split() for line in to_text(four).splitlines() if line.startswith("recall")]
    assert heads == [["recall", "a", "b", "c"], ["recall", "d"]]


def test_the_matrix_and_the_curves_of_more_than_twenty_classes_are_left_out() -> None:
    for classes, shown in ((20, True), (21, False)):
        labels = [f"class{number:02}" for number in range(classes)]
        photos = [
            LabelledPhoto(Path(f"{n}.jpg"), n, Photo("", "", "", f"g{n}", labels[n], labels[n], "s"))
            for n in range(classes)
        ]
        truth = Truth.of(photos, labels, None)
        answers = Answers(np.eye(classes), tuple(labels), None, 1.0, {})
        model = Scored("pets", {}, None, answers, make_card(truth, answers), [])
        made = Evaluation("photos", tuple(photos), (), truth, (model,), (), (), 0)
        assert bool(re.search(r"^pets +class00 +class01 ", to_text(made), re.MULTILINE)) is shown
        assert ("onfusion" in to_html(made, "")) is shown
        assert ("ROC curves:" in to_html(made, "")) is shown
        # The curve of the critical class is always drawn.
        page = to_html(replace(made, truth=Truth.of(photos, labels, None, "class05")), "")
        assert "class05 1.000" in page
        assert ("class06 1.000" in page) is shown


def test_the_json_names_everything(lesions: Evaluation) -> None:
    told = json.loads(to_json(lesions, "command"))
    assert told["schema"] == "dermedge-evaluation/3"
    assert {
        name: told[name] for name in ("data", "photos", "lesions", "labels", "none_label", "critical")
    } == {
        "data": "photos",
        "photos": 30,
        "lesions": 30,
        "labels": list(LESIONS),
        "none_label": "none of these",
        "critical": "melanoma",
    }
    assert told["diagnoses"] == [
        {"diagnosis": "melanoma", "kind": "melanoma", "photos": 10},
        {"diagnosis": "nevus", "kind": "nevus", "photos": 10},
        {"diagnosis": "clothing", "kind": "no lesion", "photos": 5},
        {"diagnosis": "neurofibroma", "kind": "other lesion", "photos": 5},
    ]
    right, other = told["models"]
    assert (other["name"], other["temperature"], other["facts"]) == (
        "a model of a very long name",
        1.25,
        {"size": "1 MB"},
    )
    assert other["thresholds"] == THRESHOLDS
    assert other["confusion_matrix"] == [[8, 2, 0], [0, 10, 0], [0, 0, 10]]
    assert other["classes"]["melanoma"]["recall"]["value"] == 0.8
    assert other["classes"]["melanoma"]["photos"] == 10
    assert set(other["classes"]["melanoma"]) == {
        "photos",
        "lesions",
        "precision",
        "recall",
        "f1",
        "auroc",
        "coverage",
        "set_size",
    }
    assert other["mistakes"] == [
        {
            "kind": "wrong",
            "image_id": "id 0",
            "source": "a",
            "truth": "melanoma",
            "answer": "nevus",
            "probability": 0.7,
            "critical": 0.25,
        }
    ]
    assert right["mistakes"] == []
    assert other["slices"]["source"]["a"]["photos"] == 15
    for when, probability in (("after", 0.7), ("before", 0.74)):
        found = [one for one in other["reliability"][when] if one["photos"] == 2]
        assert [(one["confidence"], one["accuracy"]) for one in found] == [
            (pytest.approx(probability, abs=0.04), 0.0)
        ]
    [comparison] = told["comparisons"]
    assert (comparison["first"], comparison["other"]) == ("right", "other")
    assert comparison["mcnemar"] == {
        "first_only_right": 2,
        "other_only_right": 0,
        "p_value": pytest.approx(0.5),
    }
    assert comparison["flips"]["melanoma"] == {"photos": 10, "changed": 2, "lost": 2, "won": 0}
    assert comparison["agreement"]["value"] == pytest.approx(28 / 30, abs=1e-4)
    assert comparison["balanced_accuracy_change"]["value"] == pytest.approx(-0.2 / 3, abs=1e-4)
    assert told["stress"]["photos"] == 12
    assert told["stress"]["results"][1] == {
        "model": "a model of a very long name",
        "perturbation": "blur",
        "severity": "weak",
        "balanced_accuracy_change": {"value": -0.1, "low": -0.2, "high": 0.0},
        "flips": {"value": 0.25, "low": 0.1, "high": 0.3},
    }


def test_the_verdict_is_of_the_best_model_and_tells_its_alert(lesions: Evaluation) -> None:
    text = verdict(lesions)
    assert text.startswith("right has the highest balanced accuracy of 1.000 (95 % confidence interval: ")
    assert text.endswith("Guessing among 3 classes reaches 0.33.")
    alone = replace(lesions, models=lesions.models[1:])
    # All 10 melanomas have a probability of melanoma of 0.25 or more. No other photo has.
    assert verdict(alone).startswith("a model of a very long name has a balanced accuracy of 0.933 (95 % ")
    assert verdict(alone).endswith(
        " The alert is on for 100\u00a0% of the photos of melanoma and for 0\u00a0% of all other photos."
    )


def test_the_verdict_guesses_among_all_classes_even_if_the_photos_show_one(lesions: Evaluation) -> None:
    melanomas = lesions.truth.where(lesions.truth.index == 0)
    assert "Guessing among 3 classes reaches 0.33." in verdict(replace(lesions, truth=melanomas))


def test_a_figure_has_one_name_in_all_tables_of_the_text(lesions: Evaluation) -> None:
    head = next(
        line for line in to_text(lesions).splitlines() if line.startswith("right  ") and "AUROC" in line
    )
    assert head.endswith("melanoma AUROC among the named classes")


def test_the_page_tells_thresholds_temperatures_and_probabilities(lesions: Evaluation) -> None:
    page = to_html(lesions, "command")
    assert (
        "declined if the probability of &#39;none of these&#39; is at least 0.400; uncertain if the probability of the "
        "answer, divided by the sum of the probabilities of all classes except &#39;none of these&#39;, is below "
        "0.600; alert if the probability of melanoma is at least 0.200; prediction sets with a coverage of 90%"
    ) in page
    assert "none; the answer is the most probable class" in page
    assert "temperature 1.25" in page
    assert "temperature 1<" in page
    assert "data:image/jpeg;base64,anBlZw==" in page
    assert "p = 0.5000" in page


def test_a_figure_is_left_out_only_beside_the_figure_that_it_can_repeat() -> None:
    assert set(report._REPEATS).isdisjoint(report._REPEATS.values())
    assert {*report._REPEATS, *report._REPEATS.values(), *report._SUMMARY} <= set(FIGURES)
