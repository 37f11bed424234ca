"""A frame repeats the one before if no byte differs."""

from __future__ import annotations

import numpy as np
import pytest

from dermedge.edge.sources.repeats import equals_last, is_flat

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_an_equal_image_is_a_repeat() -> None:
    assert equals_last(IMAGE, IMAGE.copy())


# some of these pixels lie on the grid of every 16th row and column, and the others lie between
@pytest.mark.parametrize("pixel", [(0, 0, 0), (16, 32, 1), (1, 0, 2), (17, 33, 0), (39, 49, 2)])
def test_one_byte_makes_another_image(pixel: tuple[int, int, int]) -> None:
    changed = IMAGE.copy()
    changed[pixel] ^= 1
    assert not equals_last(changed, IMAGE)
    assert not equals_last(IMAGE, changed)


def test_an_image_of_another_size_is_another_image() -> None:
    black = np.zeros((40, 50, 3), np.uint8)
    assert not equals_last(black, np.zeros((50, 40, 3), np.uint8))
    assert not equals_last(black, np.zeros((40, 50, 1), np.uint8))


def test_an_image_of_one_level_is_flat() -> None:
    for level in (0, 7, 255):
        assert is_flat(np.full((40, 50, 3), level, np.uint8))
    noisy = np.full((40, 50, 3), 7, np.uint8)
    noisy[16, 32, 1] = 8
    assert not is_flat(noisy)
    assert not is_flat(np.full((40, 50, 3), (7, 7, 8), np.uint8))
