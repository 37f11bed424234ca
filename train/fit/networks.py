"""Builds a network from the name of its architecture. `dermedge train` can train all these architectures.

The input of each network is an image of normalized pixels. The last two layers are ``evidence`` [h, w, K] and
``logits`` [K]. The logits are the mean of the evidence over h and w, so that the evidence is an exact heat map of the
classifier. The network ``cnn`` has fully connected layers, and its evidence has h = w = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.fit.efficientnet_lite import efficientnet_lite, round_filters, take_pytorch_weights
from dermedge.train.fit.imagenet_weights import read_imagenet_weights
from dermedge.train.fit.run_folder import IMAGENET, NO_WEIGHTS

__all__ = [
    "EVIDENCE",
    "LOGITS",
    "NETWORKS",
    "WEIGHTS_ERRORS",
    "add_to_logits",
    "build_network",
    "cnn",
    "efficientnet_lite0_trunk",
    "efficientnet_lite2",
    "freeze_batch_norms",
    "mobilenet_v2",
]

EVIDENCE, LOGITS = "evidence", "logits"
_DROPOUT = 0.3
# Smallest and largest input size in pixels. The strides would reduce a smaller input to nothing. Training with a larger
# input would need too much memory.
_MIN_SIZE, _MAX_SIZE = 32, 1024
# The errors that Keras raises for a weights file that is missing, damaged, or of another network.
WEIGHTS_ERRORS = (OSError, ValueError, KeyError)


def cnn(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """Returns a simple network of convolution, pooling and fully connected layers, with ReLU and dropout.

    `build_network` explains the arguments.
    """
    if weights != NO_WEIGHTS:
        raise OptionError(
            f"--weights is '{weights}', but the architecture 'cnn' has no pretrained weights; give --weights none, or "
            "a finished run"
        )
    pixels = keras.Input((size, size, 3), name="pixels")
    x = pixels
    for filters in (32, 64, 128, 128):
        x = keras.layers.Conv2D(round_filters(filters, width), 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(_DROPOUT)(x)
    x = keras.layers.Dense(classes)(x)
    return _finish(pixels, keras.layers.Reshape((1, 1, classes), name=EVIDENCE)(x))


def mobilenet_v2(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """Returns MobileNetV2 (Sandler et al., 2018) with a fully convolutional head.

    `build_network` explains the arguments.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    start = None if weights == NO_WEIGHTS else weights
    _check_file(weights)
    try:
        backbone = keras.applications.MobileNetV2(
            input_tensor=pixels, alpha=width, include_top=False, weights=start
        )
    except Exception as error:  # Keras raises a plain Exception if a download fails
        raise _weights_error(weights, error) from error
    return _with_head(backbone, classes)


def efficientnet_lite0_trunk(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """Returns EfficientNet-Lite0 up to the middle of its last stage. The int8 file stays below 3 MB.

    `build_network` explains the arguments.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    backbone = efficientnet_lite(pixels, width=width, trunk_only=True)
    return _with_head(_with_weights(backbone, weights, published=0), classes)


def efficientnet_lite2(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """Returns the complete EfficientNet-Lite2. This larger network is meant as a teacher.

    `build_network` explains the arguments.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    backbone = efficientnet_lite(pixels, width=1.1 * width, depth=1.2)
    return _with_head(_with_weights(backbone, weights, published=2), classes)


def _with_weights(backbone: keras.Model, weights: str, published: int) -> keras.Model:
    """Sets the weights of an EfficientNet-Lite, and returns the network.

    Args:
        backbone: the network.
        weights: value of --weights: imagenet, none or a weights file.
        published: number in the name of the published network, 0 for Lite0 or 2 for Lite2.
    """
    _check_file(weights)
    if weights == IMAGENET:
        take_pytorch_weights(backbone, read_imagenet_weights(published))
    elif weights != NO_WEIGHTS:
        try:
            backbone.load_weights(weights)
        except WEIGHTS_ERRORS as error:
            raise _weights_error(weights, error) from error
    return backbone


def _check_file(weights: str) -> None:
    if weights not in (NO_WEIGHTS, IMAGENET) and not Path(weights).is_file():
        raise OptionError(
            f"--weights is '{weights}', which does not exist. Known: imagenet, none, a weights file, a .tflite of "
            "dermedge, a shipped model, or the folder of a run"
        )


def _weights_error(weights: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(
        f"cannot load the weights '{weights}': {reason}; give another weights file, or --weights none"
    )


def _with_head(backbone: keras.Model, classes: int) -> keras.Model:
    """Returns a classifier: the backbone, dropout, and a 1x1 convolution whose outputs are averaged over all places."""
    x = keras.layers.Dropout(_DROPOUT)(backbone.output)
    return _finish(backbone.input, keras.layers.Conv2D(classes, 1, name=EVIDENCE)(x))


def _finish(pixels: keras.KerasTensor, evidence: keras.KerasTensor) -> keras.Model:
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name=LOGITS)(evidence))


def freeze_batch_norms(network: keras.Model) -> None:
    """Freezes the batch norms of a network, in place. Training then leaves them unchanged.

    The statistics of small batches would be too noisy to update the batch norms with.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def add_to_logits(network: keras.Model, amounts: NDArray[np.float32]) -> None:
    """Adds a constant to each logit of a network, in place, by changing the biases of the last layer that has biases.

    Args:
        network: a network of `build_network`, or its quantization-aware copy.
        amounts: float32 [K], the constant for each logit.
    """
    biases = [one for one in network.weights if "bias" in one.name and one.shape == amounts.shape]
    biases[-1].assign_add(amounts)


NETWORKS: dict[str, Callable[[int, int, str, float], keras.Model]] = {
    "cnn": cnn,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_lite0_trunk": efficientnet_lite0_trunk,
    "efficientnet_lite2": efficientnet_lite2,
}


def build_network(
    architecture: str, size: int, classes: int, weights: str = NO_WEIGHTS, width: float = 1.0
) -> keras.Model:
    """Returns a network from float32 [n, size, size, 3] normalized RGB to float32 [n, classes] logits.

    Args:
        architecture: a key of `NETWORKS`.
        size: width and height of the input in pixels, 32 to 1024.
        classes: number of classes.
        weights: initial weights: ``imagenet``, ``none`` (random), or a Keras weights file of the backbone.
        width: width multiplier. The numbers of filters are multiplied by it. Pretrained weights need a multiplier of 1.

    Raises:
        OptionError: the architecture or the weights are unknown, the size is out of range, or the architecture has no
            pretrained weights.
        DataError: the weights cannot be loaded or do not fit.
        MissingExtra: the package with the ImageNet weights is not installed.
    """
    if architecture not in NETWORKS:
        raise OptionError(f"unknown architecture '{architecture}'. Known: {', '.join(NETWORKS)}")
    if not _MIN_SIZE <= size <= _MAX_SIZE:
        raise OptionError(f"--imgsz is {size}; it must be from {_MIN_SIZE} to {_MAX_SIZE}")
    return NETWORKS[architecture](size, classes, weights, width)
