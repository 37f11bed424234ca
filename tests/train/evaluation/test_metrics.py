"""Scores agree with those of scikit-learn and SciPy and with figures worked out by hand. Intervals are by lesion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dermedge.train.evaluation import metrics
from dermedge.train.evaluation.intervals import area_score

RNG = np.random.default_rng(5)
TRUTH = RNG.integers(0, 4, 300)
PREDICTED = np.where(RNG.random(300) < 0.6, TRUTH, RNG.integers(0, 4, 300))
ALONE = [str(index) for index in range(300)]


def once(photos: int) -> np.ndarray:
    """Draws with a single resample, in which every photo occurs once. They are for tests of values alone."""
    return np.ones((2, photos))


def test_every_score_of_the_matrix_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    matrix = metrics.confusion_matrix(TRUTH, PREDICTED, 4)
    assert np.array_equal(matrix, sklearn.confusion_matrix(TRUTH, PREDICTED))
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(TRUTH, PREDICTED))
    balanced = sklearn.balanced_accuracy_score(TRUTH, PREDICTED)
    assert metrics.balanced_accuracy(matrix) == pytest.approx(balanced)
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(TRUTH, PREDICTED)
    counts = metrics.counts_of(matrix)
    assert np.allclose(counts.precision, precision)
    assert np.allclose(counts.recall, recall)
    assert np.allclose(counts.f1, f1)
    assert metrics.macro(counts.f1) == pytest.approx(f1.mean())


def test_counts_of_draws_are_those_of_the_drawn_photos() -> None:
    draws = metrics.lesion_draws([str(index // 3) for index in range(300)], resamples=5)
    counts = metrics.count(TRUTH, PREDICTED, 4, draws)
    for row, weights in enumerate(draws.astype(int)):
        drawn = np.repeat(np.arange(300), weights)
        found = metrics.counts_of(metrics.confusion_matrix(TRUTH[drawn], PREDICTED[drawn], 4))
        assert np.allclose(counts.f1[row], found.f1)
        assert counts.balanced_accuracy[row] == pytest.approx(float(found.balanced_accuracy))


def test_a_class_that_was_never_named_has_no_precision_and_one_without_photos_no_recall() -> None:
    counts = metrics.counts_of(metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 0]), 3))
    assert np.isnan(counts.precision[1])
    assert counts.recall[1] == 0
    assert np.isnan(counts.recall[2])
    assert counts.balanced_accuracy == 0.5


def test_a_bootstrap_is_of_whole_lesions_and_repeats() -> None:
    values = np.arange(300.0)
    alone = metrics.mean(values, np.ones(300, bool), metrics.lesion_draws(ALONE))
    shared = metrics.mean(
        values, np.ones(300, bool), metrics.lesion_draws([str(n // 30) for n in range(300)])
    )
    assert alone.value == shared.value == pytest.approx(149.5)
    # The width is that of the 95 % interval of a mean of 300 independent values.
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(300), rel=0.15)
    assert shared.high - shared.low > 2 * (alone.high - alone.low)
    assert metrics.mean(values, np.ones(300, bool), metrics.lesion_draws(ALONE)) == alone


def test_the_interval_of_resamples_is_the_middle_95_percent() -> None:
    # Of the values 0, 1 … 1000, 2.5 % lie below 25, and 2.5 % lie above 975.
    found = metrics.score_of(np.array([400.0, *np.arange(1001)]))
    assert (found.value, found.low, found.high) == (400, 25, 975)
    # Resamples without the score are left out. If none has it, nothing is measured.
    gaps = metrics.score_of(np.array([400.0, *np.arange(1001), *[np.nan] * 500]))
    assert (gaps.low, gaps.high) == (25, 975)
    assert metrics.score_of(np.array([0.5, np.nan])) is metrics.NOT_MEASURED
    assert metrics.score_of(np.array([np.nan, 0.5])) is metrics.NOT_MEASURED


def test_a_resample_draws_as_many_lesions_as_there_are_and_some_again() -> None:
    sizes = [1, 2, 3, 4, 5, 6, 7, 8]
    groups = [f"lesion {number}" for number, size in enumerate(sizes) for _ in range(size)]
    draws = metrics.lesion_draws(groups, resamples=400)
    assert draws.shape == (401, 36)
    assert (draws[0] == 1).all()
    starts = np.cumsum([0, *sizes[:-1]])
    of_lesions = draws[1:, starts]
    # In a resample, all photos of a lesion occur equally often.
    assert np.array_equal(np.repeat(of_lesions, sizes, axis=1), draws[1:])
    assert (of_lesions.sum(axis=1) == 8).all()
    # Eight lesions are drawn with replacement, so a lesion is left out with a probability of (7/8)^8.
    assert np.mean(of_lesions == 0) == pytest.approx((7 / 8) ** 8, abs=0.03)
    assert len(metrics.lesion_draws(list("abc"))) == 1001
    assert np.array_equal(draws, metrics.lesion_draws(groups, resamples=400))


def test_a_score_that_is_not_defined_is_null_in_json() -> None:
    nothing = np.zeros(4, bool)
    assert metrics.mean(np.arange(4.0), nothing, metrics.lesion_draws(list("abcd"))).to_json() is None


@st.composite
def binary(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos of both kinds, their evidence with ties, and how often each photo occurs in a resample."""
    photos = draw(st.integers(2, 30))
    positive = draw(hnp.arrays(bool, photos).filter(lambda one: one.any() and not one.all()))
    evidence = draw(hnp.arrays(np.int64, photos, elements=st.integers(0, 6))) / 6
    weights = draw(hnp.arrays(np.int64, photos, elements=st.integers(0, 3)))
    return positive, evidence, weights.astype(float)


