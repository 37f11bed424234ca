"""The pixel input of a converted file: its dtype, and where pixels are normalized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.network import Network, normalized_images
from dermedge.convert.to_tflite.form import INT8_QAT, PTQ_KINDS, Form
from dermedge.edge.model.normalization import Normalization

__all__ = ["calibration_inputs", "input_dtype", "input_ends", "normalizes_inside"]

_PIXEL_ENDS = (0.0, 255.0)


def input_ends(network: Network, form: Form) -> tuple[float, float]:
    """Return the real numbers that the quantized input of a file must assign to the pixel values 0 and 255.

    If the graph normalizes the pixels, these numbers are 0 and 255. Otherwise, they are the normalized values of 0 and
    255.
    """
    return _PIXEL_ENDS if normalizes_inside(network.normalization, form) else network.normalization.ends


def normalizes_inside(normalization: Normalization, form: Form) -> bool:
    """Tell whether the graph normalizes the pixels. Otherwise, the quantization of the input normalizes them."""
    return form.kind not in (*PTQ_KINDS, INT8_QAT) or form.io == "float32" or not normalization.is_affine


def input_dtype(form: Form) -> str:
    """Return the dtype of the input in the float file that will later be quantized."""
    return "float32" if form.kind in (*PTQ_KINDS, INT8_QAT) else form.io


def calibration_inputs(
    network: Network, form: Form, images: Sequence[NDArray[np.uint8]]
) -> Iterator[NDArray[Any]]:
    """Yield one input, [1, h, w, C], for each calibration image.

    The inputs are made for the float .tflite that `Network.float_tflite` returns. If the graph of this .tflite
    normalizes the pixels, each input consists of pixel values. Otherwise, each input is a normalized image, float32.

    In the first image, one pixel is made black, and one is made white. So the ranges of the first layers cover all
    values that a pixel can have.

    Args:
        network: the network that is converted.
        form: the form of the file.
        images: the calibration images, each RGB, uint8 [h, w, 3].
    """
    for index, image in enumerate(images):
        if index == 0:
            image = image.copy()
            image[0, 0], image[0, 1] = 0, 255
        if not normalizes_inside(network.normalization, form):
            yield normalized_images(image[None], network.layout, network.normalization)
        elif network.layout.channels == 1:
            yield cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[None, ..., None].astype(input_dtype(form))
        else:
            yield image[None].astype(input_dtype(form))
