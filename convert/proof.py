"""What a converted file says beside the Keras model it was made of, on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from edge.classifier import Classifier
from edge.decision import softmax
from edge.errors import ModelError
from edge.preprocess import SCALE, ZERO_POINT
from train.metrics import calibration_error

TEMPERATURES = (0.1, 10.0)


@dataclass(frozen=True)
class Parity:
    """How far a file is from its Keras model.

    Attributes:
        pictures: on how many they were compared.
        agreement: share of the pictures for which both name the same class.
        max_logit_difference: the greatest over pictures and classes.
        mean_logit_difference: the mean of the absolute differences.
    """

    pictures: int
    agreement: float
    max_logit_difference: float
    mean_logit_difference: float


def device_logits(
    classifier: Classifier,
    pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float64]:
    """float64 [n, K] logits by the device runtime, of uint8 [n, s, s, 3] RGB pictures of the input's size."""
    logits = []
    for index, picture in enumerate(pixels, 1):
        # the classifier takes blue first, as a camera gives it
        logits.append(classifier.predict(np.ascontiguousarray(picture[..., ::-1])).logits)
        progress(index, len(pixels))
    return np.array(logits)


def compare(reference: NDArray[np.floating], device: NDArray[np.floating]) -> Parity:
    """Parity of two [n, K] logits; a constant that is added to all of a row makes no difference."""
    difference = np.abs(_centred(reference) - _centred(device))
    same = reference.argmax(axis=1) == device.argmax(axis=1)
    return Parity(len(same), float(same.mean()), float(difference.max()), float(difference.mean()))


def _centred(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return logits - logits.mean(axis=1, keepdims=True)


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The temperature of least cross-entropy on float [n, K] logits and int [n] labels.

    Guo et al., "On Calibration of Modern Neural Networks", 2017. It leaves every decision as it is.
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        true = scaled[np.arange(len(truth)), truth]
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - true))

    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    return round(float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x)), 4)


def calibrated(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """float64 [n, K] probabilities of [n, K] logits, by the function that computes them on the device."""
    return np.array([softmax(row, temperature) for row in logits.tolist()])


def calibration_scores(
    logits: NDArray[np.floating], truth: NDArray[np.integer], temperature: float
) -> dict[str, float]:
    """The expected calibration error of [n, K] logits on the validation split, before and after scaling."""

    def error(probabilities: NDArray[np.float64]) -> float:
        every_photo_once = np.ones((2, len(truth)))  # the scores, and the one resample that they ask for
        right = probabilities.argmax(axis=1) == truth
        return round(calibration_error(probabilities.max(axis=1), right, every_photo_once).value, 4)

    return {
        "val_ece_unscaled": error(calibrated(logits, 1.0)),
        "val_ece": error(calibrated(logits, temperature)),
    }


def check_input(path: Path) -> None:
    """Makes sure that the input takes real pixels: uint8, and quantized, where it is, as all of them.

    Raises:
        ModelError: it does not; a camera's frame would be seen brighter or darker than it is.
    """
    with Classifier(path) as classifier:
        scale, zero_point = classifier.input_quantization
    if scale and (abs(scale * SCALE - 1) > 1e-4 or zero_point != ZERO_POINT):
        raise ModelError(
            f"the converted input has scale {scale} and zero point {zero_point}, "
            f"not {1 / SCALE:.6f} and {ZERO_POINT}: real pixels would be misread"
        )


def parity_json(parity: Parity) -> dict[str, float]:
    """Plain rounded values for the manifest."""
    return {name: round(value, 5) for name, value in asdict(parity).items()}
