"""Scores agree with scikit-learn's, and intervals are drawn by lesion."""

import numpy as np
import pytest

from train import metrics

RNG = np.random.default_rng(5)
TRUTH = RNG.integers(0, 4, 300)
PREDICTED = np.where(RNG.random(300) < 0.6, TRUTH, RNG.integers(0, 4, 300))


def test_every_score_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    matrix = metrics.confusion_matrix(TRUTH, PREDICTED, 4)
    assert np.array_equal(matrix, sklearn.confusion_matrix(TRUTH, PREDICTED))
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(TRUTH, PREDICTED))
    assert metrics.balanced_accuracy(matrix) == pytest.approx(
        sklearn.balanced_accuracy_score(TRUTH, PREDICTED)
    )
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(TRUTH, PREDICTED)
    assert np.allclose(metrics.precision(matrix), precision)
    assert np.allclose(metrics.recall(matrix), recall)
    assert np.allclose(metrics.f1(matrix), f1)
    assert metrics.macro(metrics.f1(matrix)) == pytest.approx(f1.mean())


def test_a_class_that_was_never_named_has_no_precision_and_one_without_photos_no_recall() -> None:
    matrix = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    assert np.isnan(metrics.precision(matrix)[1])
    assert metrics.recall(matrix)[1] == 0
    assert np.isnan(metrics.recall(matrix)[2])
    assert metrics.balanced_accuracy(matrix) == 0.5


def test_the_interval_is_wider_where_photos_share_lesions() -> None:
    right = TRUTH == PREDICTED

    def share(chosen: np.ndarray) -> float:
        return float(right[chosen].mean())

    alone = metrics.bootstrap_interval([str(index) for index in range(300)], share)
    shared = metrics.bootstrap_interval([str(index // 30) for index in range(300)], share)
    assert alone[0] < right.mean() < alone[1]
    # the binomial's 95 % interval of 300 photos is 0.1 wide
    assert alone[1] - alone[0] == pytest.approx(2 * 1.96 * np.sqrt(right.var() / 300), rel=0.2)
    assert metrics.bootstrap_interval([str(index) for index in range(300)], share) == alone
    assert shared != alone


def test_copies_of_one_photo_add_no_certainty() -> None:
    right = np.array([True, False] * 10)
    copies = np.repeat(right, 20)

    def share(values: np.ndarray) -> object:
        return lambda chosen: float(values[chosen].mean())

    one = metrics.bootstrap_interval([str(i) for i in range(20)], share(right))
    many = metrics.bootstrap_interval([str(i // 20) for i in range(400)], share(copies))
    assert many == pytest.approx(one)


def test_a_report_is_valid_json_also_where_a_score_is_undefined() -> None:
    report = metrics.make_report(("a", "b", "c"), np.array([0, 0, 1]), np.array([0, 0, 0]), ["x", "y", "z"])
    values = report.to_json()
    assert values["classes"]["b"] == {"precision": None, "recall": 0.0, "f1": 0.0, "photos": 1}
    assert values["confusion_matrix"] == [[2, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert set(values["intervals_95"]) == {"accuracy", "balanced_accuracy", "macro_f1"}
