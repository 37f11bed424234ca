"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dermedge  # noqa: F401 - sets OpenCV's limit of pixels, which OpenCV reads when it is imported

# isort: split
import cv2
import numpy as np
import pytest
from filelock import FileLock

from dermedge.edge.model.manifest import Manifest, attach
from dermedge.edge.model.shipped import DEFAULT_MODEL

# The arguments are a name, and a function that writes a file or folder to a path. The result is this path.
MadeOnce = Callable[[str, Callable[[Path], object]], Path]

# Tests that run at the same time share the processor's cores.
IS_ONE_OF_MANY = "PYTEST_XDIST_WORKER" in os.environ
if IS_ONE_OF_MANY:
    for _library in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_library, "1")

# If pytest runs as a background job of a script, it ignores Ctrl-C, and so would the processes that it starts. The
# tests of Ctrl-C need the usual handler.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The colours (BGR) of a blob on skin. They differ so much that a tiny network learns them in seconds.
BLOBS = {"brown": (40, 70, 120), "red": (60, 60, 210), "blue": (190, 90, 60)}
# Classes of the tiny model that tells close-ups from dermoscopic photos.
VIEW_LABELS = ("melanoma", "nevus", "none of these")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of this run of all tests, the same in each process of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if IS_ONE_OF_MANY else base


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(shared_folder: Path) -> None:
    """Gives the tests a cache folder of their own, so that they do not change the user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(shared_folder / "cache")


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The default model of those that ship."""
    return DEFAULT_MODEL


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos, which are not part of the project.

    The environment variable DERMEDGE_DATA names it. If it is not set, the folder lies beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("DERMEDGE_DATA", beside))
    if not (path / "metadata").is_dir():
        pytest.skip("no real photos: set DERMEDGE_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def oversized_png() -> bytes:
    """A PNG of fewer than 80 bytes, whose header claims 40,000 by 40,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture(scope="session")
def make_labelled_set() -> Callable[..., Path]:
    """A function (folder, photos per class, size) that writes generated photos, a folder per class."""

    def make(folder: Path, per_class: int = 20, size: int = 48) -> Path:
        rng = np.random.default_rng(0)
        for name, colour in BLOBS.items():
            (folder / name).mkdir(parents=True)
            for number in range(per_class):
                photo = rng.normal((150, 170, 210), 8, (size, size * 4 // 3, 3)).clip(0, 255).astype(np.uint8)
                centre = (size * 2 // 3 + int(rng.integers(-4, 5)), size // 2 + int(rng.integers(-4, 5)))
                cv2.circle(photo, centre, size // 4 + int(rng.integers(-2, 3)), colour, -1)
                cv2.imwrite(str(folder / name / f"{name}{number:02d}.png"), photo)
        return folder

    return make


@pytest.fixture(scope="session")
def made_once(shared_folder: Path) -> MadeOnce:
    """A function (name, make) that returns a path which ``make`` writes once in a run of all tests.

    The processes of pytest-xdist share the written file or folder, so no test may change it.
    """

    def at(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared_folder / f"once-{name}"
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "lock"):
            if not (folder / "done").is_file():
                make(folder / name)
                (folder / "done").touch()
        return folder / name

    return at


@pytest.fixture(scope="session")
def labelled_set(made_once: MadeOnce, make_labelled_set: Callable[..., Path]) -> Path:
    """Generated photos of three classes, a folder per class."""
    return made_once("blobs", make_labelled_set)


@pytest.fixture(scope="session")
def trained_run(made_once: MadeOnce, labelled_set: Path) -> Path:
    """The run folder of a plain CNN trained on the generated photos, with its quantization-aware stage."""
    pytest.importorskip("tensorflow")
    from dermedge import cli

    def train(run: Path) -> None:
        command = f"train --data {labelled_set} --arch cnn --imgsz 32 --epochs 5 --qat-epochs 2 --batch 12"
        assert cli.main([*command.split(), "--output", str(run)]) == 0

    return made_once("trained_run", train)


@pytest.fixture(scope="session")
def refitted_run(made_once: MadeOnce, trained_run: Path) -> Path:
    """A run by the recipe of `trained_run` that also trains on its validation photos."""
    from dermedge import cli

    def refit(run: Path) -> None:
        assert cli.main(["train", "--refit", str(trained_run), "--output", str(run)]) == 0

    return made_once("refitted_run", refit)


@pytest.fixture(scope="session")
def make_network() -> Callable[..., bytes]:
    """A function that makes a tiny .tflite. It computes the mean of each channel, and an operator on these means.

    The function has these keywords. ``shape``, ``signature``, ``dtype`` (in lower case) and ``quantization`` (scale,
    zero point) describe the input. ``head`` is the name of the last operator, or None. ``custom`` is the name of a
    custom operator that replaces the last one. ``normalization`` (means, deviations) is written as TFLite Metadata. If
    ``tells_view`` is true, the network has two more outputs, like our own files: the input as the evidence, and the
    sigmoid of its mean over all channels, [N, 1], as the probability of a close-up.
    """
    pytest.importorskip("ai_edge_litert.schema_py_generated")
    return _network


@pytest.fixture(scope="session")
def empty_tflite() -> bytes:
    """A .tflite without a tensor, to which `GraphEditor` adds operators, so that no TensorFlow is needed."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from dermedge.convert.to_tflite.share_buffers import pack

    root, graph = schema.ModelT(), schema.SubGraphT()
    root.version, root.operatorCodes, root.buffers, root.subgraphs = 3, [], [schema.BufferT()], [graph]
    graph.tensors, graph.operators = [], []
    graph.inputs = graph.outputs = np.array([], np.int32)
    return pack(root)


@pytest.fixture
def make_view_model(make_network: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a tiny model for which bright images are close-ups.

    ``temperature`` and ``thresholds`` are those of close-ups, and ``usual`` are the thresholds of other photos.
    ``network`` are options of `make_network`. All other keywords are fields of the manifest.
    """

    def make(
        temperature: float = 2.0,
        thresholds: dict[str, Any] | None = None,
        usual: dict[str, Any] | None = None,
        network: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Path:
        options = {"dtype": "uint8", "quantization": (1 / 16, 128)} if network is None else network
        size = int(options.get("shape", (1, 8))[1])
        views = {"close-up": {"temperature": temperature, "thresholds": thresholds or {}}}
        manifest = Manifest(
            VIEW_LABELS,
            size,
            "int8-ptq",
            none_label=VIEW_LABELS[-1],
            thresholds=usual or {},
            views=views,
            **fields,
        )
        path = tmp_path / "view.tflite"
        path.write_bytes(attach(make_network(**{"tells_view": True, **options}), manifest))
        return path

    return make


def _network(
    shape: Sequence[int] = (1, 8, 8, 3),
    signature: Sequence[int] | None = None,
    dtype: str = "float32",
    quantization: tuple[float, int] | None = None,
    head: str | None = "SOFTMAX",
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
    custom: str | None = None,
    tells_view: bool = False,
) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    kind = getattr(schema.TensorType, dtype.upper())
    channels_first = shape[1] in (1, 3) and shape[3] not in (1, 3)
    means = (shape[0], shape[1] if channels_first else shape[3])
    axes = np.array((2, 3) if channels_first else (1, 2), np.int32)
    of_probabilities = (1 / 256, -128 if dtype == "int8" else 0) if quantization else None
    root = schema.ModelT()
    root.version, root.operatorCodes, root.metadata = 3, [], []
    root.buffers = [schema.BufferT(), schema.BufferT()]
    root.buffers[1].data = axes.view(np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("image", shape, kind, quantization, signature),
        _tensor("axes", (2,), schema.TensorType.INT32, None),
        _tensor("means", means, kind, quantization),
    ]
    graph.tensors[1].buffer = 1
    mean = _operator(root, "MEAN", [0, 1], [2])
    mean.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    mean.builtinOptions = schema.ReducerOptionsT()
    graph.operators = [mean]
    last = custom or head
    if last:
        graph.tensors.append(_tensor("answer", means, kind, of_probabilities))
        graph.operators.append(_operator(root, last, [2], [3]))
        if last == "SOFTMAX":
            graph.operators[1].builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
            graph.operators[1].builtinOptions = schema.SoftmaxOptionsT()
            graph.operators[1].builtinOptions.beta = 1.0
    graph.inputs, graph.outputs = [0], [len(graph.tensors) - 1]
    if tells_view:
        _add_view(root, graph, quantization, kind)
    root.subgraphs = [graph]
    if normalization:
        _add_normalization(root, *normalization)
    builder = flatbuffers.Builder(0)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _add_view(root: Any, graph: Any, quantization: tuple[float, int] | None, kind: int) -> None:
    """Adds two outputs: evidence is a copy of the input, and close_up is the sigmoid of its mean over all channels."""
    from ai_edge_litert import schema_py_generated as schema

    first, batch = len(graph.tensors), int(graph.tensors[0].shape[0])
    root.buffers.append(schema.BufferT())
    root.buffers[-1].data = np.array([1], np.int32).view(np.uint8)
    axis = _tensor("axis", (1,), schema.TensorType.INT32, None)
    axis.buffer = len(root.buffers) - 1
    graph.tensors += [
        axis,
        _tensor("mean", (batch, 1), kind, quantization),
        _tensor("close_up", (batch, 1), kind, (1 / 256, 0) if quantization else None),
        _tensor("evidence", graph.tensors[0].shape, kind, quantization),
        _tensor("same", (4,), schema.TensorType.INT32, None),
    ]
    root.buffers.append(schema.BufferT())
    root.buffers[-1].data = np.array(graph.tensors[0].shape, np.int32).view(np.uint8)
    graph.tensors[-1].buffer = len(root.buffers) - 1
    mean = _operator(root, "MEAN", [2, first], [first + 1])
    mean.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    mean.builtinOptions = schema.ReducerOptionsT()
    mean.builtinOptions.keepDims = True
    graph.operators += [
        mean,
        _operator(root, "LOGISTIC", [first + 1], [first + 2]),
        _operator(root, "RESHAPE", [0, first + 4], [first + 3]),
    ]
    # converters do not write the outputs in the order of their names, so this network does not either
    graph.outputs = [first + 2, *graph.outputs, first + 3]


def _tensor(
    name: str,
    shape: Sequence[int],
    kind: int,
    quantization: tuple[float, int] | None,
    signature: Sequence[int] | None = None,
) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(shape), kind
    tensor.shapeSignature = list(signature) if signature else None
    if quantization:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [quantization[0]], [quantization[1]]
    return tensor


def _operator(root: Any, name: str, inputs: list[int], outputs: list[int]) -> Any:
    """Returns an operator of this name, and adds its code to the model.

    The operator is a builtin one if TFLite has a builtin operator of this name. Otherwise, it is a custom operator.
    """
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(
        schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM
    )
    if code.builtinCode == schema.BuiltinOperator.CUSTOM:
        code.customCode = name
    root.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(root.operatorCodes) - 1, inputs, outputs
    return operator


def _add_normalization(root: Any, mean: Sequence[float], std: Sequence[float]) -> None:
    """Adds TFLite Metadata with NormalizationOptions of the first input, by its slots in metadata_schema.fbs."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(0)

    def table(offsets: dict[int, int], numbers: dict[int, int] | None = None) -> int:
        builder.StartObject(9)
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (numbers or {}).items():
            builder.PrependUint8Slot(slot, number, 0)
        return int(builder.EndObject())

    def only(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    values = [builder.CreateNumpyVector(np.array(one, np.float32)) for one in (mean, std)]
    unit = table({1: table(dict(enumerate(values)))}, {0: 1})
    builder.Finish(table({3: only(table({2: only(table({4: only(unit)}))}))}), b"M001")
    root.buffers.append(schema.BufferT())
    root.buffers[-1].data = np.frombuffer(bytes(builder.Output()), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "TFLITE_METADATA", len(root.buffers) - 1
    root.metadata.append(entry)
