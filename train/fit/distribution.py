"""Training on several devices or machines by TensorFlow's strategies; what is learned does not depend on it.

Every batch is shared equally by the replicas, and so is every dropout mask. Batch norms that learn take the
statistics of their replica's share alone, as does tensorflow-model-optimization with activation ranges.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError, WorkerError
from dermedge.edge.files import storage_error
from dermedge.train.fit.batches import TrainingBatches
from dermedge.train.fit.run_folder import RunFolder

MEETING_TIMEOUT_S, CONNECT_TIMEOUT_S, RETRY_S = 300.0, 2.0, 0.2
EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}, '
    "with another index on each machine"
)
JOBS = ("chief", "worker")  # in the order of their replicas


@dataclass(frozen=True)
class Cluster:
    """All workers as (host, port), the chief first, and the place of this one among them."""

    addresses: tuple[tuple[str, int], ...]
    place: int


def single() -> tf.distribute.Strategy:
    """One device."""
    return tf.distribute.get_strategy()


def mirrored() -> tf.distribute.Strategy:
    """All GPUs of this machine, or all its logical CPUs where it has no GPU."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def multi_worker() -> tf.distribute.Strategy:
    """The machines of TF_CONFIG, each with all its GPUs; waits for them.

    Raises:
        OptionError: there is no TF_CONFIG, or it names no cluster.
        WorkerError: a worker cannot be reached.
    """
    cluster = read_cluster(os.environ.get("TF_CONFIG", ""))
    print(f"worker {cluster.place + 1} of {len(cluster.addresses)}: waiting for the others", file=sys.stderr)
    meet_workers(cluster)
    try:
        with _stopped_at_once():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise WorkerError(f"cannot start this worker: {error.message.splitlines()[0]}") from error


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {
    "single": single,
    "mirrored": mirrored,
    "multi-worker": multi_worker,
}


