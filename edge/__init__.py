"""Everything that runs on the device: numpy, OpenCV and LiteRT, never TensorFlow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.classifier import Classifier, Prediction, Timing
    from edge.loop import Moment, Pipeline, Reading
    from edge.pictures import read_picture
    from edge.quality import Defect, QualityGate
    from edge.sources import Frame, open_source
    from edge.states import State

__all__ = [
    "Classifier",
    "Defect",
    "Frame",
    "Moment",
    "Pipeline",
    "Prediction",
    "QualityGate",
    "Reading",
    "State",
    "Timing",
    "open_source",
    "read_picture",
]

_HOMES = {
    "Classifier": "classifier",
    "Prediction": "classifier",
    "Timing": "classifier",
    "Moment": "loop",
    "Pipeline": "loop",
    "Reading": "loop",
    "read_picture": "pictures",
    "Defect": "quality",
    "QualityGate": "quality",
    "Frame": "sources",
    "open_source": "sources",
    "State": "states",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when they are asked for: `dermedge doctor` runs where OpenCV does not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edge' has no attribute '{name}'")
    return getattr(import_module(f"edge.{_HOMES[name]}"), name)
