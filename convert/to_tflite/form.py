"""The forms of a converted file: number types of weights, activations and input."""

from __future__ import annotations

from dataclasses import dataclass

from dermedge.train.data.counts import plural

__all__ = [
    "CALIBRATED_KINDS",
    "DYNAMIC",
    "FLOAT16",
    "FLOAT32",
    "INT8_MIXED",
    "INT8_PTQ",
    "INT8_QAT",
    "INT16X8",
    "KINDS",
    "MIN_MAX",
    "ONNX_FLOAT32",
    "ONNX_INT8",
    "ONNX_KINDS",
    "PTQ_KINDS",
    "Form",
]

FLOAT32, FLOAT16, DYNAMIC, INT16X8 = "float32", "float16", "dynamic", "int16x8"
INT8_PTQ, INT8_QAT, INT8_MIXED = "int8-ptq", "int8-qat", "int8-mixed"
ONNX_FLOAT32, ONNX_INT8 = "onnx-float32", "onnx-int8"
# Files for ONNX Runtime and other tools, not for TFLite.
ONNX_KINDS = (ONNX_FLOAT32, ONNX_INT8)
KINDS = (FLOAT32, FLOAT16, DYNAMIC, INT16X8, INT8_PTQ, INT8_QAT, INT8_MIXED, *ONNX_KINDS)
# Kinds with int8 by post-training quantization, completely or in part.
PTQ_KINDS = (INT8_PTQ, INT8_MIXED)
# Kinds whose activation ranges come from calibration images.
CALIBRATED_KINDS = (INT16X8, *PTQ_KINDS)
# The default method: ranges reach from the smallest to the largest value of the calibration.
MIN_MAX = "min-max"


@dataclass(frozen=True)
class Form:
    """The form of a .tflite or of an ONNX file.

    Attributes:
        kind: one of `KINDS`.
        io: dtype of the input: ``uint8``, ``int8`` or ``float32``. The outputs of an int8 network have the
            same dtype. The input always takes pixel values: 0 to 255, or these minus 128 for ``int8``.
        ranges: how activation ranges are chosen, for the kinds in `PTQ_KINDS`: a name in
            `dermedge.convert.to_tflite.ranges.METHODS`.
        float_layers: output tensors of the operations that stay in float, for ``int8-mixed``.
    """

    kind: str
    io: str = "uint8"
    ranges: str = MIN_MAX
    float_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The kind, and settings that differ from the defaults, for people: ``int8-ptq, ranges by mse``."""
        parts = [self.kind]
        if self.ranges != MIN_MAX:
            parts.append(f"ranges by {self.ranges}")
        if self.float_layers:
            parts.append(f"{plural(len(self.float_layers), 'layer')} in float")
        return ", ".join(parts)
