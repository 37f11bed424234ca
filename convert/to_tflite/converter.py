"""From a float network to the bytes of a .tflite that takes real pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.pixel_input import with_uint8_input
from dermedge.convert.to_tflite.ranges import choose_ranges, with_ranges
from dermedge.convert.to_tflite.share_buffers import share_vectors
from dermedge.edge.errors import ModelError, OptionError

FLOAT32, FLOAT16, DYNAMIC, INT16X8 = "float32", "float16", "dynamic", "int16x8"
INT8_PTQ, INT8_QAT, INT8_MIXED = "int8-ptq", "int8-qat", "int8-mixed"
KINDS = (FLOAT32, FLOAT16, DYNAMIC, INT16X8, INT8_PTQ, INT8_QAT, INT8_MIXED)
CALIBRATED_KINDS = (INT16X8, INT8_PTQ, INT8_MIXED)
IO_TYPES = {"uint8": tf.uint8, "int8": tf.int8, "float32": tf.float32}
WIDE_ACTIVATIONS = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
# The ranges that the converter itself records.
RECORDED = "recorded"
INT8_TO_UINT8 = 128
PIXEL_ENDS = (0.0, 255.0)


@dataclass(frozen=True)
class Form:
    """The form of a .tflite.

    Attributes:
        kind: of KINDS.
        io: the type of the input, of IO_TYPES, and of the outputs where the network is int8; whatever it is,
            the input holds real pixels: 0 to 255, and as int8 those less 128.
        ranges: for ``int8-ptq`` and ``int8-mixed``: how activation ranges are taken from the calibration: as
            the converter records them, or by a name of `dermedge.convert.ranges.METHODS`.
        float_layers: for ``int8-mixed``: the output tensors of the operations that stay in float.
    """

    kind: str
    io: str = "uint8"
    ranges: str = RECORDED
    float_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        parts = [self.kind]
        if self.ranges != RECORDED:
            parts.append(f"ranges by {self.ranges}")
        if self.float_layers:
            parts.append(f"{len(self.float_layers)} layers in float")
        return ", ".join(parts)


def lower(network: Network, form: Form, pictures: Sequence[NDArray[np.uint8]] = ()) -> bytes:
    """Converts a network to a .tflite with a static batch of 1.

    Args:
        network: quantization-aware for ``int8-qat``.
        form: what to make of it.
        pictures: for `CALIBRATED_KINDS`: uint8 [s, s, 3] RGB training pictures, unaugmented.

    Returns:
        A flatbuffer with a [1, s, s, 3] input; equal networks and pictures give equal bytes.

    Raises:
        ModelError: the weights are not finite, or the converter refused the network.
        OptionError: ``int16x8`` has no int8 input.
    """
    network.check_weights()
    if form.kind == INT16X8 and form.io == "int8":
        raise OptionError("--io is int8, and --int16x8 has uint8 or float32 inputs")
    if form.kind in (INT8_PTQ, INT8_MIXED):
        return quantize(calibrate(network, form, pictures), network, form, pictures)
    wide = form.kind == INT16X8
    dtype = tf.float32 if wide or form.kind == INT8_QAT else IO_TYPES[form.io]
    converter = _converter(network, dtype, _takes_pixels(network, form))
    if form.kind != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form.kind == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form.kind == INT8_QAT:
        converter.inference_input_type = converter.inference_output_type = IO_TYPES[form.io]
    if wide:
        converter.target_spec.supported_ops = [WIDE_ACTIVATIONS]
        converter.representative_dataset = lambda: (
            [one] for one in calibration_inputs(network, form, pictures)
        )
    model = _convert(converter, form)
    # the converter has no cast to 16-bit integers
    return with_uint8_input(model) if wide and form.io == "uint8" else share_vectors(model)


def calibrate(network: Network, form: Form, pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    """The network as a float .tflite whose activations carry the ranges that the pictures showed.

    The input takes what `calibration_inputs` gives.
    """
    network.check_weights()
    converter = _converter(network, tf.float32, _takes_pixels(network, form))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([one] for one in calibration_inputs(network, form, pictures))
    # the ranges are looked at, and may be changed, before anything is rounded
    converter._experimental_calibrate_only = True
    return _convert(converter, form)


def calibration_inputs(
    network: Network, form: Form, pictures: Sequence[NDArray[np.uint8]]
) -> Iterator[NDArray[np.float32]]:
    """float32 [1, s, s, 3] inputs of the file of `calibrate`: pixels, or normalized ones.

    One corner of the first is black and one white. The input's scale is taken from the least and the greatest
    value that calibration shows; these make it that of all uint8 pixels, so that a pixel of a camera is the
    quantized input itself.
    """
    for index, picture in enumerate(pictures):
        if index == 0:
            picture = picture.copy()
            picture[0, 0], picture[0, 1] = 0, 255
        pixels = picture[None].astype(np.float32)
        yield pixels if _takes_pixels(network, form) else network.normalization(picture[None])


def quantize(calibrated: bytes, network: Network, form: Form, pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    """The int8 file of what `calibrate` made, with the ranges and the float layers of the form.

    Raises:
        ModelError: the quantizer refused it.
    """
    if form.ranges != RECORDED:
        inputs = calibration_inputs(network, form, pictures)
        calibrated = with_ranges(calibrated, choose_ranges(calibrated, inputs, form.ranges))
    io_type = IO_TYPES[form.io]
    try:
        model = mlir_quantize(
            calibrated,
            input_data_type=io_type,
            output_data_type=io_type,
            denylisted_nodes=set(form.float_layers) or None,
        )
    except Exception as error:  # the quantizer raises RuntimeError and kinds of its own
        raise ModelError(f"TensorFlow cannot make this network {form.name}: {_reason(error)}") from error
    return share_vectors(model)


def input_ends(network: Network, form: Form) -> tuple[float, float]:
    """What the pixels 0 and 255 stand for in the input of the form's file, where that is quantized."""
    return PIXEL_ENDS if _takes_pixels(network, form) else network.normalization.ends


def _takes_pixels(network: Network, form: Form) -> bool:
    """Whether a graph gets pixels to normalize: where the scale of a quantized input cannot do it."""
    return (
        form.kind not in (INT8_PTQ, INT8_MIXED, INT8_QAT)
        or form.io == "float32"
        or not network.normalization.is_affine
    )


def _converter(network: Network, dtype: tf.DType, takes_pixels: bool) -> Any:
    size = network.size

    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], dtype, name="pixels")])
    def run(pixels: tf.Tensor) -> list[tf.Tensor]:
        if takes_pixels:
            pixels = tf.cast(pixels, tf.float32)
            if dtype == tf.int8:
                pixels += INT8_TO_UINT8
            pixels = network.normalization.on_tensor(pixels)
        return network.compute(pixels)

    # variables of Keras 3 and of SavedModels are not found by the converter, constants are
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(run.get_concrete_function())]
    )


def _convert(converter: Any, form: Form) -> bytes:
    try:
        with warnings.catch_warnings():
            # it misses ranges of the input, which the calibration tells later
            warnings.filterwarnings("ignore", "Statistics for quantized inputs")
            return converter.convert()
    except Exception as error:  # the converter raises many kinds, and its own only by a private name
        raise ModelError(
            f"TensorFlow cannot convert this network to {form.kind}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
