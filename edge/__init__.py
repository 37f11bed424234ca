"""Everything that runs on the device: numpy, OpenCV and LiteRT, never TensorFlow."""

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
