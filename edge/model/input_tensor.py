"""Writes an image into a network's input, in the layout, normalization and quantization that the input needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.normalization import Normalization

__all__ = ["InputTensor", "Layout"]

_CHANNELS = (1, 3)
_PIXELS = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Layout:
    """The shape of an image tensor.

    Attributes:
        height: height of the image in pixels.
        width: width of the image in pixels.
        channels: 3 for colour, 1 for gray.
        channels_first: True for the shape [N, C, H, W], False for the shape [N, H, W, C].
    """

    height: int
    width: int
    channels: int
    channels_first: bool

    @classmethod
    def of_shape(cls, shape: Sequence[int]) -> Self | None:
        """Returns the layout of a shape, or None if it is not the shape of a batch of gray or colour images."""
        if len(shape) != 4 or min(shape) < 1:
            return None
        if shape[3] in _CHANNELS:
            return cls(shape[1], shape[2], shape[3], channels_first=False)
        if shape[1] in _CHANNELS:
            return cls(shape[2], shape[3], shape[1], channels_first=True)
        return None


class InputTensor:
    """Writes an image into the input tensor of an interpreter.

    Args:
        details: the details of the tensor, as the interpreter returns them.
        layout: the layout of the tensor.
        normalization: the normalization with which the network was trained. It is None if the tensor holds pixel
            values. An int8 tensor then holds the pixel value minus 128. Tensors of all other types hold the pixel value
            unchanged.
    """

    def __init__(self, details: dict[str, Any], layout: Layout, normalization: Normalization | None) -> None:
        self.layout = layout
        self.normalization = normalization
        self._dtype = np.dtype(details["dtype"])
        self._quantization = details["quantization"]
        self._table = None if normalization is None else self._normalized_levels(normalization)

    def write(self, tensor: NDArray[Any], image_rgb: NDArray[np.uint8]) -> None:
        """Writes the image into each entry of the batch.

        Args:
            tensor: a view of the tensor's memory, [N, H, W, C] or [N, C, H, W].
            image_rgb: uint8 [H, W, 3], 0 to 255, red first.
        """
        image: NDArray[Any] = image_rgb
        if self.layout.channels == 1:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[..., np.newaxis]
        if self._table is not None:
            image = cv2.LUT(image, self._table).reshape(image.shape)
        elif self._dtype == np.int8:
            image = (image ^ 0x80).view(np.int8)  # subtracts 128
        if self.normalization is not None and self.normalization.blue_first:
            image = image[..., ::-1]
        tensor[...] = image.transpose(2, 0, 1) if self.layout.channels_first else image

    def _normalized_levels(self, normalization: Normalization) -> NDArray[Any]:
        """Returns the value of the input tensor for each pixel value and channel: [1, 256, C], red first."""
        mean, std = (
            np.array(one[: self.layout.channels], np.float32)
            for one in (normalization.mean, normalization.std)
        )
        values = (_PIXELS[:, np.newaxis].astype(np.float32) - mean) / std
        scale, zero_point = self._quantization
        if scale:
            limits = np.iinfo(self._dtype)
            values = np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max)
        return values.astype(self._dtype)[np.newaxis]
