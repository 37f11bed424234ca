"""The bytes that an inference moves, counted by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert.schema_py_generated")
pytest.importorskip("flatbuffers")

from dermedge.benchmarks.traffic import _size, bytes_moved
from dermedge.convert.to_tflite.graph_editor import GraphEditor
from dermedge.edge.errors import ModelError


def test_each_operator_reads_its_inputs_and_weights_and_writes_its_output(
    empty_tflite: bytes, tmp_path: Path
) -> None:
    editor = GraphEditor(empty_tflite)
    pixels = editor.set_input("pixels", (1, 2, 2, 3), "uint8")
    values = editor.cast_to_float(pixels)
    normalized = editor.pointwise(values, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    editor.set_outputs([editor.reshape(normalized, "flat", (1, 12))], ["flat"])
    path = tmp_path / "tiny.tflite"
    path.write_bytes(editor.to_bytes())
    # The cast reads 12 bytes and writes 12 floats. The convolution reads 12 floats, 9 weights and 3 biases, and writes
    # 12 floats. The reshape reads 12 floats and two int32, and writes 12 floats.
    assert bytes_moved(path) == (12 + 48) + (48 + 36 + 12 + 48) + (48 + 8 + 48)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("int4", 6),
        ("int8", 12),
        ("bool", 12),
        ("bfloat16", 24),
        ("float16", 24),
        ("int32", 48),
        ("int64", 96),
    ],
)
def test_a_tensor_has_the_bytes_of_its_type(dtype: str, size: int) -> None:
    assert _size(SimpleNamespace(shape=[1, 3, 4]), dtype, Path("a.tflite")) == size
    assert _size(SimpleNamespace(shape=None), "float32", Path("a.tflite")) == 4


def test_a_type_without_a_size_is_named() -> None:
    with pytest.raises(
        ModelError, match=r"inference of 'a\.tflite' reads and writes: .* tensors of the type 'strings'"
    ):
        _size(SimpleNamespace(shape=[1]), "strings", Path("a.tflite"))