def read_cluster(text: str) -> Cluster:
    """The cluster of a TF_CONFIG.

    Raises:
        OptionError: it is not one.
    """
    try:
        content = json.loads(text)
        jobs, task = content["cluster"], content["task"]
        places = [(job, index) for job in JOBS for index in range(len(jobs.get(job, [])))]
        addresses = tuple(_address(jobs[job][index]) for job, index in places)
        if set(jobs) - set(JOBS) or len(jobs.get("chief", [])) > 1:
            raise ValueError("other tasks than one chief and workers")
        return Cluster(addresses, places.index((task["type"], task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        given = f"'{text}'" if text else "not set"
        raise OptionError(
            f"--strategy multi-worker needs the environment variable TF_CONFIG, which is {given}. "
            f"Example: {EXAMPLE}"
        ) from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not 0 < int(port) < 2**16:
        raise ValueError(text)
    return host.strip("[]"), int(port)


def meet_workers(cluster: Cluster, timeout_s: float = MEETING_TIMEOUT_S) -> None:
    """Waits until every worker listens: TensorFlow itself would wait an hour for one, deaf to Ctrl-C.

    Raises:
        WorkerError: this one cannot listen, or another does not in time.
    """
    port = cluster.addresses[cluster.place][1]
    try:
        listener = (
            socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            if socket.has_dualstack_ipv6()
            else socket.create_server(("", port))
        )
    except OSError as error:
        raise WorkerError(f"this worker cannot listen on port {port}: {error.strerror}") from error
    with listener:
        deadline = time.monotonic() + timeout_s
        for place, address in enumerate(cluster.addresses):
            while place != cluster.place and (reason := _why_unreachable(address)):
                if time.monotonic() > deadline:
                    host, port = address
                    raise WorkerError(f"the worker {host}:{port} did not answer in {timeout_s:g} s: {reason}")
                time.sleep(RETRY_S)


def _why_unreachable(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Ctrl-C ends the process while TensorFlow waits for other workers and Python cannot hear it."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes the run folder and tells how the training goes."""
    cluster = strategy.cluster_resolver
    return (
        cluster is None
        or cluster.task_type == "chief"
        or (cluster.task_id == 0 and "chief" not in cluster.cluster_spec().jobs)
    )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when all workers have called it."""
    if strategy.cluster_resolver is None:
        return

    def meet() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(1))

    with _stopped_at_once():
        tf.function(strategy.run)(meet)


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Turns what TensorFlow raises when another worker has gone into WorkerError."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        # TensorFlow leaves a pool of threads in them, which would complain when Python ends
        traceback.clear_frames(error.__traceback__)
        raise WorkerError(
            "another worker has ended or cannot be reached; every finished epoch is kept: "
            "start all workers again with --resume RUN"
        ) from error


@contextmanager
def worker_copy(run: RunFolder, strategy: tf.distribute.Strategy) -> Iterator[RunFolder]:
    """A copy of a run folder for a worker that is not the chief, beside it while it is needed.

    TensorFlow wants all workers to write each checkpoint.
    """
    cluster = strategy.cluster_resolver
    copy = run.path.with_name(f".{run.path.name}.{cluster.task_type}{cluster.task_id}")
    try:
        shutil.rmtree(copy, ignore_errors=True)
        # the chief may be writing plots, and parts of files
        shutil.copytree(run.path, copy, ignore=shutil.ignore_patterns(run.plots.name, ".*"))
        yield RunFolder(copy)
    except shutil.Error as error:
        raise storage_error(copy, error) from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def check_batch(photos: int, strategy: tf.distribute.Strategy) -> None:
    """Raises OptionError where the replicas cannot share a batch equally."""
    replicas = strategy.num_replicas_in_sync
    if photos % replicas:
        raise OptionError(
            f"{replicas} replicas cannot share a batch of {photos} photos equally; "
            f"choose a --batch that is a multiple of {replicas}"
        )


def share_batches(batches: TrainingBatches, strategy: tf.distribute.Strategy) -> Any:
    """The batches as a data set for `keras.Model.fit`, in which each replica finds its share of each.

    Raises:
        OptionError: the shares are not equal.
    """
    check_batch(min(batches.batch_size, len(batches.order)), strategy)

    def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def shares() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
            for batch in range(len(batches)):
                pictures, wanted = batches[batch]
                size = len(pictures) // replicas
                for start in range(first * size, (first + here) * size, size):
                    yield pictures[start : start + size], wanted[start : start + size]

        signature = (
            tf.TensorSpec((None, *batches.pixels.shape[1:]), tf.float32),
            tf.TensorSpec((None, batches.classes), tf.float32),
        )
        # nothing here can be tuned, and the end of an epoch would wait a minute for the thread that would
        options = tf.data.Options()
        options.autotune.enabled = False
        made = tf.data.Dataset.from_generator(shares, output_signature=signature).prefetch(here)
        return made.with_options(options)

    return strategy.distribute_datasets_from_function(read)


class SharedGenerator:
    """A `tf.random.Generator` that draws for the whole batch, and gives each replica its rows of that.

    One replica gets what the generator itself would say.

    Args:
        generator: made within the scope of the strategy: every replica has its own state, all of them equal.
    """

    def __init__(self, generator: tf.random.Generator) -> None:
        self.generator = generator

    def reset_from_seed(self, seed: int) -> None:
        self.generator.reset_from_seed(seed)

    def uniform(self, shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Numbers from 0 to 1 of a replica's ``shape``, whose first axis is the rows of its share."""
        replica = tf.distribute.get_replica_context()
        rows = shape[0]
        whole = tf.concat([[rows * replica.num_replicas_in_sync], shape[1:]], 0)
        # the state before: a counter of two numbers and the key, where `uniform` of it adds the replica
        state = tf.bitcast(self.generator.skip(tf.reduce_prod(whole)), tf.uint64)
        drawn = tf.raw_ops.StatelessRandomUniformV2(
            shape=whole, key=state[2:3], counter=state[:2], alg=self.generator.algorithm, dtype=dtype
        )
        start = tf.cast(replica.replica_id_in_sync_group, rows.dtype) * rows
        return drawn[start : start + rows]


def dropout_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """All dropout layers, those within others too, in a fixed order."""
    return [layer for layer in model.submodules if isinstance(layer, keras.layers.Dropout)]


def share_dropout(model: keras.Model) -> None:
    """Has the replicas drop what one process would; within the scope of the strategy, before training."""
    for layer in dropout_layers(model):
        layer._random_generator._generator = SharedGenerator(layer._random_generator._generator)


def reseed_dropout(model: keras.Model, seed: int, draw: int) -> None:
    """Starts the dropout of an epoch from a state of its own: a checkpoint does not hold its generators."""
    for place, layer in enumerate(dropout_layers(model)):
        state = np.random.SeedSequence([seed, draw, place]).generate_state(1)
        layer._random_generator._generator.reset_from_seed(int(state[0]))
