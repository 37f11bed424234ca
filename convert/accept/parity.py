"""What a converted file says beside the Keras model it was made of, on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.decision import softmax
from dermedge.train.evaluation.metrics import calibration_error

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
) -> tuple[NDArray[np.float64], float]:
    """What the device runtime says of uint8 [n, s, s, 3] RGB pictures of the input's size.

    Returns:
        float64 [n, K] logits, and the median milliseconds of an inference.
    """
    logits, invoke_ms = [], []
    for index, picture in enumerate(pixels, 1):
        # the classifier takes blue first, as a camera gives it
        prediction = classifier.predict(np.ascontiguousarray(picture[..., ::-1]))
        logits.append(prediction.logits)
        invoke_ms.append(prediction.timing.invoke_ms)
        progress(index, len(pixels))
    return np.array(logits), float(np.median(invoke_ms))


def compare(reference: NDArray[np.floating], device: NDArray[np.floating]) -> Parity:
    """Parity of two [n, K] logits; a constant that is added to all of a row makes no difference."""
    difference = np.abs(_centred(reference) - _centred(device))
    same = reference.argmax(axis=1) == device.argmax(axis=1)
    return Parity(len(same), float(same.mean()), float(difference.max()), float(difference.mean()))


def _centred(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return logits - logits.mean(axis=1, keepdims=True)


def fit_temperature(
    logits: NDArray[np.floating],
    truth: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """The temperature of least cross-entropy on float [n, K] logits and int [n] labels.

    Guo et al., "On Calibration of Modern Neural Networks", 2017. It leaves every decision as it is. Float [n]
    ``weights`` say how much each row counts; all alike, if not given.
    """
    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    best = minimize_scalar(
        lambda log_temperature: cross_entropy(logits / np.exp(log_temperature), truth, weights),
        bounds=bounds,
        method="bounded",
    )
    return round(float(np.exp(best.x)), 4)


def cross_entropy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], weights: NDArray[np.floating] | None = None
) -> float:
    """The mean cross-entropy of float [n, K] logits and int [n] labels; weights as in `fit_temperature`."""
    centred = logits - logits.max(axis=1, keepdims=True)
    true = centred[np.arange(len(truth)), truth]
    return float(np.average(np.log(np.exp(centred).sum(axis=1)) - true, weights=weights))


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


def check_input(path: Path, size: int, ends: tuple[float, float]) -> None:
    """Makes sure that the input takes real pixels of the right size.

    Args:
        path: of a .tflite.
        size: the side of its input in pixels.
        ends: what the pixels 0 and 255 must stand for where it is quantized.

    Raises:
        ModelError: it does not; a camera's frame would be seen brighter, darker or larger than it is.
    """
    with Classifier(path) as classifier:
        scale, zero_point = classifier.input_quantization
        least, found_size = classifier.least_input, classifier.input_size
    if found_size != size:
        raise ModelError(f"the converted input is of {found_size} pixels, and the network's of {size}")
    if not scale:
        return
    found = tuple((least + pixel - zero_point) * scale for pixel in (0, 255))
    # the zero point is a whole number, which is half a step off at most
    if max(abs(one - end) for one, end in zip(found, ends, strict=True)) > 0.51 * scale:
        raise ModelError(
            f"the converted input takes the pixels 0 and 255 for {found[0]:.4f} and {found[1]:.4f}, "
            f"not {ends[0]:.4f} and {ends[1]:.4f}: real pixels would be misread"
        )


def parity_json(parity: Parity) -> dict[str, float]:
    """Plain rounded values for the manifest."""
    return {name: round(value, 5) for name, value in asdict(parity).items()}
