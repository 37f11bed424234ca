"""A model file that describes itself."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import (
    CLOSE_UP,
    LABELS_NAME,
    Manifest,
    attach,
    check_network,
    read_associated_labels,
    read_manifest,
    strip,
)

MANIFEST = Manifest(labels=("a", "b c"), input_size=32, quantization="int8-qat", temperature=1.25)
THRESHOLDS: dict[str, Any] = {
    "none": 0.5,
    "uncertain": 0.25,
    "alert": {"label": "a", "threshold": 0.125, "sensitivity": 0.9},
    "conformal": {"coverage": 0.9, "thresholds": {"a": 0.125, "b c": 0}},
}
DECIDING = replace(MANIFEST, none_label="b c", thresholds=THRESHOLDS)
FLATBUFFER = b"\x1c\0\0\0TFL3" + bytes(range(256))


def test_a_manifest_comes_back_as_it_was_attached(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(FLATBUFFER, MANIFEST))
    assert read_manifest(path) == replace(MANIFEST, network_sha256=hashlib.sha256(FLATBUFFER).hexdigest())


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


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"nevus\nmelanoma\n\n \n", ("nevus", "melanoma")),
        (b"\xef\xbb\xbfnevus\r\nmelanoma\r\n", ("nevus", "melanoma")),
        (b"nevus\n\nmelanoma", ("nevus", "", "melanoma")),
        (b"0 nevus\n1 melanoma\n", ("nevus", "melanoma")),
        (b"1 nevus\n0 melanoma\n", ("1 nevus", "0 melanoma")),
        ("nevus\nmélanome\n".encode("latin-1"), ("nevus", "m\ufffdlanome")),
        ("nevus\nmélanome\n".encode("utf-16"), ("nevus", "mélanome")),
    ],
    ids=[
        "empty lines at the end",
        "byte order mark",
        "an empty line between",
        "numbers",
        "numbers in another order",
        "Latin-1",
        "UTF-16",
    ],
)
def test_a_label_file_of_another_maker_is_read(
    tmp_path: Path, content: bytes, labels: tuple[str, ...]
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(FLATBUFFER)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dict.txt", content)
    assert read_associated_labels(path) == labels


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        read_manifest(tmp_path / "gone.tflite")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"labels": 3, "input_size": 1, "quantization": ""}'])
def test_a_damaged_manifest_is_refused_with_the_file(text: str) -> None:
    with pytest.raises(ModelError, match=r"x\.tflite"):
        Manifest.from_json(text, "x.tflite")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "the manifest is [], which is not a JSON object"),
        ("{}", "the required key 'labels' is missing"),
        ('{"labels": ["a"], "input_size": 1}', "the required key 'quantization' is missing"),
        ('{"labels": 3, "input_size": 1, "quantization": ""}', "labels is 3; it must be a list"),
        (
            '{"labels": [], "input_size": 1.5, "quantization": ""}',
            "input_size is 1.5; it must be a whole number",
        ),
        ('{"labels": [], "input_size": 1, "quantization": null}', "quantization is None; it must be a text"),
        (
            '{"labels": [], "input_size": 1, "quantization": "", "licence": 1}',
            "licence is 1; it must be a text or null",
        ),
        (
            '{"labels": [], "input_size": 1, "quantization": "", "metrics": []}',
            "metrics is []; it must be a JSON object",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(text: str, said: str) -> None:
    with pytest.raises(ModelError) as refused:
        Manifest.from_json(text, "x.tflite")
    assert (
        str(refused.value) == f"the manifest in 'x.tflite' cannot be read ({said}); convert the model again"
    )


@pytest.mark.parametrize("keep", [-1, -100, len(FLATBUFFER) + 60])
def test_a_file_that_is_cut_off_in_its_manifest_is_not_one_without(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(FLATBUFFER, MANIFEST)[:keep])
    with pytest.raises(
        ModelError, match=r"at the end of '.*m\.tflite' is cut off or damaged; copy the file again"
    ):
        read_manifest(path)


@pytest.mark.parametrize("wrong", [b"\x99int8-qat", b"*int8-qat"])
def test_a_manifest_with_a_wrong_byte_is_refused(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(FLATBUFFER, MANIFEST).replace(b'"int8-qat', wrong))
    with pytest.raises(ModelError, match="copy the file again"):
        read_manifest(path)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_a_temperature_that_divides_nothing_is_refused(temperature: Any) -> None:
    damaged = json.dumps({**json.loads(MANIFEST.to_json()), "temperature": temperature})
    with pytest.raises(ModelError, match=r"x\.tflite.*the temperature is .*convert the model again"):
        Manifest.from_json(damaged, "x.tflite")


def test_thresholds_come_back_as_they_were_and_without_them_there_are_none() -> None:
    assert Manifest.from_json(DECIDING.to_json(), "x") == DECIDING
    old = json.loads(MANIFEST.to_json())
    del old["thresholds"]
    assert Manifest.from_json(json.dumps(old), "x").thresholds == {}


@pytest.mark.parametrize("key", THRESHOLDS)
def test_each_threshold_may_be_absent_and_a_later_one_is_let_be(key: str) -> None:
    few = {name: value for name, value in THRESHOLDS.items() if name != key}
    manifest = replace(DECIDING, thresholds={**few, "later": [1]})
    assert Manifest.from_json(manifest.to_json(), "x") == manifest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ([], "thresholds is"),
        ({"none": 1.5}, "none is 1.5"),
        ({"none": "0.5"}, "none is '0.5'"),
        ({"none": True}, "none is True"),
        ({"uncertain": float("nan")}, "uncertain is nan"),
        ({"uncertain": None}, "uncertain is None"),
        ({"alert": 0.3}, "alert is 0.3"),
        ({"alert": {"label": "a"}}, "alert is None"),
        ({"alert": {"label": "z", "threshold": 0.1}}, "label of the alert is 'z'"),
        ({"alert": {"label": ["a"], "threshold": 0.1}}, "not a label of the model"),
        ({"conformal": {"coverage": 0.9}}, "conformal is None"),
        ({"conformal": {"coverage": 90, "thresholds": {"a": 0, "b c": 0}}}, "coverage is 90"),
        ({"conformal": {"coverage": 0.9, "thresholds": {"a": 0}}}, "'b c'"),
    ],
)
def test_damaged_thresholds_are_refused_in_one_line_with_the_file(damage: Any, said: str) -> None:
    text = replace(DECIDING, thresholds=damage).to_json()
    with pytest.raises(ModelError, match=r"x\.tflite") as error:
        Manifest.from_json(text, "x.tflite")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_values_for_close_ups_come_back_and_a_file_without_them_has_the_bytes_of_before() -> None:
    views = {CLOSE_UP: {"temperature": 2.5, "thresholds": THRESHOLDS}}
    manifest = replace(DECIDING, views=views)
    assert Manifest.from_json(manifest.to_json(), "x") == manifest
    assert json.loads(manifest.to_json())["views"]["close-up"]["temperature"] == 2.5
    assert "views" not in json.loads(DECIDING.to_json())
    assert Manifest.from_json(DECIDING.to_json(), "x").views == {}


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ("close-up", "views is 'close-up'"),
        ({CLOSE_UP: 2.0}, "view 'close-up' is 2.0"),
        ({CLOSE_UP: {"thresholds": {}}}, "temperature is None"),
        ({CLOSE_UP: {"temperature": 0, "thresholds": {}}}, "temperature is 0"),
        ({CLOSE_UP: {"temperature": 1.0}}, "thresholds is None"),
        ({CLOSE_UP: {"temperature": 1.0, "thresholds": {"none": 2}}}, "none is 2"),
    ],
)
def test_damaged_views_are_refused_in_one_line_with_the_file(views: Any, said: str) -> None:
    with pytest.raises(ModelError, match=r"x\.tflite") as error:
        Manifest.from_json(replace(DECIDING, views=views).to_json(), "x.tflite")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_golden_test_comes_back_and_a_damaged_one_is_refused_with_the_file() -> None:
    golden = {"drawing": 1, "pixels": "00", "outputs": {"probabilities": "AA=="}}
    assert Manifest.from_json(replace(MANIFEST, golden=golden).to_json(), "x").golden == golden
    with pytest.raises(ModelError, match=r"x\.tflite.*golden is \[\]"):
        Manifest.from_json(replace(MANIFEST, golden=[]).to_json(), "x.tflite")  # type: ignore[arg-type]


def test_a_threshold_for_none_needs_such_a_class() -> None:
    for none_label in (None, "z"):
        with pytest.raises(ModelError, match=f"the none_label is {none_label!r}"):
            Manifest.from_json(replace(DECIDING, none_label=none_label).to_json(), "x")


def test_keys_of_a_later_version_are_ignored() -> None:
    text = MANIFEST.to_json().replace('"architecture"', '"later": 1,\n "architecture"')
    assert Manifest.from_json(text, "x") == MANIFEST


def test_a_manifest_of_a_later_version_is_refused() -> None:
    with pytest.raises(ModelError, match="has version 2, and this dermedge reads version 1; install a newer"):
        Manifest.from_json(replace(MANIFEST, version=2).to_json(), "x")
    for version in (0, -1, True, "1", None):
        with pytest.raises(ModelError, match="version is"):
            Manifest.from_json(replace(MANIFEST, version=version).to_json(), "x")  # type: ignore[arg-type]
    values = json.loads(MANIFEST.to_json())
    del values["version"]
    assert Manifest.from_json(json.dumps(values), "x") == MANIFEST


def test_labels_that_name_no_class_are_refused() -> None:
    with pytest.raises(ModelError, match="one of the labels is empty"):
        Manifest.from_json(replace(MANIFEST, labels=("a", " ")).to_json(), "x")
    with pytest.raises(ModelError, match="the none_label is 'z', which is not a label of the model"):
        Manifest.from_json(replace(MANIFEST, none_label="z").to_json(), "x")


def network_path(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return path


def test_a_network_is_the_one_that_its_manifest_was_written_for(tmp_path: Path) -> None:
    whole = attach(FLATBUFFER, MANIFEST)
    assert check_network(network_path(tmp_path, whole))
    changed = whole.replace(FLATBUFFER, FLATBUFFER[:-1] + b"?")
    with pytest.raises(ModelError, match=r"m\.tflite' is damaged"):
        check_network(network_path(tmp_path, changed))
    with pytest.raises(ModelError, match=r"m\.tflite' is damaged"):
        check_network(network_path(tmp_path, b"\0" + whole))


def test_a_file_without_a_digest_or_a_manifest_passes_without_proof(tmp_path: Path) -> None:
    path = network_path(tmp_path, FLATBUFFER)
    assert not check_network(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dermedge.json", MANIFEST.to_json())
    assert not check_network(path)
    assert read_manifest(path) == MANIFEST


def test_a_manifest_that_lost_its_name_is_not_one_without(tmp_path: Path) -> None:
    whole = attach(FLATBUFFER, MANIFEST)
    at = whole.rindex(b"dermedge.json")
    with pytest.raises(ModelError, match="copy the file again"):
        read_manifest(network_path(tmp_path, whole[:at] + b"X" + whole[at + 1 :]))


@pytest.mark.parametrize("name", ["dermedge.json", "labels.txt"])
def test_a_zip_that_would_fill_the_memory_is_refused(tmp_path: Path, name: str) -> None:
    path = network_path(tmp_path, FLATBUFFER)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="would unpack to 50,000,000 bytes") as refused:
        read_manifest(path) if name == "dermedge.json" else read_associated_labels(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("depth", [40, 500, 200_000])
def test_a_manifest_that_is_nested_deep_is_one_line(depth: int) -> None:
    text = MANIFEST.to_json().replace('"metrics": {}', f'"metrics": {{"x": {"[" * depth}{"]" * depth}}}')
    with pytest.raises(ModelError, match=r"x\.tflite.*nested") as refused:
        Manifest.from_json(text, "x.tflite")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "abc"),
        ("input_size", "32"),
        ("input_size", True),
        ("quantization", 8),
        ("metrics", []),
        ("tools", "x"),
        ("network_sha256", 1),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: Any) -> None:
    damaged = json.dumps({**json.loads(MANIFEST.to_json()), key: value})
    with pytest.raises(ModelError, match=rf"x\.tflite.*{key} is"):
        Manifest.from_json(damaged, "x.tflite")


def test_the_manifest_tells_what_an_app_needs_of_inputs_and_outputs(model_path: Path, tmp_path: Path) -> None:
    manifest = read_manifest(model_path)
    assert manifest is not None
    found = read_manifest(network_path(tmp_path, attach(model_path.read_bytes(), manifest)))
    assert found is not None
    with Classifier(model_path) as classifier:
        for told, details in (
            (found.inputs, classifier.interpreter.get_input_details()),
            (found.outputs, classifier.interpreter.get_output_details()),
        ):
            assert [one["index"] for one in told] == list(range(len(details)))
            for one, expected in zip(told, details, strict=True):
                assert one["shape"] == expected["shape"].tolist()
                assert one["dtype"] == np.dtype(expected["dtype"]).name
                assert (one["scale"], one["zero_point"]) == expected["quantization"]
