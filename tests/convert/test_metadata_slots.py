"""Each entry of the metadata lies in its slot of metadata_schema.fbs, read without the code of MediaPipe."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from dermedge.convert.to_tflite.metadata import metadata
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.tables import Table

MANIFEST = Manifest(("melanoma", "nevus"), 96, "int8-ptq", "a-network", licence="a licence")


def pixels_of(channels: int, dtype: int, scale: float | None, zero_point: int) -> object:
    tensor = schema.TensorT()
    tensor.type, tensor.shape = dtype, np.array([1, 96, 96, channels], np.int32)
    if scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([zero_point])
    return tensor


def only(table: Table, slot: int) -> Table:
    [one] = table.tables(slot)
    return one


def part(table: Table, slot: int) -> Table:
    found = table.table(slot)
    assert found is not None
    return found


def test_the_model_its_outputs_and_its_labels_are_described() -> None:
    content = metadata(
        pixels_of(3, schema.TensorType.UINT8, 1 / 127.5, 128),
        ["probabilities", "evidence", "close_up"],
        MANIFEST,
    )
    assert content[4:8] == b"M001"
    model = Table.root(content)
    assert model.text(0) == "dermedge a-network 96"
    assert "not a medical device" in model.text(1)
    # neither a version of the model nor an author is stated
    assert (model.text(2), model.text(4), model.text(5), model.text(7)) == ("", "", "a licence", "1.0.0")
    outputs = only(model, 3).tables(3)
    assert [one.text(0) for one in outputs] == ["probabilities", "evidence", "close_up"]
    assert outputs[0].text(1).endswith(": melanoma, nevus.")
    assert all(one.text(1) for one in outputs)
    # the values are features: they are neither images nor bounding boxes
    assert [part(one, 3).number(0, "<B") for one in outputs] == [1, 1, 1]
    labels = only(outputs[0], 6)
    assert (labels.text(0), labels.number(2, "<B")) == ("labels.txt", 2)
    assert labels.text(1)
    assert [one.tables(6) for one in outputs[1:]] == [[], []]


@pytest.mark.parametrize(
    ("channels", "dtype", "scale", "zero_point", "colours", "mean", "std"),
    [
        (3, schema.TensorType.UINT8, 1 / 127.5, 128, 1, 128.0, 127.5),
        (3, schema.TensorType.INT8, 1 / 127.5, 0, 1, 128.0, 127.5),
        (1, schema.TensorType.UINT8, 0.25, 3, 2, 3.0, 4.0),
        (1, schema.TensorType.FLOAT32, None, 0, 2, 0.0, 1.0),
    ],
)
def test_the_input_is_an_image_with_the_range_and_the_normalization_of_its_pixels(
    channels: int, dtype: int, scale: float | None, zero_point: int, colours: int, mean: float, std: float
) -> None:
    content = metadata(pixels_of(channels, dtype, scale, zero_point), ["probabilities"], MANIFEST)
    pixels = only(only(Table.root(content), 3), 2)
    assert pixels.text(0) == "pixels"
    assert pixels.text(1)
    image = part(pixels, 3)
    assert image.number(0, "<B") == 2
    assert part(image, 1).number(0, "<B") == colours
    unit = only(pixels, 4)
    assert unit.number(0, "<B") == 1
    normalized = part(unit, 1)
    assert (normalized.numbers(0, "f"), normalized.numbers(1, "f")) == ((mean,), (std,))
    levels = part(pixels, 5)
    assert (levels.numbers(0, "f"), levels.numbers(1, "f")) == ((255.0,), (0.0,))


def test_a_model_without_a_licence_states_none() -> None:
    bare = Manifest(("melanoma", "nevus"), 96, "int8-ptq", "a-network")
    content = metadata(pixels_of(3, schema.TensorType.UINT8, 1.0, 0), ["probabilities"], bare)
    assert Table.root(content).text(5) == ""
