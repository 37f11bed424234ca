"""Turns labelled photos into a trained classifier: finds and splits photos, fits, fine-tunes for int8, evaluates."""

import os

# tensorflow-model-optimization only supports Keras 2. This must be set before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
