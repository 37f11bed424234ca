"""What a network wants its pixels turned into, by the names under which the field knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.preprocess import SCALE, ZERO_POINT

LEVELS = 255


@dataclass(frozen=True)
class Normalization:
    """A pixel p becomes (p - mean) / std, channel by channel, and the channels may change places.

    Attributes:
        name: of NORMALIZATIONS.
        mean: one number a channel, red first, in pixel values.
        std: the same.
        blue_first: whether the network takes BGR.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    blue_first: bool = False

    @property
    def is_affine(self) -> bool:
        """Whether one scale and one zero point say it all, so that a quantized input costs no arithmetic."""
        return len(set(self.mean)) == len(set(self.std)) == 1 and not self.blue_first

    @property
    def ends(self) -> tuple[float, float]:
        """What pixels 0 and 255 become, where it `is_affine`; the range of the input."""
        return (0 - self.mean[0]) / self.std[0], (LEVELS - self.mean[0]) / self.std[0]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [..., 3] of uint8 [..., 3] RGB."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        made: NDArray[np.float32] = (pixels.astype(np.float32) - mean) / std
        return np.ascontiguousarray(made[..., ::-1]) if self.blue_first else made

    def on_tensor(self, pixels: Any) -> Any:
        """The same of a float32 tensor, within a graph."""
        if self.is_affine:
            # one product, as the device computes it
            made = (pixels - self.mean[0]) * (1 / self.std[0])
        else:
            made = (pixels - np.array(self.mean, np.float32)) * (1 / np.array(self.std, np.float32))
        return made[..., ::-1] if self.blue_first else made


def _all_alike(name: str, mean: float, std: float) -> Normalization:
    return Normalization(name, (mean,) * 3, (std,) * 3)


# Means and deviations of ImageNet as PyTorch's and Caffe's model zoos publish them.
NORMALIZATIONS = {
    one.name: one
    for one in (
        _all_alike("dermedge", ZERO_POINT, SCALE),
        _all_alike("pixels", 0, 1),
        _all_alike("unit", 0, LEVELS),
        _all_alike("symmetric", LEVELS / 2, LEVELS / 2),
        Normalization("imagenet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        Normalization("caffe", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0), blue_first=True),
    )
}
# Those that a file of a stranger may want; "dermedge" is "symmetric" within half a level.
FOREIGN = tuple(name for name in NORMALIZATIONS if name != "dermedge")
