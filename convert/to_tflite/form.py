"""The form of a converted file: the number formats of the weights, the activations and the input, such as int8."""

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
# The kinds of ONNX files. Files of all other kinds are .tflite files.
ONNX_KINDS = (ONNX_FLOAT32, ONNX_INT8)
KINDS = (FLOAT32, FLOAT16, DYNAMIC, INT16X8, INT8_PTQ, INT8_QAT, INT8_MIXED, *ONNX_KINDS)
# The kinds that are made by post-training quantization (PTQ) to int8. `INT8_MIXED` leaves some layers in float.
PTQ_KINDS = (INT8_PTQ, INT8_MIXED)
# The kinds whose activation ranges are found on calibration images.
CALIBRATED_KINDS = (INT16X8, *PTQ_KINDS)
# The default method for ranges: a range reaches from the smallest to the largest value on the calibration images.
MIN_MAX = "min-max"


@dataclass(frozen=True)
class Form:
    """The form of a .tflite or an ONNX file: the number formats, and how the ranges of activations are found.

    Attributes:
        kind: one of `KINDS`.
        io: the dtype of the input: ``uint8``, ``int8`` or ``float32``. The outputs of an int8 network have the same
            dtype. The input always consists of pixel values: 0 to 255, or -128 to 127 for ``int8``.
        ranges: the method that finds the ranges of activations for the kinds in `PTQ_KINDS`, a name in
            `dermedge.convert.to_tflite.ranges.METHODS`.
        float_layers: the names of the output tensors of the operators that stay in float, for ``int8-mixed``.
    """

    kind: str
    io: str = "uint8"
    ranges: str = MIN_MAX
    float_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the form for user-facing text, such as ``int8-ptq, ranges by mse``.

        The name consists of the kind and the settings that differ from the defaults.
        """
        parts = [self.kind]
        if self.ranges != MIN_MAX:
            parts.append(f"ranges by {self.ranges}")
        if self.float_layers:
            parts.append(f"{plural(len(self.float_layers), 'layer')} in float")
        return ", ".join(parts)
