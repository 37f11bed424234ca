"""Find operators of a SavedModel that act outside its graph, for example on files. The SavedModel is not loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["LEAVING_OPERATORS", "SAVING_OPERATORS", "leaving_operator"]

# Operators that act outside the graph: they read or write files, communicate with other machines, print, end the
# process, or run code that is not in the graph.
LEAVING_OPERATORS = frozenset(
    [
        "Abort",
        "CSVDataset",
        "CSVDatasetV2",
        "CacheDataset",
        "CacheDatasetV2",
        "CalibrationStatisticsSaver",
        "CreateSummaryDbWriter",
        "CreateSummaryFileWriter",
        "DTensorRestoreV2",
        "DataServiceDataset",
        "DataServiceDatasetV2",
        "DataServiceDatasetV3",
        "DataServiceDatasetV4",
        "DatasetFromGraph",
        "DatasetToTFRecord",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "DebugNanCount",
        "DebugNumericSummary",
        "DebugNumericSummaryV2",
        "DecodeProtoV2",
        "DistributedSave",
        "DumpTensor",
        "EagerPyFunc",
        "EncodeProto",
        "ExperimentalCSVDataset",
        "ExperimentalDatasetToTFRecord",
        "ExperimentalLMDBDataset",
        "ExperimentalMatchingFilesDataset",
        "ExperimentalSqlDataset",
        "FileSystemSetConfiguration",
        "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2",
        "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2",
        "FixedUnigramCandidateSampler",
        "GenerateVocabRemapping",
        "ImmutableConst",
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "LMDBDataset",
        "LMDBReader",
        "ListSnapshotChunksDataset",
        "LoadAndRemapMatrix",
        "LoadDataset",
        "MatchingFiles",
        "MatchingFilesDataset",
        "MlirPassthroughOp",
        "Print",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "RecordInput",
        "RegisterDataset",
        "RegisterDatasetV2",
        "RemoteCall",
        "RpcCall",
        "RpcClient",
        "RpcServer",
        "RpcServerRegister",
        "RpcServerStart",
        "Save",
        "SaveDataset",
        "SaveDatasetV2",
        "SaveSlices",
        "Skipgram",
        "SnapshotChunkDataset",
        "SnapshotDataset",
        "SnapshotDatasetReader",
        "SnapshotDatasetV2",
        "SqlDataset",
        "TFRecordDataset",
        "TFRecordDatasetV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "TextLineDataset",
        "TextLineReader",
        "TextLineReaderV2",
        "WholeFileReader",
        "WholeFileReaderV2",
        "WriteFile",
    ]
)
# Each SavedModel has these operators in the part that saves and restores its weights. TensorFlow runs this part only to
# restore the weights. Anywhere else, these operators can read or write any file.
_WRITING_OPERATORS = frozenset({"MergeV2Checkpoints", "SaveV2"})
# The first input of these operators is the path of the checkpoint.
_RESTORING_OPERATORS = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
SAVING_OPERATORS = _WRITING_OPERATORS | _RESTORING_OPERATORS


def leaving_operator(folder: Path) -> str | None:
    """Return in words which operator of a SavedModel acts outside the graph. Return None if there is no such operator.

    Raises:
        OSError, google.protobuf.message.DecodeError: the file ``saved_model.pb`` in the folder cannot be read.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    # TensorFlow uses this condition to find the SavedModels whose weights are restored by operators of the graph.
    restores = len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def")
    found = next((node for meta in saved.meta_graphs for node in _leaving(meta, restores)), None)
    return (
        None if found is None else f"the operator '{found.name}' is {found.op}, which acts outside the graph"
    )


def _leaving(meta: Any, restores: bool) -> Iterator[Any]:
    """Yield the operators (NodeDef) of a graph (MetaGraphDef) that act outside the graph when the graph is used.

    ``restores`` tells whether the weights are restored by operators of the graph, as in TensorFlow 1.
    """
    graph = meta.graph_def
    for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
        if node.op in LEAVING_OPERATORS:
            yield node
    for node in _used(graph, _fetched(meta), meta.object_graph_def.concrete_functions):
        if node.op in SAVING_OPERATORS:
            yield node
    restore, path = meta.saver_def.restore_op_name, meta.saver_def.filename_tensor_name.removesuffix(":0")
    in_graph = len(list(_behind({node.name: node for node in graph.node}, [restore])))
    for index, node in enumerate(_used(graph, [restore], ())):
        # An operator inside a function names its inputs in another way, so its path cannot be compared with ``path``.
        is_own = index < in_graph and [one.removesuffix(":0") for one in node.input[:1]] == [path]
        if node.op in _WRITING_OPERATORS or (restores and node.op in _RESTORING_OPERATORS and not is_own):
            yield node


def _fetched(meta: Any) -> Iterator[str]:
    """Yield the names of the tensors and operators that TensorFlow computes to load a graph or to answer."""
    from tensorflow.core.framework.variable_pb2 import VariableDef

    for signature in meta.signature_def.values():
        for tensor in signature.outputs.values():
            sparse = tensor.coo_sparse
            yield from (tensor.name, *(part.name for part in tensor.composite_tensor.components))
            yield from (
                sparse.values_tensor_name,
                sparse.indices_tensor_name,
                sparse.dense_shape_tensor_name,
            )
    # The operators that initialize a graph are listed in collections. A graph of TensorFlow 1 also initializes its
    # local variables. Its other variables are not initialized, but restored.
    for name, collection in meta.collection_def.items():
        yield from collection.node_list.value
        if name == "local_variables":
            yield from (VariableDef.FromString(one).initializer_name for one in collection.bytes_list.value)


def _used(graph: Any, fetched: Iterable[str], functions: Iterable[str]) -> Iterator[Any]:
    """Yield the operators of a graph (GraphDef) that run if tensors are fetched and functions are called.

    If such an operator calls a function, the operators in the function are yielded, too.
    """
    library = {one.signature.name: one.node_def for one in graph.library.function}
    nodes = list(_behind({node.name: node for node in graph.node}, fetched))
    waiting, known = [*functions, *_called(nodes)], set()
    yield from nodes
    while waiting:
        name = waiting.pop()
        if name in known or name not in library:
            continue
        known.add(name)
        yield from library[name]
        waiting += _called(library[name])


def _behind(nodes: dict[str, Any], fetched: Iterable[str]) -> Iterator[Any]:
    """Yield the operators that some tensors or operators depend on. ``nodes`` maps names to all operators."""
    waiting, known = list(fetched), set()
    while waiting:
        # The name of a tensor ends in ":" and a number. The name of a control input begins with "^".
        name = waiting.pop().removeprefix("^").split(":")[0]
        if name in known or name not in nodes:
            continue
        known.add(name)
        yield nodes[name]
        waiting += nodes[name].input


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield the names of the functions that some operators call. A name may also be the name of an operator."""
    for node in nodes:
        yield node.op
        yield from _functions_in(node.attr.values())


def _functions_in(attributes: Iterable[Any]) -> Iterator[str]:
    for attribute in attributes:
        for function in (attribute.func, *attribute.list.func):
            if function.name:
                yield function.name
                yield from _functions_in(function.attr.values())