@given(binary())
@settings(deadline=None)
def test_the_curve_and_area_of_any_resample_are_those_of_scikit_learn(
    photos: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    positive, evidence, weights = photos
    x, y = metrics.operating_points(positive, evidence, np.stack([np.ones(len(weights)), weights]))
    fpr, tpr, _ = sklearn.roc_curve(positive, evidence, drop_intermediate=False)
    assert np.allclose(x[0], fpr)
    assert np.allclose(y[0], tpr)
    if weights[positive].any() and weights[~positive].any():
        area = np.trapezoid(y[1], x[1])
        assert area == pytest.approx(sklearn.roc_auc_score(positive, evidence, sample_weight=weights))


@given(binary())
@settings(deadline=None)
def test_an_area_is_the_probability_that_a_positive_photo_is_above_a_negative_one(
    photos: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    positive, evidence, _ = photos
    above = np.sign(evidence[positive][:, None] - evidence[~positive][None])
    lesions = np.arange(len(positive))
    assert area_score(positive, evidence, lesions).value == pytest.approx((above.mean() + 1) / 2)
    assert area_score(~positive, -evidence, lesions).value == pytest.approx((above.mean() + 1) / 2)


def test_the_sensitivity_is_the_best_that_still_keeps_the_specificity() -> None:
    # The 10 negatives have the evidence 0, 1 … 9. A threshold of 9 lets one of them pass, which is a
    # specificity of 90 %.
    evidence = np.concatenate([np.arange(10.0), [7.5, 9.0, 9.5, 0.5]])
    positive = np.arange(14) >= 10
    for specificity, expected in ((0.9, 0.5), (0.8, 0.75), (1.0, 0.25)):
        assert metrics.sensitivities_at(specificity, positive, evidence, once(14))[0] == expected


def test_calibration_error_is_the_one_worked_out_by_hand() -> None:
    # Two photos are in the bin of 0.9. One is right, so the bin is 0.4 off. Two photos are in the bin of 0.5.
    # None is right, so the bin is 0.5 off.
    confidence, right = np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, False, False, False])
    assert metrics.calibration_error(confidence, right, once(4)).value == pytest.approx(
        (2 * 0.4 + 2 * 0.5) / 4
    )
    # The photo of class 0 weighs as much as the three of class 1 together. So the bin of 0.9 has a weight of 1 + 1/3.
    weights = metrics.class_balanced(np.array([0, 1, 1, 1]), once(4))
    assert weights[0] == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    expected = (abs(0.9 * 4 / 3 - 1) + 0.5 * 2 / 3) / 2
    assert metrics.calibration_error(confidence, right, weights).value == pytest.approx(expected)


def test_a_bin_holds_its_upper_edge_and_not_its_lower() -> None:
    # Bins end at 3/15 = 0.2 and at 6/15 = 0.4. So 0.2 is in the bin of 0.19, and 0.21 in that of 0.26.
    for confidence, photos in (
        ([0.19, 0.2], [2]),
        ([0.2, 0.21], [1, 1]),
        ([0.21, 0.26], [2]),
        ([0.4, 0.41], [1, 1]),
    ):
        bins = metrics.reliability(np.array(confidence), np.array([True, False]))
        assert [one.photos for one in bins] == photos, confidence
    # Each of the 15 bins holds its own middle. The first bin also holds 0, and the last one also holds 1.
    middles = (np.arange(15) + 0.5) / 15
    assert [one.photos for one in metrics.reliability(np.array([0.0, *middles, 1.0]), np.ones(17, bool))] == [
        2,
        *[1] * 13,
        2,
    ]


