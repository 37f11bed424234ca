"""Trains on several devices or machines, with TensorFlow's distribution strategies.

A replica is a copy of the network on one device. Each replica gets an equal share of every batch and of every dropout
mask. Therefore, the result is the same as on a single device, with two exceptions: batch norms that are trained, and
the activation ranges of the int8 stage. For these, each replica uses the statistics of only its own share of the batch.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError, WorkerError
from dermedge.edge.files import storage_error
from dermedge.train.data.counts import plural
from dermedge.train.fit.batches import TrainingBatches
from dermedge.train.fit.run_folder import RunFolder

__all__ = [
    "STRATEGIES",
    "Cluster",
    "check_batch",
    "describe_devices",
    "end_stalled_training",
    "is_chief",
    "meet_workers",
    "read_cluster",
    "report_lost_workers",
    "reseed_dropout",
    "share_batches",
    "share_dropout",
    "wait_for_all",
    "worker_copy",
]

_MEETING_TIMEOUT_S, _CONNECT_TIMEOUT_S, _RETRY_S = 300.0, 2.0, 0.2
# Training ends with an error if no step ends within this time. A step takes seconds. The first step of an epoch takes
# longer, because TensorFlow traces the graph.
STALL_TIMEOUT_S = 900.0
_STALLED = "no training step has ended"
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}, '
    "with another index on each machine"
)
# The kinds of tasks in TF_CONFIG. The replicas of the chief come before the replicas of the workers.
_JOBS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The workers that train together.

    Attributes:
        addresses: (host, port) of each worker. The chief is the first one.
        place: index of this worker in ``addresses``.
    """

    addresses: tuple[tuple[str, int], ...]
    place: int


def _single() -> tf.distribute.Strategy:
    """Returns the strategy that trains on one device."""
    return tf.distribute.get_strategy()


def _mirrored() -> tf.distribute.Strategy:
    """Returns the strategy that trains on all GPUs of this machine, or on all logical CPUs if there is no GPU."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multi_worker() -> tf.distribute.Strategy:
    """Returns the strategy that trains on all GPUs of the machines that TF_CONFIG names.

    This function waits until all workers can be reached.

    Raises:
        OptionError: the environment variable TF_CONFIG is not set, or does not describe a cluster.
        WorkerError: a worker cannot be reached, or this worker cannot start.
    """
    cluster = read_cluster(os.environ.get("TF_CONFIG", ""))
    print(
        f"worker {cluster.place + 1} of {len(cluster.addresses)}: waiting for the other workers",
        file=sys.stderr,
    )
    meet_workers(cluster)
    try:
        with _stopped_at_once():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow treats SIGTERM as a notice that the machine will be removed, and continues. Here, SIGTERM gets its
        # default effect again: it ends the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return strategy
    except tf.errors.OpError as error:
        raise WorkerError(
            f"TensorFlow cannot start this worker ({error.message.splitlines()[0]}); check TF_CONFIG, and start all "
            "workers again"
        ) from error


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {
    "single": _single,
    "mirrored": _mirrored,
    "multi-worker": _multi_worker,
}


def read_cluster(text: str) -> Cluster:
    """Returns the cluster that the value of the environment variable TF_CONFIG describes.

    Args:
        text: value of TF_CONFIG, which is JSON text. It is empty if TF_CONFIG is not set.

    Raises:
        OptionError: the text does not describe a cluster.
    """
    try:
        content = json.loads(text)
        jobs, task = content["cluster"], content["task"]
        places = [(job, index) for job in _JOBS for index in range(len(jobs.get(job, [])))]
        addresses = tuple(_address(jobs[job][index]) for job, index in places)
        if set(jobs) - set(_JOBS) or len(jobs.get("chief", [])) > 1:
            raise ValueError(
                "TF_CONFIG may name only tasks of the types chief and worker, and at most one chief"
            )
        return Cluster(addresses, places.index((task["type"], task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        given = f"'{text}' and does not describe a cluster" if text else "not set"
        raise OptionError(
            f"--strategy multi-worker needs the environment variable TF_CONFIG, which is {given}. "
            f"Example: {_EXAMPLE}"
        ) from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not 0 < int(port) < 2**16:
        raise ValueError(text)
    return host.strip("[]"), int(port)


def meet_workers(cluster: Cluster, timeout_s: float = _MEETING_TIMEOUT_S) -> None:
    """Waits until every worker listens on its port.

    TensorFlow itself would wait for up to an hour and ignore Ctrl-C.

    Raises:
        WorkerError: this worker cannot listen on its port, or another worker does not listen within ``timeout_s``.
    """
    port = cluster.addresses[cluster.place][1]
    try:
        listener = (
            socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            if socket.has_dualstack_ipv6()
            else socket.create_server(("", port))
        )
    except OSError as error:
        raise WorkerError(
            f"this worker cannot listen on port {port} ({error.strerror}); end the program that uses the port, or name "
            "another port in TF_CONFIG"
        ) from error
    with listener:
        deadline = time.monotonic() + timeout_s
        for place, address in enumerate(cluster.addresses):
            while place != cluster.place and (reason := _why_unreachable(address)):
                if time.monotonic() > deadline:
                    host, port = address
                    raise WorkerError(
                        f"the worker {host}:{port} did not answer in {timeout_s:g} s ({reason}); start all workers, "
                        "and check the addresses in TF_CONFIG"
                    )
                time.sleep(_RETRY_S)


def _why_unreachable(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process immediately within a ``with`` block.

    Python's own handler of Ctrl-C would only run after TensorFlow has stopped waiting for other workers.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def describe_devices(strategy: tf.distribute.Strategy) -> str:
    """Returns one line that names the devices of this machine on which a strategy trains."""
    # The strategy for a single device has no list of devices. It uses the first GPU.
    count = len(strategy.extended.worker_devices) if strategy.num_replicas_in_sync > 1 else 1
    gpus = tf.config.list_physical_devices("GPU")[:count]
    if not gpus:
        return "device: the processor, because TensorFlow finds no GPU"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return f"{'device' if len(gpus) == 1 else 'devices'}: {', '.join(names)}"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the chief, which writes the run folder and prints the progress."""
    cluster = strategy.cluster_resolver
    return (
        cluster is None
        or cluster.task_type == "chief"
        or (cluster.task_id == 0 and "chief" not in cluster.cluster_spec().jobs)
    )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers have called this function."""
    if strategy.cluster_resolver is None:
        return

    def meet() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(1))

    with _stopped_at_once():
        tf.function(strategy.run)(meet)


@contextmanager
def report_lost_workers() -> Iterator[None]:
    """Within a ``with`` block, raises WorkerError for the errors that TensorFlow raises after losing another worker."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        # The stack frames of an error of TensorFlow keep a thread pool alive. The pool would print an error when Python
        # ends.
        traceback.clear_frames(error.__traceback__)
        if _STALLED in error.message:
            raise WorkerError(
                f"{_STALLED} for {STALL_TIMEOUT_S / 60:.0f} minutes; all finished epochs are saved, so start all "
                "workers again with --resume RUN. If this happens again, give each worker two cores or more"
            ) from error
        raise WorkerError(
            "another worker has ended or cannot be reached; all finished epochs are saved, so start all workers again "
            "with --resume RUN"
        ) from error


