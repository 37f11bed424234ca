"""Times each operator ("op") of a .tflite file on this device.

The runtime offers no profile to Python. Therefore each op is copied into a separate model, together with the ops that
unpack the weights of this op. These models and the whole model are timed alternately. An op by itself does not take
exactly as long as inside the whole model, for two reasons: each separate model adds the cost of a call, and ops that
the runtime would fuse are separate. Therefore the result states the sum of the times of the ops beside the time of the
whole model.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np

from dermedge.edge.errors import ModelError
from dermedge.edge.model.flatbuffer import read_graph, tflite_schema
from dermedge.edge.model.runtime import Interpreter, open_interpreter

__all__ = ["MAX_ROUNDS", "OpTime", "Profile", "cut", "profile"]

_WARMUP_ROUNDS = 5
MAX_ROUNDS = 200
_MAX_SECS = 10.0
_NS_PER_MS = 1e6
_CONSTANT_BUFFER = 0


@dataclass(frozen=True)
class OpTime:
    """The time of one op.

    Attributes:
        number: index of the op in the order of execution, from 0.
        kind: name of the op in the schema of .tflite files, such as ``CONV_2D``.
        shape: shape of the first output of the op.
        macs: number of multiply-accumulates.
        ms: median time of the op by itself in milliseconds; None if the op cannot run by itself.
    """

    number: int
    kind: str
    shape: tuple[int, ...]
    macs: int
    ms: float | None


@dataclass(frozen=True)
class Profile:
    """The times of all ops of one model with one number of threads.

    Attributes:
        ops: ops in the order of execution, without ops that only unpack weights.
        whole_ms: median time of the whole model in milliseconds. The whole model was timed alternately with the ops.
        rounds: number of runs of each op and of the whole model.
    """

    ops: tuple[OpTime, ...]
    whole_ms: float
    rounds: int

    @property
    def parts_ms(self) -> float:
        """The sum of the op times. The closer this sum is to `whole_ms`, the more exact the op times are."""
        return sum(op.ms or 0.0 for op in self.ops)


def profile(model: Path, num_threads: int = 1, runtime: str = "auto", max_secs: float = _MAX_SECS) -> Profile:
    """Times each op of a model, and the whole model.

    Raises:
        ModelError: the model cannot be read or run.
        MissingExtra: the schema of .tflite files is not installed.
    """
    content = model.read_bytes()
    described = read_graph(content, model).operators
    root = tflite_schema().ModelT.InitFromPackedBuf(content, 0)
    graph = root.subgraphs[0]
    unpacking = _unpacking(root)
    numbers = [number for number in range(len(graph.operators)) if number not in unpacking.values()]
    with TemporaryDirectory() as folder:
        parts = []
        for number in numbers:
            path = Path(folder) / f"{number}.tflite"
            path.write_bytes(cut(root, number, unpacking))
            parts.append(_open(path, num_threads, runtime))
        times_ms = _take_turns([*parts, open_interpreter(model, num_threads, runtime)], max_secs)
    *of_ops, whole = np.median(times_ms, axis=0).tolist()
    operators = list(islice(described, len(graph.operators)))
    ops = tuple(
        OpTime(
            number=number,
            kind=operators[number].name,
            shape=tuple(int(side) for side in graph.tensors[graph.operators[number].outputs[0]].shape),
            macs=operators[number].macs,
            ms=None if part is None else ms,
        )
        for number, part, ms in zip(numbers, parts, of_ops, strict=True)
    )
    return Profile(ops, whole, len(times_ms))


def cut(root: Any, number: int, unpacking: dict[int, int]) -> bytes:
    """Returns the content of a .tflite file that holds one op, and that has the inputs and outputs of this op.

    Args:
        root: the `ModelT` of the whole model, which is not changed.
        number: index of the op in the first subgraph.
        unpacking: the result of `_unpacking`. The ops that unpack an input of the op are included in the file.
    """
    from dermedge.convert.to_tflite.share_buffers import pack

    graph = root.subgraphs[0]
    wanted = graph.operators[number]
    operators = [graph.operators[unpacking[at]] for at in map(int, wanted.inputs) if at in unpacking]
    operators.append(wanted)
    indices = dict.fromkeys(
        int(at)
        for one in operators
        for at in (*one.inputs, *one.outputs)
        if at >= 0  # -1 means an absent input
    )
    place = {at: new for new, at in enumerate(indices)}
    tensors, buffers = [], [copy(root.buffers[_CONSTANT_BUFFER])]
    for at in indices:
        tensor = copy(graph.tensors[at])
        if _is_constant(root, at):
            buffers.append(root.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = _CONSTANT_BUFFER
        tensors.append(tensor)
    part, single = copy(root), copy(graph)
    single.tensors = tensors
    single.operators = [_moved(one, place) for one in operators]
    given = (at for at in map(int, wanted.inputs) if at >= 0 and at not in unpacking)
    single.inputs = list(dict.fromkeys(place[at] for at in given if not _is_constant(root, at)))
    single.outputs = [place[int(at)] for at in wanted.outputs]
    part.subgraphs, part.buffers = [single], buffers
    part.metadata = part.metadataBuffer = part.signatureDefs = None
    return pack(part)


def _unpacking(root: Any) -> dict[int, int]:
    """Finds the ops that only unpack constants. All inputs of such an op are constants.

    An example is a DEQUANTIZE op whose input is float16 weights.

    Returns:
        A dict with an entry for each of these ops. The key is the index of the tensor that the op computes. The value
        is the index of the op.
    """
    return {
        int(operator.outputs[0]): number
        for number, operator in enumerate(root.subgraphs[0].operators)
        if len(operator.inputs) and all(_is_constant(root, int(at)) for at in operator.inputs if at >= 0)
    }


def _is_constant(root: Any, index: int) -> bool:
    buffer = root.buffers[root.subgraphs[0].tensors[index].buffer]
    return (buffer.data is not None and len(buffer.data) > 0) or buffer.offset > 1


def _moved(operator: Any, place: dict[int, int]) -> Any:
    moved = copy(operator)
    moved.inputs = [place.get(int(at), -1) for at in operator.inputs]
    moved.outputs = [place[int(at)] for at in operator.outputs]
    moved.intermediates = None
    return moved


def _open(path: Path, num_threads: int, runtime: str) -> Interpreter | None:
    """Returns an interpreter; None if the op cannot run by itself, for example because it reads a variable."""
    try:
        interpreter = open_interpreter(path, num_threads, runtime)
        interpreter.invoke()
    except (ModelError, RuntimeError):
        return None
    return interpreter


def _take_turns(interpreters: Sequence[Interpreter | None], max_secs: float) -> list[list[float]]:
    """Runs the interpreters alternately for one or more rounds.

    Returns:
        The milliseconds of each run, [rounds][interpreters]; 0 if the interpreter is None.
    """
    rounds: list[list[float]] = []
    ends = perf_counter() + max_secs
    while not rounds or (len(rounds) < _WARMUP_ROUNDS + MAX_ROUNDS and perf_counter() < ends):
        rounds.append([_invoke_ms(one) if one else 0.0 for one in interpreters])
    return rounds[_WARMUP_ROUNDS:] or rounds


def _invoke_ms(interpreter: Interpreter) -> float:
    started = perf_counter_ns()
    interpreter.invoke()
    return (perf_counter_ns() - started) / _NS_PER_MS
