"""A network becomes ONNX files that ONNX Runtime has proven, each with its manifest beside it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")

import onnx
import tf_keras as keras

from dermedge import cli
from dermedge.convert.accept.parity import compare
from dermedge.convert.load.run import load_run
from dermedge.convert.load.tflite_file import open_tflite
from dermedge.convert.to_onnx.converter import describe_tensors, to_onnx
from dermedge.convert.to_onnx.runtime import onnx_logits
from dermedge.convert.to_tflite.form import ONNX_FLOAT32, ONNX_INT8, Form
from dermedge.edge.errors import DataError, ModelError
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.train.fit.run_folder import RunFolder


def test_a_run_becomes_float_and_int8_files_with_their_manifests(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.onnx"
    assert cli.main(["convert", str(trained_run), "--onnx", "--output", str(target)]) == 0
    said = capsys.readouterr().out
    int8 = tmp_path / "net-int8.onnx"
    assert f"done: '{target}'\ndone: '{int8}'" in said
    assert "photos, in ONNX Runtime: " in said
    report = json.loads((tmp_path / "net-report" / "report.json").read_text())
    assert report["files"] == [str(target), str(int8)]
    assert [one["form"]["kind"] for one in report["attempts"]] == [ONNX_FLOAT32, ONNX_INT8]
    assert "run in ONNX Runtime" in (tmp_path / "net-report" / "report.html").read_text()

    source = load_run(RunFolder(trained_run), 30)
    pixels = source.proof.pixels
    for path, kind, tolerance in ((target, ONNX_FLOAT32, 1e-3), (int8, ONNX_INT8, 0.7)):
        model = path.read_bytes()
        manifest = Manifest.from_json(path.with_suffix(".json").read_text(), path)
        assert manifest.labels == ("blue", "brown", "red")
        assert manifest.quantization == kind
        assert manifest.network_sha256 == hashlib.sha256(model).hexdigest()
        assert manifest.metrics["acceptance"] in ("passed", "cannot tell")
        assert manifest.thresholds["conformal"]["coverage"] == 0.9
        (pixels_tensor,) = manifest.inputs
        assert (pixels_tensor["shape"], pixels_tensor["dtype"]) == ([1, 3, 32, 32], "float32")
        assert [one["name"] for one in manifest.outputs] == ["probabilities", "evidence"]
        parity = compare(source.proof.reference, onnx_logits(model, pixels).logits)
        assert parity.agreement == 1
        assert parity.max_logit_difference < tolerance
    kinds = Counter(node.op_type for node in onnx.load(int8).graph.node)
    assert kinds["QuantizeLinear"] >= kinds["Conv"] > 0
    assert int8.stat().st_size < 0.5 * target.stat().st_size


@pytest.mark.parametrize(("channels", "normalization"), [(1, "unit"), (3, "caffe")])
def test_gray_networks_and_normalizations_by_channel_are_inside_the_file(
    float_file: Callable[[Any], bytes], tmp_path: Path, channels: int, normalization: str
) -> None:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((16, 24, channels))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(pixels)
    head = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    path = tmp_path / "foreign.tflite"
    path.write_bytes(float_file(keras.Model(pixels, head)))
    network = open_tflite(path).network(("a", "b", "c"), NORMALIZATIONS[normalization])
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 24, 3), dtype=np.uint8)
    made = to_onnx(network, Form(ONNX_FLOAT32, "float32"), list(images))
    (described,), outputs = describe_tensors(made)
    assert described["shape"] == [1, channels, 16, 24]
    assert len(outputs) == 2
    reference = network.logits(images)
    assert (
        compare(reference, onnx_logits(made, images).logits).max_logit_difference
        < 1e-3 * np.abs(reference).max()
    )
    with pytest.raises(DataError, match="no calibration photos"):
        to_onnx(network, Form(ONNX_INT8, "float32"), [])


def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", str(trained_run), "--onnx", "--output", str(tmp_path / "net.onnx")]
    beside = tmp_path / "net-int8.json"
    beside.write_text("mine")
    assert cli.main(command) == 2
    assert f"'{beside}' exists already" in capsys.readouterr().err
    assert beside.read_text() == "mine"
    beside.unlink()
    assert cli.main([*command, "--io", "int8"]) == 2
    assert "--io int8 is for a .tflite" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert "this command needs tf2onnx" in error
    assert "[onnx]" in error
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_onnx_is_refused() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime refuses this model"):
        onnx_logits(b"nothing", np.zeros((1, 8, 8, 3), np.uint8))
