"""Other tools read the TFLite metadata of a file. Some tests use the real package of MediaPipe."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import FLOAT32, INT8_PTQ, Form
from dermedge.convert.to_tflite.metadata import normalization, with_metadata
from dermedge.convert.to_tflite.share_buffers import pack, share_buffers
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import Manifest, attach, read_manifest, strip
from dermedge.edge.model.shipped import FIVE_CLASSES_MODEL
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import trained_network

ROOT = Path(__file__).resolve().parents[2]
MEDIAPIPE = ROOT / ".venv-mediapipe" / "bin" / "python"

# The arguments are a model, and a .npy of uint8 [n, s, s, 3] RGB images. The script prints the answer of
# ImageClassifier to each image. For each output, this is its name and (index, label, score) of every class, with the
# most probable class first.
CLASSIFY = """
import json, sys
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
with vision.ImageClassifier.create_from_options(options) as classifier:
    for picture in np.load(sys.argv[2]):
        result = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=picture))
        print(json.dumps([
            [head.head_name, [[one.index, one.category_name, one.score] for one in head.categories]]
            for head in result.classifications
        ]))
"""

# Argument: a .tflite. Prints its metadata, read with the code that MediaPipe generated from the schema.
DESCRIBE = """
import json, sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as written, schema_py_generated as schema

def plain(value):
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__dict__"):
        return {name: plain(one) for name, one in vars(value).items() if one is not None}
    return value

model = schema.ModelT.InitFromPackedBuf(open(sys.argv[1], "rb").read(), 0)
[entry] = [one for one in model.metadata if one.name == b"TFLITE_METADATA"]
content = model.buffers[entry.buffer].data.tobytes()
assert written.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
print(json.dumps(plain(written.ModelMetadataT.InitFromPackedBuf(content, 0))))
"""


@dataclass(frozen=True)
class Head:
    """One output of MediaPipe: (index, label, score), the most probable first."""

    name: str
    categories: list[tuple[int, str | None, float]]


def in_mediapipe(script: str, *arguments: Path) -> list[Any]:
    """The lines of JSON that a script prints in the environment of MediaPipe."""
    if not MEDIAPIPE.is_file():
        pytest.skip("needs MediaPipe in an environment of its own: make .venv-mediapipe/locked")
    command = [str(MEDIAPIPE), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def classified(model: Path, pixels: NDArray[np.uint8], folder: Path) -> list[list[Head]]:
    """The answers of MediaPipe's ImageClassifier to uint8 [n, s, s, 3] RGB images."""
    np.save(folder / "pixels.npy", pixels)
    return [
        [Head(name, [tuple(one) for one in categories]) for name, categories in heads]
        for heads in in_mediapipe(CLASSIFY, model, folder / "pixels.npy")
    ]


