"""Read a Keras network in float32 that computes in another precision, such as ``mixed_float16``.

TensorFlow's converter only accepts convolutions and matrix products in float32. Under the policies ``mixed_float16``
and ``mixed_bfloat16``, the weights are stored in float32, so no accuracy is lost.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf

from dermedge.convert.load.keras_code import is_keras_zip, read_config

__all__ = ["config_in_float32", "file_in_float32", "other_precision"]

_OTHER_POLICIES = frozenset({"float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"})
# The converter accepts these operators in float32 only. Each has the attribute "T", the dtype of its values.
_PRODUCTS = frozenset({"BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "Einsum", "MatMul"})
_OTHER_DTYPES = (tf.float16, tf.bfloat16, tf.float64)


@contextmanager
def file_in_float32(path: Path) -> Iterator[Path]:
    """Yield the path of a .keras or .h5 file whose layers all compute in float32.

    If some layers of ``path`` compute in another dtype, the yielded path is that of a temporary copy.
    """
    config = read_config(path)
    changed = config_in_float32(config)
    if changed == config:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        copy = Path(folder) / path.name
        _copy_with_config(path, copy, json.dumps(changed))
        yield copy


def config_in_float32(part: Any) -> Any:
    """Return a copy of a configuration, or of a part of it, in which all floating-point dtypes are float32."""
    if isinstance(part, list):
        return [config_in_float32(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: "float32" if key == "dtype" and _policy(value) in _OTHER_POLICIES else config_in_float32(value)
        for key, value in part.items()
    }


def _policy(dtype: Any) -> str:
    """Return the name of a dtype policy, which is stored as a name or as an object."""
    config = dtype.get("config") if isinstance(dtype, dict) else {"name": dtype}
    return str(config.get("name")) if isinstance(config, dict) else ""


def _copy_with_config(path: Path, copy: Path, config: str) -> None:
    """Copy a .keras or .h5 file, and replace its configuration."""
    if not is_keras_zip(path):
        shutil.copyfile(path, copy)
        with h5py.File(copy, "a") as file:
            file.attrs["model_config"] = config
        return
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as copied:
        for name in archive.namelist():
            copied.writestr(name, config if name == "config.json" else archive.read(name))


def other_precision(graph: Any) -> str | None:
    """Return the dtype of a convolution or matrix product that is not in float32; None if there is none.

    ``graph`` is a graph of TensorFlow (GraphDef). The functions that it calls are inspected, too.
    """
    nodes = (*graph.node, *(node for function in graph.library.function for node in function.node_def))
    found = (tf.as_dtype(node.attr["T"].type) for node in nodes if node.op in _PRODUCTS)
    return next((dtype.name for dtype in found if dtype in _OTHER_DTYPES), None)