def test_errors_of_photos_in_one_bin_cancel_and_in_two_bins_add_up() -> None:
    right = np.array([True, False])
    # Both photos are in one bin. Its mean confidence is 0.5, and half of its photos are right.
    assert metrics.calibration_error(np.array([0.49, 0.51]), right, once(2)).value == pytest.approx(0)
    # The photos are in two bins. One bin is 0.4 off, and the other 0.6.
    assert metrics.calibration_error(np.array([0.6, 0.6 + 1e-9]), right, once(2)).value == pytest.approx(0.5)


def test_each_class_weighs_the_same_in_each_resample() -> None:
    truth = np.array([0, 1, 1, 2, 2, 2])
    draws = np.array([[1.0] * 6, [0, 3, 1, 1, 0, 1]])
    weights = metrics.class_balanced(truth, draws)
    assert weights[0] == pytest.approx([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    # A class that does not occur in a resample has no weight in it.
    assert weights[1] == pytest.approx([0, 3 / 4, 1 / 4, 1 / 2, 0, 1 / 2])


def test_an_undefined_score_counts_as_0_in_a_macro_mean() -> None:
    assert metrics.macro(np.array([[0.5, np.nan, 1.0], [0.2, 0.4, 0.6]])) == pytest.approx([0.5, 0.4])


def test_a_perfectly_calibrated_bin_has_no_error() -> None:
    right = np.arange(10) < 7
    assert metrics.calibration_error(np.full(10, 0.7), right, once(10)).value == pytest.approx(0, abs=1e-12)


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1)), st.randoms())
@settings(deadline=None)
def test_the_bins_of_the_diagram_hold_all_photos_and_give_the_calibration_error(
    confidence: np.ndarray, random: object
) -> None:
    right = np.array([random.random() < 0.5 for _ in confidence])  # type: ignore[attr-defined]
    bins = metrics.reliability(confidence, right)
    assert sum(one.photos for one in bins) == len(confidence)
    error = sum(one.photos * abs(one.accuracy - one.confidence) for one in bins) / len(confidence)
    found = metrics.calibration_error(confidence, right, once(len(confidence))).value
    assert found == pytest.approx(error, abs=1e-9)


def test_the_brier_score_is_0_for_the_truth_2_for_its_opposite_and_scikit_learns_between() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert metrics.brier(sure, np.array([0, 1]), once(2)).value == 0
    assert metrics.brier(sure, np.array([1, 0]), once(2)).value == 2
    probabilities = RNG.dirichlet(np.ones(4), 300)
    expected = sklearn.brier_score_loss(TRUTH, probabilities, labels=range(4), scale_by_half=False)
    assert metrics.brier(probabilities, TRUTH, once(300)).value == pytest.approx(expected)


def test_risk_grows_with_what_is_answered_beyond_the_sure_ones() -> None:
    confidence = np.array([0.6, 0.9, 0.8, 0.6])
    wrong = np.array([True, False, True, False])
    coverage, risk = metrics.risk_coverage(confidence, wrong)
    # The two photos with confidence 0.6 pass the same threshold, so they add only one point to the curve.
    assert coverage == pytest.approx([0.25, 0.5, 1])
    assert risk == pytest.approx([0, 0.5, 0.5])


def test_mcnemar_is_the_two_sided_binomial_of_the_photos_that_one_alone_names() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 30)
    other = np.array([False] * 8 + [True] * 2 + [True] * 30)
    found = metrics.mcnemar(first, other)
    assert (found.first_only, found.other_only) == (8, 2)
    # Of 2^10 outcomes, 1 + 10 + 45 have at most two photos of one kind. The test is two-sided, so they count twice.
    assert found.p_value == pytest.approx(112 / 1024)
    assert metrics.mcnemar(first, first).p_value == 1
    assert metrics.mcnemar(other, first).p_value == pytest.approx(found.p_value)


def test_the_default_resamples_are_those_of_seed_0() -> None:
    groups = ["a", "a", "b", "c"]
    draws = metrics.lesion_draws(groups, resamples=3)
    assert draws[0].tolist() == [1, 1, 1, 1]
    chosen = np.random.default_rng(0).integers(0, 3, (3, 3))
    for row, lesions in zip(draws[1:], chosen, strict=True):
        times = [int((lesions == lesion).sum()) for lesion in (0, 0, 1, 2)]
        assert row.tolist() == times


def test_another_seed_draws_other_resamples() -> None:
    groups = [str(number) for number in range(20)]
    first, other = (metrics.lesion_draws(groups, resamples=3, seed=seed) for seed in (0, 1))
    assert np.array_equal(first[0], other[0])
    assert all(not np.array_equal(one, two) for one, two in zip(first[1:], other[1:], strict=True))
