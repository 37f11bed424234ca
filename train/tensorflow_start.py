"""Imports TensorFlow without the log lines that it prints even if nothing has failed."""

from __future__ import annotations

from dermedge.edge.model.runtime import without_native_log

__all__ = ["load_tensorflow"]


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for GPUs. TensorFlow's log lines about oneDNN, CUDA and the processor are hidden.

    Raises:
        ImportError: TensorFlow is not installed, or cannot be loaded.
    """
    with without_native_log():
        import absl.logging
        import tensorflow as tf
        import tf_keras  # noqa: F401 - a later import would print the same log lines again

        # This call only lists the devices. It must not initialize the devices, because the multi-worker strategy must
        # do that itself.
        tf.config.list_physical_devices()
    # Hides warnings about deprecated functions that TensorFlow's own converter calls, and advice on tf.function.
    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.get_logger().setLevel("ERROR")
