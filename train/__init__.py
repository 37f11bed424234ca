"""Turns labelled photos into a trained classifier.

The subpackages find and split the photos, train a network, fine-tune the network for int8, and evaluate it.
"""

import os

# tensorflow-model-optimization only supports Keras 2. TF_USE_LEGACY_KERAS must be set before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
