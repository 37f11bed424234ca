"""Convert a network to a TFLite flatbuffer that takes pixel values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.form import FLOAT16, FLOAT32, INT8_QAT, INT16X8, PTQ_KINDS, RECORDED, Form
from dermedge.convert.to_tflite.pixel_input import with_uint8_input
from dermedge.convert.to_tflite.ranges import choose_ranges, with_ranges
from dermedge.convert.to_tflite.share_buffers import share_buffers
from dermedge.edge.errors import ModelError, OptionError

__all__ = ["calibration_inputs", "input_ends", "record_ranges", "to_tflite"]

_IO_TYPES = {"uint8": tf.uint8, "int8": tf.int8, "float32": tf.float32}
_INT16_ACTIVATIONS = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
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
        ModelError: a weight is not finite, or the converter refused the network.
        OptionError: ``int16x8`` with an int8 input.
    """
    network.check_weights()
    if form.kind == INT16X8 and form.io == "int8":
        raise OptionError("--int16x8 has no int8 input; use --io uint8 or --io float32")
    if form.kind in PTQ_KINDS:
        return _quantize(record_ranges(network, form, images), network, form, images)
    model = _run_converter(_configured(network, form, images), form)
    # The converter cannot cast uint8 to 16-bit integers.
    return with_uint8_input(model) if (form.kind, form.io) == (INT16X8, "uint8") else share_buffers(model)


def record_ranges(network: Network, form: Form, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Convert a network to a float .tflite whose activations carry the ranges seen on calibration images.

    Its input takes what `calibration_inputs` yields.
    """
    network.check_weights()
    converter = _converter(network, tf.float32, _normalizes_inside(network, form))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([one] for one in calibration_inputs(network, form, images))
    # The public API cannot stop between calibration and quantization, where ranges are chosen.
    converter._experimental_calibrate_only = True
    return _run_converter(converter, form)


def calibration_inputs(
    network: Network, form: Form, images: Sequence[NDArray[np.uint8]]
) -> Iterator[NDArray[np.float32]]:
    """Yield float32 [1, s, s, 3] inputs for the file of `record_ranges`: pixel values, or normalized ones.

    Two pixels of the first image are made black and white. The converter derives the input's scale from
    the smallest and the largest value of the calibration; with these two it is the scale of uint8 pixels,
    so that a camera's pixel is the quantized input itself.
    """
    for index, image in enumerate(images):
        if index == 0:
            image = image.copy()
            image[0, 0], image[0, 1] = 0, 255
        pixels = image[None].astype(np.float32)
        yield pixels if _normalizes_inside(network, form) else network.normalization(image[None])


def input_ends(network: Network, form: Form) -> tuple[float, float]:
    """The real values of the pixels 0 and 255 at the quantized input of a form."""
    return _PIXEL_ENDS if _normalizes_inside(network, form) else network.normalization.ends


def _normalizes_inside(network: Network, form: Form) -> bool:
    """Whether the graph normalizes its pixels; else the scale of the quantized input does."""
    return (
        form.kind not in (*PTQ_KINDS, INT8_QAT) or form.io == "float32" or not network.normalization.is_affine
    )


def _configured(network: Network, form: Form, images: Sequence[NDArray[np.uint8]]) -> Any:
    """A TFLiteConverter for every kind but those in `PTQ_KINDS`."""
    int16 = form.kind == INT16X8
    dtype = tf.float32 if int16 or form.kind == INT8_QAT else _IO_TYPES[form.io]
    converter = _converter(network, dtype, _normalizes_inside(network, form))
    if form.kind != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form.kind == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form.kind == INT8_QAT:
        converter.inference_input_type = converter.inference_output_type = _IO_TYPES[form.io]
    if int16:
        converter.target_spec.supported_ops = [_INT16_ACTIVATIONS]
        inputs = calibration_inputs
        converter.representative_dataset = lambda: ([one] for one in inputs(network, form, images))
    return converter


def _quantize(recorded: bytes, network: Network, form: Form, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Quantize the file of `record_ranges` to int8, with the ranges and the float layers of the form."""
    if form.ranges != RECORDED:
        inputs = calibration_inputs(network, form, images)
        recorded = with_ranges(recorded, choose_ranges(recorded, inputs, form.ranges))
    io_type = _IO_TYPES[form.io]
    try:
        model = mlir_quantize(
            recorded,
            input_data_type=io_type,
            output_data_type=io_type,
            denylisted_nodes=set(form.float_layers) or None,
        )
    except Exception as error:  # the quantizer raises RuntimeError and classes of its own
        raise ModelError(
            f"TensorFlow cannot quantize this network to {form.name}: {_reason(error)}"
        ) from error
    return share_buffers(model)


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
            # Said before calibration, which provides these statistics.
            warnings.filterwarnings("ignore", "Statistics for quantized inputs")
            return converter.convert()
    except Exception as error:  # the converter raises many classes, some of them private
        raise ModelError(
            f"TensorFlow cannot convert this network to {form.kind}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
