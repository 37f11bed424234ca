"""Reading and changing the graph of a .tflite, on files of a few operators that are made without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from dermedge.convert.load.tflite_network import TfliteNetwork
from dermedge.convert.to_tflite.form import DYNAMIC, FLOAT32, INT8_PTQ, INT16X8, Form
from dermedge.convert.to_tflite.graph import KeepingInterpreter, Op, ops_of, read_model
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.errors import ModelError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS

# The schema of TFLite has these numbers for the operators.
CONV_2D, SOFTMAX, GELU = 3, 25, 150
# A 1 x 1 convolution of three channels. All its weights are different, so that a mix-up is noticed.
WEIGHTS = np.array([[1, 2, 3], [-4, 5, 6], [7, 8, -9]], np.float32)
BIAS = np.array([0.5, -1.5, 2.5], np.float32)


@pytest.fixture
def made_of(empty_tflite: bytes) -> Callable[..., bytes]:
    """A function that makes a .tflite. It has one input, and the output that ``build`` adds to it."""

    def make(build: Callable[[GraphEditor, int], int], shape: Sequence[int], dtype: str = "float32") -> bytes:
        editor = GraphEditor(empty_tflite)
        source = editor.set_input("given", shape, dtype)
        editor.set_outputs([build(editor, source)], ["found"])
        return editor.to_bytes()

    return make


def answers(model: bytes, values: NDArray[Any]) -> list[NDArray[Any]]:
    """The outputs of a .tflite by LiteRT."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    assert given["dtype"] == values.dtype
    interpreter.set_tensor(given["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


@pytest.fixture
def answer(made_of: Callable[..., bytes]) -> Callable[..., NDArray[Any]]:
    """A function that gives the output of the .tflite that `made_of` makes, for an input."""

    def give(build: Callable[[GraphEditor, int], int], values: NDArray[Any]) -> NDArray[Any]:
        [found] = answers(made_of(build, values.shape, values.dtype.name), values)
        return found

    return give


def code(builtin: int, deprecated: int) -> SimpleNamespace:
    return SimpleNamespace(builtinCode=builtin, deprecatedBuiltinCode=deprecated)


def operator(index: int, inputs: list[int], outputs: list[int]) -> SimpleNamespace:
    return SimpleNamespace(opcodeIndex=index, inputs=np.array(inputs), outputs=np.array(outputs))


def test_operators_are_named_by_the_field_that_their_file_has() -> None:
    """An old file has no builtinCode. A code above 126 does not fit into the older field, which then holds 127."""
    graph = SimpleNamespace(
        inputs=np.array([4]),
        # 1 and 2 are constants. -1 stands for an input that is left out.
        operators=[
            operator(0, [4, 1, 2], [5]),
            operator(1, [5, -1], [6]),
            operator(2, [6, 4, 2], [7, 8]),
        ],
    )
    codes = [code(0, CONV_2D), code(GELU, 127), code(SOFTMAX, SOFTMAX)]
    found = ops_of(SimpleNamespace(subgraphs=[graph], operatorCodes=codes))
    assert found == [
        Op("CONV_2D", (4,), (5,)),
        Op("GELU", (5,), (6,)),
        Op("SOFTMAX", (6, 4), (7, 8)),
    ]


def test_constants_behind_the_flatbuffer_are_moved_into_it(made_of: Callable[..., bytes]) -> None:
    root = read_model(made_of(lambda editor, source: editor.add(source, BIAS), (1, 3)))
    [held] = [one for one in root.buffers if one.data is not None and len(one.data)]
    # This number stands for the position of the constant until the length of the flatbuffer is known.
    place = 0x1122_3344_5566_7788
    held.data, held.offset, held.size = None, place, BIAS.nbytes
    inside = pack(root)
    model = inside.replace(place.to_bytes(8, "little"), len(inside).to_bytes(8, "little")) + BIAS.tobytes()
    found = read_model(model)
    [buffer] = [one for one in found.buffers if one.data is not None and len(one.data)]
    assert np.frombuffer(bytes(buffer.data), np.float32).tolist() == BIAS.tolist()
    assert buffer.offset == buffer.size == 0
    values = np.array([[1, 2, 3]], np.float32)
    assert answers(pack(found), values)[0].tolist() == [[1.5, 0.5, 5.5]]


def test_a_place_of_1_says_that_the_constant_is_inside(made_of: Callable[..., bytes]) -> None:
    root = read_model(made_of(lambda editor, source: editor.add(source, BIAS), (1, 3)))
    [held] = [one for one in root.buffers if one.data is not None and len(one.data)]
    held.offset, held.size = 1, 4
    [found] = [one for one in read_model(pack(root)).buffers if one.data is not None and len(one.data)]
    assert np.frombuffer(bytes(found.data), np.float32).tolist() == BIAS.tolist()


def test_added_operators_compute_what_their_names_say(answer: Callable[..., NDArray[Any]]) -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    assert answer(lambda editor, source: editor.pointwise(source, WEIGHTS, BIAS), pixels) == pytest.approx(
        np.einsum("oc,bhwc->bhwo", WEIGHTS, pixels) + BIAS
    )
    tall = np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3)
    assert answer(lambda editor, source: editor.transpose(source, (0, 3, 1, 2)), tall) == pytest.approx(
        np.transpose(tall, (0, 3, 1, 2))
    )
    assert answer(lambda editor, source: editor.reshape(source, "flat", (1, 24)), tall).tolist() == [
        list(range(24))
    ]
    row = np.log(np.array([[1, 2, 5]], np.float32))
    assert answer(lambda editor, source: editor.softmax(source), row)[0] == pytest.approx(
        [0.125, 0.25, 0.625]
    )
    assert answer(lambda editor, source: editor.add(source, BIAS), row) == pytest.approx(row + BIAS)
    single = np.array([[3.25]], np.float32)
    assert answer(lambda editor, source: editor.zero_in_front(source), single).tolist() == [[0, 3.25]]
    bytes_ = np.array([[0, 127, 128, 255]], np.uint8)
    assert answer(lambda editor, source: editor.cast_to_float(source), bytes_).tolist() == [
        [0, 127, 128, 255]
    ]
    signed = np.array([[-128, -1, 127]], np.int8)
    assert answer(lambda editor, source: editor.cast_to_float(source), signed).tolist() == [[-128, -1, 127]]


def test_a_reshape_to_the_same_shape_adds_nothing(empty_tflite: bytes) -> None:
    editor = GraphEditor(empty_tflite)
    source = editor.set_input("given", (1, 6), "float32")
    assert editor.reshape(source, "same", (1, 6)) == source
    assert len(editor.graph.tensors) == 1


def test_operators_in_front_run_first_and_the_others_read_what_they_write(
    made_of: Callable[..., bytes],
) -> None:
    added = GraphEditor(made_of(lambda editor, source: editor.add(source, BIAS), (1, 3)))
    [replaced] = (int(one) for one in added.graph.inputs)
    pixels = added.set_input("images", (1, 3), "uint8")
    added.end_front(added.cast_to_float(pixels), replaced)
    # without `set_input`, an operator is added at the end
    [last] = (int(one) for one in added.graph.outputs)
    added.set_outputs([added.softmax(last)], ["shares"])
    model = added.to_bytes()
    assert [one.kind for one in ops_of(read_model(model))] == ["CAST", "ADD", "SOFTMAX"]
    values = np.array([[1, 2, 0]], np.uint8)
    raised = np.exp([1.5, 0.5, 2.5])
    assert answers(model, values)[0][0] == pytest.approx(raised / raised.sum())


def test_a_name_belongs_to_one_tensor(empty_tflite: bytes) -> None:
    editor = GraphEditor(empty_tflite)
    source = editor.set_input("found", (1, 3), "float32")
    other = editor.add(source, BIAS)
    third = editor.add(other, BIAS)
    editor.set_outputs([third], ["found"])
    names = [one.name.decode() for one in editor.graph.tensors]
    assert names[third] == "found"
    assert names[source] == "found_1"
    # the constants and results of two equal operators differ in their names
    assert len(set(names)) == len(names)
    assert {"amounts", "amounts_1", "moved"} <= set(names)


def test_an_operator_that_the_file_has_is_not_listed_twice_and_an_old_file_is_understood(
    made_of: Callable[..., bytes],
) -> None:
    root = read_model(made_of(lambda editor, source: editor.softmax(source), (1, 3)))
    root.operatorCodes[0].builtinCode = 0
    assert root.operatorCodes[0].deprecatedBuiltinCode == SOFTMAX
    editor = GraphEditor(pack(root))
    [source] = (int(one) for one in editor.graph.outputs)
    editor.set_outputs([editor.softmax(source)], ["twice"])
    model = editor.to_bytes()
    assert [one.builtinCode for one in read_model(model).operatorCodes] == [SOFTMAX]
    # An operator is added after those of the file, unless there is a new input.
    shares = np.exp([0.125, 0.25, 0.625]) / np.exp([0.125, 0.25, 0.625]).sum()
    assert answers(model, np.log(np.float32([[1, 2, 5]])))[0][0] == pytest.approx(shares)
    editor._code(GELU)
    assert (
        editor.root.operatorCodes[-1].builtinCode,
        editor.root.operatorCodes[-1].deprecatedBuiltinCode,
    ) == (
        GELU,
        127,
    )


def test_what_no_longer_fits_a_changed_file_is_removed(made_of: Callable[..., bytes]) -> None:
    root = read_model(made_of(lambda editor, source: editor.softmax(source), (1, 3)))
    signature, entry = schema.SignatureDefT(), schema.MetadataT()
    signature.signatureKey, entry.name = "serving_default", "TFLITE_METADATA"
    root.signatureDefs, root.metadata = [signature], [entry]
    for tensor in root.subgraphs[0].tensors:
        tensor.shapeSignature = np.array([-1, 3], np.int32)
    found = read_model(GraphEditor(pack(root)).to_bytes())
    assert not found.signatureDefs
    assert not found.metadata
    assert all(one.shapeSignature is None for one in found.subgraphs[0].tensors)


def test_activations_are_kept_and_copied(made_of: Callable[..., bytes]) -> None:
    model = made_of(lambda editor, source: editor.softmax(editor.add(source, BIAS)), (1, 3))
    [add, softmax] = ops_of(read_model(model))
    interpreter = KeepingInterpreter(model)
    interpreter.run({add.inputs[0]: np.array([[1, 2, 3]], np.float32)})
    kept = interpreter.values(add.outputs[0])
    assert kept.tolist() == [[1.5, 0.5, 5.5]]
    interpreter.run({add.inputs[0]: np.zeros((1, 3), np.float32)})
    assert kept.tolist() == [[1.5, 0.5, 5.5]]
    assert interpreter.values(add.outputs[0]).tolist() == [BIAS.tolist()]
    assert interpreter.values(softmax.outputs[0]).sum() == pytest.approx(1)
    with pytest.raises(ModelError, match="the runtime refuses this model"):
        KeepingInterpreter(b"TFL3")


def test_every_activation_of_a_long_graph_is_kept_as_it_was_written(made_of: Callable[..., bytes]) -> None:
    def chain(editor: GraphEditor, source: int) -> int:
        for _ in range(6):
            source = editor.pointwise(source, WEIGHTS / 10, BIAS)
        return source

    model = made_of(chain, (1, 4, 4, 3))
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 3)).astype(np.float32)
    ops = ops_of(read_model(model))
    interpreter = KeepingInterpreter(model)
    interpreter.run({ops[0].inputs[0]: pixels})
    expected = pixels
    for op in ops:
        expected = np.einsum("oc,bhwc->bhwo", WEIGHTS / 10, expected) + BIAS
        assert interpreter.values(op.outputs[0]) == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def network(empty_tflite: bytes) -> Callable[..., TfliteNetwork]:
    """A function that makes a network of one pixel.

    Its logits are `WEIGHTS` times the normalized pixel plus `BIAS`.
    """

    def make(normalization: str = "unit", has_logits: bool = True) -> TfliteNetwork:
        editor = GraphEditor(empty_tflite)
        source = editor.set_input("images", (1, 1, 1, 3), "float32")
        evidence = editor.pointwise(source, WEIGHTS, BIAS)
        probabilities = editor.softmax(editor.reshape(evidence, "logits", (1, 3)))
        outputs = [probabilities, evidence] if has_logits else [probabilities]
        editor.set_outputs(outputs, ["probabilities", "evidence"][: len(outputs)])
        layout = Layout(1, 1, 3, channels_first=False)
        return TfliteNetwork(
            "tiny", layout, ("a", "b", "c"), NORMALIZATIONS[normalization], editor.to_bytes()
        )

    return make


