"""A .tflite run on the plain kernels with every activation kept, and the ops of its graph.

Delegates fuse ops and keep nothing between them, so they are left out here; the device's own runtime may
therefore differ from these values by a few levels of int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError

OP_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
NUM_THREADS = 2


@dataclass(frozen=True)
class Op:
    """One operator of a graph.

    Attributes:
        kind: as the schema calls it, ``CONV_2D``.
        inputs: indices of the tensors that it reads, without constants and absent ones.
        outputs: indices of the tensors that it writes.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_model(model: bytes) -> schema.ModelT:
    """The whole flatbuffer as objects that can be changed."""
    return schema.ModelT.InitFromPackedBuf(model, 0)


def ops_of(model: schema.ModelT) -> list[Op]:
    """The operators of the first subgraph in the order in which they run."""
    graph = model.subgraphs[0]
    written = {int(index) for index in graph.inputs}
    ops = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        inputs = tuple(int(index) for index in operator.inputs if int(index) in written)
        outputs = tuple(int(index) for index in operator.outputs)
        # an old file knows only the older of the two fields
        ops.append(Op(OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)], inputs, outputs))
        written.update(outputs)
    return ops


class KeepingInterpreter:
    """An interpreter of one input that keeps every activation. Not for use from several threads at once.

    Raises:
        ModelError: the runtime refuses the model.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._interpreter = Interpreter(
                model_content=model,
                num_threads=NUM_THREADS,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the runtime refuses this model: {str(error).splitlines()[0]}") from error

    def run(self, inputs: dict[int, NDArray[Any]]) -> None:
        """Runs the network on arrays by the index of their input tensor."""
        for index, values in inputs.items():
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()

    def values(self, index: int) -> NDArray[Any]:
        """A copy of a tensor as the last run left it."""
        return np.array(self._interpreter.tensor(index)())
