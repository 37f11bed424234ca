"""Each form has the requested number types and ranges. The tests check values, not accuracy."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow")

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from dermedge.convert.to_tflite.form import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8_MIXED,
    INT8_PTQ,
    INT8_QAT,
    INT16X8,
    Form,
)
from dermedge.convert.to_tflite.graph import KeepingInterpreter, read_model
from dermedge.convert.to_tflite.pixel_input import (
    calibration_inputs,
    input_dtype,
    input_ends,
    normalizes_inside,
)
from dermedge.convert.to_tflite.quantizer import quantize, record_ranges, to_float16
from dermedge.convert.to_tflite.ranges import METHODS, Histogram
from dermedge.convert.to_tflite.tensorflow_converter import PixelGraph, convert_to_finished
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS

Images = list[NDArray[np.float32]]
COLOUR = Layout(4, 4, 3, channels_first=False)
# The schema of TFLite has these numbers for the types.
TYPE_FLOAT32, TYPE_FLOAT16, TYPE_INT8 = 0, 1, 9


@pytest.fixture(scope="module")
def model(float_file: Callable[..., bytes], residual_network: Any) -> bytes:
    return float_file(residual_network)


def content(model: Any, tensor: Any) -> bytes:
    """The constant that a tensor of a parsed model holds; empty for an activation."""
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)


def scale_of(model: bytes, layer: str) -> float:
    """The scale of the activation behind a layer."""
    root = read_model(model)
    [scale] = {
        float(one.quantization.scale[0])
        for one in root.subgraphs[0].tensors
        if f"/{layer}/" in one.name.decode().split(";")[0] and not content(root, one)
    }
    return scale


def outlying(images: Images) -> Images:
    """The images four times, and the first image once more, eight times as bright. Pixels cannot be so bright."""
    return [*images * 4, images[0] * 8]


def test_ranges_are_chosen_by_the_method_that_was_asked_for(model: bytes, images: Images) -> None:
    shown = outlying(images)
    name = next(one for one in record_ranges(model, shown) if "/expand/" in one.split(";")[0])
    tensors = read_model(model).subgraphs[0].tensors
    [index] = [at for at, tensor in enumerate(tensors) if tensor.name.decode() == name]
    histogram, interpreter = Histogram(), KeepingInterpreter(model)
    for image in shown:
        interpreter.run({0: image})
        histogram.add(interpreter.values(index))
    scales = {}
    for method, choose in METHODS.items():
        low, high = choose(histogram)
        scales[method] = scale_of(quantize(model, Form(INT8_PTQ, ranges=method), shown), "expand")
        assert scales[method] == pytest.approx((high - low) / 255, rel=1e-3), method
    assert scales["min-max"] == max(scales.values())
    assert len({round(scale, 6) for scale in scales.values()}) == len(METHODS), "they differ on these images"


def test_the_range_of_the_input_is_the_one_that_was_given(model: bytes, images: Images) -> None:
    for io, zero in (("uint8", 51), ("int8", 51 - 128)):
        made = Interpreter(model_content=quantize(model, Form(INT8_PTQ, io), images, (-0.5, 2.0)))
        # The range from -0.5 to 2.0 has 255 steps of 2.5 / 255. The value 0 is a fifth of the way, at level 51.
        assert made.get_input_details()[0]["quantization"] == (pytest.approx(2.5 / 255), zero)


def test_weights_of_float16_are_halves_and_everything_else_is_float32(model: bytes) -> None:
    whole, halves = read_model(model), read_model(to_float16(model))
    weights = [
        tensor
        for tensor in halves.subgraphs[0].tensors
        if tensor.shape is not None and len(tensor.shape) == 4 and content(halves, tensor)
    ]
    # The network has three convolutions and a depthwise one.
    assert len(weights) == 4
    assert {tensor.type for tensor in weights} == {TYPE_FLOAT16}
    ends = [*halves.subgraphs[0].inputs, *halves.subgraphs[0].outputs]
    assert {halves.subgraphs[0].tensors[index].type for index in ends} == {TYPE_FLOAT32}
    known = {
        np.frombuffer(content(whole, tensor), np.float32).astype(np.float16).tobytes()
        for tensor in whole.subgraphs[0].tensors
        if tensor.shape is not None and len(tensor.shape) == 4 and content(whole, tensor)
    }
    assert {content(halves, tensor) for tensor in weights} == known


def mean_colour(io: str, kind: str, normalization: str = "symmetric") -> Interpreter:
    """A network of one convolution that keeps the channels, as a .tflite that takes pixels."""
    kernel = tf.constant(np.eye(3, dtype=np.float32)[None, None])
    graph = PixelGraph(
        lambda images: [tf.nn.conv2d(images, kernel, 1, "VALID")], COLOUR, NORMALIZATIONS[normalization]
    )
    made = Interpreter(model_content=convert_to_finished(graph, Form(kind, io)))
    made.allocate_tensors()
    return made


def answer(made: Interpreter, pixels: NDArray[Any]) -> NDArray[np.float32]:
    [given], [found] = made.get_input_details(), made.get_output_details()
    assert given["dtype"] == pixels.dtype
    made.set_tensor(given["index"], pixels[None])
    made.invoke()
    values: NDArray[np.float32] = made.get_tensor(found["index"])[0]
    return values


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT16, DYNAMIC])
def test_an_int8_pixel_is_128_less_than_a_uint8_pixel(kind: str) -> None:
    levels = np.array([0, 1, 127, 128, 254, 255, *range(40, 82)], np.uint8).reshape(4, 4, 3)
    expected = (levels.astype(np.float64) - 127.5) / 127.5
    as_int8 = (levels.astype(np.int16) - 128).astype(np.int8)
    for io, pixels in (("uint8", levels), ("int8", as_int8), ("float32", levels.astype(np.float32))):
        tolerance = 0.02 if kind == DYNAMIC else 1e-3
        assert answer(mean_colour(io, kind), pixels) == pytest.approx(expected, abs=tolerance), io


@pytest.mark.parametrize(
    ("kind", "number_type"), [(FLOAT32, TYPE_FLOAT32), (FLOAT16, TYPE_FLOAT16), (DYNAMIC, TYPE_INT8)]
)
def test_the_converter_stores_weights_as_the_form_says(kind: str, number_type: int) -> None:
    weights = tf.constant(np.random.default_rng(0).normal(size=(48, 64)).astype(np.float32))
    graph = PixelGraph(
        lambda images: [tf.matmul(tf.reshape(images, (1, 48)), weights)],
        COLOUR,
        NORMALIZATIONS["symmetric"],
    )
    root = read_model(convert_to_finished(graph, Form(kind)))
    [stored] = [one for one in root.subgraphs[0].tensors if len(content(root, one)) > 3000]
    assert stored.type == number_type


def test_blue_comes_first_where_the_network_wants_it_so() -> None:
    levels = np.tile(np.array([10, 100, 200], np.uint8), (4, 4, 1))
    found = answer(mean_colour("uint8", FLOAT32, "caffe"), levels)[0, 0]
    # The means of ImageNet are subtracted, in the order blue, green, red.
    assert found == pytest.approx([200 - 103.939, 100 - 116.779, 10 - 123.68], abs=1e-3)


def network(normalization: str, channels: int = 3) -> Any:
    return SimpleNamespace(
        normalization=NORMALIZATIONS[normalization], layout=Layout(4, 4, channels, channels_first=False)
    )


def test_calibration_sees_black_and_white_once() -> None:
    grey = [np.full((4, 4, 3), level, np.uint8) for level in (90, 120)]
    first, second = calibration_inputs(network("symmetric"), Form(INT8_PTQ), grey)
    assert (first.dtype, first.shape) == (np.float32, (1, 4, 4, 3))
    assert (first.min(), first.max()) == (-1, 1)
    assert np.count_nonzero(first == -1) == np.count_nonzero(first == 1) == 3
    assert np.unique(second) == pytest.approx([(120 - 127.5) / 127.5])
    assert {int(image.min()) for image in grey} == {90, 120}, "the images themselves stay"


def test_calibration_gives_pixels_where_the_graph_normalizes_them() -> None:
    grey = [np.full((4, 4, 3), 90, np.uint8)] * 2
    first, second = calibration_inputs(network("imagenet"), Form(INT8_PTQ), grey)
    assert (first.min(), first.max(), second.min(), second.max()) == (0, 255, 90, 90)
    assert second.dtype == np.float32
    [one] = calibration_inputs(network("symmetric"), Form(INT16X8, "uint8"), grey[:1])
    assert (one.dtype, one.min(), one.max()) == (np.uint8, 0, 255)


def test_a_gray_network_is_calibrated_on_the_luma_of_its_pixels() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    _, found = calibration_inputs(network("pixels", channels=1), Form(INT8_PTQ), [red, red])
    assert found.shape == (1, 4, 4, 1)
    # The luma of ITU-R BT.601 has 0.299 of red.
    assert np.unique(found) == pytest.approx([round(0.299 * 200)])


def test_ends_and_types_of_the_input() -> None:
    affine, other = network("symmetric"), network("imagenet")
    assert input_ends(affine, Form(INT8_PTQ)) == (-1, 1)
    assert input_ends(network("unit"), Form(INT8_QAT)) == (0, 1)
    assert input_ends(other, Form(INT8_PTQ)) == (0, 255)
    assert input_ends(affine, Form(INT8_PTQ, "float32")) == (0, 255)
    for kind in (FLOAT32, FLOAT16, DYNAMIC, INT16X8):
        assert normalizes_inside(affine.normalization, Form(kind))
        assert input_dtype(Form(kind, "int8")) == "int8"
    for kind in (INT8_PTQ, INT8_QAT):
        assert not normalizes_inside(affine.normalization, Form(kind))
        assert input_dtype(Form(kind, "uint8")) == "float32"


@pytest.mark.parametrize(("count", "name"), [(0, "int8-mixed"), (1, "int8-mixed, 1 layer in float")])
def test_the_name_of_a_form_counts_its_layers_in_float(count: int, name: str) -> None:
    assert Form(INT8_MIXED, float_layers=("stem",) * count).name == name
    assert Form(INT8_MIXED, float_layers=("stem", "head")).name == "int8-mixed, 2 layers in float"
