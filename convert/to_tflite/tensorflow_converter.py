"""Convert a graph of TensorFlow to a TFLite flatbuffer, with TensorFlow's own converter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dermedge.convert.to_tflite.form import FLOAT16, FLOAT32, INT8_QAT, Form
from dermedge.convert.to_tflite.pixel_input import input_dtype, normalizes_inside
from dermedge.convert.to_tflite.share_buffers import share_buffers
from dermedge.edge.errors import ModelError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import Normalization

__all__ = ["PixelGraph", "convert_to_finished", "convert_to_float"]

_INT8_TO_UINT8 = 128


@dataclass(frozen=True)
class PixelGraph:
    """A TensorFlow graph, and the normalization that it expects.

    Attributes:
        compute: a function from normalized images, float32 [n, h, w, C], to the outputs.
        layout: the shape of the input.
        normalization: the normalization that the input expects.
    """

    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    layout: Layout
    normalization: Normalization


def convert_to_float(graph: PixelGraph, form: Form) -> bytes:
    """Convert the graph to a float .tflite. It will later be quantized to ``form``.

    Raises:
        ModelError: the converter refuses the graph.
    """
    return share_buffers(_run_converter(_converter(graph, form), form))


def convert_to_finished(graph: PixelGraph, form: Form) -> bytes:
    """Return the .tflite of a form that needs no calibration: float32, float16, dynamic, or quantization-aware.

    Raises:
        ModelError: the converter refuses the graph.
    """
    converter = _converter(graph, form)
    if form.kind != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form.kind == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if form.kind == INT8_QAT:
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(form.io)
    return share_buffers(_run_converter(converter, form))


def _converter(graph: PixelGraph, form: Form) -> Any:
    shape, dtype = graph.layout, tf.as_dtype(input_dtype(form))

    @tf.function(
        input_signature=[tf.TensorSpec([1, shape.height, shape.width, shape.channels], dtype, name="pixels")]
    )
    def run(pixels: tf.Tensor) -> list[tf.Tensor]:
        if normalizes_inside(graph.normalization, form):
            pixels = tf.cast(pixels, tf.float32)
            if dtype == tf.int8:
                pixels += _INT8_TO_UINT8
            pixels = graph.normalization.on_tensor(pixels)
        return graph.compute(pixels)

    with _errors_of_tensorflow(form):
        # Variables are turned into constants, because the converter does not find the variables of Keras 3.
        constant = convert_variables_to_constants_v2(run.get_concrete_function())
        return tf.lite.TFLiteConverter.from_concrete_functions([constant])


def _run_converter(converter: Any, form: Form) -> Any:
    with _errors_of_tensorflow(form), warnings.catch_warnings():
        # The converter warns that statistics of the inputs are missing. This is wrong, because a quantization-aware
        # network holds these statistics.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return converter.convert()


@contextmanager
def _errors_of_tensorflow(form: Form) -> Iterator[None]:
    """Replace every exception of TensorFlow's converter by a ModelError."""
    try:
        yield
    except Exception as error:  # the converter raises exceptions of many classes, some of them private
        raise ModelError(
            f"TensorFlow cannot convert this network to {form.kind}: {_reason(error)}; if the reason names "
            "an operator, replace this operator in the network"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
