"""dermedge trains, quantizes, verifies, runs and measures skin-lesion classifiers for the Raspberry Pi and phones.

    from dermedge import Pipeline

    with Pipeline("demo") as results:
        for result in results:
            print(result.state)

`Pipeline` classifies the frames of a camera, a video or a folder. `Classifier` classifies one image. `open_source`
opens a camera, a video or photos. `read_picture` reads a photo.

For research and education only: not a medical device.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# OpenCV reads this limit once, when OpenCV is imported. If the header of an image file states more pixels, OpenCV
# refuses the file, and allocates no memory for the pixels. The limit is high enough for the photos of common phone
# cameras. A decoded image of 120 million pixels needs 360 MB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "120000000")

if TYPE_CHECKING:
    from dermedge.edge.model.classifier import Classifier
    from dermedge.edge.photos import read_picture
    from dermedge.edge.pipeline import Pipeline
    from dermedge.edge.sources.open import open_source

__all__ = ["DISCLAIMER", "Classifier", "Pipeline", "__version__", "open_source", "read_picture"]

__version__ = "0.1.0"

DISCLAIMER = "For research and education only: not a medical device, and no medical advice."

# Maps each public name to the module that defines it. A module is imported only when its name is used, so that
# `dermedge doctor` runs even if OpenCV cannot be imported.
_MODULES = {
    "Classifier": "dermedge.edge.model.classifier",
    "Pipeline": "dermedge.edge.pipeline",
    "open_source": "dermedge.edge.sources.open",
    "read_picture": "dermedge.edge.photos",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dermedge' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