@contextmanager
def end_stalled_training(
    strategy: tf.distribute.Strategy, timeout_s: float = STALL_TIMEOUT_S
) -> Iterator[Callable[[], None]]:
    """Ends training steps that wait endlessly for other workers, within a ``with`` block.

    TensorFlow notices a worker that has ended, but it does not notice workers that wait for each other. Without other
    workers, this function does nothing.

    Args:
        strategy: strategy of the training.
        timeout_s: time in seconds after which a step is ended with UnavailableError. `report_lost_workers` turns this
            error into a message.

    Yields:
        A function that must be called after each training step.
    """
    if strategy.cluster_resolver is None:
        yield lambda: None
        return
    step_ended, finished = threading.Event(), threading.Event()

    def watch() -> None:
        while step_ended.wait(timeout_s):
            step_ended.clear()
            if finished.is_set():
                return
        _abort_collectives(f"{_STALLED} for {timeout_s:g} s")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield step_ended.set
    finally:
        finished.set()
        step_ended.set()
        watcher.join()


def _abort_collectives(message: str) -> None:
    """Ends all operations of this process that wait for other workers. These operations then raise UnavailableError.

    TensorFlow itself makes the same call when it finds that a worker is lost.
    """
    from tensorflow.python.eager import context

    context.context().abort_collective_ops(tf.errors.UNAVAILABLE, message)


@contextmanager
def worker_copy(run: RunFolder, strategy: tf.distribute.Strategy) -> Iterator[RunFolder]:
    """Yields a temporary copy of a run folder for a worker that is not the chief.

    The copy lies beside the run folder. The worker needs a folder of its own, because TensorFlow requires every worker
    to write each checkpoint.

    Raises:
        StorageError: the folder cannot be copied.
    """
    cluster = strategy.cluster_resolver
    path = Path(os.path.abspath(run.path))
    copy = path.with_name(f".{path.name}.{cluster.task_type}{cluster.task_id}")
    try:
        shutil.rmtree(copy, ignore_errors=True)
        # Plots and temporary files are not copied, because the chief may be writing them.
        shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns(run.plots.name, ".*"))
        yield RunFolder(copy)
    except shutil.Error as error:
        raise storage_error(copy, error) from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def check_batch(photos: int, strategy: tf.distribute.Strategy) -> None:
    """Raises OptionError if a batch of this many photos cannot be divided equally among the replicas."""
    replicas = strategy.num_replicas_in_sync
    if photos % replicas:
        raise OptionError(
            f"{replicas} replicas cannot share a batch of {photos} photos equally; "
            f"give a --batch that is a multiple of {replicas}"
        )


