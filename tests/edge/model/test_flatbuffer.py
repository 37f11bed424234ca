"""Tensors, operators, precision and multiply-accumulates of .tflite files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from dermedge.edge.errors import ModelError
from dermedge.edge.model.flatbuffer import MACS, Graph, float_ops, read_graph
from dermedge.edge.model.manifest import read_manifest, strip

FLOAT32, FLOAT16, INT8, INT32 = (
    schema.TensorType.FLOAT32,
    schema.TensorType.FLOAT16,
    schema.TensorType.INT8,
    schema.TensorType.INT32,
)
Tensor = tuple[str, tuple[int, ...], int, bool]  # name, shape, type, whether its values are in the file


def make_model(
    tensors: list[Tensor], operators: list[tuple[str, list[int], list[int]]], outputs: list[int]
) -> bytes:
    """Returns a .tflite with these tensors and operators. The first tensor is the input.

    An operator is (name, inputs, outputs).
    """
    buffers: list[Any] = [schema.BufferT()]
    made = []
    for name, shape, dtype, is_constant in tensors:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), dtype
        if is_constant:
            buffers.append(schema.BufferT())
            buffers[-1].data = np.zeros(4, np.uint8)
            tensor.buffer = len(buffers) - 1
        made.append(tensor)
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = made, [0], outputs, []
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], buffers, []
    for index, (name, inputs, results) in enumerate(operators):
        code = schema.OperatorCodeT()
        if hasattr(schema.BuiltinOperator, name):
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        else:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = name
        model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, inputs, results
        graph.operators.append(operator)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def the_only_operator(tensors: list[Tensor], name: str, output: int) -> Any:
    """Returns the operator of a model that has only one. It reads all tensors except its output."""
    inputs = [index for index in range(len(tensors)) if index != output]
    [one] = read_graph(make_model(tensors, [(name, inputs, [output])], [output]), "m").operators
    return one


@pytest.fixture(scope="module")
def shipped(model_path: Path) -> Graph:
    return read_graph(model_path.read_bytes(), model_path)


def test_the_shipped_model_is_integer_throughout(shipped: Graph, model_path: Path) -> None:
    [pixels] = shipped.inputs
    assert (pixels.dtype, pixels.shape) == ("uint8", (1, 192, 192, 3))
    assert pixels.scales == pytest.approx([1 / 127.5])
    assert pixels.zero_points == (128,)
    manifest = read_manifest(model_path)
    assert manifest is not None
    classes = len(manifest.labels)
    assert {one.shape for one in shipped.outputs} >= {(1, classes), (1, 6, 6, classes)}
    assert {one.precision for one in shipped.operators} == {"int8", "conversion"}
    assert float_ops(model_path.read_bytes()) == ()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("mobilenet_v1_0.25_128_quant", 13.6), ("tf2_mobilenet_v2_1.0_224_ptq", 300.8)],
)
def test_the_published_networks_have_their_published_cost(name: str, millions: float) -> None:
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("DERMEDGE_DATA", beside)).parent / "reference_models" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    # the papers and the model cards of these networks state 14 and 300 million
    macs = sum(one.macs for one in read_graph(path.read_bytes(), path).operators)
    assert macs / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("name", "inputs", "output", "macs"),
    [
        ("CONV_2D", [(1, 8, 8, 6), (10, 3, 3, 2)], (1, 4, 4, 10), 4 * 4 * 10 * 3 * 3 * 2),
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 6), (1, 5, 5, 12)], (1, 8, 8, 12), 8 * 8 * 12 * 5 * 5),
        ("CONV_3D", [(1, 4, 8, 8, 3), (2, 3, 3, 3, 7)], (1, 4, 8, 8, 7), 4 * 8 * 8 * 7 * 2 * 3 * 3 * 3),
        ("TRANSPOSE_CONV", [(4,), (7, 2, 2, 3), (1, 8, 8, 3)], (1, 16, 16, 7), 8 * 8 * 3 * 7 * 2 * 2),
        ("FULLY_CONNECTED", [(2, 30), (5, 30)], (2, 5), 2 * 5 * 30),
        ("BATCH_MATMUL", [(3, 4, 6), (3, 6, 5)], (3, 4, 5), 3 * 4 * 5 * 6),
        ("ADD", [(1, 8), (1, 8)], (1, 8), 0),
    ],
)
def test_multiply_accumulates_follow_the_shapes(
    name: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], macs: int
) -> None:
    tensors: list[Tensor] = [(f"i{number}", shape, INT8, number == 1) for number, shape in enumerate(inputs)]
    assert the_only_operator([*tensors, ("out", output, INT8, False)], name, len(inputs)).macs == macs
    assert name in MACS or macs == 0


@pytest.mark.parametrize(
    ("activations", "weights", "precision"),
    [
        (INT8, INT8, "int8"),
        (FLOAT32, FLOAT32, "float32"),
        (FLOAT32, INT8, "float32 with int8 weights"),
        (schema.TensorType.INT16, INT8, "int16 with int8 weights"),
        (INT8, schema.TensorType.INT4, "int8 with int4 weights"),
    ],
)
def test_precision_is_that_of_what_flows_and_of_the_weights(
    activations: int, weights: int, precision: str
) -> None:
    tensors: list[Tensor] = [
        ("in", (1, 4), activations, False),
        ("weights", (2, 4), weights, True),
        ("bias", (2,), INT32, True),
        ("out", (1, 2), activations, False),
    ]
    one = the_only_operator(tensors, "FULLY_CONNECTED", 3)
    assert one.precision == precision
    assert one.is_float == (activations == FLOAT32)


def test_weights_that_are_unpacked_first_are_told_as_they_are_stored() -> None:
    tensors: list[Tensor] = [
        ("in", (1, 4), FLOAT32, False),
        ("packed", (2, 4), FLOAT16, True),
        ("weights", (2, 4), FLOAT32, False),
        ("out", (1, 2), FLOAT32, False),
    ]
    operators = [("DEQUANTIZE", [1], [2]), ("FULLY_CONNECTED", [0, 2, -1], [3])]
    unpack, product = read_graph(make_model(tensors, operators, [3]), "m").operators
    assert unpack.precision == "conversion"
    assert product.precision == "float32 with float16 weights"


def test_an_operator_left_in_float_is_found_and_the_conversions_beside_it_are_not() -> None:
    tensors: list[Tensor] = [
        ("in", (1, 4), INT8, False),
        ("wide", (1, 4), FLOAT32, False),
        ("curved", (1, 4), FLOAT32, False),
        ("out", (1, 4), INT8, False),
    ]
    operators = [("DEQUANTIZE", [0], [1]), ("HARD_SWISH", [1], [2]), ("QUANTIZE", [2], [3])]
    model = make_model(tensors, operators, [3])
    assert [(one.name, one.output) for one in float_ops(model)] == [("HARD_SWISH", "curved")]


def test_a_custom_operator_goes_by_its_own_name() -> None:
    tensors: list[Tensor] = [("in", (1, 4), FLOAT32, False), ("out", (1, 4), FLOAT32, False)]
    assert the_only_operator(tensors, "MaxUnpooling", 1).name == "MaxUnpooling"


def test_values_behind_the_flatbuffer_are_constants_too() -> None:
    tensors: list[Tensor] = [
        ("in", (1, 4), FLOAT32, False),
        ("weights", (2, 4), INT8, True),
        ("out", (1, 2), FLOAT32, False),
    ]
    root = schema.ModelT.InitFromPackedBuf(
        make_model(tensors, [("FULLY_CONNECTED", [0, 1, -1], [2])], [2]), 0
    )
    root.buffers[1].data, root.buffers[1].offset, root.buffers[1].size = None, 4096, 8
    builder = flatbuffers.Builder(0)
    builder.Finish(root.Pack(builder), b"TFL3")
    [product] = read_graph(bytes(builder.Output()), "m").operators
    assert product.precision == "float32 with int8 weights"


def test_damaged_files_are_refused_and_never_crash(model_path: Path) -> None:
    whole = strip(model_path.read_bytes())
    rng = np.random.default_rng(0)
    cut = [whole[:size] for size in (0, 7, 100, 5000, len(whole) // 2, len(whole) - 1000)]
    bent = []
    for place in rng.integers(8, 60_000, 150):
        model = bytearray(whole)
        model[place] ^= int(rng.integers(1, 256))
        bent.append(bytes(model))
    for model in [*cut, *bent]:
        with suppress(ModelError):
            read_graph(model, "d.tflite")
    for model in cut:
        with pytest.raises(ModelError, match=r"d\.tflite") as refused:
            read_graph(model, "d.tflite")
        assert "\n" not in str(refused.value)
