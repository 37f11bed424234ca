"""A Keras file runs no code of its maker, unless it is trusted."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import h5py
import keras as keras3
import numpy as np
import tensorflow as tf
import tf_keras as keras2

from dermedge import cli
from dermedge.convert.load.keras_code import code_in_config, read_config
from dermedge.convert.load.keras_file import open_keras
from dermedge.edge.errors import ModelError

SHAPE = (8, 8, 3)


def with_lambda(keras: Any, marker: Path) -> Any:
    """A classifier whose Lambda layer creates a file when it is called."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    # As in a file of an attacker, the code brings its own imports.
    code = eval(f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]")
    parts = [
        layers.Lambda(code, name="preprocessing"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential([keras.Input(SHAPE), *parts])


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
@pytest.mark.parametrize("maker", ["tf_keras", "keras 3"])
def test_the_code_of_a_lambda_runs_only_where_the_file_is_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], maker: str, name: str
) -> None:
    marker, path = tmp_path / "marker", tmp_path / name
    with_lambda(keras2 if maker == "tf_keras" else keras3, marker).save(path)
    marker.unlink()

    assert cli.main(["convert", str(path), "--int8", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert not marker.exists()
    assert "the layer 'preprocessing' is a Lambda" in error
    assert "--trust" in error
    assert error.count("\n") == 1

    assert open_keras(path, trust=True).classes == 3
    assert marker.exists()


def test_a_file_that_is_zip_and_hdf5_at_once_is_inspected_as_it_is_loaded(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.KERAS"
    with_lambda(keras2, marker).save(tmp_path / "code.h5")
    marker.unlink()
    harmless = plain_file(keras2, tmp_path / "harmless.keras")
    # A zip is read from its end, and HDF5 from its beginning.
    path.write_bytes((tmp_path / "code.h5").read_bytes() + harmless.read_bytes())
    with pytest.raises(ModelError, match="the layer 'preprocessing' is a Lambda"):
        open_keras(path)
    assert not marker.exists()


def test_an_hdf5_file_may_be_called_keras_and_is_inspected(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.keras"
    with_lambda(keras2, marker).save(tmp_path / "code.h5")
    marker.unlink()
    (tmp_path / "code.h5").rename(path)
    with pytest.raises(ModelError, match="the layer 'preprocessing' is a Lambda"):
        open_keras(path)
    assert not marker.exists()

    plain_file(keras2, tmp_path / "plain.h5").rename(path)
    with h5py.File(path, "a") as file:
        # some tools store texts as bytes
        file.attrs["keras_version"] = np.bytes_(file.attrs["keras_version"])
    assert open_keras(path).classes == 3


def changed(path: Path, change: Callable[[Any], None]) -> Path:
    """Change the configuration in a .keras or .h5 file."""
    config = read_config(path)
    change(config)
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, data)
    return path


def plain_file(keras: Any, path: Path) -> Path:
    """A classifier of layers that only compute."""
    parts = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", name="head")]
    keras.Sequential([keras.Input(SHAPE), *parts]).save(path)
    return path


@pytest.mark.parametrize(
    "function",
    [
        {"class_name": "function", "module": "marker_module", "config": "run", "registered_name": "function"},
        {"class_name": "function", "module": "builtins", "config": "exec", "registered_name": "function"},
        {
            "class_name": "function",
            "module": "keras.utils",
            "config": "get_file",
            "registered_name": "get_file",
        },
        {"class_name": "__lambda__", "config": {"value": "AAAA"}},
        {"class_name": "layers.os.system", "module": "keras.layers", "config": {}, "registered_name": None},
    ],
)
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_functions_of_other_modules_are_refused_before_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, function: dict[str, Any]
) -> None:
    marker = tmp_path / "imported"
    (tmp_path / "marker_module.py").write_text(f"open({str(marker)!r}, 'w')\nrun = len\n")
    monkeypatch.syspath_prepend(tmp_path)

    def change(config: Any) -> None:
        config["config"]["layers"][-1]["config"]["activation"] = function

    path = changed(plain_file(keras2, tmp_path / name), change)
    with pytest.raises(ModelError, match=r"the layer 'head' .*--trust"):
        open_keras(path)
    assert not marker.exists()


@pytest.mark.parametrize("keras", [keras2, keras3])
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_networks_of_keras_itself_need_no_trust(tmp_path: Path, keras: Any, name: str) -> None:
    layers = keras.layers
    pixels = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, kernel_regularizer="l2", activation="relu6")(x))
    if keras is keras2:  # Keras 3 cannot load such calls from an .h5 that it has written itself
        x = tf.nn.relu(x * 2.0)
    inner = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dropout(0.2)])
    application = keras.Model(pixels, layers.Dense(4, activation="softmax")(inner(x)))
    path = tmp_path / name
    # How a model was compiled is not loaded. So a loss function of its maker does no harm.
    application.compile(loss=lambda truth, found: tf.reduce_mean(found))
    application.save(path)
    assert code_in_config(read_config(path)) is None
    assert open_keras(path).classes == 4