def share_batches(batches: TrainingBatches, strategy: tf.distribute.Strategy) -> Any:
    """Returns the batches as a TensorFlow dataset for `keras.Model.fit`.

    Each batch is divided into equal shares, one for each replica. If an epoch has a single batch that is not full, some
    of its last photos may be left out, so that the shares are equal.

    Raises:
        OptionError: a full batch cannot be divided equally among the replicas, or the epoch has fewer photos than there
            are replicas.
    """
    check_batch(batches.batch_size, strategy)
    if batches.photos < strategy.num_replicas_in_sync:
        raise OptionError(
            f"{strategy.num_replicas_in_sync} replicas cannot share an epoch of {plural(batches.photos, 'photo')}; "
            "start a new run with a greater --photos-per-epoch"
        )

    def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def shares() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
            for batch in range(len(batches)):
                images, targets = batches[batch]
                size = len(images) // replicas
                for start in range(first * size, (first + here) * size, size):
                    yield images[start : start + size], targets[start : start + size]

        signature = (
            tf.TensorSpec((None, *batches.pixels.shape[1:]), tf.float32),
            tf.TensorSpec((None, batches.classes), tf.float32),
        )
        # Autotuning is switched off. Nothing here can be tuned, and each epoch would wait a minute for the autotuning
        # thread.
        options = tf.data.Options()
        options.autotune.enabled = False
        made = tf.data.Dataset.from_generator(shares, output_signature=signature).prefetch(here)
        return made.with_options(options)

    return strategy.distribute_datasets_from_function(read)


class _SharedGenerator:
    """A random generator that makes numbers for a whole batch, and gives each replica those for its share of the batch.

    A single replica gets the same numbers as from ``generator`` itself.

    Args:
        generator: generator that was made within the scope of the strategy. Each replica then has its own copy of the
            state, and all copies are equal.
    """

    def __init__(self, generator: tf.random.Generator) -> None:
        self.generator = generator

    def reset_from_seed(self, seed: int) -> None:
        """Resets the generator, as `tf.random.Generator.reset_from_seed` does."""
        self.generator.reset_from_seed(seed)

    def uniform(self, shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Returns random numbers from 0 to 1 for one replica.

        ``shape`` is the shape of the result. ``shape[0]`` is the number of images that the replica gets from a batch.
        """
        replica = tf.distribute.get_replica_context()
        rows = shape[0]
        whole = tf.concat([[rows * replica.num_replicas_in_sync], shape[1:]], 0)
        # The state before the call consists of a counter (two numbers) and a key. `tf.random.Generator.uniform` is not
        # used here, because it would add the index of the replica to the state.
        state = tf.bitcast(self.generator.skip(tf.reduce_prod(whole)), tf.uint64)
        numbers = tf.raw_ops.StatelessRandomUniformV2(
            shape=whole, key=state[2:3], counter=state[:2], alg=self.generator.algorithm, dtype=dtype
        )
        start = tf.cast(replica.replica_id_in_sync_group, rows.dtype) * rows
        return numbers[start : start + rows]


def _dropout_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """Returns all dropout layers of a model in a fixed order, including the layers of nested models."""
    return [layer for layer in model.submodules if isinstance(layer, keras.layers.Dropout)]


def share_dropout(model: keras.Model) -> None:
    """Makes the dropout masks of a batch independent of the number of replicas.

    The masks are made for the whole batch, and each replica uses the rows for its share of the batch.
    Call this function within the scope of the strategy, and before the training.
    """
    for layer in _dropout_layers(model):
        layer._random_generator._generator = _SharedGenerator(layer._random_generator._generator)


def reseed_dropout(model: keras.Model, seed: int, sample: int) -> None:
    """Seeds the dropout of one epoch, so that a resumed run uses the same dropout masks as an uninterrupted run.

    The dropout is seeded again in each epoch, because a checkpoint does not store the states of the random generators.

    Args:
        model: network in training.
        seed: seed of the run.
        sample: index of the epoch. The count starts at 0 and goes on from the first stage to the second stage.
    """
    for place, layer in enumerate(_dropout_layers(model)):
        state = np.random.SeedSequence([seed, sample, place]).generate_state(1)
        layer._random_generator._generator.reset_from_seed(int(state[0]))
