"""Reads the tensors of a PyTorch weights file, without PyTorch and without running any code in the file.

`torch.save` wrote this format before PyTorch 1.6. The file begins with five pickles: a magic number, the version of the
format, properties of the system (such as the byte order), the state dictionary, and the keys of the storages. A storage
is a block of values that tensors refer to. After the pickles, the file contains the storages. Each storage begins with
the number of its values as int64. The values follow in little-endian byte order.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import DataError

__all__ = ["read_torch_file"]

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}


@dataclass(frozen=True)
class _Storage:
    """A block of values at the end of the file. Each tensor is a view of such a block.

    Attributes:
        key: name of the storage.
        dtype: type of the values.
        length: number of values.
    """

    key: str
    dtype: np.dtype[Any]
    length: int


@dataclass(frozen=True)
class _View:
    """A tensor that is a view of a storage.

    Attributes:
        storage: storage with the values.
        offset: index of the first value in the storage.
        shape: shape of the tensor.
        strides: number of values from one element to the next along each axis.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a state dictionary: name -> array.

    Raises:
        DataError: the file is missing, damaged or in another format; or it refers to code that is not needed for
            weights.
    """
    try:
        with path.open("rb") as handle:
            return _read(handle)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise DataError(
            f"'{path}' is not a PyTorch weights file that can be read ({error}); reinstall the Python package that "
            "contains this file"
        ) from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"refused to load the weights '{path}': {error}; reinstall the Python package that contains this file"
        ) from error


def _read(handle: BinaryIO) -> dict[str, NDArray[Any]]:
    if (_TensorUnpickler(handle).load(), _TensorUnpickler(handle).load()) != (_MAGIC, _VERSION):
        raise ValueError("the file does not begin with the magic number and the version of the format")
    if _TensorUnpickler(handle).load().get("little_endian") is not True:
        raise ValueError("the values in the file are not little-endian")
    state, keys = _TensorUnpickler(handle).load(), _TensorUnpickler(handle).load()
    views = {str(name): view for name, view in state.items() if isinstance(view, _View)}
    storages = {view.storage.key: view.storage for view in views.values()}
    values = {key: _read_storage(handle, storages[key]) for key in keys}
    return {name: _tensor(view, values[view.storage.key]) for name, view in views.items()}


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that accepts only the few names that a state dictionary needs. None of these names can run code of
    the file.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Returns the object for a name in the file.

        Raises:
            pickle.UnpicklingError: the name is not one of those that a state dictionary needs.
        """
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        known: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _view,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(
                f"the file refers to '{module}.{name}', which is not needed to load weights"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that a tensor refers to."""
        kind, dtype, key, _device, length, _parent = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"the file refers to '{kind}', which is not a storage of a known type")
        return _Storage(str(key), dtype, int(length))


def _view(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: Any
) -> _View:
    return _View(storage, offset, shape, strides)


def _read_storage(handle: BinaryIO, storage: _Storage) -> NDArray[Any]:
    length = int.from_bytes(handle.read(8), "little")
    if length != storage.length:
        raise ValueError(
            f"the storage '{storage.key}' has {length} values, but the state dictionary states {storage.length}"
        )
    values = np.frombuffer(handle.read(length * storage.dtype.itemsize), storage.dtype)
    if len(values) != length:
        raise ValueError(f"the file ends within the values of the storage '{storage.key}'")
    return values


def _tensor(view: _View, values: NDArray[Any]) -> NDArray[Any]:
    """Returns a tensor as a new array. ``view`` describes the tensor, and ``values`` are the values of its storage.

    Raises:
        ValueError: the view is not valid, or some of its values would lie outside the storage.
    """
    numbers = (view.offset, *view.shape, *view.strides)
    if len(view.shape) != len(view.strides) or not all(isinstance(one, int) and one >= 0 for one in numbers):
        raise ValueError(
            f"the shape {view.shape}, the strides {view.strides} or the offset {view.offset} of a tensor is not valid"
        )
    last = view.offset + sum(
        (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
    )
    if 0 not in view.shape and last >= len(values):
        raise ValueError(
            f"a tensor needs {last + 1} values, but the storage of the tensor has only {len(values)}"
        )
    strides = [stride * values.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides).copy()
