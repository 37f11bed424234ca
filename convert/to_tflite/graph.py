"""The operators of a .tflite, and an interpreter that keeps every activation.

The interpreter runs without delegates, because delegates fuse operators and do not keep the activations between them.
The activations on a device may differ by a few int8 levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError

__all__ = ["NUM_THREADS", "KeepingInterpreter", "Op", "name_of", "ops_of", "read_model"]

NUM_THREADS = 2
_OP_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}


@dataclass(frozen=True)
class Op:
    """One operator of a graph.

    Attributes:
        kind: the kind of the operator, named as in the TFLite schema, such as ``CONV_2D``.
        inputs: the indices of the activations that the operator reads. Constants and absent inputs are left out.
        outputs: the indices of the tensors that the operator writes.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_model(model: bytes) -> schema.ModelT:
    """Return the whole flatbuffer as objects that can be changed.

    Some tools write the constants of larger files behind the flatbuffer. An edit of the flatbuffer would lose such
    constants, so they are moved into the flatbuffer.
    """
    root = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in root.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return root


def name_of(tensor: schema.TensorT) -> str:
    """Return the name of a tensor as text."""
    return tensor.name.decode()


def ops_of(model: schema.ModelT) -> list[Op]:
    """Return the operators of the first subgraph in the order in which they run."""
    graph = model.subgraphs[0]
    written = {int(index) for index in graph.inputs}
    ops = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        inputs = tuple(int(index) for index in operator.inputs if int(index) in written)
        outputs = tuple(int(index) for index in operator.outputs)
        # The schema has two fields for the code of an operator. Old files only have the older field.
        ops.append(Op(_OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)], inputs, outputs))
        written.update(outputs)
    return ops


class KeepingInterpreter:
    """An interpreter that keeps every activation after a run. Do not share an instance between threads.

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
            raise ModelError(
                f"the runtime refuses this model: {str(error).splitlines()[0]}; install a newer ai-edge-litert, or "
                "convert the model again"
            ) from error

    def run(self, inputs: dict[int, NDArray[Any]]) -> None:
        """Run the network. The keys of ``inputs`` are the indices of the input tensors."""
        for index, values in inputs.items():
            self._interpreter.set_tensor(index, values)
        self._interpreter.invoke()

    def values(self, index: int) -> NDArray[Any]:
        """Return a copy of the values that a tensor has after the last run.

        Raises:
            ModelError: the runtime has not kept the values.
        """
        try:
            return np.array(self._interpreter.tensor(index)())
        except ValueError as error:
            raise ModelError(
                "the runtime does not keep all activations of this network, as is the case for loops of an LSTM or a "
                "GRU; use --float16 or --float32 instead"
            ) from error
