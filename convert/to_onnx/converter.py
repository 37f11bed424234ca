"""Convert a network to ONNX. tf2onnx converts the float .tflite of the network, and ONNX Runtime quantizes it to int8.

The input of the ONNX file is RGB pixel values of 0 to 255, float32 [1, C, h, w]. The tools for Hailo and OpenVINO
expect such an input. The graph normalizes the pixel values.

An int8 file is in the QDQ format: QuantizeLinear and DequantizeLinear operators stand around each operator. Activations
have 8 bits, and weights have one scale per output channel. The input stays float32.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from dermedge.convert.load.network import Network
from dermedge.convert.to_onnx.runtime import has_evidence, onnx_logits
from dermedge.convert.to_tflite.bias_correction import rounded_shift
from dermedge.convert.to_tflite.form import ONNX_INT8, Form
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.convert.to_tflite.pixel_input import calibration_inputs
from dermedge.edge.errors import DataError, ModelError
from dermedge.edge.model.runtime import without_native_log
from dermedge.edge.model.signature import output_places

__all__ = ["describe_tensors", "to_onnx"]

# The newest ONNX opset that tf2onnx writes correctly. It supports one scale per channel.
_OPSET = 17
_MODEL_NAME = "dermedge"
_INPUT = "pixels"


def to_onnx(network: Network, form: Form, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Convert a network to ONNX.

    An int8 file is made twice. The first file shows how far int8 shifts the mean of each logit. In the second file,
    this shift is subtracted from the logits. A network without logits is only converted once.

    Args:
        network: the network.
        form: a form whose kind is one of `ONNX_KINDS`, with float32 input.
        images: the calibration images for int8, each RGB, uint8 [h, w, 3].

    Returns:
        An ONNX file. The first output is ``probabilities`` [1, K]. If the network has logits, ``evidence`` [1, h, w, K]
        follows. If the network tells the view of a photo, ``close_up`` [1, 1] follows.

    Raises:
        ModelError: tf2onnx or ONNX Runtime refuses the network.
        DataError: the form is int8, but there are no calibration images.
    """
    if form.kind != ONNX_INT8:
        return _float_onnx(network, form)
    if not len(images):
        raise DataError("there are no calibration photos; give at least one")
    model = _quantized(_float_onnx(network, form), network, form, images)
    if not has_evidence(model):
        return model
    pixels = np.stack(images)
    shift = rounded_shift(onnx_logits(model, pixels).logits - network.logits(pixels))
    return _quantized(_float_onnx(network.with_logits_moved(-shift), form), network, form, images)


def describe_tensors(model: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the inputs and the outputs of an ONNX file, as `Manifest.inputs` describes them."""
    graph = onnx.load_model_from_string(model).graph
    inputs, outputs = (
        [_described(index, one) for index, one in enumerate(ends)] for ends in (graph.input, graph.output)
    )
    return inputs, outputs


def _described(index: int, value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    return {
        "index": index,
        "name": value.name,
        "shape": [int(side.dim_value) for side in tensor.shape.dim],
        "dtype": np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name,
        "scale": None,
        "zero_point": None,
    }


def _float_onnx(network: Network, form: Form) -> bytes:
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder, _silenced(), _errors_of("tf2onnx"):
        import tf2onnx  # tf2onnx imports TensorFlow, so tf2onnx is only imported here

        source = Path(folder) / "float.tflite"
        source.write_bytes(_with_names(network.float_tflite(form)))
        made, _ = tf2onnx.convert.from_tflite(str(source), opset=_OPSET, inputs_as_nchw=[_INPUT])
    made.graph.name = _MODEL_NAME
    made.doc_string = ""
    return bytes(made.SerializeToString())


def _with_names(model: bytes) -> bytes:
    """Return the .tflite with the probabilities as the first output, and with dermedge's names of input and outputs."""
    editor = GraphEditor(model)
    outputs = [int(one) for one in editor.graph.outputs]
    places = output_places([editor.shape(one) for one in outputs])
    assert places is not None, "every converted network has the outputs of a classifier"
    editor.set_outputs([outputs[place] for place in places.values()], list(places))
    editor.rename(int(editor.graph.inputs[0]), _INPUT)
    return editor.to_bytes()


def _quantized(model: bytes, network: Network, form: Form, images: Sequence[NDArray[np.uint8]]) -> bytes:
    photos = _CalibrationPhotos(
        {_INPUT: np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)}
        for values in calibration_inputs(network, form, images)
    )
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder, _silenced(), _errors_of("ONNX Runtime"):
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        quantize_static(source, target, photos, quant_format=QuantFormat.QDQ, per_channel=True)
        return target.read_bytes()


class _CalibrationPhotos(CalibrationDataReader):
    """A reader from which ONNX Runtime gets the calibration photos, one after the other."""

    def __init__(self, photos: Iterator[dict[str, NDArray[np.float32]]]) -> None:
        self._photos = photos

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._photos, None)


@contextlib.contextmanager
def _errors_of(tool: str) -> Iterator[None]:
    """Replace every exception of a tool by a ModelError. The tools raise exceptions of many classes."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ModelError(
            f"{tool} cannot convert this network to ONNX: {reason}; make a .tflite instead, for example with --int8"
        ) from error


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silence the libraries. They log progress, and warn about things that users cannot change."""
    quiet, level = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            without_native_log(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
