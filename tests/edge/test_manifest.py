"""A model file that describes itself."""

import zipfile
from pathlib import Path

import pytest

from edge.errors import ModelError
from edge.manifest import LABELS_NAME, Manifest, attach, read_associated_labels, read_manifest, strip

MANIFEST = Manifest(labels=("a", "b c"), input_size=32, quantization="int8-qat", temperature=1.25)
FLATBUFFER = b"\x1c\0\0\0TFL3" + bytes(range(256))


def test_a_manifest_comes_back_as_it_was_attached(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(FLATBUFFER, MANIFEST))
    assert read_manifest(path) == MANIFEST


def test_the_flatbuffer_stays_in_front_as_it_was() -> None:
    whole = attach(FLATBUFFER, MANIFEST)
    assert whole.startswith(FLATBUFFER)
    assert strip(whole) == FLATBUFFER


def test_attaching_again_replaces_and_equal_inputs_give_equal_bytes() -> None:
    once = attach(FLATBUFFER, MANIFEST)
    assert attach(once, MANIFEST) == once


def test_third_party_tools_find_the_labels_in_the_zip(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(FLATBUFFER, MANIFEST))
    with zipfile.ZipFile(path) as archive:
        assert archive.read(LABELS_NAME) == b"a\nb c\n"
        assert archive.testzip() is None
    assert read_associated_labels(path) == ("a", "b c")


def test_a_file_without_a_manifest_has_none(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(FLATBUFFER)
    assert read_manifest(path) is None
    assert read_associated_labels(path) is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        read_manifest(tmp_path / "gone.tflite")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"labels": 3, "input_size": 1, "quantization": ""}'])
def test_a_damaged_manifest_is_refused_with_the_file(text: str) -> None:
    with pytest.raises(ModelError, match=r"x\.tflite"):
        Manifest.from_json(text, "x.tflite")


def test_keys_of_a_later_version_are_ignored() -> None:
    text = MANIFEST.to_json().replace('"architecture"', '"later": 1,\n "architecture"')
    assert Manifest.from_json(text, "x") == MANIFEST
