"""Convert a network to a TFLite flatbuffer whose input is pixel values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.form import CALIBRATED_KINDS, INT16X8, PTQ_KINDS, Form
from dermedge.convert.to_tflite.pixel_input import calibration_inputs, input_ends
from dermedge.convert.to_tflite.quantizer import quantize
from dermedge.edge.errors import OptionError

__all__ = ["to_tflite"]


def to_tflite(network: Network, form: Form, images: Sequence[NDArray[np.uint8]] = ()) -> bytes:
    """Convert a network to a .tflite with a static batch of 1.

    Args:
        network: the network. For ``int8-qat``, it is the quantization-aware copy.
        form: the form of the file.
        images: the calibration images, each RGB, uint8 [h, w, 3]. Only the kinds in `CALIBRATED_KINDS` need them.

    Returns:
        A flatbuffer with a [1, h, w, C] input. The same network and images always give the same bytes.

    Raises:
        ModelError: a weight is not finite, or the converter or the quantizer refuses the network.
        OptionError: the form is ``int16x8`` with int8 input.
    """
    if form.kind == INT16X8 and form.io == "int8":
        raise OptionError("--int16x8 has no int8 input; use --io uint8 or --io float32")
    if form.kind not in CALIBRATED_KINDS:
        return network.finished_tflite(form)
    ends = input_ends(network, form) if form.kind in PTQ_KINDS and form.io != "float32" else None
    return quantize(network.float_tflite(form), form, list(calibration_inputs(network, form, images)), ends)
