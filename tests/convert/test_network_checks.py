"""A file must classify better than chance and with its classes in order, whatever its float network does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge.convert.accept.network_checks import (
    NetworkCheck,
    chance_check,
    missed_class,
    order_check,
    untested_classes,
)
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.intervals import wilson
from dermedge.train.evaluation.metrics import lesion_draws


def lesions(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize("classes", [2, 5])
def test_one_answer_for_all_is_chance_however_frequent_its_class_is(classes: int) -> None:
    truth = np.concatenate([np.zeros(400, int), np.arange(classes)])
    check = chance_check(truth, np.zeros_like(truth), lesions(len(truth)))
    assert not check.passed
    assert f"balanced accuracy is {1 / classes:.3f};" in check.line
    assert f"does not lie above {1 / classes:.3f}" in check.line


def test_the_border_is_the_lower_end_of_the_interval() -> None:
    truth = np.repeat([0, 1], 20)

    def passes(right: int) -> bool:
        answers = truth.copy()
        answers[right:20] = 1
        answers[20 + right :] = 0
        return chance_check(truth, answers, lesions(40)).passed

    def low(right: int) -> float:
        # The two recalls are equal and independent. So the bound of their mean is closer to the mean by the
        # root of 2.
        share = right / 20
        return share - (share - wilson(share, 20)[0]) / 2**0.5

    border = next(right for right in range(20) if low(right) > 0.5)
    assert 10 < border < 18
    assert passes(border)
    assert not passes(border - 1)


def test_photos_of_one_lesion_are_one_photo() -> None:
    truth = np.repeat([0, 1], 20)
    assert chance_check(truth, truth, lesions(40)).passed
    assert not chance_check(truth, truth, [str(one) for one in truth]).passed


def test_classes_without_photos_do_not_count() -> None:
    truth = np.repeat([0, 4], 30)
    assert "0.500, the result of guessing among 2 classes" in chance_check(truth, truth, lesions(60)).line


def proof(truth: list[int], critical: str | None) -> ProofSet:
    empty = np.zeros((len(truth), 1, 1, 3), np.uint8)
    reference = np.zeros((len(truth), 3))
    return ProofSet(empty, np.array(truth), lesions(len(truth)), ("a", "b", "c"), None, reference, critical)


def test_a_critical_class_that_is_never_recognized_is_named() -> None:
    answers = np.eye(3)[[0, 0, 2]]
    assert missed_class(proof([0, 1, 1], "b"), answers) == (
        "the file recognizes none of the 2 photos of b, the critical class"
    )
    assert missed_class(proof([0, 1, 2], "c"), answers) is None, "it is recognized"
    assert missed_class(proof([0, 0, 0], "b"), answers) is None, "it has no photos"
    assert missed_class(proof([1, 1, 1], None), answers) is None


def test_classes_without_photos_are_named() -> None:
    assert untested_classes(proof([0, 1, 2], "b")) is None
    assert untested_classes(proof([0, 0, 2], "b")) == (
        "the proof set has no photos of 1 class (b), so nothing is known about how well the file recognizes them"
    )
    assert "2 classes (a, c)" in str(untested_classes(proof([1, 1], None)))


def order(truth: np.ndarray, answers: np.ndarray, classes: int = 3) -> NetworkCheck:
    return order_check(truth, answers, tuple("abcde"[:classes]), lesion_draws(lesions(len(truth))))


def test_labels_in_another_order_are_found_and_named() -> None:
    truth = np.repeat([0, 1, 2], 20)
    answers = truth.copy()
    answers[[0, 25, 50]] = [1, 2, 0]
    assert order(truth, answers).passed
    rotated = np.array([1, 2, 0])[answers]
    check = order(truth, rotated)
    assert not check.passed
    assert check.line == (
        "order of the classes: another order fits clearly better, with a balanced accuracy of 0.950 instead of 0.000: "
        "'a' should be 'c', 'b' should be 'a', 'c' should be 'b'"
    )


def test_two_swapped_classes_of_five_are_found() -> None:
    truth = np.repeat(np.arange(5), 20)
    check = order(truth, np.array([0, 3, 2, 1, 4])[truth], 5)
    assert check.line.endswith(": 'b' should be 'd', 'd' should be 'b'")


def test_an_order_that_is_better_by_chance_is_no_finding() -> None:
    truth = np.repeat([0, 1], 20)
    answers = truth.copy()
    answers[:11] = 1
    answers[20:30] = 0
    # Another order of the classes is right for 21 of 40 photos, and this order for 19.
    assert order(truth, answers, 2).passed
    assert order(truth, np.zeros_like(truth), 2).passed


def test_classes_without_photos_are_not_renamed() -> None:
    truth = np.repeat([0, 3], 20)
    assert order(truth, truth, 5).passed
