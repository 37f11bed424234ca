"""Each op of a model, cut out and timed; no test looks at how fast this machine is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge import cli
from dermedge.benchmarks.profile import OpTime, Profile, _take_turns, cut, profile
from dermedge.benchmarks.report import BenchmarkReport, to_text
from dermedge.edge.errors import ModelError
from dermedge.edge.model.flatbuffer import read_graph

pytest.importorskip("ai_edge_litert", reason="tflite-runtime does not bring the schema of .tflite files")


@pytest.fixture(scope="module")
def root(model_path: Path) -> Any:
    from dermedge.convert.to_tflite.graph import read_model

    return read_model(model_path.read_bytes())


def test_a_cut_op_computes_what_it_does_inside_the_model(model_path: Path, root: Any) -> None:
    from dermedge.convert.to_tflite.graph import KeepingInterpreter, ops_of

    whole = KeepingInterpreter(model_path.read_bytes())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 192, 192, 3), np.uint8)
    whole.run({int(root.subgraphs[0].inputs[0]): pixels})
    for number, op in enumerate(ops_of(root)):
        part = cut(root, number, {})
        graph = _subgraph(part)
        alone = KeepingInterpreter(part)
        alone.run({to: whole.values(at) for to, at in zip(map(int, graph.inputs), op.inputs, strict=True)})
        assert np.array_equal(alone.values(int(graph.outputs[0])), whole.values(op.outputs[0])), op


def test_a_cut_op_reads_as_one_op_and_carries_only_its_own_weights(model_path: Path, root: Any) -> None:
    parts = [cut(root, number, {}) for number in range(len(root.subgraphs[0].operators))]
    described = read_graph(model_path.read_bytes(), model_path).operators
    assert [read_graph(part, "a part").operators[0].macs for part in parts] == [op.macs for op in described]
    assert all(len(read_graph(part, "a part").operators) == 1 for part in parts)
    assert sum(map(len, parts)) < 1.2 * model_path.stat().st_size


def test_weights_that_are_unpacked_go_along_with_the_op_that_reads_them() -> None:
    """As in float16 models, a DEQUANTIZE unpacks the float16 filter of a convolution."""
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.benchmarks.profile import _unpacking

    root = _float16_network(schema)
    unpacking = _unpacking(root)
    assert unpacking == {1: 0}
    part = read_graph(cut(root, 1, unpacking), "a part")
    assert [op.name for op in part.operators] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    assert [one.shape for one in part.inputs] == [(1, 4)]


def test_every_op_of_the_shipped_model_is_timed_beside_the_whole(model_path: Path) -> None:
    found = profile(model_path, max_secs=0.2)
    assert len(found.ops) == len(read_graph(model_path.read_bytes(), model_path).operators)
    assert all(op.ms is not None and op.ms > 0 for op in found.ops)
    assert found.whole_ms > 0
    assert found.rounds >= 1


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("no model at all")
    with pytest.raises(ModelError, match="text"):
        profile(tmp_path / "text.tflite")


def test_the_report_has_kinds_slowest_ops_and_how_the_parts_sum_up(report: BenchmarkReport) -> None:
    ops = (
        OpTime(0, "CONV_2D", (1, 8, 8, 4), 6_000_000, 3.0),
        OpTime(1, "ADD", (1, 8, 8, 4), 0, 0.5),
        OpTime(2, "CONV_2D", (1, 8, 8, 9), 1_000_000, 1.0),
        OpTime(3, "READ_VARIABLE", (1,), 0, None),
    )
    rows = (replace(report.rows[0], profile=Profile(ops, 4.0, 200)),)
    text = to_text(replace(report, rows=rows))
    assert "add up to 4.50 ms, which is 112% of the median of the whole network, 4.00 ms" in " ".join(
        text.split()
    )
    assert "1 of 4 ops could not be timed" in " ".join(text.split())
    lines = [line.split() for line in text.splitlines()]
    assert [*["CONV_2D", "x", "2"], "4.000", "88.9%", "7.00", "1.8"] in lines
    assert [*["0", "CONV_2D", "[1,", "8,", "8,", "4]"], "3.000", "66.7%", "6.00", "2.0"] in lines
    assert max(map(len, text.splitlines())) <= 100


def test_the_command_profiles_when_it_is_asked_to(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dermedge.benchmarks.profile.MAX_ROUNDS", 1)
    quick = ["--source", "demo", "--num-runs", "1", "--min-secs", "0.001", "--max-secs", "0.1"]
    assert cli.main(["benchmark", str(model_path), "--profile", *quick]) == 0
    assert f"The slowest ops of {model_path.stem}, 1 thread" in capsys.readouterr().out


def _subgraph(model: bytes) -> Any:
    from dermedge.convert.to_tflite.graph import read_model

    return read_model(model).subgraphs[0]


def _float16_network(schema: Any) -> Any:
    """Returns a `ModelT` that unpacks a float16 matrix, and multiplies it by an input of 4 numbers."""

    def tensor(name: str, shape: list[int], dtype: int, buffer: int) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), shape, dtype, buffer
        return made

    def operator(code: int, inputs: list[int], output: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [output]
        return made

    root, graph = schema.ModelT(), schema.SubGraphT()
    empty, weights = schema.BufferT(), schema.BufferT()
    weights.data = np.frombuffer(np.ones((3, 4), np.float16).tobytes(), np.uint8)
    types = schema.TensorType
    graph.tensors = [
        tensor("packed", [3, 4], types.FLOAT16, 1),
        tensor("unpacked", [3, 4], types.FLOAT32, 0),
        tensor("input", [1, 4], types.FLOAT32, 0),
        tensor("output", [1, 3], types.FLOAT32, 0),
    ]
    graph.operators = [operator(0, [0], 1), operator(1, [2, 1, -1], 3)]
    graph.inputs, graph.outputs = [2], [3]
    codes = []
    for builtin in (schema.BuiltinOperator.DEQUANTIZE, schema.BuiltinOperator.FULLY_CONNECTED):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        codes.append(code)
    root.version, root.operatorCodes = 3, codes
    root.subgraphs, root.buffers = [graph], [empty, weights]
    return root


class OnAClock:
    """An op that takes 10 ms in each of its first five runs, and ``later_ms`` afterwards, on a simulated clock."""

    def __init__(self, clock: list[float], later_ms: float) -> None:
        self.clock, self.later_ms, self.runs = clock, later_ms, 0

    def invoke(self) -> None:
        self.runs += 1
        self.clock[0] += (10 if self.runs <= 5 else self.later_ms) / 1e3


@pytest.mark.parametrize(("max_secs", "rounds"), [(60.0, 200), (0.199, 20), (0.0, 1)])
def test_ops_take_turns_and_their_first_five_runs_do_not_count(
    max_secs: float, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [5.0]
    monkeypatch.setattr("dermedge.benchmarks.profile.perf_counter", lambda: clock[0])
    monkeypatch.setattr("dermedge.benchmarks.profile.perf_counter_ns", lambda: round(clock[0] * 1e9))
    # Each of the first five rounds takes 20 ms, and each later round takes 5 ms. So the warm-up takes 0.1 s. If the
    # limit is 0.199 s, about 0.1 s is left, which is enough for 20 rounds.
    found = _take_turns([OnAClock(clock, 2), None, OnAClock(clock, 3)], max_secs)
    expected = [2.0, 0.0, 3.0] if max_secs else [10.0, 0.0, 10.0]
    assert len(found) == rounds
    assert all(one == pytest.approx(expected) for one in found)


def test_all_ops_run_with_the_threads_and_the_runtime_asked_for_and_one_may_refuse(
    model_path: Path, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, str]] = []

    def open_(path: Path, num_threads: int, runtime: str) -> Any:
        asked.append((path.stem, num_threads, runtime))
        if path.stem == "1":
            raise ModelError("it reads a variable")
        return OnAClock([0.0], 1)

    monkeypatch.setattr("dermedge.benchmarks.profile.open_interpreter", open_)
    monkeypatch.setattr(
        "dermedge.benchmarks.profile._take_turns",
        lambda parts, secs: [[n + 1.0 for n in range(len(parts))]] * 2,
    )
    found = profile(model_path, 3, "litert")
    described = read_graph(model_path.read_bytes(), model_path).operators
    assert asked == [(str(n), 3, "litert") for n in range(len(described))] + [(model_path.stem, 3, "litert")]
    assert [op.ms for op in found.ops] == [1.0, None, *(n + 1.0 for n in range(2, len(described)))]
    assert [(op.kind, op.macs) for op in found.ops] == [(one.name, one.macs) for one in described]
    assert (found.whole_ms, found.rounds) == (len(described) + 1.0, 2)
    assert found.parts_ms == sum(op.ms or 0 for op in found.ops)
    graph = root.subgraphs[0]
    shapes = [tuple(graph.tensors[one.outputs[0]].shape) for one in graph.operators]
    assert [op.shape for op in found.ops] == shapes
