"""Times the same .tflite file on the same frames in other runtimes.

    python -m dermedge.benchmarks.lab peers [MODEL] --source photos/ [--num-threads 1] [--num-runs 1024]

A peer is a runtime, or a way to use a runtime. Each peer runs in a separate process. The packages of a peer are
installed once, from a lock file, into a Python environment in the cache folder. The peers run alternately. In one turn,
a peer classifies all frames once.

The time is measured from the frame to the decision. This includes four steps: cropping the centre square, resizing with
averaging, the inference, and finding the most probable class. `litert-bilinear` resizes without averaging. For
`litert-invoke`, only the inference is timed. No peer that runs the same inference can be faster than `litert-invoke`.

ONNX Runtime and NCNN cannot open a .tflite file. ONNX Runtime runs an int8 network that tf2onnx makes from the .tflite
file. NCNN runs a float32 network that tf2onnx and pnnx make from the weights in the .tflite file. OpenVINO opens the
.tflite file, and reports the number types of its convolutions. A peer is not timed if the peer and dermedge find
different most probable classes on more than 20 % of the frames.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.child import ROOT, run_program
from dermedge.benchmarks.conditions import OtherProcesses
from dermedge.benchmarks.frames import FRAMES, Frames, frames_of_source
from dermedge.benchmarks.lab.cli import command_line
from dermedge.benchmarks.lab.lab_report import (
    Circumstances,
    LabReport,
    check_options,
    circumstances_of,
    deliver,
    report_parser,
)
from dermedge.benchmarks.lab.line_process import LineProcess
from dermedge.benchmarks.lab.peer_conversions import TO_NCNN, TO_ONNX, PeerConversion
from dermedge.benchmarks.latency import NS_PER_MS, Spread, median_interval, spread
from dermedge.benchmarks.memory import BYTES_PER_MB
from dermedge.benchmarks.status_line import ShowStatus, show_status
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import ToolError
from dermedge.edge.model.tuning import cache_folder
from dermedge.edge.text_table import NOT_MEASURED, TextTable, measured

__all__ = [
    "LEAST_AGREEMENT",
    "LIMIT",
    "OURS",
    "PEERS",
    "TURN_TIMEOUT_S",
    "WARMUP_TURNS",
    "PeerAnswers",
    "PeerProcess",
    "PeerResult",
    "PeerSetup",
    "main",
    "make_environment",
    "make_environments",
    "measure_peers",
    "to_report",
]

OURS, LIMIT, _SAME_FILE = "dermedge", "litert-invoke", "litert"
_BILINEAR = "litert-bilinear"
_TFLITE = "the .tflite"


@dataclass(frozen=True)
class PeerSetup:
    """The way in which a peer runs a model.

    Attributes:
        lock: name of the lock file from which the environment of the peer is installed.
        form: description of the model format that the peer runs.
        conversion: converts the .tflite file to the file that the peer opens; None if the peer opens the .tflite file.
        takes_threads: whether the number of threads of the peer can be set.
    """

    lock: str
    form: str = _TFLITE
    conversion: PeerConversion | None = None
    takes_threads: bool = True

    def locks(self) -> tuple[str, ...]:
        """Returns the names of the lock files of all environments that the peer needs."""
        return (self.lock, *(self.conversion.locks if self.conversion else ()))


PEERS = {
    OURS: PeerSetup("device"),
    LIMIT: PeerSetup("device"),
    _SAME_FILE: PeerSetup("device"),
    _BILINEAR: PeerSetup("device", "the .tflite on images resized without averaging"),
    "litert-compiled-model": PeerSetup("device"),
    "tensorflow": PeerSetup("tensorflow"),
    "tflite-runtime": PeerSetup("device-tflite-runtime"),
    "onnxruntime": PeerSetup("onnxruntime", "ONNX made by tf2onnx: int8 between Q and DQ nodes", TO_ONNX),
    "openvino": PeerSetup("openvino"),
    "ncnn": PeerSetup("ncnn", "float32 with the weights of the .tflite, by tf2onnx and pnnx", TO_NCNN),
    "mediapipe": PeerSetup("mediapipe", takes_threads=False),
    "opencv-dnn": PeerSetup("device"),
}
# A peer is not timed if it gives the same answer as dermedge on less than this fraction of the frames. Such a peer
# probably does not run the same network.
LEAST_AGREEMENT = 0.8
_NUM_RUNS = 1024
WARMUP_TURNS = 4
# A peer that has not answered after this time is killed.
TURN_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class PeerResult:
    """The results of one peer.

    Attributes:
        name: key in PEERS.
        form: description of the model format that the peer ran.
        failure: reason why the peer did not run, or ended early; None without a failure. If the peer ended early, the
            values below are from the turns before the failure.
        latency: latency from frame to decision in milliseconds; for litert-invoke, latency of the inference alone.
        ratio: time of the peer divided by the time of dermedge in the same turn; median over all turns.
        ratio_low: lower end of the 95 % confidence interval of the ratio.
        ratio_high: upper end of the 95 % confidence interval of the ratio.
        agreement: fraction of the frames on which the peer and dermedge have the same most probable class.
        furthest: largest difference between a probability from the peer and the same probability from LiteRT's
            interpreter, 0 to 1. None for dermedge, because its probabilities are calibrated.
        cores: mean number of cores that the peer kept busy.
        peak_mb: highest memory of the process of the peer, in 10^6 bytes.
        install_mb: size of the packages in the environment of the peer, in 10^6 bytes. Peers may share an environment.
        arithmetic: number types in which the runtime computes; None if the runtime does not report them.
    """

    name: str
    form: str
    failure: str | None = None
    latency: Spread | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    agreement: float | None = None
    furthest: float | None = None
    cores: float | None = None
    peak_mb: float | None = None
    install_mb: float | None = None
    arithmetic: str | None = None


@dataclass
class PeerAnswers:
    """The answers that the peers have given so far.

    Attributes:
        answers: the answers of each peer in each turn. The keys are the names of the peers.
        failures: the reason why a peer failed. The keys are the names of the peers that failed.
    """

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class PeerProcess(LineProcess):
    """The process of one peer.

    Attributes:
        first_turn: result of the first call of `turn`.

    Raises:
        ToolError: the peer cannot run the model. The message is the error message of the peer.
    """

    def __init__(self, name: str, python: Path, model: Path, frames: Path, num_threads: int) -> None:
        worker = [str(python), "-m", "dermedge.benchmarks.lab.children.peer"]
        super().__init__(
            [*worker, name, str(model.resolve()), str(frames), str(num_threads)],
            {"PYTHONPATH": str(ROOT), "OPENCV_LOG_LEVEL": "SILENT"},
        )
        try:
            self.first_turn = self.turn()
        except ToolError:
            self.close()
            raise

    def turn(self) -> dict[str, Any]:
        """Runs the peer once on all frames.

        Returns:
            A dict. ``ns``: the duration of each frame in nanoseconds. ``probabilities``: a list of the probabilities of
            all classes for each frame. ``arithmetic`` and ``cores``: as in `PeerResult`. ``peak_bytes``: the highest
            memory of the process.

        Raises:
            ToolError: the peer fails, or does not answer in time.
        """
        self.write_line()
        # libraries also write to standard output, so lines that are not JSON are skipped
        answer = self.read_line(TURN_TIMEOUT_S, prefix="{")
        if not answer:
            raise ToolError(self.last_words())
        return dict(json.loads(answer))


def main(argv: Sequence[str]) -> int:
    """Measures, prints and writes the results; returns the exit status."""
    parser = report_parser("peers", "Time the same model on the same frames in other runtimes.")
    parser.add_argument(
        "--num-runs",
        type=positive_int,
        default=_NUM_RUNS,
        help=f"time each runtime on at least this many frames. The runtimes run alternately, {FRAMES} frames at a time",
    )
    arguments = parser.parse_args(argv)
    check_options(arguments)
    frames, origin = frames_of_source(arguments.source)
    pythons, missing = make_environments(show_status)
    company = OtherProcesses()
    peers = measure_peers(
        arguments.model, frames, arguments.num_threads, arguments.num_runs, pythons, missing, show_status
    )
    others = company.busy_cores()
    if not any(peer.latency for peer in peers):
        raise ToolError(
            f"no runtime could run the model; correct the error of {peers[0].name} first: {peers[0].failure}"
        )
    command = command_line("peers", argv)
    deliver(to_report(peers, circumstances_of(arguments, command, origin), others), arguments)
    return 0


def make_environments(progress: ShowStatus) -> tuple[dict[str, Path], dict[str, str]]:
    """Makes the environments of all peers.

    Returns:
        Two dicts, whose keys are the names of lock files. The first dict holds the Python program of each environment.
        The second dict holds the reasons why the other environments could not be made.
    """
    pythons, missing = dict[str, Path](), dict[str, str]()
    for lock in dict.fromkeys(lock for way in PEERS.values() for lock in way.locks()):
        progress(f"environment of {lock}")
        try:
            pythons[lock] = make_environment(lock)
        except ToolError as error:
            missing[lock] = str(error)
    return pythons, missing


def measure_peers(
    model: Path,
    frames: Frames,
    num_threads: int,
    num_runs: int,
    pythons: Mapping[str, Path],
    missing: Mapping[str, str],
    progress: ShowStatus,
) -> list[PeerResult]:
    """Runs one turn of each peer after the other, until each peer has classified ``num_runs`` frames.

    If a peer fails, the result of the peer holds the reason. After Ctrl-C, the measurements so far are returned.

    Args:
        model: the .tflite file.
        frames: the frames that a peer classifies in each turn, uint8 [h, w, 3] BGR.
        num_threads: number of threads of the peers whose threads can be set.
        num_runs: minimum number of frames for each peer.
        pythons: first result of `make_environments`: the Python programs of the environments.
        missing: second result of `make_environments`: the reasons why environments are missing.
        progress: shows the status.
    """
    found = PeerAnswers()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        saved = folder / "frames.npy"
        np.save(saved, np.stack(frames))
        workers: dict[str, PeerProcess] = {}
        for name, way in PEERS.items():
            progress(f"starting {name}")
            try:
                for lock in way.locks():
                    if lock in missing:
                        raise ToolError(missing[lock])
                file = way.conversion.run(model, folder, pythons) if way.conversion else model
                started = stack.enter_context(PeerProcess(name, pythons[way.lock], file, saved, num_threads))
                _check_agreement(started, workers.get(OURS))
                workers[name] = started
            except ToolError as error:
                found.failures[name] = str(error)
        with suppress(KeyboardInterrupt):
            for number in range(WARMUP_TURNS + -(-num_runs // len(frames))):
                progress(f"turn {number + 1}")
                _take_turn(workers, found)
    counted = {name: turns[WARMUP_TURNS:] for name, turns in found.answers.items()}
    return [
        _peer(name, way, counted, found.failures.get(name), pythons.get(way.lock))
        for name, way in PEERS.items()
    ]


def _check_agreement(started: PeerProcess, ours: PeerProcess | None) -> None:
    """Checks that a peer runs the same network as dermedge.

    Raises:
        ToolError: the most probable classes are the same on less than LEAST_AGREEMENT of the frames.
    """
    agreement = _agreement([started.first_turn], [ours.first_turn] if ours else None)
    if agreement is not None and agreement < LEAST_AGREEMENT:
        raise ToolError(
            f"not timed, because its most probable class agrees with that of {OURS} on {agreement:.0%} of the frames; "
            f"for the same network, {LEAST_AGREEMENT:.0%} or more is expected"
        )


def make_environment(lock: str) -> Path:
    """Returns the Python program of the environment of a lock file.

    The environment is made if it is missing, or if the lock file has changed.

    Raises:
        ToolError: the packages cannot be installed here.
    """
    folder = cache_folder() / "peers" / lock
    packages, python = ROOT / "locks" / f"{lock}.txt", folder / "bin" / "python"
    made = folder / "lock.txt"
    if made.is_file() and made.read_bytes() == packages.read_bytes():
        return python
    # the packages are installed without their dependencies, because a lock file names all packages that are needed; the
    # lock file of pnnx leaves out PyTorch
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
    ]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), *install, "-r", str(packages)],
    ):
        run_program(command, f"the installation of {lock}")
    made.write_bytes(packages.read_bytes())
    return python


def to_report(peers: Sequence[PeerResult], origin: Circumstances, others_cores: float | None) -> LabReport:
    """Returns the report: a table with a row per peer that ran, the faster and slower peers, and the failures."""
    head = (
        "peer",
        "median",
        "p99",
        "ratio",
        "95 % interval",
        "same class",
        "off by",
        "peak MB",
        "disk MB",
    )
    rows = tuple(_cells(peer, peer.latency) for peer in peers if peer.latency)
    runs = max((peer.latency.n for peer in peers if peer.latency), default=0)
    threads = f"{origin.num_threads} thread{'s' if origin.num_threads > 1 else ''}"
    title = (
        f"Latency from frame to decision, ms, {origin.model}, {threads}, n = {runs}. The runtimes were measured "
        f"alternately. {LIMIT}: the inference alone. ratio: time divided by that of dermedge in the same turn. same "
        "class: frames with the same answer as dermedge. off by: largest difference between a probability and that of "
        f"{_SAME_FILE}. peak MB: highest memory of the process. disk MB: size of the packages."
    )
    values = {"others_cores": others_cores, "peers": [asdict(peer) for peer in peers]}
    lines = (*_standing(peers), *_remarks(peers), *_doubts(others_cores, origin.num_threads))
    return LabReport("peers", origin, (TextTable(title, head, rows),), lines, values)


def _take_turn(workers: dict[str, PeerProcess], found: PeerAnswers) -> None:
    """Runs one turn of each peer. A peer that fails gets no further turns."""
    for name, worker in list(workers.items()):
        try:
            found.answers.setdefault(name, []).append(worker.turn())
        except ToolError as error:
            found.failures[name] = str(error)
            del workers[name]


def _peer(
    name: str,
    way: PeerSetup,
    counted: Mapping[str, Sequence[dict[str, Any]]],
    failure: str | None,
    python: Path | None,
) -> PeerResult:
    turns = counted.get(name)
    if not turns:
        return PeerResult(name, way.form, failure or "Ctrl-C ended the experiment before its first turn")
    ratio = _ratio(turns, counted.get(OURS, ()))
    peak = turns[-1]["peak_bytes"]
    return PeerResult(
        name=name,
        form=way.form,
        failure=failure,
        latency=spread([ns / NS_PER_MS for turn in turns for ns in turn["ns"]]),
        ratio=ratio and ratio[0],
        ratio_low=ratio and ratio[1],
        ratio_high=ratio and ratio[2],
        agreement=_agreement(turns, counted.get(OURS)),
        furthest=None if name == OURS else _furthest(turns, counted.get(_SAME_FILE)),
        arithmetic=turns[-1]["arithmetic"],
        cores=float(np.mean([turn["cores"] for turn in turns])),
        peak_mb=peak and peak / BYTES_PER_MB,
        install_mb=_size_mb(python.parent.parent) if python else None,
    )


def _ratio(
    turns: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]
) -> tuple[float, float, float] | None:
    """Returns the time of a peer divided by the time of dermedge.

    The three values are the median over the turns, and the lower and upper end of the 95 % confidence interval. Returns
    None if there are no turns.
    """
    ratios = [
        float(np.median(theirs["ns"]) / np.median(own["ns"]))
        for theirs, own in zip(turns, ours, strict=False)
    ]
    return (float(np.median(ratios)), *median_interval(ratios)) if ratios else None


def _agreement(turns: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]] | None) -> float | None:
    if not ours:
        return None
    return float(np.mean(_probabilities(turns).argmax(axis=1) == _probabilities(ours).argmax(axis=1)))


def _furthest(turns: Sequence[dict[str, Any]], litert: Sequence[dict[str, Any]] | None) -> float | None:
    return float(np.abs(_probabilities(turns) - _probabilities(litert)).max()) if litert else None


def _probabilities(turns: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Returns the probabilities of the last turn, [frames, classes].

    A peer returns the same probabilities in each turn.
    """
    return np.array(turns[-1]["probabilities"])


