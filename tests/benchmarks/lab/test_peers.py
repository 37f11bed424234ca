"""Peers side by side, here all in the environment of the tests; no test looks at how fast this machine is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dermedge.benchmarks.lab.peers
from dermedge.benchmarks.frames import frames_of_source
from dermedge.benchmarks.lab import cli as lab
from dermedge.benchmarks.lab.children.peer import centre_square, shares
from dermedge.benchmarks.lab.lab_report import Circumstances
from dermedge.benchmarks.lab.peers import (
    LIMIT,
    OURS,
    PEERS,
    ROOT,
    WARMUP_TURNS,
    PeerResult,
    make_environment,
    make_environments,
    measure_peers,
    to_report,
)
from dermedge.benchmarks.latency import spread
from dermedge.edge.errors import ToolError

HERE = {lock: Path(sys.executable) for way in PEERS.values() for lock in way.locks()}


def quiet(text: str) -> None:
    """Takes the progress messages, and ignores them."""


@pytest.fixture
def origin(model_path: Path) -> Circumstances:
    from dermedge.benchmarks.machine import describe_machine

    machine = describe_machine("litert", root=Path("/nowhere"))
    return Circumstances(
        "2026-11-24T09:00:00+00:00", "python -m x", machine, "a.tflite", "0" * 64, 2, "16 frames"
    )


def peers_here(
    model: Path, names: list[str], monkeypatch: pytest.MonkeyPatch, runs: int = 4
) -> list[PeerResult]:
    """Runs these peers on three frames in the environment of the tests. A peer fails if its packages are missing."""
    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "PEERS", {name: PEERS[name] for name in names})
    return measure_peers(model, frames_of_source("demo")[0][:3], 1, runs, HERE, {}, quiet)


def test_peers_that_run_agree_and_others_say_why(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert", reason="its peers are not installed")
    names = ["dermedge", "litert-invoke", "litert", "litert-bilinear", "mediapipe", "openvino"]
    peers = {peer.name: peer for peer in peers_here(model_path, names, monkeypatch)}
    assert list(peers) == names
    for name in names[:3]:
        assert peers[name].failure is None
        assert peers[name].agreement == 1
        assert peers[name].latency is not None
        assert peers[name].latency.n == 6  # only whole turns of 3 frames count
    assert peers["litert"].furthest == peers["litert-invoke"].furthest == 0
    assert (peers[OURS].ratio, peers[OURS].ratio_low, peers[OURS].ratio_high) == (1, 1, 1)
    assert peers[LIMIT].cores is not None
    for name in names[4:]:
        assert name in (peers[name].failure or "")
        assert peers[name].latency is None


def test_tensorflow_answers_as_litert_does(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert", reason="its peers are not installed")
    pytest.importorskip("tensorflow", reason="only the full environment has it")
    peers = {
        peer.name: peer for peer in peers_here(model_path, ["dermedge", "litert", "tensorflow"], monkeypatch)
    }
    assert peers["tensorflow"].failure is None
    assert peers["tensorflow"].furthest == 0


def test_a_peer_that_dies_keeps_what_it_has_and_the_others_go_on(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_litert", reason="its peers are not installed")
    turn = dermedge.benchmarks.lab.peers.PeerProcess.turn
    asked: dict[str, int] = {}

    def dying(worker: Any) -> dict[str, Any]:
        name = worker.process.args[3]
        asked[name] = asked.get(name, 0) + 1
        # The peer takes one turn when it starts, and then the warm-up turns. It dies in its second counted turn.
        if name == "litert" and asked[name] > 1 + WARMUP_TURNS + 1:
            worker.process.kill()
        return turn(worker)

    monkeypatch.setattr(dermedge.benchmarks.lab.peers.PeerProcess, "turn", dying)
    ours, died = peers_here(model_path, ["dermedge", "litert"], monkeypatch, runs=9)
    assert ours.failure is None
    assert ours.latency is not None
    assert ours.latency.n == 9
    assert "died with status" in (died.failure or "")
    assert died.latency is not None
    assert died.latency.n == 3


def test_a_peer_that_hangs_is_ended(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "TURN_TIMEOUT_S", 0.01)
    [peer] = peers_here(model_path, ["dermedge"], monkeypatch)
    assert "died with status" in (peer.failure or "")


def test_ctrl_c_keeps_the_turns_that_were_taken(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = dermedge.benchmarks.lab.peers._take_turn

    def interrupted(workers: dict[str, Any], found: Any) -> None:
        if len(found.answers.get("dermedge", [])) == WARMUP_TURNS + 1:
            raise KeyboardInterrupt
        take(workers, found)

    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "_take_turn", interrupted)
    [peer] = peers_here(model_path, ["dermedge"], monkeypatch, runs=1000)
    assert peer.failure is None
    assert peer.latency is not None
    assert peer.latency.n == 3


def test_a_damaged_model_is_one_line_of_each_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    for peer in peers_here(damaged, ["dermedge", "litert", "onnxruntime"], monkeypatch):
        assert peer.failure
        assert "\n" not in peer.failure


def test_an_environment_that_cannot_be_made_leaves_out_its_peers_alone(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(lock: str) -> Path:
        if lock == "tf2onnx":
            raise ToolError("no network")
        return Path(sys.executable)

    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "make_environment", make)
    monkeypatch.setattr(
        dermedge.benchmarks.lab.peers, "PEERS", {name: PEERS[name] for name in ("dermedge", "onnxruntime")}
    )
    pythons, missing = make_environments(quiet)
    peers = measure_peers(model_path, frames_of_source("demo")[0][:1], 1, 1, pythons, missing, quiet)
    assert [peer.failure for peer in peers] == [None, "no network"]


def test_where_no_environment_can_be_made_the_command_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(lock: str) -> Path:
        raise ToolError("no network")

    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "make_environment", make)
    assert lab.main(["peers", "--source", "demo"]) == 2
    assert (
        capsys.readouterr().err
        == "dermedge: error: no runtime could run the model; correct the error of dermedge first: no network\n"
    )


def test_a_peer_that_answers_otherwise_is_not_timed(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = dermedge.benchmarks.lab.peers.PeerProcess.turn

    def turned(worker: Any) -> dict[str, Any]:
        answer = turn(worker)
        if worker.process.args[3] == "litert":
            answer["probabilities"] = [one[::-1] for one in answer["probabilities"]]
        return answer

    monkeypatch.setattr(dermedge.benchmarks.lab.peers.PeerProcess, "turn", turned)
    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "LEAST_AGREEMENT", 1.01)
    ours, litert = peers_here(model_path, ["dermedge", "litert"], monkeypatch)
    assert ours.failure is None
    assert litert.latency is None
    assert "its most probable class agrees with that of dermedge on" in (litert.failure or "")


def test_ncnn_gets_the_float_network_of_the_file() -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from dermedge.benchmarks.lab.children.cut_onnx import cut

    network, normalization = cut(_dequantized(onnx))
    assert normalization == {"mean": 128.0, "scale": 0.0078125, "side": 8}
    assert [node.op_type for node in network.graph.node] == ["GlobalAveragePool", "Squeeze", "Softmax"]


def _dequantized(onnx: Any) -> Any:
    """Returns a small network as tf2onnx --dequantize writes it. Its third output does not belong to the classes."""
    floats, uint8, make = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.helper
    axes = onnx.numpy_helper.from_array(np.array([2, 3]), "axes")
    constants = [
        make.make_tensor("zero", floats, [], [128.0]),
        make.make_tensor("step", floats, [], [1 / 128]),
    ]
    nodes = [
        make.make_node("Cast", ["pixels"], ["cast"], to=floats),
        make.make_node("Sub", ["cast", "zero"], ["moved"]),
        make.make_node("Mul", ["moved", "step"], ["normal"]),
        make.make_node("Transpose", ["normal"], ["planes"], perm=[0, 3, 1, 2]),
        make.make_node("GlobalAveragePool", ["planes"], ["pooled"]),
        make.make_node("Squeeze", ["pooled", "axes"], ["logits"]),
        make.make_node("Softmax", ["logits"], ["shares"]),
        make.make_node("ReduceMean", ["logits"], ["close_up"]),
    ]
    shapes = [("shares", [1, 3]), ("close_up", [1, 1])]
    graph = make.make_graph(
        nodes,
        "small",
        [make.make_tensor_value_info("pixels", uint8, [1, 8, 8, 3])],
        [make.make_tensor_value_info(name, floats, shape) for name, shape in shapes],
        [*constants, axes],
    )
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])


def test_an_environment_is_made_once_and_again_for_another_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        (tmp_path / "cache/dermedge/peers/some").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/some.txt").write_text("one==1")
    python = make_environment("some")
    assert make_environment("some") == python
    assert len(commands) == 2
    assert "--require-hashes" in commands[1]
    (tmp_path / "locks/some.txt").write_text("one==2")
    make_environment("some")
    assert len(commands) == 4


def test_packages_that_cannot_be_installed_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], 1, b"", b"much\nno wheel for this Python\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ToolError, match="installation of device failed: no wheel for this Python"):
        make_environment("device")


def test_every_peer_has_a_lock_and_a_way_to_run() -> None:
    from dermedge.benchmarks.lab.children import peer

    assert list(PEERS) == list(peer.PEERS)
    assert all((ROOT / "locks" / f"{lock}.txt").is_file() for lock in HERE)


def test_the_report_tells_who_is_ahead_what_failed_and_what_was_not_the_same_file(
    origin: Circumstances,
) -> None:
    def peer(name: str, ms: float, **values: Any) -> PeerResult:
        ratio = ms / 2
        return PeerResult(
            name, PEERS[name].form, None, spread([ms] * 20), ratio, ratio, ratio, 0.75, 0.02, 1.5, **values
        )

    peers = [
        peer("dermedge", 2.0, peak_mb=80.0, install_mb=300.0),
        peer("litert-invoke", 1.8),
        peer("litert-bilinear", 1.9),
        peer("onnxruntime", 5.0),
        replace(peer("mediapipe", 3.0), ratio_low=0.9, arithmetic="convolutions in u8: 3"),
        PeerResult("opencv-dnn", "the .tflite", "no such layer"),
    ]
    report = to_report(peers, origin, 3.5)
    text = report.to_text()
    words = " ".join(text.split())
    assert "2 threads" in text
    assert "The runtimes were measured alternately. " in words
    assert "[2.50, 2.50]         75%    2.0%  not measured" in text
    assert "dermedge is faster than 1 of 3 runtimes: onnxruntime (2.50)" in text
    assert "dermedge is slower than: litert-bilinear (0.95)" in text
    assert "no difference beyond noise: mediapipe (1.50)" in text
    assert (
        "takes 1.11 times as long from frame to decision as the bare inference; ms outside the inference: "
        in words
    )
    assert "inference: dermedge 0.20, litert-bilinear" in words
    assert "opencv-dnn did not run: no such layer" in words
    assert "onnxruntime ran ONNX made by tf2onnx" in words
    assert "mediapipe computes the convolutions in u8: 3" in words
    assert "mediapipe has no setting for the number of threads; it kept 1.5 cores busy" in words
    assert "noisy: the runtimes and other processes kept 3.50 cores busy" in words
    assert "not a medical device" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "| litert-invoke |" in report.to_markdown()
    content = json.loads(report.to_json())
    assert content["schema"] == "dermedge-peers/1"
    assert [one["name"] for one in content["peers"]] == [one.name for one in peers]


def test_the_peers_at_work_are_not_other_processes(origin: Circumstances) -> None:
    assert "noisy" not in to_report([], origin, 2.05).to_text()


def test_probabilities_are_shares_of_their_sum() -> None:
    assert shares(np.array([[0, 64, 192]], np.uint8)).tolist() == [0, 0.25, 0.75]
    assert shares(np.array([-128, -64, 64], np.int8)).tolist() == [0, 0.25, 0.75]
    assert shares([0.5, 0.5]).tolist() == [0.5, 0.5]


def test_the_scores_are_those_of_the_classes_not_of_the_view() -> None:
    from dermedge.benchmarks.lab.children.peer import _opened

    class Opened:
        def allocate_tensors(self) -> None: ...

        def get_input_details(self) -> list[dict[str, Any]]:
            return [{"shape": [1, 192, 192, 3], "index": 0}]

        def get_output_details(self) -> list[dict[str, Any]]:
            shapes = ([1, 1], [1, 6, 6, 9], [1, 9])
            return [{"shape": shape, "index": index} for index, shape in enumerate(shapes, 1)]

    assert _opened(Opened())[1:] == (192, 0, 3)


def test_the_centre_square_is_rgb() -> None:
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, 20:60] = (1, 2, 3)
    assert np.array_equal(centre_square(frame, 8), np.full((8, 8, 3), (3, 2, 1)))


def test_wrong_input_is_one_line_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dermedge.benchmarks.lab.peers, "make_environment", lambda lock: pytest.fail("made"))
    (tmp_path / "file").touch()
    for arguments, words in (
        ([], "--source demo"),
        ([str(tmp_path / "absent.tflite"), "--source", "demo"], "absent.tflite' does not exist"),
        (["--source", "demo", "--num-threads", "0"], "'0' is not a whole number of 1 or more"),
        (["--source", "demo", "--output", str(tmp_path / "file" / "out")], "cannot write"),
        (["--source", str(tmp_path / "nothing")], "nothing"),
    ):
        assert lab.main(["peers", *arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert words in said.err
        assert said.err.count("\n") == 1
