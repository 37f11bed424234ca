"""The answers and the quantization of ONNX files of a few operators, which are made without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper

from dermedge.convert.to_onnx import converter, runtime
from dermedge.convert.to_onnx.converter import describe_tensors, to_onnx
from dermedge.convert.to_onnx.runtime import has_evidence, onnx_logits
from dermedge.convert.to_tflite.form import ONNX_FLOAT32, ONNX_INT8, Form
from dermedge.edge.errors import DataError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS

# Each class depends mainly on one of red, green and blue, so that no two channels can be confused.
WEIGHTS = np.array([[0.01, 0, 0.002], [0, 0.02, 0], [-0.005, 0, 0.03]], np.float32)
BIAS = np.array([0.5, -0.25, 1.0], np.float32)


def file_of(
    nodes: Sequence[Any], constants: dict[str, NDArray[Any]], outputs: dict[str, list[int]], channels: int = 3
) -> bytes:
    """An ONNX file with float32 [1, C, 2, 2] input."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, channels, 2, 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def classifier(
    has_map: bool = True, tells_view: bool = False, channels: int = 3, bias: NDArray[np.float32] = BIAS
) -> bytes:
    """A classifier whose logits are the mean of the evidence of all pixels.

    The logit of a close-up is the mean level of the photo / 50 - 2.
    """
    kernel = WEIGHTS if channels == 3 else WEIGHTS[:, :1]
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel", "bias"], ["planes"]),
        helper.make_node("Transpose", ["planes"], ["evidence"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["evidence"], ["logits"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {"kernel": kernel[..., None, None].copy(), "bias": bias}
    outputs = {"probabilities": [1, 3]}
    if tells_view:
        nodes += [
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Reshape", ["mean", "shape"], ["mean_of_photo"]),
            helper.make_node("Mul", ["mean_of_photo", "slope"], ["steep"]),
            helper.make_node("Sub", ["steep", "middle"], ["above"]),
            helper.make_node("Sigmoid", ["above"], ["close_up"]),
        ]
        constants |= {
            "shape": np.array([1, 1], np.int64),
            "slope": np.float32([[0.02]]),
            "middle": np.float32([[2]]),
        }
        outputs["close_up"] = [1, 1]
    if has_map:
        outputs["evidence"] = [1, 2, 2, 3]
    return file_of(nodes, constants, outputs, channels)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """Three uint8 [2, 2, 3] RGB images."""
    return np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), dtype=np.uint8)


@pytest.mark.parametrize("has_map", [True, False])
@pytest.mark.parametrize("tells_view", [True, False])
def test_logits_are_the_mean_of_the_evidence_or_else_logarithms(
    has_map: bool, tells_view: bool, images: NDArray[np.uint8]
) -> None:
    model = classifier(has_map, tells_view)
    assert has_evidence(model) is has_map
    shown: list[tuple[int, int]] = []
    found = onnx_logits(model, images, lambda done, total: shown.append((done, total)))
    assert shown == [(1, 3), (2, 3), (3, 3)]
    expected = images.astype(np.float64).mean(axis=(1, 2)) @ WEIGHTS.T.astype(np.float64) + BIAS
    assert (found.logits.shape, found.logits.dtype) == ((3, 3), np.float64)
    if has_map:
        assert found.logits == pytest.approx(expected, abs=1e-4)
    else:
        # The softmax has removed a constant from each row. So the probabilities are compared.
        shares = np.exp(expected - expected.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        # As on the device, a probability is at least half a step of uint8.
        assert np.exp(found.logits) == pytest.approx(np.maximum(shares, 0.5 / 256), rel=1e-4)
    if tells_view:
        means = images.astype(np.float64).mean(axis=(1, 2, 3))
        assert found.close_up == pytest.approx(1 / (1 + np.exp(2 - means / 50)), abs=1e-4)
    else:
        assert found.close_up is None


def test_a_gray_network_gets_the_luma_of_the_image(images: NDArray[np.uint8]) -> None:
    found = onnx_logits(classifier(channels=1), images).logits
    # ITU-R BT.601, rounded as OpenCV does
    luma = np.rint(images @ np.array([0.299, 0.587, 0.114])).mean(axis=(1, 2))
    assert found == pytest.approx(luma[:, None] * WEIGHTS[:, 0] + BIAS, abs=0.011)
    exact = np.array([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in images]).mean(axis=(1, 2))
    assert found == pytest.approx(exact[:, None] * WEIGHTS[:, 0] + BIAS, abs=1e-4)


def test_a_probability_of_0_has_a_finite_logarithm() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["means"], ["probabilities"], axis=1),
    ]
    model = file_of(nodes, {}, {"probabilities": [1, 3]})
    white_red = np.zeros((1, 2, 2, 3), np.uint8)
    white_red[..., 0] = 255
    [row] = onnx_logits(model, white_red).logits
    # Half a step of uint8 is 1 / 512 = 2^-9.
    assert row == pytest.approx([0, -9 * np.log(2), -9 * np.log(2)], abs=1e-3)