def _remarks(peers: Sequence[PeerResult]) -> list[str]:
    """Returns notes on failures, converted files, number types, and peers whose number of threads cannot be set."""
    failed = [
        f"{peer.name} {'ended early' if peer.latency else 'did not run'}: {peer.failure}"
        for peer in peers
        if peer.failure
    ]
    forms = [f"{peer.name} ran {peer.form}" for peer in peers if peer.form != _TFLITE and peer.latency]
    told = [f"{peer.name} computes the {peer.arithmetic}" for peer in peers if peer.arithmetic]
    free = [
        f"{peer.name} has no setting for the number of threads; it kept {peer.cores:.1f} cores busy"
        for peer in peers
        if peer.cores is not None and not PEERS[peer.name].takes_threads
    ]
    return [*failed, *forms, *told, *free]


def _doubts(others_cores: float | None, num_threads: int) -> list[str]:
    # The processes of the peers count as other processes. Only one of them works at a time, on num_threads threads. So
    # the runtimes themselves may keep num_threads cores busy.
    if others_cores is None or others_cores <= num_threads + MAX_OTHERS_CORES:
        return []
    return [
        f"{NOISY}: the runtimes and other processes kept {others_cores:.2f} cores busy; the ratios remain valid"
    ]


def _standing(peers: Sequence[PeerResult]) -> list[str]:
    """Returns notes that compare the peers with dermedge.

    One note names the slower peers, and one note names the faster peers. A third note names the peers whose difference
    from dermedge may be chance.
    """
    rivals = [peer for peer in peers if peer.name not in (OURS, LIMIT) and peer.ratio is not None]
    ahead = [peer for peer in rivals if peer.ratio_low is not None and peer.ratio_low > 1]
    behind = [peer for peer in rivals if peer.ratio_high is not None and peer.ratio_high < 1]
    standings = {
        f"dermedge is faster than {len(ahead)} of {len(rivals)} runtimes": ahead,
        "dermedge is slower than": behind,
        "no difference beyond noise": [peer for peer in rivals if peer not in ahead + behind],
    }
    lines = [
        f"{what}: {', '.join(f'{peer.name} ({peer.ratio:.2f})' for peer in which)}"
        for what, which in standings.items()
        if which
    ]
    return [*lines, *_outside_inference({peer.name: peer for peer in peers if peer.latency})]


