"""The loss of each layer, and the ranges of weights whose bias is large, computed by hand without TensorFlow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from dermedge.convert.accept import layer_errors
from dermedge.convert.accept.layer_errors import (
    LayerError,
    Quantized,
    _influence,
    _is_collapsed,
    _results,
    _Sums,
    compare_layers,
    decibels,
    worst_layers,
)
from dermedge.convert.to_tflite.graph import Op
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.convert.to_tflite.weight_ranges import INT8_STEPS, INT16_STEPS, widened_weights

FIRST = np.array([[1, 2, 3], [-4, 5, 6], [7, 8, -9]], np.float32) / 10
CHANGED = FIRST + np.array([[0, 0, 0.05], [0, 0, 0], [0.1, 0, 0]], np.float32)
SECOND = np.array([[2, -1, 1], [0, 3, 1], [1, 1, -2]], np.float32) / 5
NO_BIAS = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [
        (100, 1, 20),
        (1, 1, 0),
        (1, 1000, -30),
        (2, 1, 3.0103),
        (1, 0, np.inf),
        (0, 1, -np.inf),
        (0, 0, np.inf),
    ],
)
def test_a_ratio_of_powers_is_told_in_decibels(signal: float, noise: float, expected: float) -> None:
    assert decibels(signal, noise) == pytest.approx(expected, abs=1e-4)


def two_layers(empty: bytes, first: Any) -> bytes:
    editor = GraphEditor(empty)
    source = editor.set_input("images", (1, 4, 4, 3), "float32")
    middle = editor.pointwise(source, first, NO_BIAS)
    editor.set_outputs([editor.pointwise(middle, SECOND, NO_BIAS)], ["logits"])
    return editor.to_bytes()


def test_an_error_is_charged_to_its_layer_and_counted_by_what_reaches_the_output(empty_tflite: bytes) -> None:
    images = list(np.random.default_rng(0).uniform(-1, 1, (3, 1, 4, 4, 3)).astype(np.float32))
    first, second = compare_layers(two_layers(empty_tflite, FIRST), two_layers(empty_tflite, CHANGED), images)
    rows = np.concatenate(images).reshape(-1, 3).astype(np.float64)
    sound, changed = rows @ FIRST.T, rows @ CHANGED.T
    out, out_changed = sound @ SECOND.T, changed @ SECOND.T
    assert first.introduced == pytest.approx(((changed - sound) ** 2).sum() / (sound**2).sum(), rel=1e-4)
    assert first.contribution == pytest.approx(((out_changed - out) ** 2).sum() / (out**2).sum(), rel=1e-4)
    assert second.introduced == pytest.approx(0, abs=1e-9)
    assert second.contribution == pytest.approx(0, abs=1e-9)
    expected = 10 * np.log10((out**2).sum() / ((out_changed - out) ** 2).sum())
    assert second.sqnr_db == pytest.approx(expected, abs=1e-3)
    assert first.rms == pytest.approx(np.sqrt((sound**2).mean()), rel=1e-5)
    assert (first.low, first.high) == pytest.approx((sound.min(), sound.max()), rel=1e-5)
    assert (first.kind, first.inputs) == ("CONV_2D", ("images",))
    assert second.inputs == (first.name,)
    assert (first.channels, first.dead_channels, first.lost_channels) == (3, 0, 0)
    assert first.in_float
    assert not first.collapsed
    assert first.saturated == 0


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        # The relative noise of an input of a sum counts by the share of the input in the power of the sum.
        # These shares are 0.4 and 0.6. So tensor 1 has 0.4 + 2 * 0.6, and tensor 0 has twice as much.
        ("ADD", {0: 3.2, 1: 1.6, 2: 0.6, 3: 1.0}),
        # The relative noise of the inputs of a product is 0.25 and 0.1. The sum of both becomes 0.7 in the
        # product, so either input counts twice.
        ("MUL", {0: 12.0, 1: 6.0, 2: 2.0, 3: 1.0}),
    ],
)
def test_noise_reaches_the_output_by_every_way(join: str, expected: dict[int, float]) -> None:
    """Tensor 0 becomes 1, and 1 becomes 2.

    Tensor 3 is made of 1 and 2. The first two operators double the relative noise.
    """
    ops = [Op("CONV_2D", (0,), (1,)), Op("CONV_2D", (1,), (2,)), Op(join, (1, 2), (3,))]
    arriving = {0: power(2, 0.5), 1: power(4, 1), 2: power(6, 0.6)}
    sums = {1: power(4, passed=2), 2: power(6, passed=3), 3: power(10, passed=7)}
    assert _influence(ops, sums, arriving, [3]) == pytest.approx(expected)  # type: ignore[arg-type]
    unmeasured = {0: 2.0, 1: 2.0, 2: 1.0, 3: 1.0}
    assert _influence(ops, {}, arriving, [3]) == unmeasured


@pytest.mark.parametrize(("levels", "dead"), [([0.5], 0), ([0.5, 0.25], 0), ([0.5, 0.5], 3)])
def test_a_channel_is_dead_only_if_it_has_the_same_value_twice(
    levels: list[float], dead: int, empty_tflite: bytes
) -> None:
    editor = GraphEditor(empty_tflite)
    source = editor.set_input("images", (1, 1, 1, 3), "float32")
    editor.set_outputs([editor.pointwise(source, FIRST, NO_BIAS)], ["logits"])
    model = editor.to_bytes()
    [found] = compare_layers(model, model, [np.full((1, 1, 1, 3), level, np.float32) for level in levels])
    assert (found.channels, found.dead_channels, found.lost_channels) == (3, dead, 0)


def test_a_result_that_is_turned_into_floats_is_still_one_of_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = schema.TensorType
    scale = SimpleNamespace(scale=[0.5], zeroPoint=[-3])
    tensors = [
        SimpleNamespace(name=b"levels", shape=[1, 3], type=kind.INT8, quantization=scale),
        SimpleNamespace(name=b"logits", shape=[1, 3], type=kind.FLOAT32, quantization=None),
    ]
    model: Any = SimpleNamespace(subgraphs=[SimpleNamespace(tensors=tensors)])
    monkeypatch.setattr(layer_errors, "ops_of", lambda model: [Op("DEQUANTIZE", (0,), (1,))])
    assert _results(model) == {("logits", (1, 3)): Quantized(0, np.dtype(np.int8), 0.5, -3)}


def power(signal: float, noise: float = 0.0, passed: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(signal=signal, noise=noise, passed=passed)


def layer(name: str, contribution: float, *inputs: str, in_float: bool = False) -> LayerError:
    facts: dict[str, Any] = dict.fromkeys(LayerError.__dataclass_fields__, 0)
    facts |= {"name": name, "contribution": contribution, "inputs": inputs, "in_float": in_float}
    return LayerError(**facts)


def test_the_worst_layers_are_each_followed_by_their_readers() -> None:
    layers = [
        layer("a", 0.1, "images"),
        layer("b", 0.5, "a"),
        layer("c", 0.0, "b"),
        layer("d", 0.2, "b", "a"),
        layer("e", 0.9, "d", in_float=True),
        layer("f", 0.05, "c"),
    ]
    # Layers c and d read b. Layer e is already in float. A layer without an error is named only if it reads
    # one with an error.
    assert worst_layers(layers, 10) == ["b", "c", "d", "e", "a", "f"]
    assert worst_layers(layers, 2) == ["b", "c"]
    assert worst_layers(layers[2:3], 5) == []


def test_the_ends_of_integers_are_the_values_that_they_stand_for() -> None:
    unsigned = Quantized(0, np.dtype(np.uint8), 0.5, 28)
    assert unsigned.ends == (-14, 113.5)
    assert Quantized(0, np.dtype(np.int8), 0.25, -28).ends == (-25, 38.75)
    assert unsigned.dequantize(np.array([0, 28, 255], np.uint8)).tolist() == [-14, 0, 113.5]
    assert unsigned.quantize(np.float32([-14, -0.24, 0.26, 113.5, 200, -90])).tolist() == [
        0,
        28,
        29,
        255,
        255,
        0,
    ]
    whole = Quantized(0, np.dtype(np.uint8), 0.0, 0)
    assert whole.quantize(np.float32([0, 7, 255])).tolist() == [0, 7, 255]


def test_a_value_is_saturated_more_than_half_a_step_beyond_the_range() -> None:
    sums, tensor = _Sums(), Quantized(0, np.dtype(np.uint8), 0.5, 28)
    # The range of the output is from -14 to 113.5.
    y = np.array([[-14.26, -14.25, 113.75, 113.76], [0, 0, -20, 120]], np.float32)
    q = np.array([[-14, -14, 113.5, 113.5], [0, 0, -14, 113.5]])
    sums.add_result(y, q, y, tensor)
    sums.add_result(y[:1], q[:1], y[:1] + 1, tensor)
    assert (sums.beyond, sums.values, sums.places) == (6, 12, 3)
    assert sums.float_ends == pytest.approx(np.array([[-14.26, -14.25, -20, 113.76], [0, 0, 113.75, 120]]))
    assert sums.quantized_ends == pytest.approx(np.array([[-14, -14, -14, 113.5], [0, 0, 113.5, 113.5]]))
    assert sums.passed == pytest.approx(4, rel=1e-5)
    noise = (q - y.astype(float)) ** 2
    assert sums.noise == pytest.approx(noise.sum() + noise[:1].sum(), rel=1e-5)
    assert sums.own == pytest.approx(noise.sum() + ((q - y - 1)[:1] ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "scale", "expected"),
    [
        # Four steps are enough, but not fewer.
        (0, 4, 1.0, False),
        (0, 3.99, 1.0, True),
        # The 255 steps must cover at least a sixteenth of the span of the values.
        (0, 16 * 255, 1.0, False),
        (0, 16 * 255 + 1, 1.0, True),
        # The values of a constant have no span.
        (3, 3, 1.0, False),
    ],
)
def test_a_scale_has_collapsed_below_four_steps_or_a_sixteenth_of_the_span(
    low: float, high: float, scale: float, expected: bool
) -> None:
    assert _is_collapsed(low, high, Quantized(0, np.dtype(np.uint8), scale, 0)) is expected


def weighted(empty: bytes, kind: str, weights: Any, bias: Any, channels: int) -> bytes:
    """A .tflite of one operator with weights and a bias, which is not run."""
    options = {
        "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
        "CONV_2D": schema.Conv2DOptionsT,
        "FULLY_CONNECTED": schema.FullyConnectedOptionsT,
    }[kind]()
    editor = GraphEditor(empty)
    source = editor.set_input("images", (1, 2, 2, channels), "float32")
    inputs = [source, editor._constant("weights", weights), editor._constant("bias", bias)]
    editor.set_outputs([editor._add(kind, inputs, "found", (1, 2, 2, 2), options)], ["found"])
    return editor.to_bytes()


@pytest.mark.parametrize(
    ("kind", "shape", "wide"),
    [
        ("CONV_2D", (2, 1, 1, 3), (2, 1, 1, 1)),
        ("FULLY_CONNECTED", (2, 3), (2, 1)),
        ("DEPTHWISE_CONV_2D", (1, 3, 1, 2), (1, 1, 1, 2)),
    ],
)
@pytest.mark.parametrize(
    ("steps", "ends", "step"),
    [
        # The range always includes 0.
        (INT8_STEPS, (-1.0, 3.0), 4 / 255),
        (INT8_STEPS, (2.0, 3.0), 3 / 255),
        (INT8_STEPS, (-3.0, -2.0), 3 / 255),
        # The range of 16 bits is symmetric.
        (INT16_STEPS, (-1.0, 3.0), 6 / 65534),
        (INT16_STEPS, (-3.0, 1.0), 6 / 65534),
    ],
)
def test_a_channel_is_as_wide_as_its_bias_needs_in_each_operator(
    kind: str,
    shape: tuple[int, ...],
    wide: tuple[int, ...],
    steps: int,
    ends: tuple[float, float],
    step: float,
    empty_tflite: bytes,
) -> None:
    # 127 steps reach the largest weight, and the bias has at most 2^30 steps.
    least = 127 * 8.0 / (step * 2**30)
    weights = np.zeros(shape, np.float32)
    is_last = np.indices(shape)[shape.index(2)] == 1
    # The largest magnitude in a channel decides, whatever its sign.
    weights[~is_last], weights[is_last] = (0.25, -0.75, 0.5), (least / 20, -least / 10, 0)
    model = weighted(empty_tflite, kind, weights, np.array([0.5, -8], np.float32), 3)
    found = widened_weights(model, {"images": ends}, steps)
    assert found.keys() == {"weights"}
    assert found["weights"]["max"].shape == wide
    assert found["weights"]["max"].ravel() == pytest.approx([0.75, least], rel=1e-5)
    assert found["weights"]["min"].tolist() == (-found["weights"]["max"]).tolist()
    # If the weights are a little larger, their range is not widened.
    weights[is_last] = (0, -1.01 * least, 0)
    model = weighted(empty_tflite, kind, weights, np.array([0.5, -8], np.float32), 3)
    assert widened_weights(model, {"images": ends}, steps) == {}


def test_other_operators_and_old_files_do_not_hide_a_large_bias(empty_tflite: bytes) -> None:
    editor = GraphEditor(empty_tflite)
    kernel = np.full((3, 1, 1, 3), 1e-9, np.float32)
    # the first tensor of a file may be a constant
    large = editor._constant("large", kernel)
    assert large == 0
    source = editor.set_input("images", (1, 2, 2, 3), "float32")
    bias = np.array([8, 8, 8], np.float32)

    def convolved(tensor: int, name: str, *weights: int) -> int:
        return editor._add("CONV_2D", [tensor, *weights], name, (1, 2, 2, 3), schema.Conv2DOptionsT())

    middle = editor.softmax(source)
    # These operators have no bias, weights that are not constant, a bias that is left out, and an input whose
    # range is not known.
    middle = convolved(middle, "without", editor._constant("kernel", kernel))
    middle = convolved(middle, "computed", source, editor._constant("bias", bias))
    middle = convolved(middle, "absent", editor._constant("kernel", kernel), -1)
    middle = convolved(middle, "unknown", editor._constant("kernel", kernel), editor._constant("bias", bias))
    last = convolved(middle, "found", large, editor._constant("bias", bias))
    editor.set_outputs([last], ["found"])
    ranges = dict.fromkeys(("images", "probabilities", "without", "computed", "unknown"), (-1.0, 3.0))
    # A file that was made before 2020 has only the older field for the code of an operator.
    for code in editor.root.operatorCodes:
        assert code.deprecatedBuiltinCode == code.builtinCode
        code.builtinCode = 0
    found = widened_weights(editor.to_bytes(), ranges, INT8_STEPS)
    assert found.keys() == {"large"}
    # 127 steps reach the largest weight, and the bias has at most 2^30 steps of 4 / 255.
    assert found["large"]["max"].ravel() == pytest.approx([127 * 8 / (4 / 255 * 2**30)] * 3)
