"""Small networks, calibrated and quantized by the two halves of the converter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIZE = 16


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.float32]]:
    """Eight float32 [1, 16, 16, 3] pictures of noise, of which the first reaches both ends of a pixel."""
    drawn = np.random.default_rng(0).uniform(-1, 0.99, (8, 1, SIZE, SIZE, 3)).astype(np.float32)
    drawn[0, 0, 0, 0], drawn[0, 0, 0, 1] = -128 / 127.5, 127 / 127.5
    return list(drawn)


@pytest.fixture(scope="session")
def calibrate() -> Callable[[Any, Sequence[NDArray[np.float32]]], bytes]:
    """A function (Keras model, float32 [1, s, s, 3] pictures) -> float .tflite with recorded ranges."""
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def convert(network: Any, pictures: Sequence[NDArray[np.float32]]) -> bytes:
        @tf.function(input_signature=[tf.TensorSpec(pictures[0].shape, tf.float32, name="pixels")])
        def run(pixels: Any) -> Any:
            return network(pixels, training=False)

        frozen = convert_variables_to_constants_v2(run.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture] for picture in pictures)
        converter._experimental_calibrate_only = True
        return converter.convert()

    return convert


@pytest.fixture(scope="session")
def quantize() -> Callable[..., bytes]:
    """A function (calibrated .tflite, names to leave in float) -> the int8 .tflite."""
    pytest.importorskip("tensorflow")
    from tensorflow.lite.python.convert import mlir_quantize

    def convert(calibrated: bytes, in_float: Sequence[str] = ()) -> bytes:
        return mlir_quantize(calibrated, fully_quantize=not in_float, denylisted_nodes=set(in_float))

    return convert


@pytest.fixture(scope="session")
def residual_network() -> Any:
    """A convolution, a depthwise one, a residual addition, and a head with softmax."""
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    padded = keras.layers.ZeroPadding2D(1)(pixels)
    trunk = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(padded)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(trunk)
    x = keras.layers.Conv2D(8, 1, name="project")(x)
    x = keras.layers.Add()([trunk, x])
    x = keras.layers.Conv2D(16, 1, activation="relu", name="expand")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(4, activation="softmax", name="head")(x))
