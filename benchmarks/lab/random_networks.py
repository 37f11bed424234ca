"""Writes networks with random weights as .tflite files.

The values of the weights influence neither the time of an inference, nor the number of instructions, nor the file size.
The predictions of a network with random weights mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np

from dermedge.edge.errors import MissingExtra
from dermedge.edge.files import write_bytes

__all__ = ["NetworkShape", "write_random_network"]

_CALIBRATION_IMAGES = 8


@dataclass(frozen=True)
class NetworkShape:
    """The properties of a network that determine the cost of an inference.

    Attributes:
        architecture: a name of `dermedge.train.fit.networks.NETWORKS`.
        size: width and height of the network input in pixels.
        width: width multiplier, by which the number of filters of each layer is multiplied.
        kind: one of `dermedge.convert.to_tflite.form.KINDS` that needs no training.
        classes: number of classes.
    """

    architecture: str
    size: int
    width: float = 1.0
    kind: str = "int8-ptq"
    classes: int = 5

    @property
    def name(self) -> str:
        """The name of the shape. Shapes that differ only in the number of classes have the same name."""
        return f"{self.architecture}-{self.size}px-x{self.width:g}-{self.kind}"


def write_random_network(shape: NetworkShape, folder: Path) -> Path:
    """Writes a network with random weights as a .tflite file without a manifest.

    Args:
        shape: properties of the network.
        folder: folder of the file.

    Returns:
        The path of the file.

    Raises:
        MissingExtra: TensorFlow is not installed.
        OptionError: the architecture is not known, or the size is below 32.
    """
    if util.find_spec("tensorflow") is None:
        raise MissingExtra("tensorflow", "train")
    import tf_keras as keras

    from dermedge.convert.load.tensorflow_network import network_of
    from dermedge.convert.to_tflite.converter import to_tflite
    from dermedge.convert.to_tflite.form import Form
    from dermedge.train.fit.networks import build_network

    keras.utils.set_random_seed(0)
    model = build_network(shape.architecture, shape.size, shape.classes, width=shape.width)
    labels = tuple(f"class {index}" for index in range(shape.classes))
    images = np.random.default_rng(0).integers(
        0, 256, (_CALIBRATION_IMAGES, shape.size, shape.size, 3), np.uint8
    )
    network = network_of(model, shape.architecture, shape.size, labels)
    path = folder / f"{shape.name}.tflite"
    write_bytes(path, to_tflite(network, Form(shape.kind), list(images)))
    keras.backend.clear_session()
    return path
