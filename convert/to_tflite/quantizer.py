"""Quantize a float .tflite to integers after training, with litert-quantizer.

An earlier version of this module called private functions of TensorFlow's quantizer. TensorFlow's quantizer and
litert-quantizer were compared on an EfficientNet-Lite0 trunk at 128 pixels, with 200 calibration photos and 482
validation photos. Both used the same ranges of activations. The results are:

- Accuracy: The acceptance test accepts the int8 files of both quantizers. The balanced accuracy is 0.604 with
  litert-quantizer, 0.591 with TensorFlow's quantizer, and 0.593 for the float network.
- Speed: Both files have the same size (2.82 MB). The latency of the file of litert-quantizer is 0.99 times the latency
  of TensorFlow's file (400 pairs of alternating measurements).
- Calibration: It takes 2 s with litert-quantizer and 14 s with TensorFlow.

Two kinds of quantized files are made by TensorFlow's own converter. The first kind is int8 files of quantization-aware
networks, because litert-quantizer cannot read the float files of such networks. The second kind is files with 8-bit
weights and float activations, because the acceptance test refused the files of this kind that litert-quantizer made.

litert-quantizer leaves the operators LEAKY_RELU, PRELU, ELU and REDUCE_MAX in float. The report lists such layers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import calibrator, qtyping, quantizer, recipe
from litert_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor
from litert_quantizer.utils.qsv_utils import min_max_update
from numpy.typing import NDArray

from dermedge.convert.to_tflite.form import INT16X8, MIN_MAX, Form
from dermedge.convert.to_tflite.graph import name_of, read_model
from dermedge.convert.to_tflite.ranges import Range, choose_ranges
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.convert.to_tflite.weight_ranges import INT8_STEPS, INT16_STEPS, widened_weights
from dermedge.edge.errors import DataError, ModelError

__all__ = ["quantize", "quantize_with_ranges", "record_ranges", "to_float16"]

_OP = qtyping.TFLOperationName
_NO_QUANTIZE = quantizer.AlgorithmName.NO_QUANTIZE
# litert-quantizer 0.11 splits weights of more than 32 MiB, and then refuses the split weights of convolutions. So
# larger weights are quantized here, in pieces of at most this many bytes.
_LARGEST_PIECE_BYTES = 2**24


def quantize(
    model: bytes, form: Form, inputs: Sequence[NDArray[Any]], input_ends: tuple[float, float] | None = None
) -> bytes:
    """Quantize a float .tflite by calibration.

    Args:
        model: a float .tflite with one input.
        form: a form whose kind is in `CALIBRATED_KINDS`. For ``int16x8``, the input and the outputs of the model must
            already have their final dtypes.
        inputs: the calibration inputs, each [1, h, w, C], with the dtype of the model's input.
        input_ends: the range of the input: the real values that the pixel values 0 and 255 stand for. If None, the
            range of the input is found on the calibration inputs.

    Returns:
        The quantized .tflite. The same model and inputs always give the same bytes.

    Raises:
        DataError: there are no inputs.
        ModelError: an activation is not finite, or the quantizer refuses the network.
    """
    ranges = record_ranges(model, inputs)
    if form.ranges != MIN_MAX:
        found = choose_ranges(model, inputs, form.ranges)
        ranges |= {name: ends for name, ends in found.items() if name in ranges}
    if input_ends is not None:
        ranges[_input_name(model)] = input_ends
    return quantize_with_ranges(model, form, ranges)


def record_ranges(model: bytes, inputs: Sequence[NDArray[Any]]) -> dict[str, Range]:
    """Record the smallest and the largest value of each activation of a float .tflite.

    Args:
        model: a float .tflite with one input.
        inputs: the calibration inputs, each [1, h, w, C].

    Returns:
        The range of each activation, with the name of the activation as the key.

    Raises:
        DataError: there are no inputs.
        ModelError: an activation is not finite.
    """
    if not len(inputs):
        raise DataError("there are no calibration photos; give at least one")
    with _silenced():
        # `min_max_update` records the smallest and the largest value over all photos. By default, the library would
        # record moving averages of these two values, which depend on the order of the photos.
        watched = calibrator.CalibrationInterpreter(
            _with_signature(model),
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=min_max_update,
        )
        run = watched.get_signature_runner()
        (input_name,) = run.get_input_details()
        for values in inputs:
            run(**{input_name: values})
        recorded = watched.get_calibration_results()
    ranges = {name: (float(np.min(one["min"])), float(np.max(one["max"]))) for name, one in recorded.items()}
    broken = next((name for name, ends in ranges.items() if not np.isfinite(ends).all()), None)
    if broken is not None:
        raise ModelError(
            f"the activation '{broken}' is not finite on a calibration photo; train the network again"
        )
    return ranges


def quantize_with_ranges(model: bytes, form: Form, ranges: Mapping[str, Range]) -> bytes:
    """Quantize a float .tflite with the ranges of its activations. `quantize` explains ``model`` and ``form``.

    Raises:
        ModelError: the quantizer refuses the network.
    """
    values = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    values |= widened_weights(model, ranges, INT16_STEPS if form.kind == INT16X8 else INT8_STEPS)
    try:
        with _silenced(), _large_weights():
            made = _quantizer(_with_signature(model), form).quantize(
                values, enable_progress_bar=False, enable_progress_report=False
            )
    except Exception as error:  # the library raises built-in exceptions of many kinds
        raise ModelError(
            f"this network cannot be quantized to {form.name}: {_reason(error)}; use --float16 or --float32 instead"
        ) from error
    return _plain(bytes(made.quantized_model))


def to_float16(model: bytes) -> bytes:
    """Store the weights of convolutions and matrix products of a float .tflite in half precision.

    Raises:
        ModelError: the quantizer refuses the network.
    """
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    try:
        with _silenced():
            made = quantizer.Quantizer(_with_signature(model))
            for kind in (_OP.CONV_2D, _OP.DEPTHWISE_CONV_2D, _OP.FULLY_CONNECTED):
                made.update_quantization_recipe(".*", kind, config, quantizer.AlgorithmName.FLOAT_CASTING)
            done = made.quantize(enable_progress_bar=False, enable_progress_report=False)
    except Exception as error:  # the library raises built-in exceptions of many kinds
        raise ModelError(
            f"this network cannot be stored in half precision: {_reason(error)}; use --float32 instead"
        ) from error
    return _plain(bytes(done.quantized_model))


def _quantizer(model: bytes, form: Form) -> quantizer.Quantizer:
    """Return litert-quantizer's Quantizer for a float .tflite, with settings that match ``form``."""
    if form.kind == INT16X8:
        made = quantizer.Quantizer(model, recipe.static_wi8_ai16())
    else:
        made = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    for end in (_OP.INPUT, _OP.OUTPUT):
        if form.kind == INT16X8 or form.io == "float32":
            made.update_quantization_recipe(".*", end, None, _NO_QUANTIZE)
        elif form.io == "uint8":
            made.update_quantization_recipe(".*", end, _uint8_config())
    for name in form.float_layers:
        # The library appends ";" to the name of a tensor, and searches the result for this regular expression.
        pattern = "^" + re.escape(name) + ";?$"
        made.update_quantization_recipe(pattern, _OP.ALL_SUPPORTED, None, _NO_QUANTIZE)
    return made


