"""Several replicas learn what one process learns from the same batches. A lost worker is reported in one line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf
import tf_keras as keras

from dermedge import cli
from dermedge.edge.errors import OptionError, WorkerError
from dermedge.train.data.catalogue import Photo
from dermedge.train.fit import distribution
from dermedge.train.fit.batches import TrainingBatches
from dermedge.train.fit.distribution import (
    STRATEGIES,
    Cluster,
    check_batch,
    end_stalled_training,
    is_chief,
    meet_workers,
    read_cluster,
    report_lost_workers,
    reseed_dropout,
    share_batches,
)
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import trained_network

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 300
OPTIONS = ["--arch", "cnn", "--imgsz", "32", "--epochs", "2", "--qat-epochs", "1", "--batch", "12"]
ON_TWO_CPUS = """
import sys, dermedge.train
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from dermedge import cli
sys.exit(cli.main(sys.argv[1:]))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a recipe that ends with the average of the weights."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text('{"ema_decay": 0.8}')
    return ["--recipe", str(path)]


@pytest.fixture(scope="module")
def single_run(
    labelled_set: Path, averaged: list[str], tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """The weights that one process on one device learns."""
    path = tmp_path_factory.mktemp("single") / "run"
    assert cli.main(["train", "--data", str(labelled_set), "--output", str(path), *OPTIONS, *averaged]) == 0
    return RunFolder(path)


@pytest.fixture
def start() -> Iterator[Start]:
    """A function (words of a Python command, environment) that starts the command.

    All commands are killed in the end.
    """
    processes: list[subprocess.Popen[str]] = []

    def run(*words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def free_ports(count: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def config(ports: list[int], index: int) -> str:
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def start_two_workers(start: Start, *options: str) -> list[subprocess.Popen[str]]:
    ports = free_ports(2)
    command = ["-m", "dermedge", "train", "--strategy", "multi-worker", *options]
    return [start(*command, TF_CONFIG=config(ports, index)) for index in range(2)]


def assert_learned_the_same(run: RunFolder, single: RunFolder) -> None:
    """The results are equal up to the order of float sums.

    The activation ranges of tfmot differ a little more, because they are means over the parts that the
    replicas get.
    """
    rows, expected = run.history(), single.history()
    assert [(row["stage"], row["epoch"]) for row in rows] == [("float", "1"), ("float", "2"), ("qat", "1")]
    for row, other in zip(rows, expected, strict=True):
        tolerance = 2e-5 if row["stage"] == "float" else 2e-3
        for key in ("loss", "val_loss"):
            assert float(row[key]) == pytest.approx(float(other[key]), abs=tolerance)
    for stage, tolerance in (("float", 1e-5), ("qat", 1e-3)):
        pairs = zip(
            trained_network(run, stage).get_weights(),
            trained_network(single, stage).get_weights(),
            strict=True,
        )
        assert max(float(np.abs(a - b).max()) for a, b in pairs) < tolerance


def test_no_thread_that_tunes_the_batches_keeps_an_epoch_from_ending() -> None:
    photos = [Photo(name, "", "", "", name, name, "s") for name in ("a", "b")]
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    batches = TrainingBatches(pixels, photos, ("a", "b"), batch_size=2, photos_per_epoch=2, seed=0, epoch=0)
    shared = share_batches(batches, tf.distribute.get_strategy())
    assert shared.options().autotune.enabled is False
    assert [pictures.shape for pictures, _ in shared] == [(2, 32, 32, 3)]


def test_two_devices_learn_what_one_does(
    start: Start, single_run: RunFolder, averaged: list[str], labelled_set: Path, tmp_path: Path
) -> None:
    command = ["train", "--strategy", "mirrored", "--data", str(labelled_set), "--output"]
    process = start("-c", ON_TWO_CPUS, *command, str(tmp_path / "run"), *OPTIONS, *averaged)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    assert_learned_the_same(RunFolder(tmp_path / "run"), single_run)


def test_two_workers_learn_what_one_process_does(
    start: Start, single_run: RunFolder, averaged: list[str], labelled_set: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "run"
    workers = start_two_workers(start, "--data", str(labelled_set), "--output", str(run), *OPTIONS, *averaged)
    (told, _), (other, _) = (worker.communicate(timeout=TIMEOUT_S) for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sum(line.startswith(("float epoch", "qat ")) for line in told.splitlines()) == 3
    assert other == ""
    assert_learned_the_same(RunFolder(run), single_run)
    # The copy of the other worker is deleted.
    assert sorted(path.name for path in run.parent.iterdir()) == [".cache", "run"]


def test_ctrl_c_ends_a_worker_and_the_chief_says_so(start: Start, labelled_set: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "run"
    many = ["--arch", "cnn", "--imgsz", "32", "--epochs", "10000"]
    chief, worker = start_two_workers(start, "--data", str(labelled_set), "--output", str(run), *many)
    assert chief.stdout is not None
    killer = threading.Timer(TIMEOUT_S, chief.kill)
    killer.start()
    assert any(line.startswith("float epoch") for line in chief.stdout)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(TIMEOUT_S) == 130
    _, errors = chief.communicate(timeout=TIMEOUT_S)
    killer.cancel()
    assert chief.returncode == 2
    assert errors.count("dermedge: error: another worker has ended") == 1
    assert "Traceback" not in errors
    assert sorted(path.name for path in run.parent.iterdir()) == [".cache", "run"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:99999"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_damaged_cluster_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match=r"environment variable TF_CONFIG, which is .*Example: \{"):
        read_cluster(text)


def test_a_cluster_begins_with_its_chief() -> None:
    cluster = {"worker": ["[::1]:1", "b:2"], "chief": ["c:3"]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}})
    assert read_cluster(text) == Cluster((("c", 3), ("::1", 1), ("b", 2)), 2)


@pytest.mark.parametrize(
    ("task", "index", "jobs", "expected"),
    [
        ("chief", 0, ["chief", "worker"], True),
        ("worker", 0, ["chief", "worker"], False),
        ("worker", 0, ["worker"], True),
        ("worker", 1, ["worker"], False),
    ],
)
def test_one_worker_alone_writes_the_run_folder(
    task: str, index: int, jobs: list[str], expected: bool
) -> None:
    cluster = SimpleNamespace(task_type=task, task_id=index, cluster_spec=lambda: SimpleNamespace(jobs=jobs))
    assert is_chief(SimpleNamespace(cluster_resolver=cluster)) is expected
    assert is_chief(SimpleNamespace(cluster_resolver=None)) is True


def test_a_batch_is_shared_by_whole_photos() -> None:
    for photos, replicas in ((12, 3), (3, 3), (7, 1)):
        check_batch(photos, SimpleNamespace(num_replicas_in_sync=replicas))
    for photos, replicas in ((13, 3), (2, 3)):
        with pytest.raises(OptionError, match=f"{replicas} replicas cannot share a batch of {photos} photos"):
            check_batch(photos, SimpleNamespace(num_replicas_in_sync=replicas))


@pytest.mark.parametrize(
    ("gpus", "replicas", "line"),
    [
        ([], 1, "device: the processor, because TensorFlow finds no GPU"),
        (["H200", ""], 1, "device: H200"),
        (["H200", ""], 2, "devices: H200, /GPU:1"),
    ],
)
def test_the_devices_of_a_training_are_named(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], replicas: int, line: str
) -> None:
    found = [SimpleNamespace(name=f"/GPU:{index}") for index in range(len(gpus))]
    details = {one.name: {"device_name": name} if name else {} for one, name in zip(found, gpus, strict=True)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu.name])
    devices = [f"/job:localhost/device:{index}" for index in range(replicas)]
    strategy = SimpleNamespace(
        num_replicas_in_sync=replicas,
        extended=SimpleNamespace(worker_devices=devices if replicas > 1 else ["CPU:0", "GPU:0", "GPU:1"]),
    )
    assert distribution.describe_devices(strategy) == line


def test_each_replica_gets_its_own_share_of_each_batch_in_order() -> None:
    photos = [Photo(str(at), "", "", "", "ab"[at % 2], "ab"[at % 2], "s") for at in range(12)]
    pixels = np.zeros((12, 32, 32, 3), np.uint8)
    batches = TrainingBatches(pixels, photos, ("a", "b"), batch_size=6, photos_per_epoch=12, seed=0, epoch=0)
    made: list[tf.data.Dataset] = []

    def distribute(read: Callable[[object], tf.data.Dataset]) -> None:
        # There are two machines, and each has one of the two replicas.
        for machine in range(2):
            made.append(
                read(
                    SimpleNamespace(num_replicas_in_sync=2, num_input_pipelines=2, input_pipeline_id=machine)
                )
            )

    strategy = SimpleNamespace(num_replicas_in_sync=2, distribute_datasets_from_function=distribute)
    share_batches(batches, strategy)
    first, second = ([targets.numpy() for _, targets in dataset] for dataset in made)
    for batch in range(len(batches)):
        _, targets = batches[batch]
        assert np.array_equal(first[batch], targets[:3])
        assert np.array_equal(second[batch], targets[3:])


def test_an_epoch_of_a_single_batch_is_shared_whatever_its_size() -> None:
    photos = [Photo(str(at), "", "", "", "ab"[at % 2], "ab"[at % 2], "s") for at in range(12)]
    pixels = np.zeros((12, 32, 32, 3), np.uint8)
    made: list[tf.data.Dataset] = []
    context = SimpleNamespace(num_replicas_in_sync=2, num_input_pipelines=1, input_pipeline_id=0)
    two = SimpleNamespace(
        num_replicas_in_sync=2, distribute_datasets_from_function=lambda read: made.append(read(context))
    )
    # the number of sampled photos differs by one from epoch to epoch
    sizes = set()
    for epoch in range(8):
        batches = TrainingBatches(
            pixels, photos, ("a", "b"), batch_size=32, photos_per_epoch=9, seed=0, epoch=epoch
        )
        sizes.add(len(batches.order))
        share_batches(batches, two)
        assert [len(targets) for _, targets in made.pop()] == [4, 4]
    assert sizes == {8, 9}
    one = TrainingBatches(pixels, photos, ("a", "b"), batch_size=32, photos_per_epoch=1, seed=0, epoch=0)
    with pytest.raises(
        OptionError, match=r"2 replicas cannot share an epoch of 1 photo; .*--photos-per-epoch"
    ):
        share_batches(one, two)


def test_dropout_is_seeded_by_the_run_the_epoch_and_the_layer() -> None:
    seeds: list[int] = []

    class Generator:
        def reset_from_seed(self, seed: int) -> None:
            seeds.append(seed)

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)])
    for layer in network.layers:
        layer._random_generator._generator = Generator()
    for seed, sample in ((0, 0), (0, 1), (1, 0), (0, 0)):
        reseed_dropout(network, seed, sample)
    # Four calls seed two layers each. The last call repeats the first one.
    assert seeds[6:] == seeds[:2]
    assert len(set(seeds[:6])) == 6


def test_a_worker_that_does_not_answer_is_named() -> None:
    own, other = free_ports(2)
    with pytest.raises(WorkerError, match=f"the worker 127.0.0.1:{other} did not answer in 0.5 s"):
        meet_workers(Cluster((("127.0.0.1", own), ("127.0.0.1", other)), 0), timeout_s=0.5)


def test_workers_that_wait_for_each_other_are_ended_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    aborted = threading.Event()
    said: list[str] = []
    monkeypatch.setattr(distribution, "_abort_collectives", lambda text: (said.append(text), aborted.set()))
    several = SimpleNamespace(cluster_resolver=object())
    with end_stalled_training(several, timeout_s=0.05):
        assert aborted.wait(TIMEOUT_S)
    ended = r"no training step has ended for 15 minutes; .* --resume RUN"
    with pytest.raises(WorkerError, match=ended), report_lost_workers():
        raise tf.errors.UnavailableError(None, None, said[0])


def test_steps_that_end_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_abort_collectives", lambda text: pytest.fail(text))
    threads = threading.active_count()
    with end_stalled_training(SimpleNamespace(cluster_resolver=object())) as step_ended:
        step_ended()
        assert threading.active_count() == threads + 1
    with end_stalled_training(tf.distribute.get_strategy()) as step_ended:
        step_ended()
    assert threading.active_count() == threads


def test_a_worker_can_be_terminated(start: Start) -> None:
    program = (
        "import os, signal, time; from dermedge.train.fit.distribution import STRATEGIES; "
        "strategy = STRATEGIES['multi-worker'](); os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)"
    )
    worker = start("-c", program, TF_CONFIG=config(free_ports(1), 0))
    worker.communicate(timeout=TIMEOUT_S)
    assert worker.returncode == -signal.SIGTERM


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(WorkerError, match=f"cannot listen on port {port}"):
            meet_workers(Cluster((("127.0.0.1", port),), 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "multi-worker"], "needs --output RUN; give the same folder"),
        (["--strategy", "multi-worker", "--output", "RUN"], "TF_CONFIG, which is not set"),
    ],
)
def test_a_cluster_that_is_not_told_is_one_line(
    labelled_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cli.main(["train", "--data", str(labelled_set), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("dermedge: error:") == 1


def test_a_batch_that_cannot_be_shared_leaves_no_folder(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = SimpleNamespace(num_replicas_in_sync=2, cluster_resolver=None)
    monkeypatch.setitem(STRATEGIES, "mirrored", lambda: two)
    command = ["train", "--strategy", "mirrored", "--data", str(labelled_set), "--output"]
    assert cli.main([*command, str(tmp_path / "run"), *OPTIONS, "--batch", "13"]) == 2
    assert "2 replicas cannot share a batch of 13 photos equally" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
