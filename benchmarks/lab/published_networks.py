"""Builds networks whose latency on known boards was published. The weights of the networks are random.

The networks have the same layers as in the papers and in torchvision, tf_keras and EfficientNet-Lite. There is one
difference: where these sources pad explicitly and symmetrically, TensorFlow's padding "same" is used. It gives the same
output size. The values of the weights have no influence on the latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tf_keras as keras

from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import Form
from dermedge.edge.files import write_bytes
from dermedge.train.fit.efficientnet_lite import efficientnet_lite
from dermedge.train.fit.networks import LOGITS

__all__ = ["PUBLISHED", "PublishedNetwork", "build_published", "write_network"]

_Tensor: TypeAlias = "keras.KerasTensor"
_CLASSES = 1000
_CALIBRATION_IMAGES = 2
_RESNET_FILTERS = (64, 128, 256, 512)


@dataclass(frozen=True)
class PublishedNetwork:
    """A network for ImageNet.

    Attributes:
        build: a function that returns the last feature map of the network for images, float32 [n, s, s, 3].
        size: width and height of the network input in pixels.
    """

    build: Callable[[_Tensor], _Tensor]
    size: int = 224


def build_published(name: str) -> keras.Model:
    """Returns a network of `PUBLISHED` with random weights. It maps normalized images to the logits of 1000 classes."""
    published = PUBLISHED[name]
    keras.utils.set_random_seed(0)
    images = keras.Input((published.size, published.size, 3))
    x = published.build(images)
    # the last convolution of SqueezeNet has one filter per class, so the mean over all positions gives the logits
    if name.startswith("squeezenet"):
        logits = keras.layers.GlobalAveragePooling2D(name=LOGITS)(x)
    else:
        logits = keras.layers.Dense(_CLASSES, name=LOGITS)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, logits)


def write_network(name: str, kind: str, folder: Path) -> Path:
    """Writes a network of `PUBLISHED` as a .tflite file without a manifest; returns the path of the file.

    Args:
        name: a key of `PUBLISHED`.
        kind: one of `dermedge.convert.to_tflite.form.KINDS`.
        folder: folder of the file.
    """
    size = PUBLISHED[name].size
    labels = tuple(f"class {index}" for index in range(_CLASSES))
    network = network_of(build_published(name), name, size, labels, evidence=False)
    images = np.random.default_rng(0).integers(0, 256, (_CALIBRATION_IMAGES, size, size, 3), np.uint8)
    path = folder / f"{name}-{kind}.tflite"
    write_bytes(path, to_tflite(network, Form(kind), list(images)))
    keras.backend.clear_session()
    return path


def _conv(x: _Tensor, filters: int, kernel: int, stride: int = 1, relu: bool = True) -> _Tensor:
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.layers.ReLU()(x) if relu else x


def _resnet(blocks: Sequence[int], bottleneck: bool) -> Callable[[_Tensor], _Tensor]:
    """Returns a function that builds a ResNet (He et al., 2015).

    In a bottleneck block, the 3x3 convolution is the one with the stride, as in torchvision.
    """

    def build(x: _Tensor) -> _Tensor:
        x = keras.layers.MaxPooling2D(3, 2, padding="same")(_conv(x, 64, 7, 2))
        for stage, (count, filters) in enumerate(zip(blocks, _RESNET_FILTERS, strict=True)):
            for block in range(count):
                stride = 2 if stage and not block else 1
                x = _bottleneck(x, filters, stride) if bottleneck else _basic(x, filters, stride)
        return x

    return build


def _basic(x: _Tensor, filters: int, stride: int) -> _Tensor:
    inner = _conv(_conv(x, filters, 3, stride), filters, 3, relu=False)
    return _added(x, inner, filters, stride)


def _bottleneck(x: _Tensor, filters: int, stride: int) -> _Tensor:
    inner = _conv(_conv(x, filters, 1), filters, 3, stride)
    return _added(x, _conv(inner, 4 * filters, 1, relu=False), 4 * filters, stride)


def _added(x: _Tensor, inner: _Tensor, filters: int, stride: int) -> _Tensor:
    if stride > 1 or x.shape[-1] != filters:
        x = _conv(x, filters, 1, stride, relu=False)
    return keras.layers.ReLU()(keras.layers.Add()([x, inner]))


def _squeezenet_1_0(x: _Tensor) -> _Tensor:
    """Builds SqueezeNet 1.0 (Iandola et al., 2016)."""
    x = _pool(keras.layers.Conv2D(96, 7, 2, activation="relu")(x))
    for filters in (16, 16, 32):
        x = _fire(x, filters)
    x = _pool(x)
    for filters in (32, 48, 48, 64):
        x = _fire(x, filters)
    x = _fire(_pool(x), 64)
    return keras.layers.Conv2D(_CLASSES, 1, activation="relu")(x)


def _squeezenet_1_1(x: _Tensor) -> _Tensor:
    """Builds SqueezeNet 1.1, a later version by the same authors with 2.4 times fewer multiply-accumulates than 1.0."""
    x = keras.layers.Conv2D(64, 3, 2, activation="relu")(x)
    for filters in (16, 32):
        x = _fire(_fire(_pool(x), filters), filters)
    x = _pool(x)
    for filters in (48, 48, 64, 64):
        x = _fire(x, filters)
    return keras.layers.Conv2D(_CLASSES, 1, activation="relu")(x)


def _pool(x: _Tensor) -> _Tensor:
    """Adds the max pooling of SqueezeNet. The output size of the pooling is rounded up."""
    padding = "valid" if x.shape[1] % 2 else "same"
    return keras.layers.MaxPooling2D(3, 2, padding=padding)(x)


def _fire(x: _Tensor, filters: int) -> _Tensor:
    squeezed = keras.layers.Conv2D(filters, 1, activation="relu")(x)
    widened = [
        keras.layers.Conv2D(4 * filters, kernel, padding="same", activation="relu")(squeezed)
        for kernel in (1, 3)
    ]
    return keras.layers.Concatenate()(widened)


def _shufflenet_v2(x: _Tensor) -> _Tensor:
    """Builds ShuffleNetV2 with the width multiplier 1.0 (Ma et al., 2018)."""
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(_conv(x, 24, 3, 2))
    for filters, count in ((116, 4), (232, 8), (464, 4)):
        x = _shuffled(_shuffle_down(x, filters // 2), filters)
        for _ in range(count - 1):
            half = filters // 2
            kept, worked = x[..., :half], x[..., half:]
            x = _shuffled([kept, _shuffle_branch(worked, half, 1)], filters)
    return _conv(x, 1024, 1)


def _shuffle_down(x: _Tensor, filters: int) -> list[_Tensor]:
    left = _conv(_depthwise(x, 2), filters, 1)
    return [left, _shuffle_branch(x, filters, 2)]


def _shuffle_branch(x: _Tensor, filters: int, stride: int) -> _Tensor:
    return _conv(_depthwise(_conv(x, filters, 1), stride), filters, 1)


def _depthwise(x: _Tensor, stride: int) -> _Tensor:
    x = keras.layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization()(x)


def _shuffled(branches: list[_Tensor], filters: int) -> _Tensor:
    x = keras.layers.Concatenate()(branches)
    side = x.shape[1]
    x = keras.layers.Reshape((side, side, 2, filters // 2))(x)
    return keras.layers.Reshape((side, side, filters))(keras.layers.Permute((1, 2, 4, 3))(x))


def _of_keras(application: Callable[..., keras.Model], **options: object) -> Callable[[_Tensor], _Tensor]:
    def build(x: _Tensor) -> _Tensor:
        return application(input_tensor=x, weights=None, include_top=False, **options).output

    return build


def _efficientnet_lite(width: float, depth: float) -> Callable[[_Tensor], _Tensor]:
    def build(x: _Tensor) -> _Tensor:
        return efficientnet_lite(x, width, depth).output

    return build


_mobilenet_v3 = {"include_preprocessing": False, "minimalistic": False}
PUBLISHED = {
    "mobilenet-v1": PublishedNetwork(_of_keras(keras.applications.MobileNet)),
    "mobilenet-v2": PublishedNetwork(_of_keras(keras.applications.MobileNetV2)),
    "mobilenet-v3-large": PublishedNetwork(_of_keras(keras.applications.MobileNetV3Large, **_mobilenet_v3)),
    "mobilenet-v3-small": PublishedNetwork(_of_keras(keras.applications.MobileNetV3Small, **_mobilenet_v3)),
    "resnet-18": PublishedNetwork(_resnet((2, 2, 2, 2), bottleneck=False)),
    "resnet-50": PublishedNetwork(_resnet((3, 4, 6, 3), bottleneck=True)),
    "squeezenet-1.0": PublishedNetwork(_squeezenet_1_0),
    "squeezenet-1.1": PublishedNetwork(_squeezenet_1_1),
    "shufflenet-v2": PublishedNetwork(_shufflenet_v2),
    "efficientnet-lite0": PublishedNetwork(_efficientnet_lite(1.0, 1.0)),
    "efficientnet-lite1": PublishedNetwork(_efficientnet_lite(1.0, 1.1), 240),
    "efficientnet-lite2": PublishedNetwork(_efficientnet_lite(1.1, 1.2), 260),
    "efficientnet-lite3": PublishedNetwork(_efficientnet_lite(1.2, 1.4), 280),
    "efficientnet-lite4": PublishedNetwork(_efficientnet_lite(1.4, 1.8), 300),
}
