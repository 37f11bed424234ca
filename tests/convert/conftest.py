"""Small networks as float .tflite files, and their quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIZE = 16


@pytest.fixture(scope="session")
def images() -> list[NDArray[np.float32]]:
    """Eight float32 [1, 16, 16, 3] images of noise; the first reaches both ends of a pixel."""
    noise = np.random.default_rng(0).uniform(-1, 0.99, (8, 1, SIZE, SIZE, 3)).astype(np.float32)
    noise[0, 0, 0, 0], noise[0, 0, 0, 1] = -128 / 127.5, 127 / 127.5
    return list(noise)


@pytest.fixture(scope="session")
def float_file() -> Callable[[Any], bytes]:
    """A function (Keras model) -> its float .tflite with a batch of 1."""
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def convert(network: Any) -> bytes:
        @tf.function(
            input_signature=[tf.TensorSpec([1, *network.input_shape[1:]], tf.float32, name="pixels")]
        )
        def run(pixels: Any) -> Any:
            return network(pixels, training=False)

        frozen = convert_variables_to_constants_v2(run.get_concrete_function())
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen], network).convert()

    return convert


@pytest.fixture(scope="session")
def quantized() -> Callable[..., bytes]:
    """A function (float .tflite, inputs, ranges to replace, names to leave in float) -> the int8 .tflite."""
    pytest.importorskip("tensorflow")
    from dermedge.convert.to_tflite.form import INT8_MIXED, Form
    from dermedge.convert.to_tflite.quantizer import quantize_with_ranges, record_ranges

    def convert(
        model: bytes,
        inputs: Sequence[NDArray[np.float32]],
        ranges: Mapping[str, tuple[float, float]] | None = None,
        in_float: Sequence[str] = (),
    ) -> bytes:
        form = Form(INT8_MIXED, float_layers=tuple(in_float))
        return quantize_with_ranges(model, form, record_ranges(model, inputs) | dict(ranges or {}))

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
