"""The loss that a check calls detectable is refused on four of five proof sets."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge.convert.accept.acceptance import accept
from dermedge.convert.accept.power import detectable_loss
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.metrics import Score

SAME = Score(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("size", "limit"), [(20, 0.01), (200, 0.01), (200, 0.05)])
def test_a_loss_of_one_share_is_the_root_of_its_formula(size: int, limit: float) -> None:
    loss = detectable_loss(SAME, [size], limit)
    error = (loss * (1 - loss) / size) ** 0.5
    assert loss == pytest.approx(max(limit, 1.959964 * error) + 0.841621 * error, abs=1e-6)


def test_more_photos_show_less_and_a_larger_spread_shows_more() -> None:
    few, many = (detectable_loss(SAME, [size], 0.01) for size in (10, 1000))
    assert 0.3 < few < 0.6
    assert 0.01 < many < 0.02
    assert detectable_loss(SAME, [20, 20, 20], 0.01) < detectable_loss(SAME, [20], 0.01)
    # A bootstrap interval of 20 points is 3.92 standard errors wide. The detectable loss is 1.96 + 0.84
    # standard errors.
    assert detectable_loss(Score(0, -0.1, 0.1), [1000], 0.01) == pytest.approx(0.2 * 2.8016 / 3.92, abs=1e-4)
    assert detectable_loss(SAME, [1], 0.01) <= 1


def test_the_limit_itself_is_shown_by_endless_photos() -> None:
    assert detectable_loss(SAME, [1e9], 0.01) == pytest.approx(0.01, abs=1e-4)


def test_four_of_five_proof_sets_show_the_detectable_loss() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [60, 20])
    groups = [str(index) for index in range(80)]
    reference = 0.4 * np.eye(2)[truth]
    proof = ProofSet(np.zeros((80, 1, 1, 3), np.uint8), truth, groups, ("a", "b"), None, reference, None)
    loss = detectable_loss(SAME, [60], 0.01)
    assert 0.08 < loss < 0.16
    refused = []
    for _ in range(80):
        flipped = (rng.random(80) < loss) & (truth == 0)
        acceptance = accept(proof, 0.4 * np.eye(2)[truth ^ flipped], 0.01)
        refused.append("recall of a" in [check.name for check in acceptance.failed])
    # The limits are wide: the standard error of the share is 4.5 points, and the normal distribution is approximate.
    assert 0.68 < np.mean(refused) < 0.95
