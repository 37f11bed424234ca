"""A message says what a network is if it is not an image classifier; classes with the same name get a number each."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.errors import ModelError, ModelWarning, OptionError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.model.signature import (
    find_input,
    find_labels,
    find_normalization,
    find_outputs,
    output_places,
)

PATH = Path("m.tflite")
PLACES = json.loads((Path(__file__).parents[1] / "outputs_vectors.json").read_text())


class Described:
    """An interpreter that knows only the shapes and types of its tensors."""

    def __init__(
        self, inputs: list[tuple[list[int], Any]], outputs: list[list[int]], dtype: Any = np.float32
    ) -> None:
        self._inputs = [self._tensor(shape, kind) for shape, kind in inputs]
        self._outputs = [self._tensor(shape, dtype) for shape in outputs]

    def _tensor(self, shape: list[int], dtype: Any) -> dict[str, Any]:
        return {"name": "t", "shape": np.array(shape), "shape_signature": np.array(shape), "dtype": dtype}

    def get_input_details(self) -> list[dict[str, Any]]:
        return self._inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        return self._outputs


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([([1, 384], np.int32)], "as the input of a text network"),
        ([([1], np.bytes_)], "not an image"),
        ([([1, 15600], np.float32)], "not an image"),
        ([([1, 8, 8, 3], np.uint8), ([1, 5], np.float32)], "it has 2 inputs"),
        ([], "it has 0 inputs"),
    ],
)
def test_what_takes_no_image_is_named(inputs: list[tuple[list[int], Any]], said: str) -> None:
    with pytest.raises(ModelError, match=said) as refused:
        find_input(Described(inputs, []), PATH)  # type: ignore[arg-type]
    assert str(refused.value).startswith("'m.tflite' is not an image classifier")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([[1, 10, 4], [1, 10], [1, 10], [1]], "as an object detector has"),
        ([[1, 8400, 85]], "as an object detector has"),
        ([[1, 64, 64, 21]], "segmentation"),
        ([[1, 5], [1, 7]], "; a classifier has one output"),
        ([[1, 1], [1, 1]], "; a classifier has one output"),
        ([[1, 5], [1, 1], [1, 1]], "; a classifier has one output"),
        ([[1, 5], [1, 6, 6, 7]], "differ in the number of classes"),
        ([[1, 1], [1, 5], [1, 6, 6, 7]], r"two of its outputs, \[1, 5\] and \[1, 6, 6, 7\], differ"),
        ([], "; a classifier has one output"),
    ],
)
def test_what_gives_no_classes_is_named(outputs: list[list[int]], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        find_outputs(Described([], outputs), PATH)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [[1, 5], [4, 5], [1, 1, 1, 5]])
def test_one_output_of_k_values_is_that_of_a_classifier(shape: list[int]) -> None:
    found = find_outputs(Described([], [shape]), PATH)  # type: ignore[arg-type]
    assert found.probabilities["shape"].tolist() == shape
    assert found.evidence is None
    assert found.close_up is None


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_])
def test_the_number_of_a_class_is_no_probability(dtype: Any) -> None:
    with pytest.raises(ModelError, match=rf"its output \[1, 1\] is {np.dtype(dtype)}, which holds no prob"):
        find_outputs(Described([], [[1, 1]], dtype), PATH)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_an_image_of_an_unknown_type_is_told_by_its_type(dtype: Any) -> None:
    with pytest.raises(
        ModelError, match=rf"the input of 'm\.tflite' is {np.dtype(dtype)}, .* uint8, int8, int16"
    ):
        find_input(Described([([1, 8, 8, 3], dtype)], []), PATH)  # type: ignore[arg-type]


@pytest.mark.parametrize("vector", PLACES, ids=lambda vector: str(vector["shapes"]))
def test_the_places_of_outputs_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    assert output_places(vector["shapes"]) == vector["places"]


def test_classes_of_one_name_are_told_apart() -> None:
    labels = ["crane", "maillot", "crane", "crane"]
    assert find_labels(PATH, None, labels, 4) == ("crane", "maillot", "crane (2)", "crane (3)")


def test_the_number_of_a_repeated_class_is_the_name_of_no_other_class() -> None:
    assert find_labels(PATH, None, ["crane (2)", "crane", "crane"], 3) == ("crane (2)", "crane", "crane (3)")
    assert find_labels(PATH, None, ["crane", "crane", "crane (2)"], 3) == ("crane", "crane (3)", "crane (2)")


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    assert find_labels(PATH, None, ["", "nevus", " "], 3) == ("class 0", "nevus", "class 2")
    assert find_labels(PATH, None, ["class 1", ""], 2) == ("class 1", "class 1 (2)")


def test_a_label_file_that_does_not_fit_is_told_apart_from_labels_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"network")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "mole\nother\n")
    with pytest.raises(OptionError, match=r"has 3 classes, but its label file names 2; give --labels"):
        find_labels(path, None, None, 3)
    with pytest.raises(OptionError, match=r"has 3 classes, but 1 labels were given; give --labels"):
        find_labels(path, None, ["mole"], 3)


@pytest.mark.parametrize(
    ("dtype", "quantization", "is_usual"),
    [
        (np.uint8, (1 / 255, 0), True),
        (np.uint8, (2 / 255, 127), True),
        (np.uint8, (2 / 255, 128), True),
        (np.uint8, (0.0, 0), True),  # not quantized
        (np.int8, (1 / 255, -128), True),
        (np.int8, (2 / 255, -1), True),
        (np.uint8, (4.758 / 255, 114), False),  # the pixels of ImageNet reach from -2.118 to 2.64
        (np.int8, (4.758 / 255, -14), False),
        (np.int8, (274.741 / 255, -13), False),  # Caffe: from -123.68 to 151.061
    ],
)
def test_a_quantized_input_that_seems_to_expect_normalized_pixels_is_warned_of(
    dtype: Any, quantization: tuple[float, int], is_usual: bool, tmp_path: Path
) -> None:
    path, layout = tmp_path / "foreign.tflite", Layout(8, 8, 3, channels_first=False)
    path.write_bytes(SHIPPED["dermedge-128"].read_bytes().replace(b"TFLITE_METADATA", b"WITHOUT_METADAT"))
    pixels = {"dtype": dtype, "quantization": quantization}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert find_normalization(path, pixels, layout, None) is None
        given = find_normalization(path, pixels, layout, "imagenet")
    assert (given is None) == (quantization[0] == 0), "the option decides, if the input is quantized"
    told = [str(one.message) for one in seen if one.category is ModelWarning]
    assert len(told) == (not is_usual)
    assert all(f"zero point {quantization[1]}" in text and "--normalization auto" in text for text in told)
