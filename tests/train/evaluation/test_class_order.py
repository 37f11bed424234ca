"""Whether the outputs of a network stand in another order than its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dermedge.edge.errors import OptionError
from dermedge.train.evaluation.class_order import BetterOrder, check_other_orders, find_better_order
from dermedge.train.evaluation.metrics import lesion_draws

LABELS = ("a", "b", "c")


def found(truth: list[int], answers: list[int]) -> BetterOrder | None:
    draws = lesion_draws([str(number) for number in range(len(truth))])
    return find_better_order(np.array(truth), np.array(answers), LABELS, draws)


def test_two_labels_that_changed_places_are_named_with_both_figures() -> None:
    better = found([0, 1, 2] * 10, [0, 2, 1] * 10)
    assert better == BetterOrder(1 / 3, 1.0, ("'b' should be 'c'", "'c' should be 'b'"))
    assert better.describe() == (
        "another order fits clearly better, with a balanced accuracy of 1.000 instead of 0.333: "
        "'b' should be 'c', 'c' should be 'b'"
    )


def test_labels_that_are_never_answered_are_not_named() -> None:
    better = found([1, 2] * 10, [0, 1] * 10)
    assert better is not None
    assert better.swaps == ("'a' should be 'b'", "'b' should be 'c'")


def test_a_right_or_a_weak_network_has_no_better_order() -> None:
    # Three photos are too few to tell, because in some resamples all are of the class that is right.
    assert found([0, 1, 2], [0, 2, 1]) is None
    assert found([0, 1, 2] * 10, [0, 1, 2] * 10) is None
    # The network tells b and c apart only by chance.
    assert found([0, 1, 2, 0, 1, 2] * 5, [0, 1, 2, 0, 2, 1] * 5) is None
    assert found([0, 1, 2] * 10, [0] * 30) is None


def test_an_order_that_fits_a_few_photos_by_chance_is_no_wrong_order() -> None:
    rng = np.random.default_rng(0)
    truth, labels = np.repeat(np.arange(7), 3), tuple("abcdefg")
    lesions = [str(photo) for photo in range(len(truth))]
    refused = 0
    for _ in range(40):
        # A weak network has a third of the answers right with the right normalization, and guesses with the others.
        answers = {name: rng.integers(0, 7, len(truth)) for name in ("unit", "caffe", "pixels", "imagenet")}
        answers["unit"][::5] = truth[::5]
        try:
            check_other_orders(Path("a.tflite"), truth, answers, "unit", labels, lesions)
        except OptionError:
            refused += 1
    assert refused <= 3
