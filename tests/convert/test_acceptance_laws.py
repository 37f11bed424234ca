"""The limits of the acceptance and the values that each check compares, on made-up photos."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.convert.accept.acceptance import Acceptance, AcceptanceCheck, accept
from dermedge.convert.accept.network_checks import order_check
from dermedge.convert.accept.parity import compare
from dermedge.convert.accept.power import detectable_loss
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.metrics import Score, lesion_draws

Logits = NDArray[np.float64]
ONE_POINT = 0.01


def proof_of(reference: Logits, truth: NDArray[np.int64], critical: str | None = "b") -> ProofSet:
    pixels = np.zeros((len(truth), 1, 1, 3), np.uint8)
    groups = [str(index) for index in range(len(truth))]
    return ProofSet(pixels, truth, groups, ("a", "b"), None, reference, critical)


def check_of(acceptance: Acceptance, name: str) -> AcceptanceCheck:
    [found] = [check for check in acceptance.checks if check.name.startswith(name)]
    return found


def two_classes(margins: Logits) -> Logits:
    """Logits in which the first class leads by these margins."""
    return np.stack([margins, np.zeros_like(margins)], axis=1)


def logits_for(answers: np.ndarray, lead: float = 3.0) -> np.ndarray:
    return lead * np.eye(2)[answers]


@pytest.mark.parametrize(
    ("value", "low", "status"),
    [
        (0.01, 0.005, "passed"),
        (0.0101, 0.005, "refused"),
        (0.0101, 0.0, "cannot tell"),
        (0.5, -0.001, "cannot tell"),
        (-0.2, -0.3, "passed"),
        (math.nan, math.nan, "not measured"),
    ],
)
def test_a_loss_is_refused_above_the_limit_where_its_interval_is_above_0(
    value: float, low: float, status: str
) -> None:
    check = AcceptanceCheck("recall", 0.9, 0.8, Score(value, low, value + 0.1), ONE_POINT, 0.1)
    assert check.status == status
    assert check.passed is (status != "refused")


def test_a_line_says_what_was_lost_and_whether_it_may_be_chance() -> None:
    def line(reference: float | None, drop: Score) -> str:
        return AcceptanceCheck("recall", reference, 0.88, drop, ONE_POINT, 0.1234).line

    limits = "; allowed: 1.0, smallest detectable loss: 12.3"
    assert line(0.9, Score(0.02, 0.01, 0.03)) == (
        f"recall: 0.900 -> 0.880, lost 2.0 points (95 % confidence interval 1.0 to 3.0){limits}"
    )
    assert line(0.9, Score(0.02, -0.01, 0.03)) == (
        "recall: 0.900 -> 0.880, lost 2.0 points (95 % confidence interval -1.0 to 3.0), which may be chance"
        + limits
    )
    assert line(None, Score(0.005, -0.01, 0.03)) == (
        f"recall: 0.880, lost 0.5 points (95 % confidence interval -1.0 to 3.0){limits}"
    )


@pytest.mark.parametrize(
    ("detectable", "low", "doubts"),
    [
        (0.10, 0.001, ()),
        (
            0.11,
            0.001,
            (
                "40 photos are too few, because they only reveal a loss of balanced accuracy of at least 11.0 "
                "percentage points",
            ),
        ),
        (
            0.10,
            0.0,
            ("the loss of 2.0 percentage points in 'recall' is above the allowed 2.0, but it may be chance",),
        ),
    ],
)
def test_photos_that_show_no_loss_of_ten_points_leave_doubt(
    detectable: float, low: float, doubts: tuple[str, ...]
) -> None:
    checks = (
        AcceptanceCheck("balanced accuracy", 0.9, 0.9, Score(0.0, 0.0, 0.0), ONE_POINT, detectable),
        AcceptanceCheck("recall", 0.9, 0.88, Score(0.02001, low, 0.03), 0.02 if not low else 0.03, 0.5),
    )
    acceptance = Acceptance(40, (), checks, {})
    assert acceptance.doubts == doubts
    assert acceptance.verdict == ("cannot tell" if doubts else "passed")


def test_the_largest_excess_is_named_first() -> None:
    def lost(name: str, value: float, limit: float) -> AcceptanceCheck:
        return AcceptanceCheck(name, 1.0, 1 - value, Score(value, 0.01, 1.0), limit, 0.1)

    checks = (lost("balanced accuracy", 0.05, 0.01), lost("small", 0.6, 0.5), lost("large", 0.4, 0.01))
    assert [check.name for check in Acceptance(10, (), checks, {}).failed] == [
        "large",
        "small",
        "balanced accuracy",
    ]


def test_an_answer_is_sure_with_a_lead_of_a_quarter() -> None:
    truth = np.repeat([0, 1], 100)
    # Photos of class a lead by 0.24 or 0.26, and those of class b by 0.9. All answers are right.
    for lead, among in ((0.24, 100), (0.26, 200)):
        margin = math.log((1 + lead) / (1 - lead))
        margins = np.where(truth == 0, margin, -math.log(19))
        device = margins.copy()
        device[100:110] = 1.0
        found = check_of(
            accept(proof_of(two_classes(margins), truth), two_classes(device), ONE_POINT), "sure"
        )
        assert found.drop.value == pytest.approx(10 / among), lead


def test_a_probability_may_change_by_a_half() -> None:
    truth = np.repeat([0, 1], 50)
    margins = np.where(truth == 0, math.log(4), -math.log(4))
    for probability, passes in ((0.31, True), (0.29, False)):
        device = margins.copy()
        device[0] = math.log(probability / (1 - probability))
        found = check_of(
            accept(proof_of(two_classes(margins), truth), two_classes(device), ONE_POINT), "largest change"
        )
        assert found.device == pytest.approx(0.8 - probability, abs=1e-3)
        assert (found.status == "passed") is passes


def test_calibration_is_compared_at_the_temperature_of_each() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 400)
    truth = (rng.random(400) > 1 / (1 + np.exp(-margins))).astype(np.int64)
    twice = accept(proof_of(two_classes(margins), truth), two_classes(2 * margins), ONE_POINT)
    assert check_of(twice, "calibration error").drop.value == pytest.approx(0, abs=2e-3)
    # This check compares the probabilities at one temperature, so it sees the change.
    assert check_of(twice, "largest change").device > 0.1


def test_the_sensitivity_is_at_a_specificity_of_90_percent_for_the_critical_class() -> None:
    truth = np.repeat([0, 1], [20, 10])
    reference = np.where(truth == 0, 2.0, -2.0)
    device = reference.copy()
    # Two of the 20 photos of a may be taken for b. Three of them look more like b than the five photos of b
    # at -0.5, so that these five are missed.
    device[:3] = -1.0
    device[20:25] = -0.5
    proof = proof_of(two_classes(reference), truth)
    found = check_of(accept(proof, two_classes(device), ONE_POINT), "sensitivity for b at 90 % specificity")
    assert (found.reference, found.device) == (1.0, 0.5)
    others = accept(proof_of(two_classes(reference), truth, None), two_classes(device), ONE_POINT)
    assert not [check for check in others.checks if check.name.startswith("sensitivity")]


def test_flips_are_lost_and_won_by_class() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    reference = two_classes(np.array([1.0, 1, -1, -1, 1]))
    device = two_classes(np.array([1.0, -1, 1, -1, -1]))
    assert accept(proof_of(reference, truth), device, ONE_POINT).flips == {"a": (1, 1), "b": (0, 1)}


def test_parity_is_worked_out_by_hand_and_knows_no_constant() -> None:
    reference = np.array([[3.0, 1.0], [0.0, 4.0], [1.0, 0.0]])
    # A constant is added to the second row. The third row prefers the other class.
    device = np.array([[3.0, 2.0], [7.0, 11.0], [0.0, 2.0]])
    found = compare(reference, device)
    assert (found.photos, found.agreement) == (3, pytest.approx(2 / 3))
    # After the mean of each row is subtracted, the rows differ by 0.5, 0 and 1.5.
    assert found.max_logit_difference == pytest.approx(1.5)
    assert found.mean_logit_difference == pytest.approx((0.5 + 0 + 1.5) / 3)
    assert found.to_json() == {
        "pictures": 3,
        "agreement": 0.66667,
        "max_logit_difference": 1.5,
        "mean_logit_difference": 0.66667,
    }


def test_of_many_classes_in_another_order_four_are_named() -> None:
    truth = np.repeat(np.arange(6), 12)
    labels = tuple("abcdef")
    draws = lesion_draws([str(index) for index in range(72)], resamples=50)
    five = order_check(truth, (truth + 1) % 6, labels, draws)
    assert not five.passed
    named = five.line.partition(" instead of 0.000: ")[2]
    assert named == "'a' should be 'f', 'b' should be 'a', 'c' should be 'b', 'd' should be 'c', …"
    swapped = truth.copy()
    swapped[truth == 0], swapped[truth == 1], swapped[truth == 2], swapped[truth == 3] = 1, 0, 3, 2
    four = order_check(truth, swapped, labels, draws)
    assert four.line.endswith("'a' should be 'b', 'b' should be 'a', 'c' should be 'd', 'd' should be 'c'")


def test_what_a_check_can_show_follows_from_the_photos_of_its_class() -> None:
    truth = np.repeat([0, 1], [200, 20])
    logits = two_classes(np.where(truth == 0, 0.3, -0.3))
    acceptance = accept(proof_of(logits, truth), logits, ONE_POINT)
    nothing = Score(0.0, 0.0, 0.0)
    for name, sizes in (
        ("recall of a", [200.0]),
        ("recall of b", [20.0]),
        ("balanced accuracy", [200.0, 20.0]),
    ):
        assert check_of(acceptance, name).detectable == pytest.approx(
            detectable_loss(nothing, sizes, ONE_POINT)
        )
    # A loss is detectable from 1.96 + 0.84 = 2.8 standard errors on. With 20 photos, this is the d that
    # solves d = 2.8 sqrt(d (1 - d) / 20).
    loss = check_of(acceptance, "recall of b").detectable
    assert loss == pytest.approx(2.8016 * math.sqrt(loss * (1 - loss) / 20), rel=1e-3)


def test_photos_of_one_lesion_show_no_more_than_one_photo() -> None:
    """Class a has 40 lesions with 5 photos each. Class b has 4 lesions with 1, 1, 2 and 16 photos."""
    truth = np.repeat([0, 1], [200, 20])
    logits = two_classes(np.where(truth == 0, 0.3, -0.3))
    lesions = [f"a{index // 5}" for index in range(200)] + ["b0", "b1"] + ["b2"] * 2 + ["b3"] * 16
    acceptance = accept(replace(proof_of(logits, truth), groups=lesions), logits, ONE_POINT)
    nothing = Score(0.0, 0.0, 0.0)
    of_a, of_b = 200**2 / (40 * 5**2), 20**2 / (1 + 1 + 4 + 256)
    assert of_a == 40
    for name, sizes in (
        ("recall of a", [of_a]),
        ("recall of b", [of_b]),
        ("balanced accuracy", [of_a, of_b]),
    ):
        assert check_of(acceptance, name).detectable == pytest.approx(
            detectable_loss(nothing, sizes, ONE_POINT)
        )


def test_a_sure_answer_leads_before_the_second_one() -> None:
    """Of 60 photos, 20 have sure answers.

    Their probabilities are 0.9, 0.05 and 0.05. The other 40 have 0.5, 0.4 and 0.1: their answers change on
    the device, but they do not count.
    """
    truth = np.arange(60) % 3
    chances = np.full((60, 3), 0.05)
    chances[np.arange(60), truth] = 0.9
    chances[20:] = 0.1
    chances[np.arange(20, 60), truth[20:]] = 0.5
    chances[np.arange(20, 60), (truth[20:] + 1) % 3] = 0.4
    reference = np.log(chances)
    device = reference.copy()
    device[20:] += 0.5 * np.eye(3)[(truth[20:] + 1) % 3]
    proof = replace(proof_of(reference, truth), labels=("a", "b", "c"))
    found = check_of(accept(proof, device, ONE_POINT), "sure")
    assert (device.argmax(axis=1) != truth).sum() == 40
    assert (found.device, found.drop.value) == (1, 0)


def test_a_loss_that_other_photos_might_not_have_shown_is_let_pass() -> None:
    truth = np.repeat([0, 1], 100)
    reference, device = truth.copy(), truth.copy()
    reference[[3, 5, 110, 120]] ^= 1
    device[[7, 9, 11, 130, 140, 150]] ^= 1
    # the float network is sure of no photo
    acceptance = accept(proof_of(logits_for(reference, 0.4), truth), logits_for(device, 0.4), ONE_POINT)
    recall = next(check for check in acceptance.checks if check.name == "recall of a")
    assert recall.drop.value == pytest.approx(0.01)
    assert acceptance.flips == {"a": (3, 2), "b": (3, 2)}
    assert acceptance.passed
    assert acceptance.verdict == "passed"


def test_a_loss_above_the_limit_that_may_be_chance_is_neither_passed_nor_refused() -> None:
    truth = np.repeat([0, 1], 100)
    lost = truth.copy()
    lost[:2] = 1
    acceptance = accept(proof_of(logits_for(truth, 0.4), truth), logits_for(lost, 0.4), ONE_POINT)
    recall = next(check for check in acceptance.checks if check.name == "recall of a")
    assert (recall.status, acceptance.verdict) == ("cannot tell", "cannot tell")
    assert recall.line == (
        "recall of a: 1.000 -> 0.980, lost 2.0 points (95 % confidence interval 0.0 to 5.1), which may be chance; "
        f"allowed: 1.0, smallest detectable loss: {100 * recall.detectable:.1f}"
    )
    assert acceptance.passed
    assert (
        "the loss of 2.0 percentage points in 'recall of a' is above the allowed 1.0, but it may be chance"
        in acceptance.doubts
    )


@pytest.mark.parametrize(("photos", "verdict"), [(30, "cannot tell"), (40, "passed")])
def test_few_photos_cannot_tell_even_if_nothing_is_lost(photos: int, verdict: str) -> None:
    truth = np.repeat([0, 1], photos)
    logits = logits_for(truth, 0.4)
    acceptance = accept(proof_of(logits, truth), logits, ONE_POINT)
    assert acceptance.verdict == verdict
    accuracy = acceptance.checks[0].detectable
    assert (accuracy > 0.10) == (verdict == "cannot tell")
    doubt = (
        f"{2 * photos} photos are too few, because they only reveal a loss of balanced accuracy of at least "
        f"{100 * accuracy:.1f} percentage points"
    )
    assert acceptance.doubts == ((doubt,) if verdict == "cannot tell" else ())


def test_a_loss_beyond_chance_is_refused_with_its_name() -> None:
    truth = np.repeat([0, 1], 100)
    lost = truth.copy()
    lost[100:110] = 0
    acceptance = accept(proof_of(logits_for(truth, 0.4), truth), logits_for(lost, 0.4), ONE_POINT)
    assert "recall of b" in [check.name for check in acceptance.failed]
    assert "recall of a" not in [check.name for check in acceptance.failed]
    assert acceptance.flips == {"a": (0, 0), "b": (10, 0)}


def test_a_photo_that_turns_over_is_caught_even_if_it_is_the_only_one() -> None:
    truth = np.repeat([0, 1], 100)
    turned = truth.copy()
    turned[0] = 1
    acceptance = accept(proof_of(logits_for(truth), truth), logits_for(turned), ONE_POINT)
    assert [check.name for check in acceptance.failed] == ["largest change of a probability"]


def test_lost_calibration_is_caught() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 400)
    margins = rng.normal(1.5, 1.5, 800)
    reference = np.stack([np.where(truth == 0, margins, 0), np.where(truth == 1, margins, 0)], axis=1)
    # The device keeps the order of the photos of each answer, but changes their margins.
    flat = np.sign(reference) * np.where(np.abs(reference) > 2.4, 6.0, 0.3)
    acceptance = accept(proof_of(reference, truth), flat, ONE_POINT)
    assert "calibration error" in [check.name for check in acceptance.failed]


def test_what_the_photos_do_not_tell_is_said_and_not_held_against_the_file() -> None:
    truth = np.repeat([0, 1], 20)
    acceptance = accept(proof_of(logits_for(truth, 0.2), truth), logits_for(truth, 0.2), ONE_POINT)
    sure = next(check for check in acceptance.checks if check.name == "sure answers that stay the same")
    assert not sure.drop.measured
    assert sure.line == "sure answers that stay the same: not measured on these photos"
    assert sure.status == "not measured"
    assert acceptance.passed
