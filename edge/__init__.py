"""Everything that runs on the device: numpy, OpenCV and LiteRT, never TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.classifier import Classifier, Prediction, Timing

__all__ = ["Classifier", "Prediction", "Timing"]


def __getattr__(name: str) -> Any:
    """The names above, imported when they are asked for: `dermedge doctor` runs where OpenCV does not."""
    if name not in __all__:
        raise AttributeError(f"module 'edge' has no attribute '{name}'")
    from edge import classifier

    return getattr(classifier, name)
