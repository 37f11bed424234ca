"""Builds EfficientNet-Lite networks, which lose little accuracy in int8.

The architecture is that of Tan and Le, "EfficientNet", 2019, with the changes of Google's EfficientNet-Lite, 2020:
there is no squeeze-and-excitation, ReLU6 replaces swish, and the stem and the head have a fixed size.

The last stage and the head after it hold 30 % of the weights of Lite0 without its classifier. With ``trunk_only``, the
network ends within this stage, after the convolution that increases the number of channels. The int8 file then stays
below 3 MB. All remaining layers are also layers of the published network, so there are pretrained weights for all of
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError

__all__ = ["efficientnet_lite", "freeze_blocks", "round_filters", "take_pytorch_weights"]

_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """A stage of the network: inverted residual blocks of one kind.

    Attributes:
        blocks: number of blocks.
        kernel: width and height of the depthwise kernel in pixels.
        stride: stride of the first block. The other blocks have stride 1.
        widening: factor by which a block increases the number of channels before its depthwise convolution.
        filters: number of output channels of a block.
    """

    blocks: int
    kernel: int
    stride: int
    widening: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite(
    pixels: keras.KerasTensor, width: float = 1.0, depth: float = 1.0, trunk_only: bool = False
) -> keras.Model:
    """Returns a network whose output is the last feature map.

    Args:
        pixels: input of the network, float32 [n, s, s, 3] normalized RGB.
        width: width multiplier. The numbers of filters are multiplied by it: 1.0 for Lite0, 1.1 for Lite2.
        depth: depth multiplier. The numbers of blocks are multiplied by it: 1.0 for Lite0, 1.2 for Lite2.
        trunk_only: whether the network ends within the last stage, after the convolution that increases the number of
            channels.
    """
    x = _relu(_conv(pixels, _STEM_FILTERS, 3, 2, "stem"), "stem")
    filters, number = _STEM_FILTERS, 0
    for index, stage in enumerate(_STAGES):
        is_outer = index in (0, len(_STAGES) - 1)
        for block in range(stage.blocks if is_outer else math.ceil(stage.blocks * depth)):
            name, shortcut, stride = f"block{number}", x, stage.stride if block == 0 else 1
            if stage.widening > 1:
                x = _relu(_conv(x, filters * stage.widening, 1, 1, f"{name}_widen"), f"{name}_widen")
            if trunk_only and index == len(_STAGES) - 1:
                return keras.Model(pixels, x)
            x = keras.layers.DepthwiseConv2D(
                stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
            )(x)
            x = _relu(_norm(x, f"{name}_depthwise"), f"{name}_depthwise")
            filters = round_filters(stage.filters, width)
            x = _conv(x, filters, 1, 1, f"{name}_project")
            if block > 0:
                x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
            number += 1
    return keras.Model(pixels, _relu(_conv(x, _HEAD_FILTERS, 1, 1, "head"), "head"))


def freeze_blocks(network: keras.Model, blocks: int) -> None:
    """Freezes the stem and the first blocks of a network, in place. Training then leaves their weights unchanged.

    A training step is faster without the gradients of the first blocks, because these blocks have the largest feature
    maps.

    Args:
        network: a network that contains `efficientnet_lite`.
        blocks: number of blocks to freeze. With 0, the stem is not frozen either.

    Raises:
        OptionError: the network has fewer than ``blocks`` blocks, or is not an EfficientNet-Lite.
    """
    if not blocks:
        return
    names = [layer.name for layer in network.layers]
    last = f"block{blocks - 1}_"
    ends = [place for place, name in enumerate(names) if name.startswith(last)]
    if not ends:
        raise OptionError(
            f"'frozen_blocks' of the recipe is {blocks}, but this architecture has fewer blocks or is no "
            "EfficientNet-Lite; give a smaller number, or 0 to freeze none"
        )
    for layer in network.layers[: ends[-1] + 1]:
        layer.trainable = False


def round_filters(filters: int, width: float) -> int:
    """Returns ``filters * width``, rounded to a multiple of 8.

    If rounding down would lose more than a tenth of the filters, the number is rounded up instead.
    """
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    made = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _norm(made, name)


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=_NORM_EPSILON, name=f"{name}_norm")(x)


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def take_pytorch_weights(network: keras.Model, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Copies PyTorch weights into a network. The weights have the names of the package ``efficientnet-lite-pytorch``.

    Args:
        network: a network of `efficientnet_lite` with the same width and depth as the weights.
        state: parameter name -> float32 array. Kernels have the layout [out, in, h, w].

    Raises:
        KeyError: a parameter is missing.
        ValueError: a parameter has another shape.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([state[f"{_pytorch_names(layer.name)[0]}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([state[f"{_pytorch_names(layer.name)[0]}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            norm = _pytorch_names(layer.name.removesuffix("_norm"))[1]
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([state[f"{norm}.{part}"] for part in parts])


_PYTORCH_NAMES = {
    "stem": ("_conv_stem", "_bn0"),
    "head": ("_conv_head", "_bn1"),
    "widen": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def _pytorch_names(name: str) -> tuple[str, str]:
    """Returns the PyTorch names of a convolution and of the batch norm after it, from the name of the Keras layer."""
    block, _, part = name.rpartition("_")
    prefix = f"_blocks.{block.removeprefix('block')}." if block else ""
    convolution, norm = _PYTORCH_NAMES[part]
    return prefix + convolution, prefix + norm
