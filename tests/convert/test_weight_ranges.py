"""If a bias needs more than 32 bits, the weights of its channel get a wider range.

Large weights are quantized in pieces.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("litert_quantizer")

from litert_quantizer import qtyping  # noqa: E402
from litert_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor  # noqa: E402

from dermedge.convert.to_tflite import quantizer  # noqa: E402
from dermedge.convert.to_tflite.form import INT8_PTQ, INT16X8, Form  # noqa: E402
from dermedge.convert.to_tflite.graph import KeepingInterpreter, read_model  # noqa: E402
from dermedge.convert.to_tflite.quantizer import quantize  # noqa: E402
from dermedge.convert.to_tflite.weight_ranges import INT8_STEPS, widened_weights  # noqa: E402

BIAS = np.array([0.5, -2.0, 1.0], np.float32)
# The second channel has almost no weight. So its bias would need 2 / (2 / 255 * 1e-10 / 127) steps, which is
# more than 10^14.
WEIGHTS = np.array([0.4, 1e-10, -0.3], np.float32)


@pytest.fixture(scope="module")
def model() -> bytes:
    """A 1x1 convolution of three channels, [1, 8, 8, 3] in and out, as a float .tflite."""
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, [0, 1, 2], [0, 1, 2]] = WEIGHTS

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32)])
    def run(pixels: object) -> object:
        return tf.nn.bias_add(tf.nn.conv2d(pixels, kernel, 1, "VALID"), BIAS)

    return tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()]).convert()


def test_only_the_channel_that_needs_it_is_widened(model: bytes) -> None:
    [name] = [one.name.decode() for one in read_model(model).subgraphs[0].tensors if len(one.shape) == 4][:1]
    [found] = widened_weights(model, {name: (-1.0, 1.0)}, INT8_STEPS).values()
    largest = found["max"].ravel()
    # The bias of 2 may have at most 2^30 steps. So the range of weights is widened to 127 * 2 / (2 / 255 * 2^30).
    assert largest == pytest.approx([0.4, 127 * 255 / 2**30, 0.3])
    assert np.array_equal(found["min"], -found["max"])
    assert widened_weights(model, {}, INT8_STEPS) == {}


def test_a_bias_that_fits_leaves_the_weights_alone(model: bytes) -> None:
    [name] = [one.name.decode() for one in read_model(model).subgraphs[0].tensors if len(one.shape) == 4][:1]
    # The wide range of the input makes its steps so large that the bias of the tiny channel fits too.
    assert widened_weights(model, {name: (-1e7, 1e7)}, INT8_STEPS) == {}


@pytest.mark.parametrize("kind", [INT8_PTQ, INT16X8])
def test_the_quantized_file_keeps_every_bias(model: bytes, kind: str) -> None:
    inputs = [
        np.random.default_rng(number).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32) for number in range(8)
    ]
    made = quantize(model, Form(kind, io="float32"), inputs, (-1.0, 1.0))
    graph = read_model(made).subgraphs[0]
    [source], [result] = graph.inputs, graph.outputs
    interpreter = KeepingInterpreter(made)
    interpreter.run({int(source): np.zeros((1, 8, 8, 3), np.float32)})
    values = interpreter.values(int(result))[0, 4, 4]
    # The outputs reach from -2 to 1.3, so a step of int8 is 0.013.
    assert np.abs(values - BIAS).max() < 0.02


@pytest.mark.parametrize(("axis", "scales"), [(0, 6), (3, 5), (None, 1)])
def test_weights_that_are_quantized_in_pieces_are_those_of_the_whole(
    axis: int | None, scales: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = [1, 1, 1, 1]
    shape[axis or 0] = scales
    values = np.random.default_rng(0).normal(size=(6, 3, 3, 5)).astype(np.float32)
    parameters = qtyping.UniformQuantParams(
        num_bits=8,
        quantized_dimension=axis,
        scale=np.linspace(0.01, 0.02, scales).reshape(shape).astype(np.float32),
        zero_point=np.zeros(shape, np.int32),
        symmetric=True,
    )
    whole = quantizer._uniform_quantize(values, parameters, False)
    sizes: list[int] = []
    real = quantizer._uniform_quantize

    def counted(part: np.ndarray, *given: object) -> np.ndarray:
        sizes.append(part.nbytes)
        return real(part, *given)

    monkeypatch.setattr(quantizer, "_uniform_quantize", counted)
    for largest, pieces in ((values.nbytes, 1), (values.nbytes - 1, 2), (values.nbytes // 3, 3)):
        monkeypatch.setattr(quantizer, "_LARGEST_PIECE_BYTES", largest)
        sizes.clear()
        found = quantizer._quantized_in_pieces(values, parameters)
        assert np.array_equal(found, whole)
        assert found.dtype == whole.dtype
        assert len(sizes) == pieces
    sizes.clear()
    quantizer._quantized_in_pieces(
        values[0, 0], replace(parameters, scale=np.float32([[0.01]]), zero_point=np.int32([[0]]))
    )
    assert len(sizes) == 1, "a matrix is not cut"


def test_a_file_is_quantized_in_pieces_and_does_not_depend_on_them(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)]
    form = Form(INT8_PTQ, io="float32")
    whole = quantize(model, form, inputs)
    sizes: list[int] = []
    real = quantizer._uniform_quantize

    def counted(part: np.ndarray, *given: object) -> np.ndarray:
        if part.ndim == 4:
            sizes.append(part.nbytes)
        return real(part, *given)

    monkeypatch.setattr(quantizer, "_uniform_quantize", counted)
    # The weights of a channel have 12 bytes.
    monkeypatch.setattr(quantizer, "_LARGEST_PIECE_BYTES", 12)
    assert quantize(model, form, inputs) == whole
    assert sizes == [12, 12, 12]
    # Afterwards, the function of the library is the original one again.
    assert uniform_quantize_tensor.uniform_quantize is real


def test_weights_are_cut_above_16_mib() -> None:
    """The limit is below 32 MiB.

    Above 32 MiB, litert-quantizer cuts weights by itself, but refuses those of convolutions.
    """
    assert quantizer._LARGEST_PIECE_BYTES == 16 * 1024 * 1024


@pytest.mark.slow
def test_weights_above_32_mib_are_quantized_channel_by_channel() -> None:
    channels = 976  # 3 x 3 x 976 x 976 float32 are 32.7 MiB
    kernel = np.random.default_rng(0).normal(0, 0.02, (3, 3, channels, channels)).astype(np.float32)
    kernel *= np.linspace(0.1, 1, channels, dtype=np.float32)

    @tf.function(input_signature=[tf.TensorSpec([1, 1, 1, channels], tf.float32)])
    def run(values: object) -> object:
        return tf.nn.bias_add(tf.nn.conv2d(values, kernel, 1, "SAME"), np.ones(channels, np.float32))

    float_model = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()]).convert()
    inputs = np.random.default_rng(1).uniform(-1, 1, (2, 1, 1, 1, channels)).astype(np.float32)
    made = read_model(quantize(float_model, Form(INT8_PTQ, io="float32"), list(inputs)))
    weights = next(one for one in made.subgraphs[0].tensors if list(one.shape) == [channels, 3, 3, channels])
    levels = np.frombuffer(bytes(made.buffers[weights.buffer].data), np.int8).reshape(weights.shape)
    scales = weights.quantization.scale.reshape(-1, 1, 1, 1)
    assert np.abs(levels * scales - kernel.transpose(3, 0, 1, 2)).max(axis=(1, 2, 3)) == pytest.approx(
        scales.ravel() / 2, rel=0.01
    )
