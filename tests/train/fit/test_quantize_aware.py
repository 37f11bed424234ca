"""The quantization-aware twin starts where the float network is."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_model_optimization")

import tf_keras as keras

from dermedge.train.fit.networks import EVIDENCE, LOGITS, add_to_logits
from dermedge.train.fit.quantize_aware import (
    equalize_depthwise_channels,
    make_quantization_aware,
    uncalibrated_twin,
)

RNG = np.random.default_rng(0)
# uint8 pixels p enter as (p - 128) / 127.5
INPUT_RANGE = (-128 / 127.5, 127 / 127.5)
PICTURES = RNG.uniform(*INPUT_RANGE, (16, 32, 32, 3)).astype(np.float32)


@pytest.fixture
def network() -> keras.Model:
    """Two separable convolutions, whose depthwise channels differ in size a thousandfold."""
    keras.utils.set_random_seed(1)
    x = pixels = keras.Input((32, 32, 3))
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 1, use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
        x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(3, 1, name=EVIDENCE)(x)
    made = keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name=LOGITS)(x))
    for layer in depthwise(made):
        sizes = 10 ** RNG.uniform(-1.5, 1.5, (1, 1, layer.input_shape[-1], 1))
        layer.depthwise_kernel.assign(layer.depthwise_kernel * sizes)
        norm = layer.outbound_nodes[0].layer
        norm.moving_variance.assign(sizes.ravel() ** 2 * RNG.uniform(0.05, 0.2, sizes.size))
        norm.moving_mean.assign(sizes.ravel() * RNG.normal(0, 0.1, sizes.size))
    return made


def depthwise(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]


def test_equalizing_leaves_the_function_as_it_was(network: keras.Model) -> None:
    before = network.predict_on_batch(PICTURES)
    equalize_depthwise_channels(network)
    kernels = [layer.depthwise_kernel.numpy() for layer in depthwise(network)]
    assert all(np.allclose(np.abs(kernel).max(axis=(0, 1, 3)), 1) for kernel in kernels)
    assert np.allclose(network.predict_on_batch(PICTURES), before, rtol=1e-3, atol=1e-4)


def test_a_channel_without_weights_stays(network: keras.Model) -> None:
    layer = depthwise(network)[0]
    kernel = layer.depthwise_kernel.numpy()
    kernel[:, :, 0] = 0
    layer.depthwise_kernel.assign(kernel)
    equalize_depthwise_channels(network)
    assert np.isfinite(network.predict_on_batch(PICTURES)).all()


def test_the_calibrated_twin_is_near_the_float_network_and_the_uncalibrated_is_not(
    network: keras.Model,
) -> None:
    reference = network.predict_on_batch(PICTURES)
    uncalibrated = uncalibrated_twin(network).predict_on_batch(PICTURES)
    calibrated = make_quantization_aware(network, [PICTURES]).predict_on_batch(PICTURES)
    spread = reference.std()
    assert np.abs(calibrated - reference).mean() < 0.25 * spread
    assert np.abs(uncalibrated - reference).mean() > 2 * np.abs(calibrated - reference).mean()


def test_the_input_range_is_that_of_all_pixels(network: keras.Model) -> None:
    twin = make_quantization_aware(network, [PICTURES * 0.1])
    layer = next(one for one in twin.layers if one.name.startswith("quantize_layer"))
    ends = sorted(float(v.numpy()) for v in layer.weights if "min" in v.name or "max" in v.name)
    assert ends == pytest.approx(INPUT_RANGE)


def test_amounts_are_added_to_the_logits_of_the_twin(network: keras.Model) -> None:
    twin = uncalibrated_twin(network)
    before, amounts = twin.predict_on_batch(PICTURES), np.array([0.5, -1, 0.25], np.float32)
    add_to_logits(twin, amounts)
    assert np.allclose(twin.predict_on_batch(PICTURES), before + amounts, atol=0.1)