# The means and deviations of ImageNet; Caffe's order is blue, green, red.
EXPECTED_PIXELS = {
    "unit": lambda r, g, b: [r / 255, g / 255, b / 255],
    "symmetric": lambda r, g, b: [r / 127.5 - 1, g / 127.5 - 1, b / 127.5 - 1],
    "imagenet": lambda r, g, b: [(r - 123.675) / 58.395, (g - 116.28) / 57.12, (b - 103.53) / 57.375],
    "caffe": lambda r, g, b: [b - 103.939, g - 116.779, r - 123.68],
}
RGB = (200, 30, 90)


@pytest.mark.parametrize("normalization", EXPECTED_PIXELS)
@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_the_file_of_a_tflite_network_normalizes_its_pixels_inside(
    normalization: str, io: str, network: Callable[..., TfliteNetwork]
) -> None:
    expected = WEIGHTS @ np.array(EXPECTED_PIXELS[normalization](*RGB)) + BIAS
    one = network(normalization)
    images = np.array(RGB, np.uint8).reshape(1, 1, 1, 3)
    assert one.logits(images)[0] == pytest.approx(expected, rel=1e-4, abs=1e-3)
    pixels = (images.astype(np.int16) - (128 if io == "int8" else 0)).astype(io)
    probabilities, evidence = answers(one.finished_tflite(Form(FLOAT32, io)), pixels)
    assert evidence.ravel() == pytest.approx(expected, rel=1e-4, abs=1e-3)
    shares = np.exp(expected - expected.max())
    assert probabilities.ravel() == pytest.approx(shares / shares.sum(), abs=1e-4)


