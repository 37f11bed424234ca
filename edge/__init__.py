"""Everything that runs on the device: numpy, OpenCV and LiteRT, never TensorFlow."""

from edge.classifier import Classifier, Prediction, Timing

__all__ = ["Classifier", "Prediction", "Timing"]
