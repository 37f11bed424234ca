"""Fits of known power laws."""

from __future__ import annotations

import numpy as np
import pytest

from dermedge.benchmarks.lab.power_law import fit

pytest.importorskip("scipy", reason="the device's environment has no SciPy")


def test_an_exact_law_is_found_to_the_digit() -> None:
    law = fit([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)])
    assert law is not None
    assert law.exponent == pytest.approx(1.5)
    assert law.factor == pytest.approx(3)
    assert (law.low, law.high) == pytest.approx((1.5, 1.5))
    assert law(16) == pytest.approx(3 * 16**1.5)


def test_the_interval_holds_the_exponent_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    x = np.array([96, 128, 160, 192, 224, 256])
    held = 0
    for _ in range(400):
        law = fit(x.tolist(), (0.001 * x**2 * np.exp(random.normal(0, 0.1, len(x)))).tolist())
        held += law is not None and law.low <= 2 <= law.high
    assert 0.92 < held / 400 < 0.98


def test_two_points_are_no_law() -> None:
    assert fit([1, 2], [1, 2]) is None
