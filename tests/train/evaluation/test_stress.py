"""Disturbances keep a frame's form, come out alike each time, and grow with their severity."""

from __future__ import annotations

import numpy as np
import pytest

from dermedge.train.evaluation.stress import PERTURBATIONS, perturbed, rotate

RNG = np.random.default_rng(3)
# a spot with an edge off the middle, and a little texture
Y, X = np.mgrid[:240, :320]
SPOT = 90 * ((X - 140) ** 2 + (Y - 100) ** 2 < 60**2) + RNG.normal(0, 4, X.shape)
FRAME = np.stack([150 - SPOT + shade for shade in (0, 20, 60)], axis=-1).astype(np.uint8)
STEPS = [(name, step) for name, kind in PERTURBATIONS.items() for step in range(len(kind.severities))]


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_disturbed_frame_is_a_fresh_frame_of_the_same_form_and_alike_each_time(
    name: str, step: int
) -> None:
    before = FRAME.copy()
    changed = perturbed(FRAME, name, step, seed=1)
    assert (changed.shape, changed.dtype) == (FRAME.shape, np.uint8)
    assert np.array_equal(FRAME, before)
    assert not np.array_equal(changed, FRAME)
    assert np.array_equal(changed, perturbed(FRAME, name, step, seed=1))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_greater_severity_changes_more(name: str) -> None:
    def change(step: int) -> float:
        return float(
            np.mean(
                [np.abs(perturbed(FRAME, name, step, seed) - FRAME.astype(float)).mean() for seed in range(5)]
            )
        )

    changes = [change(step) for step in range(len(PERTURBATIONS[name].severities))]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


@pytest.mark.parametrize("name", ["hairs", "ink strokes"])
def test_strokes_lie_elsewhere_on_another_photo(name: str) -> None:
    assert not np.array_equal(perturbed(FRAME, name, 0, seed=1), perturbed(FRAME, name, 0, seed=2))


def test_a_quarter_turn_of_a_square_loses_nothing() -> None:
    square = FRAME[:240, :240]
    assert np.array_equal(rotate(square, 90, RNG), np.rot90(square))
