"""The networks by name, each from normalized pixels to evidence and logits.

A network's last two layers are ``evidence`` [h, w, K] and ``logits`` [K], its mean over h and w, so that the
heat map is the classifier itself. For the plain CNN, whose fully connected layers see all places at once,
h and w are 1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tf_keras as keras

from edge.errors import DataError, OptionError

EVIDENCE, LOGITS = "evidence", "logits"
DROPOUT = 0.3
# Keras's own ImageNet weights, which a machine with internet downloads.
IMAGENET, NO_WEIGHTS = "imagenet", "none"


def plain_cnn(size: int, classes: int, weights: str) -> keras.Model:
    """Convolution, pooling and fully connected layers with ReLU and dropout: the original description's."""
    if weights != NO_WEIGHTS:
        raise OptionError(f"the architecture 'cnn' has no pretrained weights; --weights is '{weights}'")
    pixels = keras.Input((size, size, 3), name="pixels")
    x = pixels
    for filters in (32, 64, 128, 128):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(DROPOUT)(x)
    x = keras.layers.Dense(classes)(x)
    return _finish(pixels, keras.layers.Reshape((1, 1, classes), name=EVIDENCE)(x))


def mobilenet_v2(size: int, classes: int, weights: str) -> keras.Model:
    """MobileNetV2 1.0 (Sandler et al., 2018) with a fully convolutional head.

    The head is one 1x1 convolution: what it says of each place is averaged to what it says of the picture.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    start = None if weights == NO_WEIGHTS else weights
    if start not in (None, IMAGENET) and not Path(start).is_file():
        raise OptionError(f"--weights is '{weights}'. Known: imagenet, none, or a weights file")
    try:
        backbone = keras.applications.MobileNetV2(input_tensor=pixels, include_top=False, weights=start)
    except Exception as error:  # Keras raises a bare Exception where a download fails
        reason = str(error).splitlines()[0]
        raise DataError(
            f"cannot load the weights '{weights}': {reason}; give a file with --weights, or none"
        ) from error
    if start is not None:
        freeze_batch_norms(backbone)
    x = keras.layers.Dropout(DROPOUT)(backbone.output)
    return _finish(pixels, keras.layers.Conv2D(classes, 1, name=EVIDENCE)(x))


def _finish(pixels: keras.KerasTensor, evidence: keras.KerasTensor) -> keras.Model:
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name=LOGITS)(evidence))


def freeze_batch_norms(network: keras.Model) -> None:
    """Keeps pretrained batch norms as they are: small sets and batches would spoil their statistics."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


NETWORKS: dict[str, Callable[[int, int, str], keras.Model]] = {
    "cnn": plain_cnn,
    "mobilenet_v2": mobilenet_v2,
}


def build_network(architecture: str, size: int, classes: int, weights: str = NO_WEIGHTS) -> keras.Model:
    """A network from float32 [n, size, size, 3] normalized RGB to float32 [n, classes] logits.

    Args:
        architecture: a name of NETWORKS.
        size: side of the input in pixels, 32 or more.
        classes: number of outputs.
        weights: ``imagenet``, ``none``, or a Keras weights file of the backbone.

    Raises:
        OptionError: an unknown architecture, size or weights.
        DataError: the weights do not fit.
    """
    if architecture not in NETWORKS:
        raise OptionError(f"unknown architecture '{architecture}'. Known: {', '.join(NETWORKS)}")
    if size < 32:
        raise OptionError(f"--imgsz is {size}; it must be 32 or more")
    return NETWORKS[architecture](size, classes, weights)
