"""Every name by which code in a Keras file is told from layers that only compute, one at a time.

The names are listed here again on purpose: a module or function that needs no trust is a decision about security, and
must not be added in one place alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py")

from dermedge.convert.load.keras_code import check_no_code, code_in_config, is_keras_zip
from dermedge.edge.errors import ModelError


def of_layer(**values: Any) -> str | None:
    """The message about the code in a network that has a layer with these values."""
    layer = {"name": "layer", **values}
    return code_in_config({"class_name": "Functional", "config": {"layers": [layer]}})


@pytest.mark.parametrize(
    "module",
    [
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
    ],
)
@pytest.mark.parametrize("package", ["keras", "keras.src", "tf_keras", "tf_keras.src", "tensorflow.keras"])
def test_modules_of_keras_that_compute_need_no_trust(package: str, module: str) -> None:
    assert of_layer(class_name="Dense", module=f"{package}.{module}") is None
    assert of_layer(class_name="Dense", module=f"{package}.{module}.deeper") is None
    assert of_layer(class_name="Dense", module=package) is None


@pytest.mark.parametrize("name", ["CustomScaleLayer", "LayerScale", "StochasticDepth"])
@pytest.mark.parametrize("package", ["keras", "keras.src", "tf_keras.src"])
def test_layers_of_the_applications_need_no_trust(package: str, name: str) -> None:
    assert of_layer(class_name=name, module=f"{package}.applications.convnext") is None


@pytest.mark.parametrize("name", ["decode_predictions", "preprocess_input", "MobileNetV2", "data_utils"])
@pytest.mark.parametrize("module", ["applications", "applications.mobilenet_v2", "src.applications.convnext"])
def test_functions_of_the_applications_are_code_because_some_download_files(module: str, name: str) -> None:
    function = {"class_name": "function", "module": f"keras.{module}", "config": name}
    # Keras also returns a function if a class is asked for.
    for activation in (function, function | {"class_name": name, "config": {}}):
        assert of_layer(class_name="Dense", config={"activation": activation}) == (
            f"the layer 'layer' uses '{name}' of the Python module 'keras.{module}'"
        )


# These include the other public modules of Keras 2 and 3.
@pytest.mark.parametrize(
    "module",
    [
        "keras.backend",
        "keras.callbacks",
        "keras.config",
        "keras.datasets",
        "keras.distillation",
        "keras.distribution",
        "keras.dtensor",
        "keras.estimator",
        "keras.experimental",
        "keras.export",
        "keras.legacy",
        "keras.preprocessing",
        "keras.protobuf",
        "keras.quantizers",
        "keras.random",
        "keras.saving",
        "keras.src.saving",
        "keras.tree",
        "keras.utils",
        "keras.visualization",
        "keras.wrappers",
        "kerasx.layers",
        "my.keras.layers",
        "layers",
        "os",
    ],
)
def test_any_other_module_is_code(module: str) -> None:
    assert of_layer(class_name="Dense", module=module) == (
        f"the layer 'layer' uses 'Dense' of the Python module '{module}'"
    )


@pytest.mark.parametrize(
    "function",
    [
        "math.add",
        "nn.relu",
        "image.resize",
        "linalg.matmul",
        "signal.fft",
        "__operators__.getitem",
        "keras.backend.relu",
        "compat.v1.nn.relu",
        "reshape",
        "cast",
    ],
)
@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
def test_functions_of_tensorflow_that_compute_need_no_trust(kind: str, function: str) -> None:
    assert of_layer(class_name=kind, config={"function": function}) is None


@pytest.mark.parametrize(
    "function",
    [
        "import_graph_def",
        "load_library",
        "load_op_library",
        "numpy_function",
        "print",
        "py_function",
        "compat.v1.py_function",
        "io.read_file",
        "io.write_file",
        "raw_ops.WriteFile",
        "saved_model.load",
        "summary.write",
        "keras.utils.get_file",
        "mymath.add",
    ],
)
@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
def test_functions_of_tensorflow_that_do_more_are_code(kind: str, function: str) -> None:
    assert of_layer(class_name=kind, config={"function": function}) == (
        f"the layer 'layer' calls TensorFlow's '{function}'"
    )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"class_name": "Lambda"}, "is a Lambda, whose Python code would run"),
        ({"class_name": "x", "registered_name": "Lambda"}, "is a Lambda, whose Python code would run"),
        ({"class_name": "__lambda__"}, "is a Lambda, whose Python code would run"),
        (
            {"class_name": "Dense", "config": {"function_type": "lambda"}},
            "has a Python lambda, whose code would run",
        ),
        ({"class_name": "function", "module": "builtins", "config": "exec"}, "calls Python's 'exec'"),
        ({"class_name": "eval", "module": "builtins"}, "calls Python's 'eval'"),
    ],
)
def test_python_code_is_told_with_the_layer_that_needs_it(values: dict[str, Any], found: str) -> None:
    assert of_layer(**values) == f"the layer 'layer' {found}"


def test_what_is_no_code() -> None:
    assert of_layer(class_name="function", module="builtins", config="relu") is None
    assert of_layer(class_name="Dense") is None
    assert of_layer(class_name="Dense", module=None) is None
    assert of_layer(class_name="Dense", config={"activation_type": "relu"}) is None
    assert code_in_config({"compile_config": {"class_name": "Lambda"}, "class_name": "Functional"}) is None
    assert code_in_config([]) is None
    # The message names the layer by its own name, by the name in its configuration, or by that of the layer
    # around it.
    lambda_inside = {
        "class_name": "Wrapper",
        "config": {"name": "outer", "inner": [{"class_name": "Lambda"}]},
    }
    assert code_in_config(lambda_inside) == "the layer 'outer' is a Lambda, whose Python code would run"
    assert (
        code_in_config({"class_name": "Lambda"}) == "the layer '?' is a Lambda, whose Python code would run"
    )


def test_a_file_is_a_zip_by_its_name_in_small_letters_and_by_its_content(tmp_path: Path) -> None:
    for name in ("a.keras", "a.KERAS", "a.h5"):
        (tmp_path / name).write_bytes(b"PK\x05\x06" + bytes(18))
        assert is_keras_zip(tmp_path / name) == (name == "a.keras")
    (tmp_path / "b.keras").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert not is_keras_zip(tmp_path / "b.keras")


@pytest.mark.parametrize(
    "operator",
    [
        "EagerPyFunc",
        "MatchingFiles",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "WholeFileReaderV2",
        "WriteFile",
    ],
)
@pytest.mark.parametrize("in_function", [False, True])
def test_operators_of_a_saved_model_that_leave_the_graph(
    operator: str, in_function: bool, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel()
    graph = saved.meta_graphs.add().graph_def
    graph.node.add(name="sum", op="AddV2")
    target = tmp_path / "saved_model.pb"
    target.write_bytes(saved.SerializeToString())
    check_no_code(tmp_path)
    nodes = graph.library.function.add().node_def if in_function else graph.node
    nodes.add(name="leaves", op=operator)
    target.write_bytes(saved.SerializeToString())
    with pytest.raises(
        ModelError, match=rf"the operator 'leaves' is {operator}, which acts outside the graph"
    ):
        check_no_code(tmp_path)
