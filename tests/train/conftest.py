"""Fixtures of the training part."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.train.fit.run_folder import Config


@pytest.fixture(scope="session")
def lesion() -> Callable[..., NDArray[np.uint8]]:
    """A function (seed) that draws a round dark spot on skin, 400x300. The spots differ only in texture."""

    def draw(seed: int, height: int = 300, width: int = 400) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        skin = cv2.GaussianBlur(rng.normal(0, 60, (height, width, 3)).astype(np.float32), (0, 0), 3)
        fine = cv2.GaussianBlur(rng.normal(0, 60, (height, width)).astype(np.float32), (0, 0), 1.5)
        spot = np.zeros((height, width), np.float32)
        centre = (width // 2 + int(rng.integers(-20, 21)), height // 2 + int(rng.integers(-20, 21)))
        cv2.circle(spot, centre, height // 4 + int(rng.integers(-15, 16)), 1.0, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), 5)[..., None]
        photo = (150, 170, 210) * (1 - spot) + np.array((40, 60, 110)) * spot + skin + fine[..., None]
        return photo.clip(0, 255).astype(np.uint8)

    return draw


@pytest.fixture
def run_settings() -> Config:
    """The settings of a small run: a plain network of two classes that starts from random weights."""
    return Config(
        architecture="cnn",
        classes=("a", "b"),
        size=32,
        weights="none",
        epochs=1,
        qat_epochs=0,
        photos_per_epoch=4,
        batch_size=2,
        learning_rate=1e-3,
        qat_learning_rate=1e-5,
        seed=0,
        data=(),
        data_digest="",
        command="",
    )
