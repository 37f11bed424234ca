"""Convert a network to a TFLite flatbuffer that takes pixel values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.form import (
    CALIBRATED_KINDS,
    FLOAT16,
    FLOAT32,
    INT8_QAT,
    INT16X8,
    PTQ_KINDS,
    Form,
)
from dermedge.convert.to_tflite.quantizer import quantize
from dermedge.convert.to_tflite.share_buffers import share_buffers
from dermedge.edge.errors import ModelError, OptionError

__all__ = ["calibration_inputs", "float_tflite", "input_ends", "to_tflite"]

_IO_TYPES = {"uint8": tf.uint8, "int8": tf.int8, "float32": tf.float32}
_INT8_TO_UINT8 = 128
_PIXEL_ENDS = (0.0, 255.0)


def to_tflite(network: Network, form: Form, images: Sequence[NDArray[np.uint8]] = ()) -> bytes:
    """Convert a network to a .tflite with a static batch of 1.

    Args:
        network: its quantization-aware twin for ``int8-qat``.
        form: the form of the file.
        images: uint8 [s, s, 3] RGB calibration images, for the kinds in `CALIBRATED_KINDS`.

    Returns:
        A flatbuffer with a [1, s, s, 3] input. Equal networks and images give equal bytes.

    Raises:
        ModelError: a weight is not finite, or the converter or the quantizer refused the network.
        OptionError: ``int16x8`` with an int8 input.
    """
    network.check_weights()
    if form.kind == INT16X8 and form.io == "int8":
        raise OptionError("--int16x8 has no int8 input; use --io uint8 or --io float32")
    if form.kind in CALIBRATED_KINDS:
        ends = input_ends(network, form) if form.kind in PTQ_KINDS and form.io != "float32" else None
        inputs = list(calibration_inputs(network, form, images))
        return quantize(float_tflite(network, form), form, inputs, ends)
    converter = _converter(network, _input_dtype(form), _normalizes_inside(network, form))
    if form.kind != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form.kind == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form.kind == INT8_QAT:
        converter.inference_input_type = converter.inference_output_type = _IO_TYPES[form.io]
    return share_buffers(_run_converter(converter, form))


def float_tflite(network: Network, form: Form) -> bytes:
    """Convert a network to the float .tflite that is quantized to a form; it takes `calibration_inputs`."""
    network.check_weights()
    converter = _converter(network, _input_dtype(form), _normalizes_inside(network, form))
    return share_buffers(_run_converter(converter, form))


def calibration_inputs(
    network: Network, form: Form, images: Sequence[NDArray[np.uint8]]
) -> Iterator[NDArray[Any]]:
    """Yield [1, s, s, 3] inputs for the file of `float_tflite`: pixel values, or float32 normalized ones.

    Two pixels of the first image are made black and white, so that all values that a pixel can have are within
    the ranges of the first layers.
    """
    for index, image in enumerate(images):
        if index == 0:
            image = image.copy()
            image[0, 0], image[0, 1] = 0, 255
        if _normalizes_inside(network, form):
            yield image[None].astype(_input_dtype(form).as_numpy_dtype)
        else:
            yield network.normalization(image[None])


def input_ends(network: Network, form: Form) -> tuple[float, float]:
    """The real values of the pixels 0 and 255 at the quantized input of a form."""
    return _PIXEL_ENDS if _normalizes_inside(network, form) else network.normalization.ends


def _normalizes_inside(network: Network, form: Form) -> bool:
    """Whether the graph normalizes its pixels; else the scale of the quantized input does."""
    return (
        form.kind not in (*PTQ_KINDS, INT8_QAT) or form.io == "float32" or not network.normalization.is_affine
    )


def _input_dtype(form: Form) -> tf.DType:
    """The dtype of the input that TensorFlow's converter writes; quantization may change it afterwards."""
    return tf.float32 if form.kind in (*PTQ_KINDS, INT8_QAT) else _IO_TYPES[form.io]


def _converter(network: Network, dtype: tf.DType, normalizes_inside: bool) -> Any:
    size = network.size

    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], dtype, name="pixels")])
    def run(pixels: tf.Tensor) -> list[tf.Tensor]:
        if normalizes_inside:
            pixels = tf.cast(pixels, tf.float32)
            if dtype == tf.int8:
                pixels += _INT8_TO_UINT8
            pixels = network.normalization.on_tensor(pixels)
        return network.compute(pixels)

    # The converter finds constants, but not the variables of Keras 3 and of SavedModels.
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(run.get_concrete_function())]
    )


def _run_converter(converter: Any, form: Form) -> bytes:
    try:
        with warnings.catch_warnings():
            # A quantization-aware network holds the statistics that the converter misses.
            warnings.filterwarnings("ignore", "Statistics for quantized inputs")
            return converter.convert()
    except Exception as error:  # the converter raises many classes, some of them private
        raise ModelError(
            f"TensorFlow cannot convert this network to {form.kind}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
