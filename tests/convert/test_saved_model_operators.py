"""A SavedModel runs no operator that acts outside its graph, unless it is trusted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import keras as keras3
import tensorflow as tf
import tf_keras as keras2
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import op_def_registry

from dermedge.convert.load.keras_file import open_keras
from dermedge.convert.load.saved_model_operators import LEAVING_OPERATORS, SAVING_OPERATORS, leaving_operator
from dermedge.edge.errors import ModelError

SHAPE = (8, 8, 3)
# Arguments with these names are names of files, or places outside the graph.
OUTSIDE = re.compile(
    "file|path|_dir|dir_|address|url|descriptor|^target$|prefix|memory_region|graph_def|mlir"
)
# These operators have such arguments, but do not act outside the graph. The comments say why.
INSIDE = {
    "CTCBeamSearchDecoder",  # the number of paths
    "ExperimentalSetStatsAggregatorDataset",  # the prefix of a counter
    "SetStatsAggregatorDataset",
    "TensorSliceDataset",  # whether the values are names of files
    "_XlaHostComputeMlir",  # only in graphs that XLA has compiled
    "_TPUCompileMlir",  # only on a TPU
}


def saved(tmp_path: Path, act: Callable[[], Any]) -> Path:
    """A SavedModel that acts before each answer."""

    class Acting(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
        def serve(self, pixels: Any) -> Any:
            with tf.control_dependencies([act()]):
                return tf.nn.softmax(tf.reduce_mean(pixels, (1, 2)))

    module = Acting()
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": module.serve})
    return tmp_path / "saved"


def test_a_saved_model_that_writes_files_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    folder = saved(tmp_path, lambda: tf.io.write_file(str(marker), "x"))
    with pytest.raises(ModelError, match="is WriteFile"):
        open_keras(folder)
    assert not marker.exists()
    assert open_keras(folder, trust=True).classes == 3
    assert marker.exists()


def test_a_saved_model_that_saves_tensors_for_each_answer_is_refused(tmp_path: Path) -> None:
    prefix = str(tmp_path / "written")

    def act() -> Any:
        return tf.raw_ops.SaveV2(
            prefix=prefix, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros(1)]
        )

    folder = saved(tmp_path, act)
    with pytest.raises(ModelError, match=r"is SaveV2, which acts outside the graph.*--trust"):
        open_keras(folder)
    assert not list(tmp_path.glob("written*"))
    assert open_keras(folder, trust=True).classes == 3
    assert list(tmp_path.glob("written*"))


def test_an_input_that_is_not_float32_is_named_with_a_cure(tmp_path: Path) -> None:
    class Bytes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.uint8)])
        def serve(self, pixels: Any) -> Any:
            return tf.nn.softmax(tf.reduce_mean(tf.cast(pixels, tf.float32), (1, 2)))

    module = Bytes()
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.serve})
    with pytest.raises(ModelError, match=r"is uint8, instead of float32; export .* with a float32 input$"):
        open_keras(tmp_path)


@pytest.mark.parametrize("keras", [keras2, keras3])
def test_the_part_that_saves_and_restores_weights_needs_no_trust(tmp_path: Path, keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.export(tmp_path / "saved")
    operators = SavedModel.FromString((tmp_path / "saved" / "saved_model.pb").read_bytes())
    functions = operators.meta_graphs[0].graph_def.library.function
    assert {node.op for one in functions for node in one.node_def} >= {"SaveV2", "RestoreV2"}
    assert open_keras(tmp_path / "saved").classes == 3


@pytest.mark.parametrize("reached", [False, True])
@pytest.mark.parametrize("operator", sorted(SAVING_OPERATORS))
def test_in_a_graph_of_tensorflow_1_an_answer_must_not_depend_on_saving(
    operator: str, reached: bool, tmp_path: Path
) -> None:
    model = SavedModel()
    meta = model.meta_graphs.add()
    meta.graph_def.node.add(name="answer", op="Identity", input=["other"] + ["^saving"] * reached)
    meta.graph_def.node.add(name="saving", op="StatefulPartitionedCall").attr["f"].func.name = "inner"
    meta.graph_def.library.function.add().node_def.add(name="acts", op=operator)
    meta.graph_def.library.function[0].signature.name = "inner"
    meta.signature_def["serving_default"].outputs["y"].name = "answer:0"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    found = f"the operator 'acts' is {operator}, which acts outside the graph"
    assert leaving_operator(tmp_path) == (found if reached else None)

    # An operator in a function restores weights from a path that is not known here.
    meta.saver_def.restore_op_name = "saving"
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    assert leaving_operator(tmp_path) == found


def test_a_graph_of_tensorflow_1_restores_its_own_weights_alone(tmp_path: Path) -> None:
    old, folder = tf.compat.v1, tmp_path / "saved"
    with old.Graph().as_default(), old.Session() as session:
        pixels = old.placeholder(tf.float32, [None, *SHAPE])
        weights = old.get_variable("weights", initializer=[1.0, 2.0, 3.0])
        session.run(old.global_variables_initializer())
        prefix = old.train.Saver().save(session, str(tmp_path / "other"), write_meta_graph=False)
        session.run(weights.assign([4.0, 5.0, 6.0]))
        answer = tf.nn.softmax(tf.reduce_mean(pixels, (1, 2)) + weights)
        old.saved_model.simple_save(session, str(folder), {"pixels": pixels}, {"answer": answer})

    def restored(trust: bool) -> list[float]:
        (values,) = open_keras(folder, trust=trust).weights.values()
        return values.numpy().tolist()

    assert restored(trust=False) == [4, 5, 6]
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    other = graph.node.add(name="other", op="Const")
    other.attr["dtype"].type = tf.string.as_datatype_enum
    other.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(prefix))
    for node in graph.node:
        if node.op == "RestoreV2":
            node.input[0] = "other"
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="is RestoreV2, which acts outside the graph"):
        restored(trust=False)
    assert restored(trust=True) == [1, 2, 3]


def test_each_operator_that_is_refused_is_one_of_tensorflow() -> None:
    refused = LEAVING_OPERATORS | SAVING_OPERATORS
    assert [name for name in refused if op_def_registry.get(name) is None] == []


def test_each_operator_of_tensorflow_that_names_a_file_is_refused() -> None:
    buffer = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    operators = op_def_pb2.OpList.FromString(buffer).op
    assert len(operators) > 1000
    naming = {
        one.name
        for one in operators
        if any(OUTSIDE.search(argument.name) for argument in (*one.input_arg, *one.attr))
    }
    assert naming - LEAVING_OPERATORS - SAVING_OPERATORS - INSIDE == {"ShardedFilename"} & naming
