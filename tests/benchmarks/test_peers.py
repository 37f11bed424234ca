"""Peers side by side, here all in the environment of the tests; no test looks at how fast this machine is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks.peers
from benchmarks.frames import frames_of_source
from benchmarks.latency import spread
from benchmarks.peer_worker import centre_square
from benchmarks.peers import PEERS, ROOT, Peer, main, make_environment, measure_peers, to_text
from edge.errors import ModelError


@pytest.fixture
def in_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed; peers whose packages are absent fail, as they do where these do not run."""
    monkeypatch.setattr(benchmarks.peers, "make_environment", lambda lock: Path(sys.executable))


def test_peers_that_run_agree_and_others_say_why(in_this_environment: None, model_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="its peers are not installed")
    frames, _ = frames_of_source("demo")
    peers = {peer.name: peer for peer in measure_peers(model_path, frames[:3], 4, lambda text: None)}
    assert list(peers) == list(PEERS)
    for name in ("dermedge", "litert-invoke", "litert"):
        assert peers[name].failure is None
        assert peers[name].agreement == 1
        assert peers[name].latency is not None
        assert peers[name].latency.n == 6  # whole turns of 3 frames
    failure = peers["mediapipe"].failure
    assert failure is not None
    assert "mediapipe" in failure
    assert peers["mediapipe"].latency is None


def test_a_model_that_is_missing_is_one_line_of_each_peer(in_this_environment: None, tmp_path: Path) -> None:
    peers = measure_peers(tmp_path / "absent.tflite", frames_of_source("demo")[0][:1], 1, lambda text: None)
    assert all(peer.failure and "\n" not in peer.failure for peer in peers)


def test_an_environment_is_made_once_and_again_for_another_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (tmp_path / "cache/dermedge/peers/some").mkdir(parents=True, exist_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(benchmarks.peers, "ROOT", tmp_path)
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
    failed = subprocess.CompletedProcess([], 1, "", "much\nno wheel for this Python\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ModelError, match="environment of device: no wheel for this Python"):
        make_environment("device")


def test_every_peer_has_a_lock_and_a_way_to_run() -> None:
    from benchmarks import peer_worker

    assert list(PEERS) == list(peer_worker.PEERS)
    assert all((ROOT / "locks" / f"{lock}.txt").is_file() for lock in PEERS.values())


def test_the_table_tells_ratios_failures_and_company() -> None:
    ours = Peer("dermedge", None, spread([2.0] * 20), 1.0, 80.0, 300.0)
    slow = Peer("mediapipe", None, spread([5.0] * 20), 0.75, None, 640.0)
    dead = Peer("opencv-dnn", "no such layer", None, None, None, None)
    text = to_text([ours, slow, dead], "16 frames", 1.5)
    assert "2.50         75%  not measured" in text
    assert "opencv-dnn does not run it: no such layer" in text
    assert "perhaps noisy" in text
    assert "not a medical device" in text
    assert max(map(len, text.splitlines()[:6])) <= 100


def test_the_centre_square_is_rgb() -> None:
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, 20:60] = (1, 2, 3)
    assert np.array_equal(centre_square(frame, 8), np.full((8, 8, 3), (3, 2, 1)))


def test_the_command_asks_for_pictures() -> None:
    with pytest.raises(benchmarks.peers.DermedgeError, match="--source demo"):
        main([])