def _uint8_config() -> qtyping.OpQuantizationConfig:
    def tensor(symmetric: bool, granularity: Any, dtype: Any) -> qtyping.TensorQuantizationConfig:
        return qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=symmetric, granularity=granularity, dtype=dtype
        )

    granularity, dtype = qtyping.QuantGranularity, qtyping.TensorDataType
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=tensor(False, granularity.TENSORWISE, dtype.UINT),
        weight_tensor_config=tensor(True, granularity.CHANNELWISE, dtype.INT),
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )


def _input_name(model: bytes) -> str:
    graph = read_model(model).subgraphs[0]
    return name_of(graph.tensors[int(graph.inputs[0])])


def _with_signature(model: bytes) -> bytes:
    """Add a signature to a model. The library runs a model through a signature."""
    root = read_model(model)
    graph, signature = root.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = _signature_tensors("input", graph.inputs)
    signature.outputs = _signature_tensors("output", graph.outputs)
    root.signatureDefs = [signature]
    return pack(root)


def _signature_tensors(prefix: str, indices: Iterable[int]) -> list[schema.TensorMapT]:
    made = []
    for number, index in enumerate(indices):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"{prefix}_{number}".encode(), int(index)
        made.append(entry)
    return made


def _plain(model: bytes) -> bytes:
    """Remove the signature of a model, move constants into the flatbuffer, and store equal vectors once."""
    root = read_model(model)
    root.signatureDefs = []
    return pack(root)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silence the library. It prints progress bars and warnings that no option turns off."""
    quiet = io.StringIO()
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _large_weights() -> Iterator[None]:
    """Make the library quantize large weights of convolutions piece by piece. Wide ResNet-50-2 needs this."""
    with patch.object(uniform_quantize_tensor, "uniform_quantize", _quantized_in_pieces):
        yield


_uniform_quantize = uniform_quantize_tensor.uniform_quantize


def _quantized_in_pieces(
    values: NDArray[Any], parameters: qtyping.UniformQuantParams, is_blockwise: bool = False
) -> NDArray[Any]:
    """Return the result of the library's ``uniform_quantize``, computed in pieces along the axis of the channels."""
    if values.ndim < 3 or values.nbytes <= _LARGEST_PIECE_BYTES or is_blockwise:
        return np.asarray(_uniform_quantize(values, parameters, is_blockwise))
    axis = parameters.quantized_dimension or 0
    bounds = np.linspace(0, values.shape[axis], -(-values.nbytes // _LARGEST_PIECE_BYTES) + 1).astype(int)
    pieces = []
    for start, stop in itertools.pairwise(bounds):
        index = (*(slice(None),) * axis, slice(start, stop))
        scale, zero_point = (
            part[index] if part.shape[axis] > 1 else part
            for part in (parameters.scale, parameters.zero_point)
        )
        own = dataclasses.replace(parameters, scale=scale, zero_point=zero_point)
        pieces.append(_uniform_quantize(values[index], own, is_blockwise))
    return np.concatenate(pieces, axis)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
