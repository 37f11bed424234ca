"""The range of every activation follows, by the chosen method, from the values that the tensor held."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

from dermedge.convert.to_tflite.form import INT8_PTQ, Form
from dermedge.convert.to_tflite.graph import KeepingInterpreter, read_model
from dermedge.convert.to_tflite.quantizer import quantize, record_ranges
from dermedge.convert.to_tflite.ranges import (
    BINS,
    METHODS,
    Histogram,
    choose_ranges,
    entropy,
    min_max,
    mse,
    percentile,
)
from dermedge.edge.errors import DataError, ModelError, OptionError

Images = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def model(float_file: Callable[..., bytes], residual_network: Any) -> bytes:
    return float_file(residual_network)


def histogram_of(*batches: NDArray[np.floating]) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch.astype(np.float32))
    return histogram


def ending(names: Any, end: str) -> str:
    """The only name that belongs to the layer ``end``."""
    (name,) = [one for one in names if f"/{end}/" in one.split(";")[0] or one == end]
    return name


def test_min_max_is_what_the_quantizer_records(model: bytes, images: Images) -> None:
    ranges, recorded = choose_ranges(model, images, "min-max"), record_ranges(model, images)
    assert len(ranges) > 4
    for name, (low, high) in ranges.items():
        found = recorded[name]
        assert (min(0.0, found[0]), max(0.0, found[1])) == pytest.approx((low, high), rel=1e-5, abs=1e-6)


def test_activations_of_a_loop_that_the_runtime_does_not_keep_are_an_error_with_a_cure(
    float_file: Callable[..., bytes],
) -> None:
    import keras

    rows = keras.Input((8, 8))
    network = keras.Model(rows, keras.layers.Dense(2)(keras.layers.LSTM(4)(rows)))
    image = np.ones((1, 8, 8), np.float32)
    with pytest.raises(ModelError, match=r"does not keep all activations .*; use --float16 or --float32"):
        choose_ranges(float_file(network), [image], "mse")


def test_a_summand_has_its_own_range_and_not_that_of_the_sum(model: bytes, images: Images) -> None:
    ranges = choose_ranges(model, images, "min-max")
    tensors = read_model(model).subgraphs[0].tensors
    name = ending(ranges, "project")
    (index,) = [at for at, tensor in enumerate(tensors) if tensor.name.decode() == name]
    interpreter = KeepingInterpreter(model)
    ends = []
    for image in images:
        interpreter.run({0: image})
        ends.append((interpreter.values(index).min(), interpreter.values(index).max()))
    assert ranges[name] == (min(low for low, _ in ends), max(high for _, high in ends))


@pytest.mark.parametrize("method", METHODS)
def test_pixels_and_probabilities_are_left_as_they_are(model: bytes, images: Images, method: str) -> None:
    graph = read_model(model).subgraphs[0]
    ranges = choose_ranges(model, images, method)
    kept = {graph.tensors[index].name.decode() for index in (*graph.inputs, *graph.outputs)}
    assert not kept & ranges.keys()
    assert not [name for name in ranges if "Pad" in name.split(";")[0]]


@pytest.mark.parametrize("method", METHODS)
def test_ranges_come_twice_alike_from_photos_that_are_drawn_once(
    model: bytes, images: Images, method: str
) -> None:
    once = choose_ranges(model, (image for image in images), method)
    assert once == choose_ranges(model, images, method)
    assert all(low <= 0 <= high for low, high in once.values())


def test_the_file_is_quantized_by_the_ranges_that_it_is_given(
    model: bytes, images: Images, quantized: Callable[..., bytes]
) -> None:
    name = ending(choose_ranges(model, images, "min-max"), "expand")
    tensors = read_model(quantized(model, images, {name: (0.0, 51.0)})).subgraphs[0].tensors
    (found,) = [one for one in tensors if one.name.decode() == name]
    assert found.quantization.scale[0] == pytest.approx(51 / 255)


@pytest.mark.parametrize(("io", "kind"), [("uint8", np.uint8), ("int8", np.int8), ("float32", np.float32)])
def test_quantizing_keeps_the_pixel_input_and_the_scale_of_probabilities_and_gives_equal_bytes(
    model: bytes, images: Images, io: str, kind: Any
) -> None:
    form = Form(INT8_PTQ, io)
    made = quantize(model, form, images, (-128 / 127.5, 127 / 127.5))
    assert made == quantize(model, form, images, (-128 / 127.5, 127 / 127.5))
    interpreter = KeepingInterpreter(made)._interpreter
    (pixels,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert pixels["dtype"] == probabilities["dtype"] == kind
    if io != "float32":
        black = np.iinfo(kind).min
        assert pixels["quantization"] == (pytest.approx(1 / 127.5), black + 128)
        assert probabilities["quantization"] == (1 / 256, black)


def test_an_outlier_is_clipped_by_percentile_and_entropy_and_not_by_min_max() -> None:
    values = np.random.default_rng(0).normal(0, 1, 200_000)
    values[0] = 40.0
    histogram = histogram_of(values)
    assert min_max(histogram)[1] == 40
    for method in (percentile, entropy):
        low, high = method(histogram)
        assert 3 < high < 12, method.__name__
        assert -6 < low < -3, method.__name__


def test_without_outliers_no_method_throws_values_away() -> None:
    flat = np.random.default_rng(0).uniform(-2, 5, 200_000)
    for method in METHODS.values():
        assert method(histogram_of(flat)) == pytest.approx((-2, 5), abs=0.1)


def test_values_far_from_zero_are_not_clipped_to_nothing() -> None:
    far = np.random.default_rng(0).normal(3, 0.1, 20_000)
    for method in METHODS.values():
        low, high = method(histogram_of(far))
        assert low == 0
        assert high > 3.2


def test_percentile_leaves_one_in_ten_thousand_beyond_each_end_and_counts_no_zeros() -> None:
    values = np.concatenate([np.linspace(-10, 10, 100_001), np.zeros(10**6)])
    low, high = percentile(histogram_of(values))
    assert low == pytest.approx(-9.998, abs=0.003)
    assert high == pytest.approx(9.998, abs=0.003)


def test_percentile_clips_as_many_values_at_both_ends() -> None:
    # Of 10,000 nonzero values, one may be clipped at each end: the single values in the outermost bins.
    half = np.full(4_999, 1.0)
    low, high = percentile(histogram_of(np.concatenate([-half, half, [-8.0, 8.0]])))
    assert (low, high) == pytest.approx((-1, 1), abs=0.01)
    # If the outermost bins hold two values each, neither is clipped.
    low, high = percentile(histogram_of(np.concatenate([-half[2:], half[2:], [-8.0, 8.0] * 2])))
    assert (low, high) == pytest.approx((-8, 8), abs=0.01)


def test_mse_finds_the_range_whose_rounding_measures_least() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 100_000)

    def error(end: float) -> float:
        step = 2 * end / 255
        return float(np.mean((np.clip(np.round(values / step) * step, -end, end) - values) ** 2))

    low, high = mse(histogram_of(values))
    best = min(error(end) for end in np.linspace(2, 14, 200))
    assert error((high - low) / 2) < 1.02 * best


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50), st.integers(-20, 20))
def test_a_histogram_does_not_depend_on_the_order_and_counts_all_but_zeros(
    values: list[float], exponent: int
) -> None:
    batches = [np.array([value]) * 2.0**exponent for value in values]
    forward, backward = histogram_of(*batches), histogram_of(*batches[::-1])
    assert forward.width == backward.width
    assert np.array_equal(forward.counts, backward.counts)
    assert forward.counts.sum() == np.count_nonzero(np.array(batches, np.float32))
    assert -BINS * forward.width < forward.low
    assert forward.high < BINS * forward.width
    assert min_max(forward) == min_max(backward)


def test_a_dead_activation_has_an_empty_range() -> None:
    for method in METHODS.values():
        assert method(histogram_of(np.zeros(100))) == (0, 0)


def test_bad_input_is_refused(model: bytes, images: Images) -> None:
    with pytest.raises(OptionError, match=r"'median'\. Known: min-max, percentile, entropy, mse"):
        choose_ranges(model, images, "median")
    with pytest.raises(DataError, match="no calibration photos"):
        choose_ranges(model, [], "min-max")
    with pytest.raises(ModelError, match="not finite"):
        choose_ranges(model, [np.full_like(images[0], np.inf)], "min-max")
    with pytest.raises(DataError, match="no calibration photos"):
        record_ranges(model, [])
    with pytest.raises(ModelError, match="not finite"):
        record_ranges(model, [np.full_like(images[0], np.nan)])