def call_layer(function: str) -> dict[str, Any]:
    """A layer of Keras 2 that calls a function of TensorFlow, as a file stores it."""
    return {
        "class_name": "TFOpLambda",
        "name": "calling",
        "config": {"name": "calling", "function": function},
    }


@pytest.mark.parametrize(
    "function",
    [
        *("write_file", "read_file", "matching_files", "load_file_system_library", "py_func", "Print"),
        *("nn.fixed_unigram_candidate_sampler",),
        *("io.write_file", "data.Dataset.from_generator", "import_graph_def", "no_such_name", ""),
    ],
)
@pytest.mark.parametrize("prefix", ["", "compat.v1."])
def test_functions_of_tensorflow_that_do_more_than_compute_are_refused(prefix: str, function: str) -> None:
    found = code_in_config({"config": {"layers": [call_layer(prefix + function)]}})
    assert found == f"the layer 'calling' calls TensorFlow's '{prefix}{function}'"


@pytest.mark.parametrize(
    "function",
    [
        *(
            "reshape",
            "concat",
            "cast",
            "expand_dims",
            "reduce_mean",
            "clip_by_value",
            "stack",
            "pad",
            "split",
        ),
        *(
            "convert_to_tensor",
            "constant",
            "one_hot",
            "norm",
            "einsum",
            "argsort",
            "ensure_shape",
            "roll",
            "broadcast_to",
        ),
        *(
            "compat.v1.transpose",
            "compat.v1.to_float",  # there is no tf.to_float
            "compat.v1.space_to_batch_nd",
            "compat.v1.nn.relu",
            "math.add",
            "image.resize",
        ),
        *("__operators__.getitem", "keras.backend.mean"),
    ],
)
def test_functions_of_tensorflow_that_only_compute_are_allowed(function: str) -> None:
    assert code_in_config({"config": {"layers": [call_layer(function)]}}) is None


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        (
            "ClassMethod",
            {"cls_symbol": "io.TFRecordWriter", "method_name": "write"},
            "class 'io.TFRecordWriter'",
        ),
        ("TFSMLayer", {"filepath": "saved"}, "is a TFSMLayer, which loads another network"),
        ("InstanceMethod", {"attr_name": "tofile"}, "calls the Python method 'tofile'"),
        ("DenseFeatures", {"feature_columns": []}, "is a DenseFeatures, which can read files"),
        ("TorchModuleWrapper", {"module": "AAAA"}, "is a TorchModuleWrapper, which loads another network"),
        ("StringLookup", {"vocabulary": "/etc/hostname"}, "reads the file '/etc/hostname'"),
    ],
)
def test_layers_that_load_files_are_refused(kind: str, config: dict[str, Any], said: str) -> None:
    layer = {"name": "loading", "module": "keras.layers", "config": config}
    # tf_keras also looks for a class by the registered name.
    for names in ({"class_name": kind}, {"class_name": "Dense", "registered_name": kind}):
        found = code_in_config({"config": {"layers": [layer | names]}})
        assert found is not None
        assert found.startswith("the layer 'loading' ")
        assert said in found