def levels_of(model: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probabilities of our own runtime, float64 [n, K], exactly as the network gave them."""
    with Classifier(model) as classifier:
        rows = []
        for picture in pixels:
            outputs = classifier.raw_outputs(np.ascontiguousarray(picture[..., ::-1]))
            rows.append(outputs["probabilities"].dequantize())
    return np.array(rows, np.float64)


def without_evidence(model: bytes) -> bytes:
    """The model with its probabilities as the only output."""
    root = schema.ModelT.InitFromPackedBuf(strip(model), 0)
    graph = root.subgraphs[0]
    graph.outputs = [index for index in graph.outputs if len(graph.tensors[index].shape) == 2]
    return pack(root)


@pytest.fixture(scope="session")
def model_path() -> Path:
    """A shipped model without the output `close_up`, for which `test_metadata_slots` has tests."""
    return FIVE_CLASSES_MODEL


@pytest.fixture(scope="module")
def shipped(model_path: Path) -> Manifest:
    manifest = read_manifest(model_path)
    assert manifest is not None
    return manifest


@pytest.fixture(scope="module")
def described(model_path: Path, shipped: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with metadata and manifest."""
    path = tmp_path_factory.mktemp("described") / "m.tflite"
    path.write_bytes(attach(with_metadata(model_path.read_bytes(), shipped), shipped))
    return path


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Twelve images of blobs in noise, of the shipped model's size."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:192, 0:192]
    pictures = rng.normal((210, 170, 150), 9, (12, 192, 192, 3))
    for picture in pictures:
        inside = np.hypot(x - rng.integers(70, 120), y - rng.integers(70, 120)) < rng.integers(15, 70)
        picture[inside] = rng.integers(20, 190, 3) + rng.normal(0, 15, (int(inside.sum()), 3))
    return pictures.clip(0, 255).astype(np.uint8)


def test_the_first_output_is_the_probabilities_and_no_answer_changes(
    described: Path, model_path: Path, pixels: NDArray[np.uint8]
) -> None:
    with Classifier(described) as classifier:
        details = classifier.interpreter.get_output_details()
    assert [len(one["shape"]) for one in details] == [2, 4]
    assert np.array_equal(levels_of(described, pixels), levels_of(model_path, pixels))


def test_adding_again_replaces_and_equal_inputs_give_equal_bytes(described: Path, shipped: Manifest) -> None:
    once = described.read_bytes()
    assert attach(with_metadata(once, shipped), shipped) == once
    assert share_buffers(strip(once)) == strip(once), "vectors are shared already"


def test_metadata_cost_little_over_a_kilobyte(described: Path, model_path: Path) -> None:
    assert described.stat().st_size - model_path.stat().st_size < 1500


def test_the_file_stays_within_the_limits_of_litert_js(described: Path) -> None:
    graph = schema.ModelT.InitFromPackedBuf(strip(described.read_bytes()), 0).subgraphs[0]
    outside = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    assert {one.type for one in outside} <= {schema.TensorType.UINT8, schema.TensorType.FLOAT32}
    assert all(one.shapeSignature is None or min(one.shapeSignature) > 0 for one in outside), "a static batch"


def test_the_metadata_are_what_the_official_schema_reads(described: Path, shipped: Manifest) -> None:
    [told] = in_mediapipe(DESCRIBE, described)
    [subgraph] = told["subgraphMetadata"]
    [image] = subgraph["inputTensorMetadata"]
    assert image["content"]["contentPropertiesType"] == 2, "an image"
    assert image["content"]["contentProperties"]["colorSpace"] == 1, "RGB"
    [unit] = image["processUnits"]
    assert unit["optionsType"] == 1
    assert unit["options"] == {"mean": [128.0], "std": [127.5]}
    assert image["stats"] == {"max": [255.0], "min": [0.0]}
    probabilities, evidence = subgraph["outputTensorMetadata"]
    assert (probabilities["name"], evidence["name"]) == ("probabilities", "evidence")
    [labels] = probabilities["associatedFiles"]
    assert labels["type"] == 2, "labels of an axis"
    with zipfile.ZipFile(described) as archive:
        assert tuple(archive.read(labels["name"]).decode().splitlines()) == shipped.labels
    assert ", ".join(shipped.labels) in probabilities["description"], "where Netron shows them"
    assert told["license"] == shipped.licence
    assert "not a medical device" in told["description"]


def test_mediapipe_opens_the_file_with_our_labels_and_gives_our_probabilities(
    described: Path, shipped: Manifest, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    ours = levels_of(described, pixels)
    assert len({tuple(row) for row in ours}) == len(pixels), "no two pictures get one answer"
    for heads, row in zip(classified(described, pixels, tmp_path), ours, strict=True):
        assert [head.name for head in heads] == ["probabilities", "evidence"]
        assert {index: label for index, label, _ in heads[0].categories} == dict(enumerate(shipped.labels))
        assert {index: score for index, _, score in heads[0].categories} == dict(enumerate(row))


def test_a_file_without_evidence_is_a_plain_classifier(
    model_path: Path, shipped: Manifest, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "plain.tflite"
    path.write_bytes(attach(with_metadata(without_evidence(model_path.read_bytes()), shipped), shipped))
    ours = levels_of(path, pixels)
    for heads, row in zip(classified(path, pixels, tmp_path), ours, strict=True):
        [head] = heads
        assert head.categories[0][1:] == (shipped.labels[int(row.argmax())], row.max())


@pytest.mark.parametrize("kind", [FLOAT32, INT8_PTQ])
def test_mediapipe_sees_what_the_network_was_trained_on(
    trained_run: Path, labelled_set: Path, tmp_path: Path, kind: str
) -> None:
    run = RunFolder(trained_run)
    config = run.config()
    pixels = np.stack([to_input(read_picture(path), config.size) for path in find_photo_files(labelled_set)])
    manifest = Manifest(labels=config.classes, input_size=config.size, quantization=kind)
    network = network_of(trained_network(run, "float"), "cnn", config.size, config.classes)
    model = with_metadata(to_tflite(network, Form(kind), list(pixels[::3])), manifest)
    path = tmp_path / "blobs.tflite"
    path.write_bytes(attach(model, manifest))
    ours = levels_of(path, pixels)
    theirs = [heads[0].categories[0] for heads in classified(path, pixels, tmp_path)]
    assert [index for index, _, _ in theirs] == ours.argmax(axis=1).tolist()
    assert {label for _, label, _ in theirs} == {*config.classes}
    assert [score for _, _, score in theirs] == pytest.approx(ours.max(axis=1), abs=1e-4)


def test_mediapipe_answers_real_photos_as_we_do(described: Path, real_data: Path, tmp_path: Path) -> None:
    photos = find_photo_files(real_data)[::200]
    pixels = np.stack([to_input(read_picture(path), 192) for path in photos])
    ours = levels_of(described, pixels)
    theirs = [heads[0].categories[0][0] for heads in classified(described, pixels, tmp_path)]
    assert theirs == ours.argmax(axis=1).tolist()


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        (schema.TensorType.UINT8, 1 / 127.5, 128, (128.0, 127.5)),
        (schema.TensorType.INT8, 1 / 127.5, 0, (128.0, 127.5)),
        (schema.TensorType.UINT8, None, None, (0.0, 1.0)),
        (schema.TensorType.FLOAT32, None, None, (0.0, 1.0)),
    ],
)
def test_normalizing_and_quantizing_gives_the_pixel_back(
    dtype: int, scale: float | None, zero_point: int | None, expected: tuple[float, float]
) -> None:
    tensor = schema.TensorT()
    tensor.type = dtype
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([zero_point])
    assert normalization(tensor) == expected
