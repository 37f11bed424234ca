"""Defines the usual input normalizations of image classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.preprocess import SCALE, ZERO_POINT

__all__ = ["FOREIGN", "NORMALIZATIONS", "Normalization"]

_HIGHEST_PIXEL = 255


@dataclass(frozen=True)
class Normalization:
    """Turns a pixel p into (p - mean) / std, channel by channel, and may swap red and blue.

    Attributes:
        name: the name: a key of `NORMALIZATIONS`, or ``metadata`` if the metadata of a file states the normalization.
        mean: the mean, one number for each channel, red first, in the units of pixel values (0 to 255).
        std: the standard deviation, in the same format.
        blue_first: whether the network expects blue first (BGR).
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    blue_first: bool = False

    @property
    def is_affine(self) -> bool:
        """Whether one scale and one offset for all channels describe the normalization.

        If the normalization is affine, the scale and the zero point of a quantized input can express it. The input then
        accepts pixel values.
        """
        return len(set(self.mean)) == len(set(self.std)) == 1 and not self.blue_first

    @property
    def ends(self) -> tuple[float, float]:
        """The normalized values of the pixel values 0 and 255. The normalization must be affine (`is_affine`)."""
        return (0 - self.mean[0]) / self.std[0], (_HIGHEST_PIXEL - self.mean[0]) / self.std[0]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalizes uint8 [..., 3] RGB. Returns float32 [..., 3] in the colour order that the network expects."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        made: NDArray[np.float32] = (images.astype(np.float32) - mean) / std
        return np.ascontiguousarray(made[..., ::-1]) if self.blue_first else made

    def on_tensor(self, images: Any) -> Any:
        """Normalizes a float32 tensor [..., 3] of RGB pixel values within a TensorFlow graph."""
        if self.is_affine:
            # One multiplication replaces the division, because the device multiplies too.
            made = (images - self.mean[0]) * (1 / self.std[0])
        else:
            made = (images - np.array(self.mean, np.float32)) * (1 / np.array(self.std, np.float32))
        return made[..., ::-1] if self.blue_first else made


def _same_for_all_channels(name: str, mean: float, std: float) -> Normalization:
    return Normalization(name, (mean,) * 3, (std,) * 3)


# "imagenet" has the means and standard deviations of ImageNet that PyTorch's model zoo publishes. "caffe" has the means
# that Caffe's model zoo publishes.
NORMALIZATIONS = {
    one.name: one
    for one in (
        _same_for_all_channels("dermedge", ZERO_POINT, SCALE),
        _same_for_all_channels("pixels", 0, 1),
        _same_for_all_channels("unit", 0, _HIGHEST_PIXEL),
        _same_for_all_channels("symmetric", _HIGHEST_PIXEL / 2, _HIGHEST_PIXEL / 2),
        Normalization("imagenet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        Normalization("caffe", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0), blue_first=True),
    )
}
# A user may give one of these names for a network that dermedge did not make. The name "dermedge" is left out, because
# this normalization differs from "symmetric" by only half a pixel value.
FOREIGN = tuple(name for name in NORMALIZATIONS if name != "dermedge")
