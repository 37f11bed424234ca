"""Makes a quantization-aware copy of a network, and calibrates the ranges of its activations before the fine-tuning.

This module corrects two weaknesses of tensorflow-model-optimization.

The first weakness is the start of the activation ranges. tensorflow-model-optimization starts every range at -6 to 6,
and updates it with a moving average of decay 0.999 without bias correction. After 340 steps, the start value still has
a weight of 71 %. This module sets each range from the activations of the float network before the fine-tuning. The
moving average then has little left to correct.

The second weakness is the scale of depthwise kernels. tensorflow-model-optimization uses one scale for all channels of
such a kernel, whereas the converter and the device use one scale for each channel. If the weights of one channel are
hundreds of times larger than the weights of another channel, the smaller weights are rounded to zero. This module
divides the weights of each channel by their largest magnitude, and changes the batch norm after the kernel to
compensate for the division. The network computes the same function as before, and one scale fits all channels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.preprocess import SCALE, ZERO_POINT

__all__ = [
    "QUANTIZED",
    "equalize_depthwise_channels",
    "make_quantization_aware",
    "measure_ranges",
    "restore_input_range",
    "uncalibrated_twin",
]

# The range of uint8 pixels after normalization. This range determines the scale and the zero point of the input
# exactly.
_INPUT_RANGE = ((0 - ZERO_POINT) / SCALE, (255 - ZERO_POINT) / SCALE)
QUANTIZED = "quant_"
# The smallest width of an activation range. Without this limit, an activation that is always 0 would have a scale of 0.
_MIN_RANGE = 1e-2
_RANGE_NAMES = ("output", "post_activation")


def make_quantization_aware(network: keras.Model, batches: Iterable[NDArray[np.float32]]) -> keras.Model:
    """Returns a copy of a float network. The copy simulates the rounding of int8, and its ranges are calibrated.

    Args:
        network: a network of `dermedge.train.fit.networks`. `equalize_depthwise_channels` changes this network in
            place.
        batches: batches of normalized training images for the calibration, float32 [n, s, s, 3].
    """
    equalize_depthwise_channels(network)
    twin = uncalibrated_twin(network)
    restore_input_range(twin)
    ranges = measure_ranges(network, _quantized_outputs(twin), batches)
    for name, ends in ranges.items():
        _assign(twin.get_layer(QUANTIZED + name), ends)
    _set_weight_ranges(twin, network.input_shape[1])
    return twin


def equalize_depthwise_channels(network: keras.Model) -> None:
    """Divides the weights of each channel of every depthwise kernel by their largest magnitude, in place.

    The batch norm after the kernel is changed so that the network computes the same function. Let the kernel of a
    channel be k = a k', where a is the largest magnitude. The batch norm g (k x - m) / sqrt(v + e) + b then becomes
    g' (k' x - m / a) / sqrt(v / a^2 + e) + b with g' = g a sqrt(v / a^2 + e) / sqrt(v + e).
    Channels whose weights are all 0 are not changed.
    """
    for layer in network.layers:
        if not isinstance(layer, keras.layers.DepthwiseConv2D):
            continue
        norm = layer.outbound_nodes[0].layer
        if not isinstance(norm, keras.layers.BatchNormalization) or layer.use_bias:
            continue
        kernel = layer.depthwise_kernel.numpy()
        size = np.abs(kernel).max(axis=(0, 1, 3))
        size = np.where(size > 0, size, 1.0)
        variance = norm.moving_variance.numpy()
        gain = size * np.sqrt(variance / size**2 + norm.epsilon) / np.sqrt(variance + norm.epsilon)
        layer.depthwise_kernel.assign(kernel / size[None, None, :, None])
        norm.gamma.assign(norm.gamma.numpy() * gain)
        norm.moving_mean.assign(norm.moving_mean.numpy() / size)
        norm.moving_variance.assign(variance / size**2)


def uncalibrated_twin(network: keras.Model) -> keras.Model:
    """Returns a quantization-aware copy of a network. The ranges of the copy are not calibrated.

    The weights file of a trained quantization-aware network also contains ranges. Loading such a file sets the ranges.
    """
    return tfmot.quantization.keras.quantize_model(network)


def measure_ranges(
    network: keras.Model, names: list[str], batches: Iterable[NDArray[np.float32]]
) -> dict[str, tuple[float, float]]:
    """Returns the range of the activations of each named layer: name -> (minimum, maximum).

    The minimum and the maximum of each batch are averaged over the batches.
    """
    probe = keras.Model(network.input, [network.get_layer(name).output for name in names])
    ends = np.mean([[(y.min(), y.max()) for y in probe.predict_on_batch(batch)] for batch in batches], axis=0)
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, ends, strict=True)}


def _quantized_outputs(twin: keras.Model) -> list[str]:
    """Returns the names of the float layers whose outputs are rounded in the quantization-aware copy."""
    return [
        layer.name.removeprefix(QUANTIZED)
        for layer in twin.layers
        if layer.name.startswith(QUANTIZED) and _range_variables(layer)
    ]


def _range_variables(layer: keras.layers.Layer) -> list[tuple[object, object]]:
    variables = {variable.name.split("/")[-1].split(":")[0]: variable for variable in layer.weights}
    return [
        (variables[f"{name}_min"], variables[f"{name}_max"])
        for name in _RANGE_NAMES
        if f"{name}_min" in variables
    ]


def _assign(layer: keras.layers.Layer, ends: tuple[float, float]) -> None:
    """Sets the activation range of a layer.

    The range is widened to contain 0, because zero padding and ReLU need an exact 0.
    """
    least = min(ends[0], 0.0)
    for low, high in _range_variables(layer):
        low.assign(least)  # type: ignore[attr-defined]
        high.assign(max(ends[1], least + _MIN_RANGE))  # type: ignore[attr-defined]


def restore_input_range(twin: keras.Model) -> None:
    """Sets the range of the input to the range of all uint8 pixels.

    Call this function again after training, because training changes the range by a moving average.
    """
    layer = next(one for one in twin.layers if one.name.startswith("quantize_layer"))
    for variable in layer.weights:
        for suffix, end in (("_min:0", _INPUT_RANGE[0]), ("_max:0", _INPUT_RANGE[1])):
            if variable.name.endswith(suffix):
                variable.assign(end)


def _set_weight_ranges(twin: keras.Model, size: int) -> None:
    """Sets the ranges of the weights of a quantization-aware copy.

    The copy measures the ranges of its weights only in training mode. All other changes that the training mode makes
    are undone.
    """
    others = [v for v in twin.weights if not v.name.endswith(("kernel_min:0", "kernel_max:0"))]
    before = [variable.numpy() for variable in others]
    twin(np.zeros((1, size, size, 3), np.float32), training=True)
    for variable, value in zip(others, before, strict=True):
        variable.assign(value)
