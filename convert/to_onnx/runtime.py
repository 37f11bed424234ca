"""Run an ONNX file with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dermedge.convert.load.network import logits_of_probabilities
from dermedge.edge.errors import ModelError

__all__ = ["OnnxAnswers", "has_evidence", "onnx_logits"]

_NUM_THREADS = 2
_GRAY = 1
_NS_PER_MS = 1e6
# The log level of ONNX Runtime at which only errors are logged.
_LOG_SEVERITY = 3


@dataclass(frozen=True)
class OnnxAnswers:
    """The outputs of an ONNX file for several images.

    Attributes:
        logits: the logits, float64 [n, K]. If the file has no output for the logits (the evidence), they are the
            logarithms of the probabilities, as `logits_of_probabilities` computes them.
        close_up: the probability that an image is a close-up, float64 [n]; None if the file has no output for it.
        invoke_ms: the median time of an inference on this machine, in ms.
    """

    logits: NDArray[np.float64]
    close_up: NDArray[np.float64] | None
    invoke_ms: float


def has_evidence(model: bytes) -> bool:
    """Tell whether an ONNX file has the evidence output. The mean of the evidence over all positions is the logits."""
    return _evidence_index(_opened(model)) is not None


def onnx_logits(
    model: bytes,
    images: NDArray[np.uint8],
    show: Callable[[int, int], None] = lambda done, total: None,
) -> OnnxAnswers:
    """Run an ONNX file on RGB images. The images are uint8 [n, h, w, 3], and the file's input is float32 [1, C, h, w].

    Raises:
        ModelError: ONNX Runtime refuses the file.
    """
    session = _opened(model)
    (pixels,) = session.get_inputs()
    evidence, view = _evidence_index(session), _view_index(session)
    logits, close_up, invoke_ms = [], [], []
    for done, image in enumerate(images, 1):
        values = _planes(np.asarray(image), int(pixels.shape[1]))
        started = perf_counter_ns()
        outputs = session.run(None, {pixels.name: values})
        invoke_ms.append((perf_counter_ns() - started) / _NS_PER_MS)
        if evidence is None:
            row = logits_of_probabilities(outputs[0].astype(np.float64))
        else:
            row = outputs[evidence].astype(np.float64).mean(axis=(1, 2))
        logits.append(row.ravel())
        if view is not None:
            close_up.append(float(outputs[view].item()))
        show(done, len(images))
    told = None if view is None else np.array(close_up)
    return OnnxAnswers(np.array(logits), told, float(np.median(invoke_ms)))


def _opened(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = _NUM_THREADS, _LOG_SEVERITY
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises exception classes that it does not export
        raise ModelError(
            f"ONNX Runtime refuses this model: {str(error).splitlines()[0]}; install a newer onnxruntime, or make a "
            ".tflite, for example with --int8"
        ) from error


def _evidence_index(session: onnxruntime.InferenceSession) -> int | None:
    shapes = [len(one.shape) for one in session.get_outputs()]
    return shapes.index(4) if 4 in shapes else None


def _view_index(session: onnxruntime.InferenceSession) -> int | None:
    shapes = [list(one.shape) for one in session.get_outputs()]
    return shapes.index([1, 1]) if [1, 1] in shapes else None


def _planes(image: NDArray[np.uint8], channels: int) -> NDArray[np.float32]:
    """Return an RGB image, uint8 [h, w, 3], as float32 [1, C, h, w].

    For a gray network, the image is converted to gray in the same way as on the device.
    """
    if channels == _GRAY:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)[np.newaxis, np.newaxis]
    return np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis], np.float32)
