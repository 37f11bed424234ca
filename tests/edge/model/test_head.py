"""What the outputs of foreign files hold: found in their graph, and reported as they compute it."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.head import Head, calibrated_logits_of, logits_of, probabilities_of
from dermedge.edge.model.manifest import Manifest, attach, strip
from dermedge.edge.model.network_facts import read_facts

FRAME = np.full((8, 8, 3), (40, 20, 10), np.uint8)  # the colour is in BGR


@pytest.fixture
def open_network(make_network: Callable[..., bytes], tmp_path: Path) -> Callable[..., Classifier]:
    """A function that opens a tiny network; ``labels`` goes to the classifier, the rest to `make_network`."""

    def make(labels: list[str] | None = None, **options: object) -> Classifier:
        path = tmp_path / "tiny.tflite"
        path.write_bytes(make_network(**{"dtype": "uint8", "quantization": (1 / 16, 0), **options}))
        return Classifier(path, labels)

    return make


def test_the_names_of_the_heads_are_those_that_inspect_and_manifests_state() -> None:
    assert [head.value for head in Head] == ["softmax", "sigmoid", "logits"]


def test_a_softmax_is_reported_as_it_was_computed(open_network: Callable[..., Classifier]) -> None:
    with open_network() as classifier:
        prediction = classifier.predict(FRAME)
        levels = classifier.raw_outputs(FRAME)["probabilities"].values
    assert np.array_equal(np.array(prediction.probabilities) * 256, levels)
    assert prediction.label == "class 2"


def test_logits_get_their_softmax(open_network: Callable[..., Classifier]) -> None:
    with open_network(head=None) as classifier:
        prediction = classifier.predict(FRAME)
    exponents = np.exp(np.array((10, 20, 40)) / 16)
    assert np.allclose(prediction.probabilities, exponents / exponents.sum())


def test_several_sigmoids_are_independent(open_network: Callable[..., Classifier]) -> None:
    with open_network(head="LOGISTIC") as classifier:
        prediction = classifier.predict(FRAME)
    expected = 1 / (1 + np.exp(-np.array((10, 20, 40)) / 16))
    assert np.allclose(prediction.probabilities, expected, atol=1 / 256)
    assert sum(prediction.probabilities) > 2


@pytest.mark.parametrize("head", ["LOGISTIC", None])
def test_a_single_sigmoid_or_logit_is_two_classes(
    open_network: Callable[..., Classifier], head: str | None
) -> None:
    with open_network(shape=(1, 8, 8, 1), head=head, quantization=(1 / 32, 64)) as classifier:
        negative = classifier.predict(np.full((8, 8, 3), 32, np.uint8))
        positive = classifier.predict(np.full((8, 8, 3), 128, np.uint8))
    assert classifier.labels == ("negative", "positive")
    assert (negative.label, positive.label) == ("negative", "positive")
    assert positive.probabilities[1] == pytest.approx(1 / (1 + math.exp(-2)), abs=1 / 256)
    assert sum(positive.probabilities) == pytest.approx(1)


def test_a_single_sigmoid_takes_two_labels_or_that_of_its_second_class(
    open_network: Callable[..., Classifier],
) -> None:
    options = {"shape": (1, 8, 8, 1), "head": "LOGISTIC"}
    assert open_network(labels=["benign", "malignant"], **options).labels == ("benign", "malignant")
    assert open_network(labels=["melanoma"], **options).labels == ("not melanoma", "melanoma")


def test_a_softmax_over_one_class_is_refused(open_network: Callable[..., Classifier]) -> None:
    with pytest.raises(ModelError, match="always 1"):
        open_network(shape=(1, 8, 8, 1))


def test_tta_averages_what_the_network_computes(make_network: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(make_network(dtype="uint8", quantization=(1 / 16, 0)))
    with Classifier(path) as plain, Classifier(path, tta=True) as turned:
        assert turned.predict(FRAME).probabilities == plain.predict(FRAME).probabilities


def test_our_own_network_without_its_manifest_reports_its_softmax(model_path: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(strip(model_path.read_bytes()))
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with Classifier(bare) as classifier:
        own = classifier.raw_outputs(frame)["probabilities"].dequantize()
        assert classifier.predict(frame).probabilities == tuple(own.tolist())
        assert classifier.has_heat_map


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mobilenet_v1_0.25_128_quant", Head.SOFTMAX),
        ("tf2_mobilenet_v2_1.0_224_ptq", Head.SOFTMAX),
    ],
)
def test_a_conversion_after_the_last_operator_hides_nothing(name: str, head: Head) -> None:
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("DERMEDGE_DATA", beside)).parent / "reference_models" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    assert read_facts(path).heads == (head,)


def followed_by(network: bytes, name: str) -> bytes:
    """Returns the network with one more operator after its output."""
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.convert.to_tflite.share_buffers import pack

    root = schema.ModelT.InitFromPackedBuf(network)
    graph, code, operator = root.subgraphs[0], schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    root.operatorCodes.append(code)
    [answer] = graph.outputs
    operator.opcodeIndex, operator.inputs, operator.outputs = (
        len(root.operatorCodes) - 1,
        [answer],
        [len(graph.tensors)],
    )
    graph.operators.append(operator)
    graph.tensors.append(copy.copy(graph.tensors[answer]))
    graph.outputs = operator.outputs
    return pack(root)


@pytest.mark.parametrize("head", ["SOFTMAX", "LOGISTIC", None])
@pytest.mark.parametrize(
    "last",
    ["ADD_N", "GATHER", "MAXIMUM", "MINIMUM", "MUL", "REVERSE_V2", "ROUND", "SPLIT", "SPLIT_V", "UNPACK"],
)
def test_an_operator_that_reorders_clips_or_averages_keeps_the_head(
    make_network: Callable[..., bytes], tmp_path: Path, head: str | None, last: str
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(followed_by(make_network(head=head), last))
    expected = {"SOFTMAX": Head.SOFTMAX, "LOGISTIC": Head.SIGMOID, None: Head.LOGITS}[head]
    assert read_facts(path).heads == (expected,)


KEEPING = [
    *("AVERAGE_POOL_2D", "CAST", "DEQUANTIZE", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MAX_POOL_2D"),
    *("MEAN", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU_0_TO_1", "RESHAPE", "REVERSE_V2", "ROUND"),
    *("SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK"),
]
COMBINING = ["ADD", "ADD_N", "CONCATENATION", "MAXIMUM", "MINIMUM", "MUL", "PACK", "SUB"]


def test_of_all_operators_of_tflite_these_keep_the_head_and_the_first_of_them_the_scale_of_its_logits(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    """The names and numbers are those of the schema that LiteRT ships."""
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.convert.to_tflite.share_buffers import pack

    network = make_network(dtype="uint8", quantization=(1 / 16, 0), head="LOGISTIC")
    root = schema.ModelT.InitFromPackedBuf(followed_by(network, "ADD"))
    path = tmp_path / "tiny.tflite"
    keeping, combining = [], []
    for name, number in vars(schema.BuiltinOperator).items():
        if isinstance(number, int):
            root.operatorCodes[-1].builtinCode = number
            path.write_bytes(pack(root))
            facts = read_facts(path)
            if facts.heads == (Head.SIGMOID,):
                (keeping if facts.logit_scales == (1 / 16,) else combining).append(name)
    assert sorted(keeping) == sorted(KEEPING)
    assert sorted({*combining} - {"LOGISTIC"}) == sorted(COMBINING)


@pytest.mark.parametrize("last", ["ADD", "MUL"])
def test_a_factor_that_the_file_stores_in_float16_keeps_the_head(
    make_network: Callable[..., bytes], tmp_path: Path, last: str
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.convert.to_tflite.share_buffers import pack

    root = schema.ModelT.InitFromPackedBuf(followed_by(make_network(head="SOFTMAX"), last))
    graph, code, operator = root.subgraphs[0], schema.OperatorCodeT(), schema.OperatorT()
    stored, used = len(graph.tensors), len(graph.tensors) + 1
    for dtype in (schema.TensorType.FLOAT16, schema.TensorType.FLOAT32):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = np.array([1], np.int32), dtype, 0
        graph.tensors.append(tensor)
    code.builtinCode = schema.BuiltinOperator.DEQUANTIZE
    root.operatorCodes.append(code)
    operator.opcodeIndex, operator.inputs, operator.outputs = len(root.operatorCodes) - 1, [stored], [used]
    graph.operators[-1].inputs = [*graph.operators[-1].inputs, used]
    graph.operators.insert(0, operator)
    path = tmp_path / "half.tflite"
    path.write_bytes(pack(root))
    assert read_facts(path).heads == (Head.SOFTMAX,)


@pytest.mark.parametrize(
    ("head", "last", "expected"),
    [
        ("LOG_SOFTMAX", "EXP", Head.SOFTMAX),
        ("SOFTMAX", "EXP", Head.LOGITS),
        (None, "EXP", Head.LOGITS),
        ("SUM", "EXP", Head.LOGITS),
        ("SUM", "DIV", Head.SOFTMAX),
        ("MEAN", "DIV", Head.LOGITS),
        ("LOG_SOFTMAX", "DIV", Head.LOGITS),
    ],
)
def test_the_exponential_of_a_log_softmax_and_a_quotient_by_a_sum_are_a_softmax(
    make_network: Callable[..., bytes], tmp_path: Path, head: str | None, last: str, expected: Head
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(followed_by(make_network(head=head), last))
    assert read_facts(path).heads == (expected,)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        ("uint8", 1 / 256, 0, Head.SOFTMAX),
        ("int8", 1 / 256, -128, Head.SOFTMAX),
        ("uint8", 1 / 256, 1, Head.LOGITS),
        ("int8", 1 / 256, -127, Head.LOGITS),
        ("int8", 1 / 256, 0, Head.LOGITS),
        ("uint8", 1 / 255, 0, Head.LOGITS),
        ("int16", 1 / 256, -128, Head.LOGITS),
    ],
)
def test_quantized_values_from_0_to_255_256ths_are_probabilities(
    make_network: Callable[..., bytes],
    tmp_path: Path,
    dtype: str,
    scale: float,
    zero_point: int,
    expected: Head,
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(make_network(dtype=dtype, quantization=(scale, zero_point), head=None))
    assert read_facts(path).heads == (expected,)


def test_probabilities_of_each_head() -> None:
    assert probabilities_of(Head.SOFTMAX, (0.25, 0.5)) == (0.25, 0.5)
    assert probabilities_of(Head.SIGMOID, (0.75, 0.5)) == (0.75, 0.5)
    assert probabilities_of(Head.SIGMOID, (0.75,)) == (0.25, 0.75)
    assert probabilities_of(Head.LOGITS, (0.0,)) == (0.5, 0.5)
    assert probabilities_of(Head.LOGITS, (-1000.0,)) == (1.0, 0.0)
    assert probabilities_of(Head.LOGITS, (1000.0,)) == (0.0, 1.0)
    assert probabilities_of(Head.LOGITS, (1.0, 1.0)) == (0.5, 0.5)


@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.LOGITS])
def test_the_softmax_of_the_logits_is_the_probabilities(head: Head) -> None:
    outputs = (0.5, 0.375, 0.125, 0.0)
    exponents = np.exp(logits_of(head, outputs))
    assert np.allclose(exponents / exponents.sum(), probabilities_of(head, outputs))


def test_a_quantized_zero_is_half_a_step_and_the_zeros_of_many_classes_are_a_tenth_together() -> None:
    assert calibrated_logits_of(Head.SOFTMAX, (0.75, 0.25, 0.0)) == pytest.approx(
        (math.log(0.75), math.log(0.25), math.log(1 / 512))
    )
    many = np.exp(calibrated_logits_of(Head.SOFTMAX, (0.453, *[0.0] * 1000)))
    assert many[1:].sum() == pytest.approx(0.1, rel=1e-2)


def test_logits_that_look_like_probabilities_stay_logits() -> None:
    assert calibrated_logits_of(Head.LOGITS, (0.75, 0.25, 0.0)) == (0.75, 0.25, 0.0)


@pytest.mark.parametrize(("head", "is_softmax"), [(None, False), ("SOFTMAX", True)])
def test_with_a_manifest_and_no_evidence_the_graph_decides_what_the_outputs_are(
    make_network: Callable[..., bytes], tmp_path: Path, head: str | None, is_softmax: bool
) -> None:
    path = tmp_path / "tiny.tflite"
    network = make_network(dtype="uint8", quantization=(1 / 70, 0), head=head)
    path.write_bytes(attach(network, Manifest(("a", "b", "c"), 8, "int8-ptq", temperature=2.0)))
    with Classifier(path) as classifier:
        outputs = classifier.raw_outputs(FRAME)["probabilities"].dequantize()
        probabilities = classifier.predict(FRAME).probabilities
    # these logits could be mistaken for probabilities, because none is negative and their sum is 1
    assert outputs.sum() == pytest.approx(1, abs=0.01)
    exponents = np.sqrt(outputs) if is_softmax else np.exp(outputs / 2)
    assert probabilities == pytest.approx(tuple(exponents / exponents.sum()))
