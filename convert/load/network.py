"""The protocol of all classifiers that can be converted, whether they come from a run, a Keras file or a .tflite."""

from __future__ import annotations

from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.convert.to_tflite.form import Form
from dermedge.edge.model.head import Head, calibrated_logits_of
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import Normalization

__all__ = ["Network", "logits_of_probabilities", "normalized_images"]


class Network(Protocol):
    """A classifier that can be converted.

    Attributes:
        name: the architecture or the name of the file, for the manifest.
        layout: the shape of the input, which is channels-last.
        labels: the labels of the outputs.
        normalization: the normalization that the input expects.
    """

    @property
    def name(self) -> str: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def normalization(self) -> Normalization: ...

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits, float32 [n, K], for RGB images, uint8 [n, h, w, 3].

        If the network has no output for the logits (the evidence), the logits are computed from the probabilities by
        `logits_of_probabilities`.
        """
        ...

    def with_logits_moved(self, amounts: NDArray[np.float32]) -> Self:
        """Return a network that adds ``amounts``, float32 [K], to the logits.

        The evidence holds logits for each position of the feature map, and the logits are the mean of the evidence. So
        ``amounts`` is added to the evidence at each position.
        """
        ...

    def float_tflite(self, form: Form) -> bytes:
        """Return a float .tflite, which will later be quantized to ``form``.

        The inputs for the calibration of the .tflite are those that `calibration_inputs` yields.

        Raises:
            ModelError: the network cannot be converted.
        """
        ...

    def finished_tflite(self, form: Form) -> bytes:
        """Return the .tflite of a form that needs no calibration.

        Raises:
            ModelError: the network cannot be converted.
        """
        ...


def normalized_images(
    images: NDArray[np.uint8], layout: Layout, normalization: Normalization
) -> NDArray[np.float32]:
    """Return the inputs of a float network, float32 [n, h, w, C], for RGB images, uint8 [n, h, w, 3].

    For a gray network, the images are converted to gray in the same way as on the device.
    """
    if layout.channels != 1:
        return normalization(images)
    gray = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    return normalization(np.repeat(gray[..., np.newaxis], 3, axis=-1))[..., :1]


def logits_of_probabilities(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, float64 [n, K], for probabilities, float [n, K].

    Very small probabilities are raised to the same limit as on the device. Without this limit, a
    file and its float network would differ even if the conversion lost nothing.
    """
    return np.array([calibrated_logits_of(Head.SOFTMAX, row) for row in rows.tolist()])
