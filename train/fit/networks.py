"""The networks by name, each from normalized pixels to evidence and logits.

A network's last two layers are ``evidence`` [h, w, K] and ``logits`` [K], its mean over h and w, so that the
heat map is the classifier itself. For the plain CNN, whose fully connected layers see all places at once,
h and w are 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.fit.efficientnet_lite import efficientnet_lite, round_filters
from dermedge.train.fit.run_folder import IMAGENET, NO_WEIGHTS

EVIDENCE, LOGITS = "evidence", "logits"
DROPOUT = 0.3
# Pixels a side: below, the strides leave nothing; above, a step of training does not fit a machine's memory.
MIN_SIZE, MAX_SIZE = 32, 1024


def plain_cnn(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """Convolution, pooling and fully connected layers with ReLU and dropout: the original description's."""
    if weights != NO_WEIGHTS:
        raise OptionError(f"the architecture 'cnn' has no pretrained weights; --weights is '{weights}'")
    pixels = keras.Input((size, size, 3), name="pixels")
    x = pixels
    for filters in (32, 64, 128, 128):
        x = keras.layers.Conv2D(round_filters(filters, width), 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    x = keras.layers.Dense(classes)(x)
    return _finish(pixels, keras.layers.Reshape((1, 1, classes), name=EVIDENCE)(x))


def mobilenet_v2(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """MobileNetV2 (Sandler et al., 2018) with a fully convolutional head."""
    pixels = keras.Input((size, size, 3), name="pixels")
    start = None if weights == NO_WEIGHTS else weights
    _check_file(weights)
    try:
        backbone = keras.applications.MobileNetV2(
            input_tensor=pixels, alpha=width, include_top=False, weights=start
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise _weights_error(weights, error) from error
    return _with_head(backbone, classes)


def efficientnet_lite0_trunk(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """EfficientNet-Lite0 to the middle of its last stage, so that int8 stays below 3 MB."""
    return _efficientnet_lite(size, classes, weights, width=width, trunk_only=True)


def efficientnet_lite2(size: int, classes: int, weights: str, width: float = 1.0) -> keras.Model:
    """EfficientNet-Lite2, whole: a teacher."""
    return _efficientnet_lite(size, classes, weights, width=1.1 * width, depth=1.2)


def _efficientnet_lite(size: int, classes: int, weights: str, **shape: Any) -> keras.Model:
    backbone = efficientnet_lite(keras.Input((size, size, 3), name="pixels"), **shape)
    _check_file(weights)
    if weights == IMAGENET:
        raise OptionError(
            "Keras has no ImageNet weights of EfficientNet-Lite; make a file with: "
            "python -m dermedge.train.fit.efficientnet_lite_weights"
        )
    if weights != NO_WEIGHTS:
        try:
            backbone.load_weights(weights)
        except (OSError, ValueError) as error:
            raise _weights_error(weights, error) from error
    return _with_head(backbone, classes)


def _check_file(weights: str) -> None:
    if weights not in (NO_WEIGHTS, IMAGENET) and not Path(weights).is_file():
        raise OptionError(
            f"--weights is '{weights}'. Known: imagenet, none, a weights file or the folder of a run"
        )


def _weights_error(weights: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"cannot load the weights '{weights}': {reason}; give a file with --weights, or none")


def _with_head(backbone: keras.Model, classes: int) -> keras.Model:
    """A backbone with one 1x1 convolution, whose outputs at all places are averaged."""
    x = keras.layers.Dropout(DROPOUT)(backbone.output)
    return _finish(backbone.input, keras.layers.Conv2D(classes, 1, name=EVIDENCE)(x))


def _finish(pixels: keras.KerasTensor, evidence: keras.KerasTensor) -> keras.Model:
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name=LOGITS)(evidence))


def freeze_batch_norms(network: keras.Model) -> None:
    """Keeps pretrained batch norms as they are: small sets and batches would spoil their statistics."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def add_to_logits(network: keras.Model, amounts: NDArray[np.float32]) -> None:
    """Adds float32 [K] amounts to the logits for good, in the biases of the last layer that learns.

    Args:
        network: of `build_network`, or its quantization-aware twin.
        amounts: one a class.
    """
    biases = [one for one in network.weights if "bias" in one.name and one.shape == amounts.shape]
    biases[-1].assign_add(amounts)


NETWORKS: dict[str, Callable[[int, int, str, float], keras.Model]] = {
    "cnn": plain_cnn,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_lite0_trunk": efficientnet_lite0_trunk,
    "efficientnet_lite2": efficientnet_lite2,
}


def build_network(
    architecture: str, size: int, classes: int, weights: str = NO_WEIGHTS, width: float = 1.0
) -> keras.Model:
    """A network from float32 [n, size, size, 3] normalized RGB to float32 [n, classes] logits.

    Args:
        architecture: a name of NETWORKS.
        size: side of the input in pixels, `MIN_SIZE` to `MAX_SIZE`.
        classes: number of outputs.
        weights: ``imagenet``, ``none``, or a Keras weights file of the backbone.
        width: factor of the numbers of filters; pretrained weights are of 1.

    Raises:
        OptionError: an unknown architecture, size or weights.
        DataError: the weights do not fit.
    """
    if architecture not in NETWORKS:
        raise OptionError(f"unknown architecture '{architecture}'. Known: {', '.join(NETWORKS)}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise OptionError(f"--imgsz is {size}; it must be from {MIN_SIZE} to {MAX_SIZE}")
    return NETWORKS[architecture](size, classes, weights, width)