def test_the_file_before_the_quantization_takes_what_the_calibration_gives(
    network: Callable[..., TfliteNetwork],
) -> None:
    images = np.array(RGB, np.uint8).reshape(1, 1, 1, 3)
    # "symmetric" has one scale and one offset for all channels. They become the quantization of the input, so
    # that no other part of the file changes.
    affine = network("symmetric")
    assert affine.float_tflite(Form(INT8_PTQ)) == affine.model
    # "caffe" has an offset for each channel, so the network itself subtracts them.
    _, evidence = answers(network("caffe").float_tflite(Form(INT8_PTQ)), images.astype(np.float32))
    expected = WEIGHTS @ np.array(EXPECTED_PIXELS["caffe"](*RGB)) + BIAS
    assert evidence.ravel() == pytest.approx(expected, rel=1e-5)
    _, evidence = answers(affine.float_tflite(Form(INT16X8)), images)
    expected = WEIGHTS @ np.array(EXPECTED_PIXELS["symmetric"](*RGB)) + BIAS
    assert evidence.ravel() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ModelError, match="cannot be converted to dynamic"):
        affine.finished_tflite(Form(DYNAMIC))


def test_amounts_are_added_to_the_logits_and_the_probabilities_follow(
    network: Callable[..., TfliteNetwork],
) -> None:
    images = np.array(RGB, np.uint8).reshape(1, 1, 1, 3)
    amounts = np.array([0.25, -3, 1], np.float32)
    one = network()
    moved = one.with_logits_moved(amounts)
    assert moved.logits(images) - one.logits(images) == pytest.approx(amounts[None], abs=1e-5)
    probabilities, evidence = answers(moved.model, images.astype(np.float32) / 255)
    shares = np.exp(evidence.ravel() - evidence.max())
    assert probabilities.ravel() == pytest.approx(shares / shares.sum(), rel=1e-5)


def test_without_logits_they_are_the_logarithms_of_the_probabilities(
    network: Callable[..., TfliteNetwork],
) -> None:
    images = np.array([RGB, (0, 0, 0)], np.uint8).reshape(2, 1, 1, 3)
    with_logits, without = network().logits(images), network(has_logits=False).logits(images)
    shares = np.exp(with_logits - with_logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    # As on the device, a probability is at least half a step of uint8.
    assert np.exp(without) == pytest.approx(np.maximum(shares, 0.5 / 256), rel=1e-4)


def test_a_probability_of_0_has_a_finite_logarithm(network: Callable[..., TfliteNetwork]) -> None:
    images = np.array(RGB, np.uint8).reshape(1, 1, 1, 3)
    # The logits of this pixel are 530.5, -111.5 and 832.5.
    [row] = network("pixels", has_logits=False).logits(images)
    # Half a step of uint8 is 1 / 512 = 2^-9.
    assert row == pytest.approx([-9 * np.log(2), -9 * np.log(2), 0], abs=1e-3)
