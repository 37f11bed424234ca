"""PyTorch weights are read without PyTorch, and nothing that a file holds is run."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import DataError
from dermedge.train.fit.torch_file import read_torch_file

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
MATRIX = np.arange(6, dtype="<f4").reshape(2, 3)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    name: str,
    key: str,
    length: int,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    kind: str = "FloatStorage",
) -> bytes:
    storage = (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + number(length)
        + b"NtQ"
    )
    arguments = (
        storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    )
    return text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(*tensors: bytes) -> bytes:
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(tensors) + b"u."


def write(path: Path, parts: list[bytes], values: np.ndarray = MATRIX) -> Path:
    path.write_bytes(b"".join(parts) + struct.pack("<q", values.size) + values.tobytes())
    return path


def parts(content: bytes) -> list[bytes]:
    heads = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, SYSTEM)]
    return [*heads, content, pickle.dumps(["0"], 2)]


def test_tensors_are_views_of_their_storages(tmp_path: Path) -> None:
    content = state(tensor("whole", "0", 6, 0, (2, 3), (3, 1)), tensor("column", "0", 6, 1, (2,), (3,)))
    read = read_torch_file(write(tmp_path / "some.pth", parts(content)))
    assert list(read) == ["whole", "column"]
    assert np.array_equal(read["whole"], [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(read["column"], [1, 4])
    assert read["whole"].dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("FloatStorage", "<f4"), ("DoubleStorage", "<f8"), ("HalfStorage", "<f2"), ("LongStorage", "<i8")],
)
def test_each_kind_of_storage_has_its_type(kind: str, dtype: str, tmp_path: Path) -> None:
    content = state(tensor("some", "0", 6, 1, (5,), (1,), kind))
    read = read_torch_file(write(tmp_path / "some.pth", parts(content), np.arange(6, dtype=dtype)))
    assert read["some"].dtype == np.dtype(dtype)
    assert read["some"].tolist() == [1, 2, 3, 4, 5]


def test_the_values_of_several_storages_come_in_the_order_of_their_keys(tmp_path: Path) -> None:
    content = state(tensor("first", "a", 2, 0, (2,), (1,)), tensor("second", "b", 3, 0, (3,), (1,)))
    heads = [*parts(content)[:-1], pickle.dumps(["b", "a"], 2)]
    path = write(tmp_path / "some.pth", heads, np.array([3, 4, 5], "<f4"))
    path.write_bytes(path.read_bytes() + struct.pack("<q", 2) + np.array([1, 2], "<f4").tobytes())
    read = read_torch_file(path)
    assert {name: values.tolist() for name, values in read.items()} == {"first": [1, 2], "second": [3, 4, 5]}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0x1950A86A20F9469CFC6D, "does not begin with the magic number"),
        (1, 1002, "does not begin with the magic number"),
        (2, {"little_endian": False}, "not little-endian"),
        (2, {}, "not little-endian"),
    ],
)
def test_another_format_is_refused(place: int, value: object, message: str, tmp_path: Path) -> None:
    heads = parts(state(tensor("some", "0", 6, 0, (6,), (1,))))
    heads[place] = pickle.dumps(value, 2)
    with pytest.raises(DataError, match=message):
        read_torch_file(write(tmp_path / "bad.pth", heads))


@pytest.mark.parametrize("place", range(5))
def test_code_in_a_file_is_refused_and_not_run(place: int, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    bad = parts(state(tensor("whole", "0", 6, 0, (2, 3), (3, 1))))
    bad[place] = b"\x80\x02cos\nsystem\n(" + text(f"touch {marker}") + b"tR."
    with pytest.raises(DataError, match=r"refused to load the weights .*: the file refers to 'os\.system'"):
        read_torch_file(write(tmp_path / "bad.pth", bad))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "torch\nload", "collections\nChainMap", "torch._utils\n_rebuild"]
)
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    bad = parts(b"\x80\x02c" + name.encode() + b"\n.")
    with pytest.raises(DataError, match="refused to load the weights"):
        read_torch_file(write(tmp_path / "bad.pth", bad))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((2, 4), (4, 1), 0), ((6,), (1,), 1), ((2,), (-1,), 3), ((10**9,), (10**9,), 0), ((2, 3), (3,), 0)],
)
def test_a_tensor_outside_of_its_storage_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, tmp_path: Path
) -> None:
    content = state(tensor("some", "0", 6, offset, shape, strides))
    with pytest.raises(DataError, match="tensor"):
        read_torch_file(write(tmp_path / "bad.pth", parts(content)))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.pth", parts(state(tensor("some", "0", 6, 0, (6,), (1,))))).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.pth"):
            read_torch_file(path)
    with pytest.raises(DataError, match=r"gone\.pth"):
        read_torch_file(tmp_path / "gone.pth")
