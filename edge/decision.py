"""From logits to calibrated probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Half of a uint8 probability's step: what a quantized 0 may still stand for.
HALF_STEP = 0.5 / 256


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """exp(z / T) / sum(exp(z / T)) over the last axis, float32.

    Temperature scaling as in Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    scaled = logits / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return (exponents / exponents.sum(axis=-1, keepdims=True)).astype(np.float32)


def logits_of_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits up to a constant from probabilities whose zeros may be rounded, float32, same shape."""
    return np.log(np.maximum(probabilities, HALF_STEP)).astype(np.float32)
