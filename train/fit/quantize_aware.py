"""Makes the quantization-aware copy of a network, and calibrates its ranges before the fine-tuning.

tensorflow-model-optimization starts every activation range at -6 to 6 and follows the data with a moving average of
0.999 that is not debiased: after 340 steps, 71 % of the wrong start is still there. Here each range is first set from
the activations of the float network, and the moving average only follows it.

tensorflow-model-optimization also gives a depthwise kernel one scale for all channels, where the converter and the
device use one for each channel. One channel may be hundreds of times larger than another, which then rounds to zero.
Here the size of each channel is moved into the batch norm behind the kernel: the network computes the same function,
and one scale fits all channels.
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

# The range of uint8 pixels after normalization: the input's scale and zero point follow from it exactly.
_INPUT_RANGE = ((0 - ZERO_POINT) / SCALE, (255 - ZERO_POINT) / SCALE)
QUANTIZED = "quant_"
# The range of an activation that is always 0, since a range of 0 would give a scale of 0.
_MIN_RANGE = 1e-2
_RANGE_NAMES = ("output", "post_activation")


def make_quantization_aware(network: keras.Model, batches: Iterable[NDArray[np.float32]]) -> keras.Model:
    """Returns a copy of a float network that computes with the rounding of int8, its ranges calibrated.

    Args:
        network: a network of `dermedge.train.fit.networks`; its depthwise channels are equalized in place.
        batches: float32 [n, s, s, 3] normalized training images for the calibration.
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
    """Scales every channel of a depthwise kernel to a greatest weight of 1, in place.

    With kernel k = a k', the batch norm g (k x - m) / sqrt(v + e) + b behind it becomes
    g' (k' x - m / a) / sqrt(v / a^2 + e) + b with g' = g a sqrt(v / a^2 + e) / sqrt(v + e).
    Channels without a weight stay as they are.
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
    """Returns the copy before the calibration, into which weights can be loaded."""
    return tfmot.quantization.keras.quantize_model(network)


def measure_ranges(
    network: keras.Model, names: list[str], batches: Iterable[NDArray[np.float32]]
) -> dict[str, tuple[float, float]]:
    """Returns the least and the greatest activation of each named layer, averaged over the batches."""
    probe = keras.Model(network.input, [network.get_layer(name).output for name in names])
    ends = np.mean([[(y.min(), y.max()) for y in probe.predict_on_batch(batch)] for batch in batches], axis=0)
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, ends, strict=True)}


def _quantized_outputs(twin: keras.Model) -> list[str]:
    """Returns the float layers whose outputs the quantization-aware copy rounds."""
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
    """Sets a layer's activation range, which must hold 0, as zero padding and ReLU need it exactly."""
    least = min(ends[0], 0.0)
    for low, high in _range_variables(layer):
        low.assign(least)  # type: ignore[attr-defined]
        high.assign(max(ends[1], least + _MIN_RANGE))  # type: ignore[attr-defined]


def restore_input_range(twin: keras.Model) -> None:
    """Sets the input's range to that of all uint8 pixels: its moving average follows the batches."""
    layer = next(one for one in twin.layers if one.name.startswith("quantize_layer"))
    for variable in layer.weights:
        for suffix, end in (("_min:0", _INPUT_RANGE[0]), ("_max:0", _INPUT_RANGE[1])):
            if variable.name.endswith(suffix):
                variable.assign(end)


def _set_weight_ranges(twin: keras.Model, size: int) -> None:
    """Makes the quantization-aware copy measure its weights.

    This needs training mode, whose other effects are undone.
    """
    others = [v for v in twin.weights if not v.name.endswith(("kernel_min:0", "kernel_max:0"))]
    before = [variable.numpy() for variable in others]
    twin(np.zeros((1, size, size, 3), np.float32), training=True)
    for variable, value in zip(others, before, strict=True):
        variable.assign(value)
