"""Labelled photos to a trained classifier: find, split, fit, fine-tune for int8, evaluate."""

import os

# tensorflow-model-optimization knows Keras 2 only; this must be set before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
