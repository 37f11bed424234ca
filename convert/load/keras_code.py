"""Find code that would run when a Keras file is loaded. The file is only read, not loaded.

Keras stores the function of a Lambda layer as marshalled bytecode. For any other function, Keras stores the name of the
module and the name of the function, and imports the module when the file is loaded. The safe mode of Keras prevents
only a part of this: tf_keras ignores the safe mode for .h5 files (CVE-2025-9905), and imports any module that a .keras
file names (CVE-2025-1550). An HDF5 file can refer to any other file of the machine, whose bytes then become weights. A
SavedModel holds no Python code, but its operators can read and write files.
"""

from __future__ import annotations

import builtins
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from dermedge.convert.load.hdf5_links import reference_to_other_file
from dermedge.convert.load.saved_model_operators import LEAVING_OPERATORS, SAVING_OPERATORS, leaving_operator
from dermedge.edge.errors import ModelError

__all__ = ["check_no_code", "code_in_config", "is_keras_zip", "read_config"]

# The modules of Keras are in these packages, or in the package "src" inside them.
_KERAS = ("keras", "tf_keras", "tensorflow.keras")
# Functions and classes from these modules of Keras are allowed, because they only compute values.
_COMPUTING_MODULES = frozenset(
    {
        "activations",
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
# Only these layers of the module "applications" are allowed, because some functions of the module download files.
_LAYERS_OF_APPLICATIONS = frozenset({"CustomScaleLayer", "LayerScale", "StochasticDepth"})
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
        "check_ops",
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
# These functions are in `_COMPUTING_NAMESPACES`, but read a file, whose path is an argument.
_READING_FUNCTIONS = frozenset({"fixed_unigram_candidate_sampler"})
# Layers that read files, with a description of what they read. This module does not inspect the files that are read.
_READING_LAYERS = {
    "DenseFeatures": "can read files",
    "SequenceFeatures": "can read files",
    "TFSMLayer": "loads another network",
    "TorchModuleWrapper": "loads another network",
}


def check_no_code(path: Path) -> None:
    """Check that no code from a file would run when the file is loaded.

    Args:
        path: a .keras or .h5 file, or a SavedModel folder.

    Raises:
        ModelError: code from the file would run.
        OSError, ValueError, KeyError, zipfile.BadZipFile: the file cannot be read.
    """
    if path.is_dir():
        found, cure = leaving_operator(path), "Export the network without this operator"
    else:
        _check_inside(path)
        found = code_in_config(read_config(path))
        cure = "Export the network as a SavedModel, which holds no Python"
    if found:
        raise ModelError(
            f"'{path}' holds code that would run on this machine: {found}. {cure}; or, if you trust the maker "
            f"of the file, load the file anyway with --trust"
        )


def _check_inside(path: Path) -> None:
    """Check that all weights of a .keras or .h5 file are inside the file. Raise ModelError if they are not."""
    for file in _hdf5_files(path):
        found = reference_to_other_file(file)
        if found:
            raise ModelError(
                f"'{path}' would read another file of this machine: {found}. Save the network again, with all weights "
                "inside; or, if you trust the maker of the file, load the file anyway with --trust"
            )


def _hdf5_files(path: Path) -> Iterator[h5py.File]:
    """Yield the HDF5 files that a .keras or .h5 file consists of."""
    if not is_keras_zip(path):
        with h5py.File(path) as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        for name in archive.namelist():
            if name.endswith(".h5"):
                with h5py.File(archive.extract(name, folder)) as file:
                    yield file


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
    """Tell whether Keras opens a file as a zip archive.

    Keras opens a file as a zip archive if it is one and its name ends in ``.keras``, in lowercase. Keras opens any
    other file as HDF5. TensorFlow 2.11 and earlier wrote HDF5 files with names that end in ``.keras``, too. A file can
    be a valid zip archive and a valid HDF5 file at the same time. So the file must be inspected in the format in which
    Keras opens it.
    """
    return path.name.endswith(".keras") and zipfile.is_zipfile(path)


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
    # Keras looks for a class by each of these names.
    kind, registered = part.get("class_name"), part.get("registered_name")
    found = next(filter(None, (_code_of_layer(str(name), part) for name in (kind, registered))), None)
    if found:
        return found
    if any(str(key).endswith("_type") and value == "lambda" for key, value in part.items()):
        return "has a Python lambda, whose code would run"
    module = part.get("module")
    if not isinstance(kind, str) or not isinstance(module, str):
        return None
    named = str(part.get({"function": "config", "__typespec__": "spec_name"}.get(kind, "class_name")))
    if module == "builtins":
        called = next((name for name in (named, registered) if name in vars(builtins)), None)
        return f"calls Python's '{called}'" if called else None
    if _only_computes_in_keras(module, named):
        return None
    return f"uses '{named}' of the Python module '{module}'"


def _code_of_layer(kind: str, part: dict[str, Any]) -> str | None:
    """Return in words which code a layer of a kind would run. Return None if it would run no code."""
    config = part["config"] if isinstance(part.get("config"), dict) else {}
    if kind in ("Lambda", "__lambda__"):
        return "is a Lambda, whose Python code would run"
    if kind in _CALLING_LAYERS:
        function = str(config.get("function"))
        return None if _only_computes(function) else f"calls TensorFlow's '{function}'"
    if kind == "ClassMethod":
        return f"calls a method of TensorFlow's class '{config.get('cls_symbol')}'"
    if kind == "InstanceMethod":
        return f"calls the Python method '{config.get('attr_name')}'"
    if kind == "TensorFlowOpLayer":
        node = config["node_def"] if isinstance(config.get("node_def"), dict) else {}
        operator = str(node.get("op", ""))
        return None if _stays_inside(operator) else f"runs TensorFlow's operator '{operator}'"
    if kind in _READING_LAYERS:
        return f"is a {kind}, which {_READING_LAYERS[kind]}"
    if isinstance(config.get("vocabulary"), str):
        return f"reads the file '{config['vocabulary']}'"
    return None


def _stays_inside(operator: str) -> bool:
    """Tell whether a name is the name of an operator of TensorFlow that does not act outside its graph."""
    from tensorflow.python.framework import op_def_registry

    is_known = op_def_registry.get(operator) is not None
    return is_known and operator not in LEAVING_OPERATORS | SAVING_OPERATORS


def _only_computes(function: str) -> bool:
    """Tell whether a function of TensorFlow only computes values, and neither runs other code nor accesses files.

    ``function`` is the name of the function without ``tf.``, such as ``math.add``, ``compat.v1.nn.relu`` or
    ``reshape``. The function is looked up, but not called.
    """
    namespace, _, name = function.removeprefix("compat.v1.").rpartition(".")
    if name in _READING_FUNCTIONS:
        return False
    if namespace:
        return namespace.split(".")[0] in _COMPUTING_NAMESPACES or namespace == "keras.backend"

    import tensorflow as tf

    found = getattr(tf.compat.v1 if function.startswith("compat.v1.") else tf, name, None)
    return str(getattr(found, "__module__", "")).rpartition(".")[2] in _COMPUTING_TF_MODULES


def _only_computes_in_keras(module: str, name: str) -> bool:
    """Tell whether a name in a module is the name of a function or class of Keras that only computes values."""
    package = next((one for one in _KERAS if module == one or module.startswith(f"{one}.")), None)
    # A name with a dot can refer to something outside ``module``, so only a name without a dot is allowed.
    if package is None or "." in name:
        return False
    inner = module.removeprefix(package).removeprefix(".src").removeprefix(".").split(".")[0]
    if inner == "applications":
        return name in _LAYERS_OF_APPLICATIONS
    return not inner or inner in _COMPUTING_MODULES
