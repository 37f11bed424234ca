"""The quantization-aware twin starts where the float network is."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_model_optimization")

import tf_keras as keras

from dermedge.train.fit.networks import EVIDENCE, LOGITS, add_to_logits
from dermedge.train.fit.quantize_aware import (
    equalize_depthwise_channels,
    make_quantization_aware,
    measure_ranges,
    uncalibrated_twin,
)

RNG = np.random.default_rng(0)
# A uint8 pixel p enters the network as (p - 128) / 127.5.
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


def test_depthwise_convolutions_that_cannot_be_equalized_stop_no_other() -> None:
    x = pixels = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, name="biased")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="bare")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="normed")(x)
    network = keras.Model(pixels, keras.layers.BatchNormalization()(x))
    before = {layer.name: layer.depthwise_kernel.numpy() for layer in depthwise(network)}
    equalize_depthwise_channels(network)
    after = {layer.name: layer.depthwise_kernel.numpy() for layer in depthwise(network)}
    assert [name for name in before if np.array_equal(before[name], after[name])] == ["biased", "bare"]
    assert np.abs(after["normed"]).max(axis=(0, 1, 3)) == pytest.approx(1)


def test_an_activation_that_is_always_0_has_a_range_with_a_width(network: keras.Model) -> None:
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    first.set_weights([np.zeros_like(first.get_weights()[0])])
    twin = make_quantization_aware(network, [PICTURES])
    ranges = {}
    for layer in twin.layers:
        ends = {
            v.name.split("/")[-1].split(":")[0]: float(v.numpy()) for v in layer.weights if v.shape.rank == 0
        }
        for name in ("output", "post_activation"):
            if f"{name}_min" in ends:
                ranges[layer.name] = (ends[f"{name}_min"], ends[f"{name}_max"])
    assert ranges
    assert all(low <= 0 for low, _ in ranges.values())
    assert min(high - low for low, high in ranges.values()) == pytest.approx(0.01)


def test_ranges_are_the_mean_of_the_ends_of_the_batches(network: keras.Model) -> None:
    names = [layer.name for layer in network.layers if isinstance(layer, keras.layers.ReLU)]
    probe = keras.Model(network.input, network.get_layer(names[-1]).output)
    batches = [PICTURES[:4], 0.5 * PICTURES[4:]]
    ends = [(float(one.min()), float(one.max())) for one in map(probe.predict_on_batch, batches)]
    assert ends[0] != ends[1]
    found = measure_ranges(network, names, batches)
    assert list(found) == names
    assert found[names[-1]] == pytest.approx(np.mean(ends, axis=0), rel=1e-5)


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