def _outside_inference(peers: Mapping[str, PeerResult]) -> list[str]:
    """Returns a note with the time outside the inference, for dermedge, litert and litert-bilinear."""
    limit = peers[LIMIT].ratio if LIMIT in peers else None
    if limit is None:
        return []
    medians = {name: peer.latency.median for name, peer in peers.items() if peer.latency}
    parts = [
        f"{name} {medians[name] - medians[LIMIT]:.2f}"
        for name in (OURS, _SAME_FILE, _BILINEAR)
        if name in medians
    ]
    return [
        f"dermedge takes {1 / limit:.2f} times as long from frame to decision as the bare inference; ms outside the "
        f"inference: {', '.join(parts)}"
    ]


def _cells(peer: PeerResult, latency: Spread) -> tuple[str, ...]:
    interval = None if peer.ratio is None else f"[{peer.ratio_low:.2f}, {peer.ratio_high:.2f}]"
    return (
        peer.name,
        f"{latency.median:.2f}",
        f"{latency.p99:.2f}",
        measured(peer.ratio, ".2f"),
        interval or NOT_MEASURED,
        measured(peer.agreement, ".0%"),
        "-" if peer.name == OURS else measured(peer.furthest, ".1%"),
        measured(peer.peak_mb, ".0f"),
        measured(peer.install_mb, ".0f"),
    )


def _size_mb(environment: Path) -> float:
    """Returns the size of the packages in an environment, without pip and setuptools, in 10^6 bytes."""
    [packages] = environment.glob("lib/python*/site-packages")
    files = (path for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    tools = ("pip", "setuptools", "_distutils_hack")
    return (
        sum(
            path.stat().st_size for path in files if not path.relative_to(packages).parts[0].startswith(tools)
        )
        / BYTES_PER_MB
    )
