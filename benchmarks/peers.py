"""Other ways to run the same .tflite on the same frames, side by side, each in an environment of its own.

    python -m benchmarks.peers [MODEL] --source photos/ [--num-runs 1024] [--json]

The command makes each environment from its lock, once, in the folder of the caches. In each a process holds
one peer; they take turns, FRAMES frames each. From frame to decision a peer does what most examples of it do:
centre square, resizing, and the most probable class. `litert-invoke` is the limit: it is timed without them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, cast

import numpy as np

from benchmarks.conditions import Company
from benchmarks.frames import FRAMES, GENERATED, Frames, frames_of_source
from benchmarks.latency import NS_PER_MS, Progress, Spread, spread
from benchmarks.report import NOT_MEASURED, Table
from benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge import DISCLAIMER
from edge.arguments import make_parser, positive_int
from edge.errors import DermedgeError, ModelError
from edge.shipped import DEFAULT_MODEL, SHIPPED, model_path
from edge.tuning import cache_folder

ROOT = Path(__file__).resolve().parent.parent
OURS = "dermedge"
# Peer -> the lock of its environment.
PEERS = {
    OURS: "device",
    "litert-invoke": "device",
    "litert": "device",
    "litert-compiled-model": "device",
    "opencv-dnn": "device",
    "tflite-runtime": "device-tflite-runtime",
    "mediapipe": "mediapipe",
}
NUM_RUNS = 1024
WARMUP_TURNS = 4
BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class Peer:
    """What one peer did.

    Attributes:
        name: of PEERS.
        failure: why it did not run, or None; then the figures below are there.
        latency: frame to decision in milliseconds; of litert-invoke, the inference alone.
        agreement: the share of the frames whose most probable class is that of dermedge.
        peak_mb: the most memory of its process.
        install_mb: of its environment's packages; some serve several peers.
    """

    name: str
    failure: str | None
    latency: Spread | None
    agreement: float | None
    peak_mb: float | None
    install_mb: float | None


class Worker:
    """The process of one peer. A context manager.

    Raises:
        ModelError: the peer does not run the model; the message is its own.
    """

    def __init__(self, name: str, python: Path, model: Path, frames: Path) -> None:
        command = [str(python), "-m", "benchmarks.peer_worker", name, str(model.resolve()), str(frames)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "SILENT"}
        # a file, and no pipe that nobody reads while it fills
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._requests, self._answers = (
            cast(IO[str], self._process.stdin),
            cast(IO[str], self._process.stdout),
        )
        try:
            self.turn()
        except ModelError:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def turn(self) -> dict[str, Any]:
        """Shows it all frames once: ``ns`` and ``classes``, one each, and ``peak_bytes``."""
        with suppress(BrokenPipeError):
            self._requests.write("\n")
            self._requests.flush()
        # libraries write to standard output too
        for line in self._answers:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise ModelError(self._last_words())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._answers, self._errors):
            stream.close()
        with suppress(BrokenPipeError):
            self._requests.close()

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        return said[-1] if said and status > 0 else f"its process died with status {status}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    arguments = _parse(argv)
    frames, origin = frames_of_source(arguments.source)
    company = Company()
    peers = measure_peers(arguments.model, frames, arguments.num_runs, _tell)
    others = company.cores()
    if arguments.json:
        print(json.dumps([asdict(peer) for peer in peers], indent=1))
    else:
        print(to_text(peers, origin, others))
    return 0


def measure_peers(model: Path, frames: Frames, num_runs: int, progress: Progress) -> list[Peer]:
    """Makes the environments, and lets all peers that run take turns until each has ``num_runs`` times."""
    pythons = {}
    for lock in dict.fromkeys(PEERS.values()):
        progress(f"environment of {lock}")
        pythons[lock] = make_environment(lock)
    failures: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        saved = Path(folder) / "frames.npy"
        np.save(saved, np.stack(frames))
        for name, lock in PEERS.items():
            try:
                workers[name] = stack.enter_context(Worker(name, pythons[lock], model, saved))
            except ModelError as error:
                failures[name] = str(error)
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        for number in range(WARMUP_TURNS + -(-num_runs // len(frames))):
            progress(f"turn {number + 1}")
            for name, worker in workers.items():
                turns[name].append(worker.turn())
    ours = turns[OURS][-1]["classes"] if OURS in turns else None
    return [
        _peer(name, failures.get(name), turns.get(name, [])[WARMUP_TURNS:], ours, pythons[PEERS[name]])
        for name in PEERS
    ]


def make_environment(lock: str) -> Path:
    """The Python of an environment with the packages of a lock, made where it is missing or out of date.

    Raises:
        ModelError: the packages cannot be installed here.
    """
    folder = cache_folder() / "peers" / lock
    packages, python = ROOT / "locks" / f"{lock}.txt", folder / "bin" / "python"
    made = folder / "lock.txt"
    if made.is_file() and made.read_bytes() == packages.read_bytes():
        return python
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), *install, "-r", str(packages)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(f"cannot make the environment of {lock}: {reason}")
    made.write_bytes(packages.read_bytes())
    return python


def to_text(peers: Sequence[Peer], origin: str, others_cores: float | None) -> str:
    """A table for the terminal, with what failed and why below."""
    head = ("peer", "median", "95 % interval", "p99", "to dermedge", "same class", "peak MB", "install MB")
    ours = next((peer.latency for peer in peers if peer.name == OURS), None)
    rows = tuple(_cells(peer, peer.latency, ours) for peer in peers if peer.latency)
    runs = max((peer.latency.n for peer in peers if peer.latency), default=0)
    title = f"Frame to decision, ms, 1 thread, n = {runs}, peers in turn; litert-invoke: the inference alone."
    failed = [f"{peer.name} does not run it: {peer.failure}" for peer in peers if peer.failure]
    noisy = others_cores is not None and others_cores > MAX_OTHERS_CORES
    # the peers are others too, but only one works at a time
    doubt = [f"perhaps {NOISY}: this and other processes kept {others_cores:.2f} cores busy"] if noisy else []
    return "\n".join(
        [Table(title, head, rows).to_text(), "", *failed, f"frames: {origin}", *doubt, DISCLAIMER]
    )


def _cells(peer: Peer, latency: Spread, ours: Spread | None) -> tuple[str, ...]:
    return (
        peer.name,
        f"{latency.median:.2f}",
        f"[{latency.low:.2f}, {latency.high:.2f}]",
        f"{latency.p99:.2f}",
        f"{latency.median / ours.median:.2f}" if ours else NOT_MEASURED,
        NOT_MEASURED if peer.agreement is None else f"{peer.agreement:.0%}",
        NOT_MEASURED if peer.peak_mb is None else f"{peer.peak_mb:.0f}",
        NOT_MEASURED if peer.install_mb is None else f"{peer.install_mb:.0f}",
    )


def _peer(
    name: str, failure: str | None, turns: Sequence[dict[str, Any]], ours: list[int] | None, python: Path
) -> Peer:
    if failure is not None:
        return Peer(name, failure, None, None, None, None)
    times_ms = [ns / NS_PER_MS for turn in turns for ns in turn["ns"]]
    same = [one == other for one, other in zip(turns[-1]["classes"], ours or [], strict=ours is not None)]
    peak = turns[-1]["peak_bytes"]
    return Peer(
        name=name,
        failure=None,
        latency=spread(times_ms),
        agreement=sum(same) / len(same) if same else None,
        peak_mb=peak and peak / BYTES_PER_MB,
        install_mb=_size_mb(python.parent.parent),
    )


def _size_mb(environment: Path) -> float:
    """Of what is installed in an environment, without pip and setuptools that made it."""
    [packages] = environment.glob("lib/python*/site-packages")
    files = (path for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    tools = ("pip", "setuptools", "_distutils_hack")
    return (
        sum(
            path.stat().st_size for path in files if not path.relative_to(packages).parts[0].startswith(tools)
        )
        / BYTES_PER_MB
    )


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<40}", end="\r", file=sys.stderr, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser("peers", "The same .tflite and frames in other runtimes, side by side.")
    parser.prog = "python -m benchmarks.peers"
    parser.add_argument(
        "model",
        nargs="?",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"a .tflite file, or one that ships: {', '.join(SHIPPED)}",
    )
    parser.add_argument("--source", help=f"what to show: a picture, folder, video, camera, or {GENERATED}")
    parser.add_argument(
        "--num-runs", type=positive_int, default=NUM_RUNS, help=f"frames, at least; {FRAMES} a turn"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DermedgeError as failure:
        print(f"peers: error: {failure}", file=sys.stderr)
        sys.exit(2)
