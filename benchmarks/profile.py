"""Times each operator ("op") of a .tflite file on this device.

The runtime offers no profile to Python. Therefore every op is cut out into a model of its own, with the ops that
unpack its weights, and these models and the whole model take turns. The time of a separate op differs from its part
of the whole time: each model adds the cost of a call, and ops that would be fused are separate. The result states how
far the sum of the ops is from the whole time.
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
        number: index in the order of execution, from 0.
        kind: name in the schema, such as ``CONV_2D``.
        shape: shape of its first output.
        macs: multiply-accumulates.
        ms: median time of the op by itself; None if it cannot run by itself.
    """

    number: int
    kind: str
    shape: tuple[int, ...]
    macs: int
    ms: float | None


@dataclass(frozen=True)
class Profile:
    """All ops of one model at one number of threads.

    Attributes:
        ops: operators in the order of execution, without those that only unpack weights.
        whole_ms: median time of the whole model, measured in turn with them.
        rounds: number of runs of each.
    """

    ops: tuple[OpTime, ...]
    whole_ms: float
    rounds: int

    @property
    def parts_ms(self) -> float:
        """The sum over the ops; its difference from `whole_ms` shows how exact the parts are."""
        return sum(op.ms or 0.0 for op in self.ops)


def profile(model: Path, num_threads: int = 1, runtime: str = "auto", max_secs: float = _MAX_SECS) -> Profile:
    """Times every op of a model, and the model.

    Raises:
        ModelError: the model cannot be read or run.
        MissingExtra: the schema is not installed.
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
    """Returns a .tflite of one op, with the op's inputs and outputs.

    Args:
        root: a `ModelT`; it is not changed.
        number: number of the op in the first subgraph.
        unpacking: the result of `_unpacking`; the ops whose output this op reads are included.
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
    """Returns tensor -> the op that computes it from constants only, such as DEQUANTIZE of float16 weights."""
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
    """Returns an interpreter, or None for an op that cannot run by itself, such as one that reads a variable."""
    try:
        interpreter = open_interpreter(path, num_threads, runtime)
        interpreter.invoke()
    except (ModelError, RuntimeError):
        return None
    return interpreter


def _take_turns(interpreters: Sequence[Interpreter | None], max_secs: float) -> list[list[float]]:
    """Returns milliseconds [rounds][interpreters] of one or more rounds; 0 if the interpreter is None."""
    rounds: list[list[float]] = []
    ends = perf_counter() + max_secs
    while not rounds or (len(rounds) < _WARMUP_ROUNDS + MAX_ROUNDS and perf_counter() < ends):
        rounds.append([_invoke_ms(one) if one else 0.0 for one in interpreters])
    return rounds[_WARMUP_ROUNDS:] or rounds


def _invoke_ms(interpreter: Interpreter) -> float:
    started = perf_counter_ns()
    interpreter.invoke()
    return (perf_counter_ns() - started) / _NS_PER_MS
