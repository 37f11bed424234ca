"""Find code that would run when a Keras file is loaded. The file is only read, not loaded.

Keras stores the function of a Lambda layer as marshalled bytecode. For any other function, Keras stores the name of the
module and the name of the function, and imports the module when the file is loaded. The safe mode of Keras prevents
only a part of this: tf_keras ignores the safe mode for .h5 files (CVE-2025-9905), and imports any module that a .keras
file names (CVE-2025-1550). A SavedModel holds no Python code, but its operators can read and write files.
"""

from __future__ import annotations

import builtins
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from dermedge.edge.errors import ModelError

__all__ = ["check_no_code", "code_in_config", "is_keras_zip", "read_config"]

# The modules of Keras are in these packages, or in the package "src" inside them.
_KERAS = ("keras", "tf_keras", "tensorflow.keras")
# Functions and classes from these modules of Keras are allowed, because they only compute values.
_COMPUTING_MODULES = frozenset(
    {
        "activations",
        "applications",
        "constraints",
        "dtype_policies",
        "engine",
        "initializers",
        "layers",
        "losses",
        "metrics",
        "mixed_precision",
        "models",
        "ops",
        "optimizers",
        "regularizers",
    }
)
# Layers of Keras 2 that call a function of TensorFlow by its name.
_CALLING_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda"})
# Functions in these namespaces of TensorFlow are allowed, because they only compute values.
_COMPUTING_NAMESPACES = frozenset({"__operators__", "image", "linalg", "math", "nn", "signal"})
# Functions directly in the namespace ``tf`` are allowed only if one of these modules of TensorFlow defines them. Other
# modules define functions that read or write files, load libraries, print, or run Python code.
_COMPUTING_TF_MODULES = frozenset(
    {
        "array_ops",
        "array_ops_stack",
        "bincount_ops",
        "clip_ops",
        "constant_op",
        "gen_array_ops",
        "gen_data_flow_ops",
        "gen_linalg_ops",
        "gen_math_ops",
        "gen_nn_ops",
        "gen_spectral_ops",
        "histogram_ops",
        "linalg_ops",
        "manip_ops",
        "math_ops",
        "random_ops",
        "sort_ops",
        "special_math_ops",
        "tensor_conversion",
    }
)
# Layers that load a network from another file or from Python's pickle format. Such a network is not inspected here.
_LOADING_LAYERS = frozenset({"TFSMLayer", "TorchModuleWrapper"})
# Operators of a SavedModel that act outside the graph, for example on files. SaveV2 and RestoreV2 are not among them,
# because each SavedModel has them in the functions that save and restore its weights.
_LEAVING_OPERATORS = frozenset(
    [
        "Abort",
        "CalibrationStatisticsSaver",
        "CreateSummaryDbWriter",
        "CreateSummaryFileWriter",
        "DatasetToTFRecord",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "DebugNanCount",
        "DebugNumericSummary",
        "DebugNumericSummaryV2",
        "DistributedSave",
        "EagerPyFunc",
        "ExperimentalDatasetToTFRecord",
        "FileSystemSetConfiguration",
        "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2",
        "LMDBReader",
        "LoadDataset",
        "MatchingFiles",
        "MatchingFilesDataset",
        "Print",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "RecordInput",
        "RpcClient",
        "RpcServer",
        "Save",
        "SaveDataset",
        "SaveDatasetV2",
        "SaveSlices",
        "SnapshotDataset",
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


def check_no_code(path: Path) -> None:
    """Check that no code from a file would run when the file is loaded.

    Args:
        path: a .keras or .h5 file, or a SavedModel folder.

    Raises:
        ModelError: code from the file would run.
        OSError, ValueError, KeyError, zipfile.BadZipFile: the file cannot be read.
    """
    if path.is_dir():
        found, cure = _code_in_saved_model(path), "Export the network without this operator"
    else:
        found = code_in_config(read_config(path))
        cure = "Export the network as a SavedModel, which holds no Python"
    if found:
        raise ModelError(
            f"'{path}' holds code that would run on this machine: {found}. {cure}; or, if you trust the maker "
            f"of the file, load the file anyway with --trust"
        )


def read_config(path: Path) -> Any:
    """Return the configuration of the network in a .keras or .h5 file, as parsed JSON."""
    if is_keras_zip(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("the file holds only weights; save the whole model")
        return json.loads(file.attrs["model_config"])


def is_keras_zip(path: Path) -> bool:
    """Tell whether Keras opens a file as a zip archive. Keras does so if the name ends in ``.keras``, in lowercase.

    Keras opens any other file as HDF5. A file can be a valid zip archive and a valid HDF5 file at the same time. So the
    file must be inspected in the format in which Keras opens it.
    """
    return path.name.endswith(".keras")


def code_in_config(config: Any) -> str | None:
    """Return the first layer of a configuration that would run code, with the reason. Return None if no layer would.

    The compile settings are not inspected, because they are not loaded.
    """
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "compile_config"}
    return next(_code_within(config, "?"), None)


def _code_within(part: Any, layer: str) -> Iterator[str]:
    """Search a part of a configuration for objects that would run code. Yield a reason for each such object.

    ``layer`` is the name of the layer to which ``part`` belongs.
    """
    if isinstance(part, list):
        for one in part:
            yield from _code_within(one, layer)
    if not isinstance(part, dict):
        return
    if "class_name" in part:
        inner = part["config"] if isinstance(part.get("config"), dict) else {}
        layer = str(part.get("name") or inner.get("name") or layer)
    what = _code_of(part)
    if what:
        yield f"the layer '{layer}' {what}"
    for value in part.values():
        yield from _code_within(value, layer)


def _code_of(part: dict[str, Any]) -> str | None:
    """Return in words which code an object of a configuration would run. Return None if it would run no code."""
    kind, module = part.get("class_name"), part.get("module")
    if {kind, str(part.get("registered_name"))} & {"Lambda", "__lambda__"}:
        return "is a Lambda, whose Python code would run"
    if any(str(key).endswith("_type") and value == "lambda" for key, value in part.items()):
        return "has a Python lambda, whose code would run"
    config = part["config"] if isinstance(part.get("config"), dict) else {}
    if kind in _CALLING_LAYERS:
        function = str(config.get("function"))
        return None if _only_computes(function) else f"calls TensorFlow's '{function}'"
    if kind == "ClassMethod":
        return f"calls a method of TensorFlow's class '{config.get('cls_symbol')}'"
    if kind in _LOADING_LAYERS:
        return f"is a {kind}, which loads another network"
    if isinstance(config.get("vocabulary"), str):
        return f"reads the file '{config['vocabulary']}'"
    if not isinstance(kind, str) or not isinstance(module, str):
        return None
    named = str(part.get("config") if kind == "function" else part.get("spec_name", kind))
    if module == "builtins":
        return f"calls Python's '{named}'" if named in vars(builtins) else None
    # A name with a dot can refer to something outside ``module``, so only a name without a dot is allowed.
    if _is_computing_module(module) and "." not in named:
        return None
    return f"uses '{named}' of the Python module '{module}'"


def _only_computes(function: str) -> bool:
    """Tell whether a function of TensorFlow only computes values, and neither runs other code nor accesses files.

    ``function`` is the name of the function without ``tf.``, such as ``math.add``, ``compat.v1.nn.relu`` or
    ``reshape``. The function is looked up, but not called.
    """
    namespace, _, name = function.removeprefix("compat.v1.").rpartition(".")
    if namespace:
        return namespace.split(".")[0] in _COMPUTING_NAMESPACES or namespace == "keras.backend"

    import tensorflow as tf

    found = getattr(tf.compat.v1 if function.startswith("compat.v1.") else tf, name, None)
    return str(getattr(found, "__module__", "")).rpartition(".")[2] in _COMPUTING_TF_MODULES


def _is_computing_module(module: str) -> bool:
    package = next((one for one in _KERAS if module == one or module.startswith(f"{one}.")), None)
    if package is None:
        return False
    inner = module.removeprefix(package).removeprefix(".src").removeprefix(".")
    return not inner or inner.split(".")[0] in _COMPUTING_MODULES


def _code_in_saved_model(folder: Path) -> str | None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        leaving = next((node for node in nodes if node.op in _LEAVING_OPERATORS), None)
        if leaving is not None:
            return f"the operator '{leaving.name}' is {leaving.op}, which acts outside the graph"
    return None