def test_a_layer_that_calls_tensorflow_writes_no_file(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.h5"
    pixels = keras2.Input(SHAPE)
    means = tf.reduce_mean(pixels, (1, 2))
    keras2.Model(pixels, keras2.layers.Dense(3, activation="softmax")(means)).save(path)

    def change(config: Any) -> None:
        [calling] = [one for one in config["config"]["layers"] if one["class_name"] == "TFOpLambda"]
        calling["config"]["function"] = "compat.v1.write_file"
        calling["inbound_nodes"] = [[str(marker), 0, 0, {"contents": "x"}]]

    with pytest.raises(ModelError, match=r"calls TensorFlow's 'compat\.v1\.write_file'.*--trust"):
        open_keras(changed(path, change))
    assert not marker.exists()


def op_layer(operator: str) -> dict[str, Any]:
    """A layer of Keras 2 that runs an operator of TensorFlow, as a file stores it."""
    node = {"name": "running", "op": operator, "input": ["pixels"], "attr": {"T": {"type": "DT_FLOAT"}}}
    return {"class_name": "TensorFlowOpLayer", "config": {"name": "running", "node_def": node}}


@pytest.mark.parametrize("operator", ["WriteFile", "DebugIdentity", "PyFunc", "SaveV2", "NoSuchOperator"])
def test_layers_that_run_an_operator_which_acts_outside_are_refused(operator: str) -> None:
    found = code_in_config({"config": {"layers": [op_layer(operator)]}})
    assert found == f"the layer 'running' runs TensorFlow's operator '{operator}'"


def test_layers_that_run_an_operator_which_computes_are_allowed() -> None:
    assert code_in_config({"config": {"layers": [op_layer("Relu")]}}) is None
    unreadable = {"class_name": "TensorFlowOpLayer", "name": "running", "config": {"node_def": "CgF3"}}
    assert code_in_config({"config": {"layers": [unreadable]}}) is not None


def test_a_layer_that_runs_an_operator_writes_no_file(tmp_path: Path) -> None:
    folder, path = tmp_path / "written", tmp_path / "model.h5"
    pixels = keras2.Input(SHAPE)
    means = keras2.layers.GlobalAveragePooling2D()(tf.nn.relu(pixels))
    keras2.Model(pixels, keras2.layers.Dense(3, activation="softmax")(means)).save(path)
    writing = op_layer("DebugIdentity")["config"]
    urls = {"list": {"s": [base64.b64encode(f"file://{folder}".encode()).decode()]}}
    writing["node_def"]["attr"] |= {"debug_urls": urls, "tensor_name": {"s": "YTow"}}

    def change(config: Any) -> None:
        [calling] = [one for one in config["config"]["layers"] if one["class_name"] == "TFOpLambda"]
        first = config["config"]["input_layers"][0][0]
        calling |= {
            "class_name": "TensorFlowOpLayer",
            "config": writing,
            "inbound_nodes": [[[first, 0, 0, {}]]],
        }

    with pytest.raises(ModelError, match=r"runs TensorFlow's operator 'DebugIdentity'.*--trust"):
        open_keras(changed(path, change))
    assert not folder.exists()
    assert open_keras(path, trust=True).classes == 3
    assert folder.exists()


def weights_in_other_file(path: Path, other: Path, virtual: bool = False) -> None:
    """Move the kernel of `plain_file` out of an .h5 file into another file."""
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        name = next(one for one in names if "kernel" in one)
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        if virtual:
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource(str(other), "x", shape, dtype)
            file.create_virtual_dataset(name, layout)
        else:
            file.create_dataset(name, shape, dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("keras", [keras2, keras3])
def test_weights_are_not_read_from_another_file_of_this_machine(
    tmp_path: Path, keras: Any, virtual: bool
) -> None:
    path = plain_file(keras, tmp_path / "model.h5")
    weights_in_other_file(path, tmp_path / "private", virtual)
    with pytest.raises(ModelError, match=r"would read another file.*private'.*--trust"):
        open_keras(path)


@pytest.mark.parametrize("keras", [keras2, keras3])
def test_weights_in_a_zip_are_not_read_from_another_file(tmp_path: Path, keras: Any) -> None:
    path = plain_file(keras, tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(content[weights.name])
    with h5py.File(weights, "a") as file:
        file["linked"] = h5py.ExternalLink("/private.h5", "/x")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | {weights.name: weights.read_bytes()}).items():
            archive.writestr(name, data)
    with pytest.raises(ModelError, match=r"would read another file.*'/linked' is in the file '/private.h5'"):
        open_keras(path)


def test_what_cannot_be_loaded_although_it_is_trusted_is_one_line(tmp_path: Path) -> None:
    function = {"class_name": "__lambda__", "config": {"code": "AAAA", "defaults": None, "closure": None}}

    def change(config: Any) -> None:
        config["config"]["layers"][-1]["config"]["activation"] = function

    path = changed(plain_file(keras3, tmp_path / "model.keras"), change)
    with pytest.raises(ModelError, match="cannot read the Keras model") as caught:
        open_keras(path, trust=True)
    assert "\n" not in str(caught.value)
