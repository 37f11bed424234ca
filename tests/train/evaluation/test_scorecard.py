"""Figures equal values computed by hand. Figures without a meaning are not measured."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.model.decision import softmax
from dermedge.edge.model.photo_view import ViewCalibration
from dermedge.train.data.catalogue import NONE_OF_THESE, Photo
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.figures import FIGURES
from dermedge.train.evaluation.metrics import Score
from dermedge.train.evaluation.scorecard import (
    NO_LESION,
    NOT_TOLD,
    OTHER_LESION,
    Answers,
    Truth,
    compare,
    critical_class,
    make_card,
)
from dermedge.train.evaluation.slices import age_band, slice_values

pytest.importorskip("sklearn")

LABELS = ("melanoma", "nevus", NONE_OF_THESE)
# Each row has the diagnosis, p(melanoma), p(nevus) and p(none of these).
PHOTOS = (
    ("melanoma", 0.7, 0.2, 0.1),
    ("melanoma", 0.3, 0.6, 0.1),
    ("melanoma", 0.3, 0.1, 0.6),
    ("melanoma", 0.8, 0.1, 0.1),
    ("nevus", 0.1, 0.8, 0.1),
    ("nevus", 0.05, 0.15, 0.8),
    ("basal cell carcinoma", 0.1, 0.2, 0.7),
    ("vascular lesion", 0.6, 0.3, 0.1),
    ("clothing", 0.02, 0.08, 0.9),
    (NONE_OF_THESE, 0.2, 0.3, 0.5),
)


def truth_of(diagnoses: list[str], labels: tuple[str, ...] = LABELS) -> Truth:
    none_label = NONE_OF_THESE if NONE_OF_THESE in labels else None
    photos = [
        LabelledPhoto(
            Path(f"{number}.jpg"),
            labels.index(name if name in labels else NONE_OF_THESE),
            Photo("", "", "", f"lesion {number}", name, name, "first" if number % 2 else "second"),
        )
        for number, name in enumerate(diagnoses)
    ]
    return Truth.of(photos, labels, none_label, "melanoma" if "melanoma" in labels else None)


def answers_of(rows: list[tuple[float, ...]], labels: tuple[str, ...] = LABELS, **thresholds: Any) -> Answers:
    none_label = NONE_OF_THESE if NONE_OF_THESE in labels else None
    return Answers(np.log(np.array(rows)), labels, none_label, 1.0, thresholds)


MELANOMA = Photo("", "", "", "", "melanoma", "melanoma", "one")
TRUTH = truth_of([name for name, *_ in PHOTOS])
ROWS = [tuple(row) for _, *row in PHOTOS]


def values(answers: Answers, truth: Truth = TRUTH) -> dict[str, float]:
    return {name: score.value for name, score in make_card(truth, answers).figures.items()}


def test_independent_probabilities_are_scored_as_they_are() -> None:
    rows = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]])
    answers = Answers(np.log(rows), ("a", "b", "c"), None, 1.0, {}, independent=True)
    np.testing.assert_allclose(answers.probabilities, rows)
    np.testing.assert_allclose(answers.raw_probabilities, rows)
    assert answers.index.tolist() == [0, 1]


def test_close_ups_are_decided_by_their_own_temperature_and_thresholds() -> None:
    logits = np.array([[1.0, 0.0, -1.0]] * 4)
    alert = {"alert": {"label": "melanoma", "threshold": 0.5}}
    sets = {"conformal": {"coverage": 0.9, "thresholds": dict.fromkeys(LABELS, 0.5)}}
    close_up = np.array([False, True, True, False])
    of_close_ups = ViewCalibration(4.0, {"none": 0.0})
    answers = Answers(
        logits, LABELS, NONE_OF_THESE, 1.0, {**alert, **sets}, close_up=close_up, of_close_ups=of_close_ups
    )
    for row, told in zip(answers.probabilities.tolist(), close_up, strict=True):
        assert row == pytest.approx(softmax(logits[0].tolist(), 4.0 if told else 1.0))
    np.testing.assert_allclose(answers.raw_probabilities, [softmax(logits[0].tolist())] * 4)
    assert [one.declined for one in answers.decisions] == close_up.tolist()
    assert [one.alert for one in answers.decisions] == (~close_up).tolist()
    assert answers.sets is not None
    assert answers.sets.sum(axis=1).tolist() == [1, 3, 3, 1], "nothing is ruled out without thresholds"
    assert answers.where(close_up).index.tolist() == [LABELS.index(NONE_OF_THESE)] * 2
    assert (answers.alert_label, answers.is_calibrated) == ("melanoma", True)
    assert answers.threshold_names == {"alert", "conformal", "none"}
    usual = Answers(logits, LABELS, NONE_OF_THESE, 1.0, {**alert, **sets})
    assert (usual.is_calibrated, usual.threshold_names) == (False, {"alert", "conformal"})


def test_each_photo_counts_as_what_it_shows() -> None:
    assert TRUTH.kinds.tolist()[6:] == [OTHER_LESION, OTHER_LESION, NO_LESION, NOT_TOLD]


def test_the_three_balanced_accuracies_are_those_worked_out_by_hand() -> None:
    found = values(answers_of(ROWS))
    melanoma, nevus, none = 2 / 4, 1 / 2, 3 / 4
    assert found["balanced_accuracy"] == pytest.approx((melanoma + nevus + none) / 3)
    assert found["balanced_accuracy_end_to_end"] == pytest.approx((melanoma + nevus) / 2)
    # Without "none of these", the answers to the declined melanoma and the declined nevus are right.
    assert found["balanced_accuracy_named"] == pytest.approx((3 / 4 + 2 / 2) / 2)
    assert found["accuracy"] == pytest.approx(6 / 10)


def test_what_is_declined_is_told_apart_by_what_it_is() -> None:
    found = values(answers_of(ROWS))
    assert found["declined_named"] == pytest.approx(2 / 6)
    assert found["declined_other"] == pytest.approx(1 / 2)
    assert found["declined_no_lesion"] == 1
    # The named lesions have a p(none) of 0.1, 0.1, 0.6, 0.1, 0.1 and 0.8. The other lesion with 0.7 is above
    # 5 of these 6, and the one with 0.1 ties with 4. The photo without a lesion, with 0.9, is above all.
    assert found["decline_auroc_other"] == pytest.approx((5 + 4 / 2) / 12)
    assert found["decline_auroc_no_lesion"] == 1


def test_melanoma_is_ranked_among_the_lesion_classes_and_among_all() -> None:
    found = values(answers_of(ROWS))
    assert found["critical_auroc_named"] == 1
    # In 2 of 24 pairs, the vascular lesion with 0.6 is above a melanoma with 0.3.
    assert found["critical_auroc_all"] == pytest.approx(22 / 24)
    assert found["critical_sensitivity_named"] == 1
    assert found["critical_sensitivity_all"] == 0.5


def test_among_the_named_classes_melanoma_is_ranked_by_its_share_of_them() -> None:
    # p(melanoma) alone would rank the nevus first. But melanoma's share of p(melanoma) + p(nevus) is 0.5 for the
    # nevus photo, and 0.75 for the melanoma photo.
    rows = [(0.3, 0.1, 0.6), (0.4, 0.4, 0.2)]
    found = values(answers_of(rows), truth_of(["melanoma", "nevus"]))
    assert found["critical_auroc_named"] == 1
    assert found["critical_auroc_all"] == 0


def test_thresholds_decline_alert_and_mark_as_the_device_does() -> None:
    conformal = {"coverage": 0.9, "thresholds": {"melanoma": 0.25, "nevus": 0.25, NONE_OF_THESE: 0.55}}
    found = values(
        answers_of(
            ROWS,
            none=0.75,
            uncertain=0.7,
            alert={"label": "melanoma", "threshold": 0.25},
            conformal=conformal,
        )
    )
    assert found["declined_named"] == pytest.approx(1 / 6)
    assert found["alert_sensitivity"] == 1
    assert found["alert_specificity"] == pytest.approx(5 / 6)
    # Only the nevus with 0.8 and the clothing are declined. For the other eight, the share of the answer in
    # melanoma and nevus is 0.78, 0.67, 0.75, 0.89, 0.89, 0.67, 0.67 and 0.6.
    assert found["uncertain"] == pytest.approx(4 / 10)
    assert found["answered"] == pytest.approx(4 / 10)
    assert found["risk_answered"] == 0
    # The prediction sets of all four melanomas, of the first nevus, and of two of the four other photos hold
    # the true class.
    assert found["conformal_coverage"] == pytest.approx(7 / 10)
    # The sets have the sizes 1, 2, 2, 1, 1, 1, 1, 2, 1 and 1.
    assert found["conformal_size"] == pytest.approx(13 / 10)


def test_a_class_has_the_coverage_and_size_of_its_own_sets() -> None:
    conformal = {"coverage": 0.9, "thresholds": {"melanoma": 0.25, "nevus": 0.25, NONE_OF_THESE: 0.55}}
    classes = make_card(TRUTH, answers_of(ROWS, conformal=conformal)).classes
    assert classes["melanoma"].coverage.value == 1
    assert classes["melanoma"].set_size.value == pytest.approx(6 / 4)
    assert classes["nevus"].coverage.value == 0.5


def test_a_temperature_changes_calibration_and_no_answer() -> None:
    plain, hot = answers_of(ROWS), Answers(np.log(np.array(ROWS)), LABELS, NONE_OF_THESE, 2.0, {})
    before, after = values(plain), values(hot)
    assert (
        before["calibration_error"] == before["calibration_error_before"] == after["calibration_error_before"]
    )
    assert after["calibration_error"] != before["calibration_error"]
    assert after["brier_before"] == before["brier"] != after["brier"]
    same = ("accuracy", "balanced_accuracy", "balanced_accuracy_named", "declined_named", "macro_f1")
    assert all(before[name] == after[name] for name in same)


def test_figures_without_meaning_are_not_measured_and_the_others_are() -> None:
    labels = ("brown", "red")
    truth = truth_of(["brown", "red", "red"], labels)
    card = make_card(truth, answers_of([(0.9, 0.1), (0.2, 0.8), (0.6, 0.4)], labels))
    measured = {name for name, score in card.figures.items() if score.measured}
    assert {
        name for name in FIGURES if name.split("_")[0] in ("critical", "declined", "decline", "alert")
    } & measured == set()
    assert {"accuracy", "balanced_accuracy", "balanced_accuracy_named", "brier"} <= measured
    assert card.figures["balanced_accuracy"] == card.figures["balanced_accuracy_named"]
    assert set(card.figures) == set(FIGURES)


def test_photos_of_one_class_alone_have_no_area_and_no_crash() -> None:
    card = make_card(truth_of(["nevus", "nevus"]), answers_of(ROWS[4:6]))
    assert not card.classes["nevus"].auroc.measured
    assert not card.classes["melanoma"].recall.measured
    assert card.figures["accuracy"].value == 0.5


def test_named_classes_that_all_have_probability_zero_count_equally() -> None:
    # A wrong normalization may give such large logits.
    logits = np.array([[0.0, 0.0, 2000.0], [0.0, 9.0, 2000.0], [2.0, 0.0, 0.0]])
    answers = Answers(logits, LABELS, NONE_OF_THESE, 1.0, {})
    card = make_card(truth_of(["melanoma", "nevus", "nevus"]), answers)
    # The first two photos have nothing for melanoma and nevus, so the share of melanoma is 1/2. The share of
    # the third one is 0.88.
    assert card.figures["critical_auroc_named"].value == 0.25


def test_each_source_has_its_own_figures() -> None:
    sources = make_card(TRUTH, answers_of(ROWS)).slices["source"]
    assert {name: one.photos for name, one in sources.items()} == {"first": 5, "second": 5}
    assert sources["second"].figures["accuracy"].value == pytest.approx(4 / 5)


def test_groups_of_people_have_their_own_figures_and_unknown_is_a_group() -> None:
    people = (
        {"age": "34", "sex": "female", "skin_tone": "1"},
        {"sex": "male"},
        {"age": "71", "sex": "male", "skin_tone": "5"},
        {"age": "29", "skin_tone": "5"},
    )
    photos = [
        LabelledPhoto(Path(f"{number}.jpg"), 0, replace(MELANOMA, group=f"lesion {number}", **person))
        for number, person in enumerate(people)
    ]
    truth = Truth.of(photos, LABELS, NONE_OF_THESE, "melanoma")
    slices = make_card(truth, answers_of(ROWS[:4])).slices
    assert list(slices) == ["source", "age", "sex", "skin tone"]
    assert {value: one.photos for value, one in slices["age"].items()} == {
        "30 to 49": 1,
        "70 and over": 1,
        "not known": 1,
        "under 30": 1,
    }
    assert {value: one.photos for value, one in slices["sex"].items()} == {
        "female": 1,
        "male": 2,
        "not known": 1,
    }
    # Neither of the two men's melanomas is answered as a melanoma.
    assert slices["sex"]["male"].figures["accuracy"].value == 0
    assert slices["skin tone"]["5, very light"].figures["accuracy"].value == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0", "under 30"),
        ("29", "under 30"),
        ("30", "30 to 49"),
        ("49", "30 to 49"),
        ("50", "50 to 69"),
        ("69", "50 to 69"),
        ("70", "70 and over"),
        ("", ""),
    ],
)
def test_an_age_is_in_the_band_that_begins_at_it(age: str, band: str) -> None:
    assert age_band(age) == band


def test_every_group_has_its_name() -> None:
    person = {"view": "close-up", "site": "trunk", "fitzpatrick": "4"}
    photos = [
        LabelledPhoto(Path(f"{tone}.jpg"), 0, replace(MELANOMA, skin_tone=str(tone), **person))
        for tone in range(6)
    ]
    values = {name: column.tolist() for name, column in slice_values(photos).items()}
    assert values == {
        "source": ["one"] * 6,
        "view": ["close-up"] * 6,
        "body site": ["trunk"] * 6,
        "skin tone": ["0, very dark", "1, dark", "2, brown", "3, intermediate", "4, light", "5, very light"],
        "Fitzpatrick type": ["4"] * 6,
    }


def test_two_models_are_compared_photo_by_photo() -> None:
    first = answers_of(ROWS)
    other = answers_of([(0.9, 0.05, 0.05), *ROWS[1:3], (0.1, 0.8, 0.1), *ROWS[4:]])
    found = compare(("first", "other"), TRUTH, first, other)
    assert found.agreement.value == pytest.approx(9 / 10)
    assert (found.test.first_only, found.test.other_only) == (1, 0)
    assert found.flips["melanoma"] == (4, 1, 1, 0)
    assert found.gain.value == pytest.approx(-1 / 4 / 3)
    itself = compare(("first", "first"), TRUTH, first, first)
    assert itself.gain == Score(0, 0, 0)
    assert itself.test.p_value == 1


CONFORMAL = {"coverage": 0.9, "thresholds": {"melanoma": 0.25, "nevus": 0.25, NONE_OF_THESE: 0.55}}
ALL_THRESHOLDS = {
    "none": 0.75,
    "uncertain": 0.7,
    "alert": {"label": "melanoma", "threshold": 0.25},
    "conformal": CONFORMAL,
}


def test_more_photos_of_the_same_lesions_change_no_score_and_no_interval() -> None:
    """Three photos of each lesion, with equal answers, tell no more than one photo of each lesion."""
    times = np.repeat(np.arange(len(PHOTOS)), 3)
    answers = replace(answers_of(ROWS, **ALL_THRESHOLDS), temperature=1.5)
    one, three = make_card(TRUTH, answers), make_card(TRUTH.where(times), answers.where(times))
    for name, score in one.figures.items():
        # A sum over three times as many photos has other rounding errors.
        assert astuple(three.figures[name]) == pytest.approx(astuple(score), abs=1e-9, nan_ok=True), name
    for label, card in one.classes.items():
        again = three.classes[label]
        assert (again.photos, again.lesions) == (3 * card.photos, card.lesions)
        for name in ("precision", "recall", "f1", "auroc", "coverage", "set_size"):
            scores = [astuple(getattr(found, name)) for found in (again, card)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-9, nan_ok=True), (label, name)
    for source, part in one.slices["source"].items():
        again = three.slices["source"][source]
        assert (again.photos, again.lesions) == (3 * part.photos, part.lesions)
        for name, score in part.figures.items():
            assert astuple(again.figures[name]) == pytest.approx(astuple(score), abs=1e-9, nan_ok=True), name
    assert np.array_equal(three.matrix, 3 * one.matrix)
    assert [bin_.photos for bin_ in three.bins] == [3 * bin_.photos for bin_ in one.bins]


def test_macro_means_count_classes_without_a_score_as_0() -> None:
    # no photo shows a nevus, and no answer is "none of these"
    rows = [(0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.6, 0.3, 0.1)]
    found = values(answers_of(rows), truth_of(["melanoma", "melanoma", NONE_OF_THESE]))
    # In the order of the classes, the recalls are 1/2, undefined and 0. The precisions are 1/2, 0 and
    # undefined. The F1 scores are 2/4, 0 and 0.
    assert found["balanced_accuracy"] == pytest.approx(1 / 4)
    assert found["macro_recall"] == pytest.approx((1 / 2) / 3)
    assert found["macro_precision"] == pytest.approx((1 / 2) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 4) / 3)
    # Two photos show melanomas, and three answers are melanoma, of which two are right. So the recalls differ
    # from the precisions.
    rows = [(0.8, 0.1, 0.1), (0.8, 0.1, 0.1), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)]
    found = values(answers_of(rows), truth_of(["melanoma", "melanoma", "nevus", "nevus"]))
    assert found["macro_recall"] == pytest.approx((1 + 1 / 2) / 3)
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1) / 3)
    # An undefined F1 score counts as 0, too.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 3)


def test_reliability_is_told_before_and_after_the_temperature_and_rows_are_true_classes() -> None:
    # At temperature 2, the square roots of the probabilities count, so that 0.9 to 0.1 becomes 3 to 1.
    answers = Answers(np.log(np.array([(0.9, 0.1), (0.9, 0.1)])), ("a", "b"), None, 2.0, {})
    card = make_card(truth_of(["a", "b"], ("a", "b")), answers)
    assert [(one.photos, round(one.confidence, 6), one.accuracy) for one in card.bins_before] == [
        (2, 0.9, 0.5)
    ]
    assert [(one.photos, round(one.confidence, 6), one.accuracy) for one in card.bins] == [(2, 0.75, 0.5)]
    assert card.matrix.tolist() == [[1, 0], [1, 0]]


def test_the_first_models_alert_names_the_critical_class() -> None:
    nevus, melanoma = (
        answers_of(ROWS, alert={"label": label, "threshold": 0.5}) for label in ("nevus", "melanoma")
    )
    assert critical_class(LABELS, None, [nevus, melanoma]) == "nevus"
    assert critical_class(LABELS, None, [answers_of(ROWS), nevus]) == "melanoma"
    assert critical_class(("nevus", "wart"), None, []) is None
