"""A damaged file never answers: no traceback, no answer from other bytes than the converter wrote."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.errors import DermedgeError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import attach, read_manifest, strip
from dermedge.edge.model.shipped import FAST_MODEL

COPIES = 100
FRAME = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns a damaged copy: it ends too early, a piece is written twice, or one to eight bytes are changed."""
    copy, kind = bytearray(content), int(rng.integers(4))
    start = int(rng.integers(len(copy)))
    if kind == 0:
        return bytes(copy[:start])
    if kind == 1:
        size = int(rng.integers(1, 4096))
        return bytes(copy[:start] + copy[start : start + size] + copy[start:])
    # In half of these cases, only the last 8 kB are changed, because they hold the manifest.
    low = len(copy) - 8192 if kind == 2 else 0
    for place in rng.integers(low, len(copy), int(rng.integers(1, 9))):
        copy[place] ^= int(rng.integers(1, 256))
    return bytes(copy)


@pytest.fixture(scope="module")
def with_digest() -> bytes:
    """A model that ships, as the converter would write it today."""
    manifest = read_manifest(FAST_MODEL)
    assert manifest is not None
    return attach(FAST_MODEL.read_bytes(), manifest)


def test_mutated_copies_are_refused_or_answer_as_the_whole_one_does(
    with_digest: bytes, tmp_path: Path
) -> None:
    rng, path, answered = np.random.default_rng(19), tmp_path / "mutated.tflite", 0
    path.write_bytes(with_digest)
    with Classifier(path) as classifier:
        expected = classifier.predict(FRAME).probabilities
    for _ in range(COPIES):
        copy = mutated(with_digest, rng)
        path.write_bytes(copy)
        with contextlib.suppress(DermedgeError), Classifier(path) as classifier:
            assert strip(copy) == strip(with_digest)
            assert classifier.predict(FRAME).probabilities == expected
            answered += 1
    assert answered < COPIES // 2


def test_a_changed_weight_is_refused_before_the_runtime_sees_it(
    with_digest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = bytearray(with_digest)
    copy[len(strip(with_digest)) // 2] ^= 1
    path = tmp_path / "changed.tflite"
    path.write_bytes(copy)
    monkeypatch.setattr("dermedge.edge.model.runtime.import_module", pytest.fail)
    with pytest.raises(DermedgeError, match=r"changed\.tflite' is damaged"):
        Classifier(path)


def rebuilt(network: bytes, change: Callable[[Any], None]) -> bytes:
    """Calls ``change`` with the tables of the network, and returns the changed network."""
    from ai_edge_litert import schema_py_generated as schema

    from dermedge.convert.to_tflite.share_buffers import pack

    root = schema.ModelT.InitFromPackedBuf(network)
    change(root)
    return pack(root)


def test_a_file_without_a_graph_is_refused_before_the_runtime_crashes(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(rebuilt(make_network(), lambda root: setattr(root, "subgraphs", None)))
    opened = subprocess.run(
        [sys.executable, "-m", "dermedge", "predict", "photo.jpg", "--model", path, "--num-threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert opened.returncode == 2
    assert "damaged.tflite' is damaged: its flatbuffer cannot be read" in opened.stderr


def test_an_output_that_no_operator_computes_is_one_line(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    def add_output(root: Any) -> None:
        [graph] = root.subgraphs
        graph.tensors.append(copy.copy(graph.tensors[graph.outputs[0]]))
        graph.outputs = [len(graph.tensors) - 1]

    path = tmp_path / "damaged.tflite"
    path.write_bytes(rebuilt(make_network(), add_output))
    with (
        Classifier(path, normalization="unit") as classifier,
        pytest.raises(DermedgeError, match="cannot be run"),
    ):
        classifier.predict(FRAME)
