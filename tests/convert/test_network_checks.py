"""A file must classify better than chance, whatever its float network does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge.convert.accept.network_checks import chance_check, missed_class
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.intervals import wilson


def lesions(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize("classes", [2, 5])
def test_one_answer_for_all_is_chance_however_frequent_its_class_is(classes: int) -> None:
    truth = np.concatenate([np.zeros(400, int), np.arange(classes)])
    check = chance_check(truth, np.zeros_like(truth), lesions(len(truth)))
    assert not check.passed
    assert f"balanced accuracy {1 / classes:.3f}" in check.line
    assert f"not above {1 / classes:.3f}" in check.line


def test_the_border_is_the_lower_end_of_the_interval() -> None:
    truth = np.repeat([0, 1], 20)

    def passes(right: int) -> bool:
        answers = truth.copy()
        answers[right:20] = 1
        answers[20 + right :] = 0
        return chance_check(truth, answers, lesions(40)).passed

    def low(right: int) -> float:
        # two equal and independent recalls: the mean is closer than each by the root of 2
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
    assert "0.500, which guessing among 2 classes" in chance_check(truth, truth, lesions(60)).line


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
