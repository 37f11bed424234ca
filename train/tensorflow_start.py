"""Imports TensorFlow without the lines that it prints although nothing has failed."""

from __future__ import annotations

from dermedge.edge.model.runtime import without_native_log

__all__ = ["load_tensorflow"]


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for GPUs, without printing lines about oneDNN, CUDA and the processor.

    Raises:
        ImportError: TensorFlow is not installed, or cannot be loaded.
    """
    with without_native_log():
        import absl.logging
        import tensorflow as tf
        import tf_keras  # noqa: F401 - it writes the same lines again

        # this does not initialize the devices, because a strategy with several workers must do that itself
        tf.config.list_physical_devices()
    # silences the converter's warnings about deprecated functions that it uses itself
    absl.logging.set_verbosity(absl.logging.ERROR)
