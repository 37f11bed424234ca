"""The error of every operator is measured where it arises, and its cause is named."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

import tensorflow as tf
import tf_keras as keras

from dermedge.convert.accept.layer_errors import LayerError, Quantized, compare_layers, worst_layers
from dermedge.convert.report.layer_advice import Cures, advice, short_name
from dermedge.convert.report.layer_plot import layers_svg
from dermedge.convert.to_tflite.ranges import choose_ranges
from dermedge.edge.errors import DataError

Images = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def model(float_file: Callable[..., bytes], residual_network: Any) -> bytes:
    return float_file(residual_network)


@pytest.fixture(scope="module")
def layers(model: bytes, quantized: Callable[..., bytes], images: Images) -> list[LayerError]:
    return compare_layers(model, quantized(model, images), images)


def of_layer(layers: list[LayerError], name: str) -> LayerError:
    (found,) = [layer for layer in layers if f"/{name}/" in layer.name.split(";")[0]]
    return found


@pytest.fixture(scope="module")
def channels() -> Any:
    """A convolution of three channels: a dead one, one that is too small for the common scale, and a large one."""
    pixels = keras.Input((16, 16, 3))
    convolution = keras.layers.Conv2D(3, 1, activation="relu", name="three")
    x = convolution(pixels)
    network = keras.Model(
        pixels, keras.layers.Dense(4, name="head")(keras.layers.GlobalAveragePooling2D()(x))
    )
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[..., 1], kernel[..., 2] = 1e-4, 1
    convolution.set_weights([kernel, np.array([-1, 0, 0], np.float32)])
    return network


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "levels", "values"),
    [
        (np.int8, 0.5, -3, [-128, -3, 127], [-62.5, 0, 65]),
        (np.uint8, 0.25, 255, [0, 254, 255], [-63.75, -0.25, 0]),
        (np.int16, 2.0, 0, [-32768, 1, 32767], [-65536, 2, 65534]),
    ],
)
def test_integers_become_the_values_that_they_stand_for_and_back(
    dtype: Any, scale: float, zero_point: int, levels: list[int], values: list[float]
) -> None:
    tensor = Quantized(0, np.dtype(dtype), scale, zero_point)
    assert tensor.dequantize(np.array(levels, dtype)).tolist() == values
    assert tensor.quantize(np.array(values, np.float32)).tolist() == levels
    assert tensor.ends == (
        (np.iinfo(dtype).min - zero_point) * scale,
        (np.iinfo(dtype).max - zero_point) * scale,
    )


def test_values_are_rounded_and_clipped() -> None:
    tensor = Quantized(0, np.dtype(np.int8), 1.0, 0)
    assert tensor.quantize(np.array([0.6, -0.6, 1e9, -1e9], np.float32)).tolist() == [1, -1, 127, -128]


def test_a_float_file_beside_itself_has_no_error(model: bytes, images: Images) -> None:
    layers = compare_layers(model, model, images)
    assert len(layers) > 5
    for layer in layers:
        assert (layer.sqnr_db, layer.introduced, layer.contribution) == (inf, 0, 0)
        assert layer.in_float
    assert worst_layers(layers, 3) == []
    assert advice(layers) == ["every operator is in float, so int8 causes no loss"]


def test_every_op_of_a_sound_network_is_compared_and_none_is_conspicuous(layers: list[LayerError]) -> None:
    kinds = [layer.kind for layer in layers]
    for kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"):
        assert kind in kinds
    for layer in layers:
        assert layer.sqnr_db > 20
        assert 0 <= layer.introduced < 0.01
        assert not layer.in_float
        assert not layer.collapsed or layer.kind == "SOFTMAX"
        assert layer.saturated == 0
        assert layer.delegated == (layer.kind != "SOFTMAX")
    assert not any("XNNPACK" in line for line in advice(layers)), "a softmax of four classes costs nothing"
    assert of_layer(layers, "project").inputs == (of_layer(layers, "depthwise").name,)


def test_an_error_is_charged_to_the_op_that_makes_it_and_not_to_those_behind_it(
    model: bytes, quantized: Callable[..., bytes], images: Images, layers: list[LayerError]
) -> None:
    name = of_layer(layers, "expand").name
    found = compare_layers(model, quantized(model, images, {name: (0.0, 0.01)}), images)
    worst = of_layer(found, "expand")
    assert worst_layers(found, 1) == [name]
    assert worst.introduced > 0.5
    assert worst.collapsed
    assert worst.saturated > 0.3
    behind = found[found.index(worst) + 1]
    assert behind.sqnr_db < 3
    assert behind.introduced < 0.01 * worst.introduced
    told = advice(found)
    assert short_name(name) in told[0]
    assert "the scale does not fit the values" in told[0]
    assert any(
        "have a scale that does not fit their values" in line and short_name(name) in line for line in told
    )


@pytest.mark.parametrize("cures", [Cures(qat=False), Cures(ranges=False), Cures(float_layers=False)])
def test_a_cure_that_does_not_apply_is_not_named(layers: list[LayerError], cures: Cures) -> None:
    collapsed = [replace(layer, collapsed=index == 0) for index, layer in enumerate(layers)]
    lost = [replace(layer, lost_channels=layer.channels) for layer in layers]
    told = " ".join([*advice(layers, cures), *advice(collapsed, cures), *advice(lost, cures)])
    assert ("--qat-epochs" in told) == cures.qat
    assert ("--ranges" in told) == cures.ranges
    assert ("--float-layers" in told) == cures.float_layers


def test_without_a_cure_only_the_fault_is_named(layers: list[LayerError]) -> None:
    told = advice(layers, Cures(ranges=False, float_layers=False, qat=False))
    assert told
    assert not any(word in line for line in told for word in ("--", "calibrate", "fine-tune", "keep"))


def test_dead_and_lost_channels_are_told_apart(
    channels: Any, float_file: Callable[..., bytes], quantized: Callable[..., bytes], images: Images
) -> None:
    model = float_file(channels)
    layer = of_layer(compare_layers(model, quantized(model, images), images), "three")
    assert (layer.channels, layer.dead_channels, layer.lost_channels) == (3, 1, 1)


def test_what_lies_beyond_the_range_is_counted(
    channels: Any, float_file: Callable[..., bytes], quantized: Callable[..., bytes], images: Images
) -> None:
    model = float_file(channels)
    name = next(iter(name for name in choose_ranges(model, images, "min-max") if "/three/" in name))
    halved = quantized(model, images, {name: (0.0, 1.0)})
    (layer,) = [one for one in compare_layers(model, halved, images) if one.name == name]
    third_channel = np.concatenate([image.sum(axis=-1) for image in images])
    expected = np.count_nonzero(third_channel > 1 + layer.scale / 2) / (3 * third_channel.size)
    assert layer.saturated == pytest.approx(expected, rel=1e-3)
    assert layer.high == pytest.approx(third_channel.max(), rel=1e-5)


def test_leaving_the_worst_in_float_brings_back_more_than_leaving_the_best(
    model: bytes, quantized: Callable[..., bytes], images: Images, layers: list[LayerError]
) -> None:
    def after(names: list[str]) -> LayerError:
        found = compare_layers(model, quantized(model, images, in_float=names), images)
        assert {layer.name for layer in found if layer.in_float} == set(names)
        return of_layer(found, "head")

    worst = worst_layers(layers, 3)
    best = sorted(layers[:-2], key=lambda layer: layer.contribution)[:3]
    assert len(worst) == 3
    assert after(worst).sqnr_db > of_layer(layers, "head").sqnr_db + 1
    assert after(worst).sqnr_db > after([layer.name for layer in best]).sqnr_db


def test_an_op_that_the_delegate_refuses_is_told(
    float_file: Callable[..., bytes], quantized: Callable[..., bytes], images: Images
) -> None:
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3)(pixels)
    x = keras.layers.Conv2D(4, 1)(x * tf.nn.relu6(x + 3) / 6)
    model = float_file(keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x)))
    layers = compare_layers(model, quantized(model, images), images)
    assert {layer.kind: layer.delegated for layer in layers}.items() >= {
        "CONV_2D": True,
        "HARD_SWISH": False,
    }.items()
    assert [line for line in advice(layers) if line.startswith("1 of 4 operators do not run in XNNPACK")]


def test_the_plot_is_one_svg_element_that_names_the_worst(layers: list[LayerError]) -> None:
    drawing = layers_svg(layers)
    assert drawing.startswith("<svg")
    assert short_name(worst_layers(layers, 1)[0]) in drawing
    assert drawing == layers_svg(layers)


def test_no_images_are_refused(model: bytes) -> None:
    with pytest.raises(DataError, match="give at least one"):
        compare_layers(model, model, [])


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda x: tf.math.log(tf.nn.sigmoid(20 * x)), id="logarithm of a rounded 0"),
        pytest.param(lambda x: tf.where(x > 0, x, 0.1 * x), id="boolean"),
    ],
)
def test_values_that_are_not_finite_or_no_numbers_have_a_finite_error(
    float_file: Callable[..., bytes],
    quantized: Callable[..., bytes],
    images: Images,
    act: Callable[[Any], Any],
) -> None:
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(act(keras.layers.Conv2D(4, 3)(pixels)))
    float_model = float_file(keras.Model(pixels, keras.layers.Dense(3)(x)))
    found = compare_layers(float_model, quantized(float_model, images), images)
    assert {"CONV_2D", "FULLY_CONNECTED"} <= {layer.kind for layer in found}
    for layer in found:
        assert np.isfinite([layer.introduced, layer.contribution, layer.low, layer.high, layer.rms]).all()
    assert layers_svg(found)
    assert advice(found)