def test_the_time_of_an_inference_is_the_median_in_milliseconds(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the runs take 1, 9 and 2 ms
    clock = iter([0, 1_000_000, 5_000_000, 14_000_000, 20_000_000, 22_000_000])
    monkeypatch.setattr(runtime, "perf_counter_ns", lambda: next(clock))
    assert onnx_logits(classifier(), images).invoke_ms == 2.0


def test_two_threads_run_a_file_on_the_processor_and_only_errors_are_logged(
    images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    real = runtime.onnxruntime.InferenceSession

    def session(model: bytes, options: Any, providers: list[str]) -> Any:
        opened.append((options.intra_op_num_threads, options.log_severity_level, providers))
        return real(model, options, providers=providers)

    library = SimpleNamespace(InferenceSession=session, SessionOptions=runtime.onnxruntime.SessionOptions)
    monkeypatch.setattr(runtime, "onnxruntime", library)
    onnx_logits(classifier(), images)
    # Level 3 logs errors only.
    assert opened == [(2, 3, ["CPUExecutionProvider"])]


def test_inputs_and_outputs_are_described_as_in_a_manifest() -> None:
    inputs, outputs = describe_tensors(classifier(tells_view=True))
    rest = {"dtype": "float32", "scale": None, "zero_point": None}
    assert inputs == [{"index": 0, "name": "pixels", "shape": [1, 3, 2, 2]} | rest]
    assert outputs == [
        {"index": 0, "name": "probabilities", "shape": [1, 3]} | rest,
        {"index": 1, "name": "close_up", "shape": [1, 1]} | rest,
        {"index": 2, "name": "evidence", "shape": [1, 2, 2, 3]} | rest,
    ]


class FakeNetwork:
    """A network with the logits of `classifier`. ``moved`` holds the amounts that were to be added to them."""

    layout = Layout(2, 2, 3, channels_first=False)
    normalization = NORMALIZATIONS["symmetric"]

    def __init__(self, moved: Sequence[float] = (0, 0, 0)) -> None:
        self.moved = [round(float(one), 4) for one in moved]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images.astype(np.float32).mean(axis=(1, 2)) @ WEIGHTS.T + BIAS

    def with_logits_moved(self, amounts: NDArray[np.float32]) -> FakeNetwork:
        return FakeNetwork(amounts)


def test_int8_has_a_scale_for_each_channel_and_takes_all_pixels() -> None:
    # No image has a black or a white pixel, so the images alone do not give the full range.
    images = list(np.random.default_rng(1).integers(60, 200, (4, 2, 2, 3), dtype=np.uint8))
    made = onnx.load_model_from_string(
        converter._quantized(classifier(), FakeNetwork(), Form(ONNX_INT8, "float32"), images)
    )
    constants = {one.name: numpy_helper.to_array(one) for one in made.graph.initializer}
    assert constants["kernel_quantized"].dtype == np.int8
    # 127 steps reach the largest weight of a channel.
    assert constants["kernel_scale"] == pytest.approx(np.array([0.01, 0.02, 0.03]) / 127, rel=0.01)
    levels = constants["kernel_quantized"][:, :, 0, 0] * constants["kernel_scale"][:, None]
    assert levels == pytest.approx(WEIGHTS, abs=0.03 / 127)
    assert constants["pixels_scale"] == pytest.approx(1)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("QuantizeLinear") >= 2
    assert "Conv" in kinds
    assert made.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("has_map", [True, False])
def test_int8_is_made_again_without_the_shift_of_its_logits(
    has_map: bool, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The logits of the first file are 0.3 too high for the first class, and 0.3 too low for the last one.
    shift = np.array([0.3, 0, -0.3], np.float32)
    files = [classifier(has_map, bias=BIAS + shift), classifier(has_map)]
    photos, form, calls = list(images), Form(ONNX_INT8, "float32"), []

    def quantized(model: bytes, network: FakeNetwork, of: Form, given: Any) -> bytes:
        assert given is photos
        assert of is form
        calls.append(model)
        return files[len(calls) - 1]

    monkeypatch.setattr(converter, "_quantized", quantized)
    monkeypatch.setattr(converter, "_float_onnx", lambda network, of: str(network.moved).encode())
    found = to_onnx(FakeNetwork(), form, photos)
    if has_map:
        assert calls == [b"[0.0, 0.0, 0.0]", b"[-0.3, 0.0, 0.3]"]
        assert found == files[1]
    else:
        assert calls == [b"[0.0, 0.0, 0.0]"]
        assert found == files[0]
    with pytest.raises(DataError, match="no calibration photos"):
        to_onnx(FakeNetwork(), form, [])
    assert to_onnx(FakeNetwork(), Form(ONNX_FLOAT32, "float32"), []) == b"[0.0, 0.0, 0.0]"
