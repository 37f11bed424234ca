"""The stages of a conversion run in order, each with the right input. Networks and files are made up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from dermedge.convert import conversion as stages
from dermedge.convert import device, pipeline
from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.conversion import Conversion, better, convert_to_form, explain
from dermedge.convert.device import DeviceRun, check_input, device_logits
from dermedge.convert.load.conversion_input import ConversionInput, ProofSet, make_proof_set
from dermedge.convert.request import ConversionRequest
from dermedge.convert.search import ConversionAttempt, SearchResult
from dermedge.convert.to_tflite import bias_correction, converter
from dermedge.convert.to_tflite.bias_correction import rounded_shift, to_corrected_tflite
from dermedge.convert.to_tflite.form import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8_MIXED,
    INT8_PTQ,
    INT8_QAT,
    INT16X8,
    ONNX_FLOAT32,
    ONNX_INT8,
    Form,
)
from dermedge.edge.errors import ModelError, OptionError, StorageError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.normalization import NORMALIZATIONS

LABELS = ("red", "green", "blue")
GAIN = 0.05
SQUARE, WIDE = Layout(2, 2, 3, channels_first=False), Layout(4, 6, 3, channels_first=False)


@dataclass(frozen=True)
class ColourNetwork:
    """A network whose logits are the means of red, green and blue, times a gain, plus an offset for each class."""

    name: str = "colours"
    gain: float = GAIN
    offsets: tuple[float, float, float] = (0, 0, 0)
    labels: tuple[str, ...] = LABELS
    layout: Layout = SQUARE
    normalization: Any = NORMALIZATIONS["symmetric"]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        means = images.astype(np.float32).mean(axis=(1, 2))
        return means * np.float32(self.gain) + np.array(self.offsets, np.float32)

    def with_logits_moved(self, amounts: NDArray[np.float32]) -> ColourNetwork:
        return replace(self, offsets=tuple(np.round(np.array(self.offsets) + amounts, 6).tolist()))

    def float_tflite(self, form: Form) -> bytes:
        return f"float file of {self.name} {self.offsets} for {form.name}".encode()

    def finished_tflite(self, form: Form) -> bytes:
        return f"finished file of {self.name} for {form.name}".encode()


@pytest.fixture
def source() -> ConversionInput:
    """90 photos of three colours. The network tells nearly all of them apart."""
    random = np.random.default_rng(3)
    truth = np.arange(90) % 3
    pixels = random.integers(60, 190, (90, 2, 2, 3)).astype(np.uint8)
    pixels[np.arange(90), :, :, truth] = np.clip(pixels[np.arange(90), :, :, truth] + 40, 0, 255)
    network = ColourNetwork()
    reference = network.logits(pixels).astype(np.float64)
    proof = ProofSet(pixels, truth, [str(one) for one in range(90)], LABELS, None, reference, "red")
    manifest = Manifest(LABELS, 2, "", "colours", metrics={"val_epoch": 7}, tools={"kept": "1"})
    return ConversionInput(network, None, list(pixels[:5]), proof, manifest)


def colour_onnx(gain: float) -> bytes:
    """An ONNX file with the answers of `ColourNetwork`."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    helper = onnx.helper
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["pixels", "gain"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["evidence"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["evidence"], ["logits"], axes=[1, 2], keepdims=0),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "made",
        [helper.make_tensor_value_info("pixels", number, [1, 3, 2, 2])],
        [
            helper.make_tensor_value_info("probabilities", number, [1, 3]),
            helper.make_tensor_value_info("evidence", number, [1, 2, 2, 3]),
        ],
        [onnx.numpy_helper.from_array(np.float32(gain), "gain")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_an_onnx_file_is_described_by_its_own_bytes_tools_and_answers(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    if find_spec("tf2onnx") is None:  # importing it would import TensorFlow
        pytest.skip("the extra onnx is not installed")
    from dermedge.convert.to_onnx.runtime import onnx_logits

    model, asked = colour_onnx(GAIN), []

    def make(*given: Any) -> bytes:
        asked.append(given)
        return model

    monkeypatch.setattr("dermedge.convert.to_onnx.converter.to_onnx", make)
    shown: list[tuple[str, int, int]] = []

    def show_progress(what: str) -> Callable[[int, int], None]:
        return lambda done, total: shown.append((what, done, total))

    form = Form(ONNX_FLOAT32, "float32")
    # The mean of each row is subtracted before logits are compared.
    moved = source.proof.reference + np.array([0.5, 0, 0])
    proven = replace(source, proof=replace(source.proof, reference=moved))
    made = convert_to_form(proven, form, 0.03, show_progress)
    assert asked == [(source.network, form, source.calibration)]
    assert made.model == model
    assert made.is_onnx
    assert made.runtime == "ONNX Runtime"
    assert made.form == form
    manifest = made.manifest
    assert manifest.quantization == "onnx-float32"
    assert manifest.network_sha256 == hashlib.sha256(model).hexdigest()
    assert manifest.tools == {"kept": "1"} | {
        name: version(name) for name in ("onnx", "onnxruntime", "tf2onnx")
    }
    assert [one["name"] for one in manifest.inputs] == ["pixels"]
    assert [one["name"] for one in manifest.outputs] == ["probabilities", "evidence"]
    assert manifest.golden == {}
    assert shown == [("proving onnx-float32", done, 90) for done in range(1, 91)]
    # The amounts 0.5, 0 and 0 have a mean of 1/6. Less this mean, they are 1/3, -1/6 and -1/6.
    assert made.parity.max_logit_difference == pytest.approx(1 / 3, abs=1e-4)
    assert made.parity.mean_logit_difference == pytest.approx((1 / 3 + 1 / 6 + 1 / 6) / 3, abs=1e-4)
    assert manifest.parity == made.parity.to_json()
    assert manifest.metrics["val_epoch"] == 7
    assert manifest.metrics["acceptance"] == made.acceptance.verdict
    assert {check.limit for check in made.acceptance.checks} == {0.03, 0.5}
    fitted = calibrate(source.proof, onnx_logits(model, source.proof.pixels).logits)
    assert manifest.temperature == fitted.temperature != 1
    assert manifest.thresholds == fitted.thresholds
    assert {key: manifest.metrics[key] for key in fitted.metrics} == fitted.metrics
    assert made.invoke_ms > 0


def test_a_fine_tuned_file_is_like_its_own_network_and_accepted_by_the_float_network(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = ColourNetwork("twin", offsets=(0.9, 0, 0))
    calls: list[Any] = []
    close_to_twin = twin.logits(source.proof.pixels) + np.array([0, 0.06, 0])

    def make(network: Any, form: Form, images: Any, manifest: Manifest) -> bytes:
        calls.append((network, form, images, manifest.quantization))
        return b"made"

    def run(model: bytes, images: Any, ends: Any, show: Any) -> DeviceRun:
        calls.append((model, images is source.proof.pixels, ends))
        show(1, 2)
        return DeviceRun(close_to_twin, None, 1.25, {"images": 1})

    monkeypatch.setattr(stages, "to_corrected_tflite", make)
    monkeypatch.setattr(stages, "run_on_device", run)
    monkeypatch.setattr(stages, "attach", lambda model, manifest: model + f"+{manifest.golden}".encode())
    form = Form(INT8_QAT)
    made = convert_to_form(replace(source, quantization_aware=lambda: twin), form, 0.01)
    assert calls == [(twin, form, source.calibration, "int8-qat"), (b"made+{}", True, (-1, 1))]
    assert made.parity.max_logit_difference == pytest.approx(0.04, abs=1e-5)
    assert made.invoke_ms == 1.25
    assert made.model == b"made+{'images': 1}"
    accuracy = next(one for one in made.acceptance.checks if one.name == "balanced accuracy")
    truth = source.proof.truth
    for figure, rows in ((accuracy.reference, source.proof.reference), (accuracy.device, close_to_twin)):
        right = rows.argmax(axis=1) == truth
        assert figure == pytest.approx(np.mean([right[truth == one].mean() for one in range(3)]))
    assert accuracy.reference != accuracy.device
    # Any other form is made from the float network.
    calls.clear()
    made = convert_to_form(replace(source, quantization_aware=lambda: twin), Form(INT8_PTQ), 0.01)
    assert calls[0][0] is source.network
    # The offsets of the twin are 0.9, 0.06 and 0. The largest one, less their mean of 0.32, is 0.58.
    assert made.parity.max_logit_difference == pytest.approx(0.58, abs=1e-5)
    # Without a fine-tuned network, this form is made from the float network too.
    calls.clear()
    convert_to_form(source, form, 0.01)
    assert calls[0][0] is source.network


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_that_answers_a_photo_with_no_finite_number_is_refused(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    answers = source.proof.reference.copy()
    answers[3, 1] = value
    with pytest.raises(ModelError, match=r"answers 1 of 90 photos with numbers that are not finite; convert"):
        made_with(DeviceRun(answers, None, 1.0, {}), source, monkeypatch)


def test_a_network_that_answers_a_photo_with_no_finite_number_is_refused(source: ConversionInput) -> None:
    proof = source.proof
    reference = proof.reference.copy()
    reference[[3, 5], 1] = np.nan
    with pytest.raises(ModelError, match=r"answers 2 of 90 photos with numbers that are not finite; train"):
        make_proof_set(proof.pixels, proof.truth, list(proof.groups), proof.labels, reference, None)


def made_with(answers: DeviceRun, source: ConversionInput, monkeypatch: pytest.MonkeyPatch) -> Conversion:
    """The conversion of a file with these answers on the device."""
    monkeypatch.setattr(stages, "to_corrected_tflite", lambda *given: b"made")
    monkeypatch.setattr(stages, "run_on_device", lambda *given: answers)
    monkeypatch.setattr(stages, "attach", lambda model, manifest: model)
    return convert_to_form(source, Form(INT8_PTQ), 0.01)


def test_a_file_that_misses_the_critical_class_says_so_first(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = source.proof.reference
    told = "the file recognizes none of the 30 photos of red, the critical class"
    made = made_with(DeviceRun(rows - [50, 0, 0], None, 1.0, {}), source, monkeypatch)
    assert made.warnings[0] == told
    assert told not in made_with(DeviceRun(rows, None, 1.0, {}), source, monkeypatch).warnings


def test_a_file_that_tells_the_view_has_values_for_each(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_up = np.where(np.arange(90) < 45, 0.9, 0.1)
    views = ["close-up"] * 45 + ["dermoscopic"] * 45
    proof = replace(source.proof, views=views)
    answers = DeviceRun(source.proof.reference, close_up, 1.0, {"images": 2})
    manifest = made_with(answers, replace(source, proof=proof), monkeypatch).manifest
    fitted = calibrate(proof, proof.reference, close_up)
    assert manifest.views == fitted.views
    assert manifest.views["close-up"]["temperature"] != manifest.temperature == fitted.temperature
    assert manifest.metrics["val_view_accuracy"] == 1
    assert manifest.golden == {"images": 2}


def test_a_further_file_is_added_to_the_tflite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "attach_file", lambda model, name, content: model + name.encode() + content)
    made = converted(accepted(True, "passed"))
    added = made.with_file("photos.bin", b"1234")
    assert added.model == b"filephotos.bin1234"
    assert added.manifest == made.manifest


def accepted(passed: bool, verdict: str) -> Any:
    return SimpleNamespace(passed=passed, verdict=verdict)


def converted(acceptance: Any, score: float = 0.5, kind: str = ONNX_INT8, **facts: Any) -> Conversion:
    """A converted file. The bytes of an ONNX file do not contain the manifest."""
    manifest = Manifest(
        LABELS,
        2,
        kind,
        metrics={"val_balanced_accuracy_argmax": score, "acceptance": acceptance.verdict},
        **facts,
    )
    parity: Any = SimpleNamespace()
    return Conversion(Form(kind), b"file", manifest, parity, acceptance, 1.0, ())


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ((True, "passed"), (True, "cannot tell"), "passed"),
        ((True, "passed"), (False, "refused here"), "refused here"),
        ((False, "refused there"), (True, "passed"), "refused there"),
        ((False, "refused there"), (False, "refused here"), "refused there"),
    ],
)
def test_a_retrained_file_decides_as_the_one_that_validated_its_recipe(
    there: tuple[bool, str], here: tuple[bool, str], expected: str
) -> None:
    views = {"close-up": {"temperature": 3.0, "thresholds": {}}}
    validated = converted(
        accepted(*there), 0.7, temperature=2.0, thresholds={"none": 0.3}, views=views, licence="theirs"
    )
    validated = replace(validated, warnings=("a warning",))
    made = converted(accepted(*here), 0.9, temperature=1.5, thresholds={"none": 0.1}, licence="mine")
    draft = Manifest(LABELS, 2, "", metrics={"validated_by": "runs/a"})
    found = stages._decided_by(validated, replace(made, model=b"mine"), draft)
    assert found.model == b"mine"
    assert found.acceptance.verdict == expected
    manifest = found.manifest
    assert (manifest.temperature, manifest.thresholds, manifest.views) == (2.0, {"none": 0.3}, views)
    assert manifest.metrics == {
        "val_balanced_accuracy_argmax": 0.7,
        "acceptance": expected,
        "validated_by": "runs/a",
    }
    assert manifest.licence == "mine"
    assert found.warnings == ("a warning",)


def test_both_networks_are_converted_where_one_validated_the_recipe(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    by_name = {
        "first": converted(accepted(True, "passed"), 0.7, temperature=2.0),
        "again": converted(accepted(True, "passed"), 0.9, temperature=1.5),
    }

    def convert(one: ConversionInput, *rest: Any) -> Conversion:
        calls.append((one.network.name, *rest))
        return by_name[one.network.name]

    monkeypatch.setattr(stages, "_convert_alone", convert)
    first = replace(source, network=ColourNetwork("first"))
    again = replace(
        source,
        network=ColourNetwork("again"),
        validated_by=first,
        manifest=replace(source.manifest, metrics={"validated_by": "runs/a"}),
    )
    form, show = Form(ONNX_INT8), lambda what: lambda done, total: None
    found = convert_to_form(again, form, 0.02, show)
    assert calls == [("first", form, 0.02, show), ("again", form, 0.02, show)]
    assert found.manifest.temperature == 2.0
    assert found.manifest.metrics["validated_by"] == "runs/a"


def test_an_accepted_file_is_better_than_any_refused_one_and_else_the_more_accurate() -> None:
    passed, refused = accepted(True, "passed"), accepted(False, "refused")
    low, high = converted(passed, 0.6, ONNX_FLOAT32), converted(passed, 0.7)
    best = converted(refused, 0.9)
    figures = {"onnx-float32": 0.6, "onnx-int8": 0.7}
    assert better([low, high]).form.kind == ONNX_INT8
    assert better([low, high]).manifest.metrics["val_balanced_accuracy_argmax_of"] == figures
    assert better([low, best]).form.kind == ONNX_FLOAT32
    assert better([converted(refused, 0.2, ONNX_FLOAT32), best]).form.kind == ONNX_INT8
    assert better([low]) is low


def test_an_onnx_file_is_written_with_its_manifest_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = converted(accepted(True, "passed"), temperature=1.75)
    path, beside = tmp_path / "a.onnx", tmp_path / "a.json"
    made.save(path)
    assert path.read_bytes() == b"file"
    assert Manifest.from_json(beside.read_text(), beside).temperature == 1.75
    with pytest.raises(
        StorageError, match=r"a\.onnx' exists already; delete it, or name another with --output"
    ):
        made.save(path)
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.json' exists already"):
        made.save(path)
    assert beside.exists()
    assert not path.exists()
    real = stages.write_bytes

    def full(target: Path, content: bytes) -> None:
        if target.suffix == ".onnx":
            raise StorageError("the disk is full")
        real(target, content)

    monkeypatch.setattr(stages, "write_bytes", full)
    with pytest.raises(StorageError, match="full"):
        made.save(tmp_path / "b.onnx")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.json"]


def test_of_two_onnx_files_none_stays_if_the_second_cannot_be_written(tmp_path: Path) -> None:
    passed = accepted(True, "passed")
    made = [converted(passed, 0.6, ONNX_FLOAT32), converted(passed, 0.7)]
    attempts = tuple(ConversionAttempt(one.form, one) for one in made)
    result = SearchResult(attempts, made[1], ())
    request = ConversionRequest(tmp_path / "run", "onnx", output=tmp_path / "a.onnx")

    def names() -> list[str]:
        return sorted(one.name for one in tmp_path.iterdir())

    request.report_folder.mkdir()
    (tmp_path / "a-int8.json").write_text("mine")
    with pytest.raises(StorageError, match=r"a-int8\.json' exists already"):
        pipeline._save(result, request)
    assert names() == ["a-int8.json"]
    (tmp_path / "a-int8.json").unlink()
    assert pipeline._save(result, request) == (tmp_path / "a.onnx", tmp_path / "a-int8.onnx")
    assert names() == ["a-int8.json", "a-int8.onnx", "a.json", "a.onnx"]


def test_layers_are_explained_on_twelve_calibration_images(
    source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[bytes, bytes, list[NDArray[Any]]]] = []

    def compared(*given: Any) -> list[Any]:
        calls.append(given)
        return ["layers"]

    monkeypatch.setattr(stages, "compare_layers", compared)
    many = replace(source, calibration=list(source.proof.pixels[:20]))
    made = replace(converted(accepted(True, "passed")), form=Form(INT8_PTQ), model=b"int8")
    assert explain(many, made) == ["layers"]
    [(float_model, int8_model, inputs)] = calls
    assert float_model == b"float file of colours (0, 0, 0) for int8-ptq"
    assert int8_model == b"int8"
    assert len(inputs) == 12
    assert inputs[3] == pytest.approx((source.proof.pixels[3][None] - 127.5) / 127.5, abs=1e-6)


@dataclass
class FakeClassifier:
    """A converted file with an input of 4 x 6 pixels. Its logits are the mean blue, green and red of a crop."""

    input_quantization: tuple[float, int] = (1 / 127.5, 128)
    input_dtype: Any = np.uint8
    has_heat_map: bool = True
    view: bool = False
    layout: Layout = WIDE
    seen: int = 0

    def crop(self, frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert frame_bgr.flags["C_CONTIGUOUS"]
        return frame_bgr

    def infer(self, crop: NDArray[np.uint8]) -> Any:
        self.seen += 1
        colours = crop.astype(np.float64).mean(axis=(0, 1))
        # The three inferences take 1, 9 and 2 ms.
        timing = SimpleNamespace(invoke_ms={1: 1.0, 2: 9.0, 3: 2.0}[self.seen])
        return SimpleNamespace(
            logits=colours, close_up=colours[0] / 255 if self.view else None, timing=timing
        )


def fake_classifier(**values: Any) -> Any:
    """A `FakeClassifier`, to be given in place of a `Classifier`."""
    return FakeClassifier(**values)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "ends"),
    [
        # From -1 to 1 there are 255 steps. The exact zero point is 127.5, so both 127 and 128 are right.
        (np.uint8, 2 / 255, 128, (-1.0, 1.0)),
        (np.uint8, 2 / 255, 127, (-1.0, 1.0)),
        (np.int8, 2 / 255, 0, (-1.0, 1.0)),
        (np.uint8, 1.0, 0, (0.0, 255.0)),
        (np.int8, 1.0, -128, (0.0, 255.0)),
        (np.uint8, 2.5 / 255, 51, (-0.5, 2.0)),
        # a float input has no scale
        (np.float32, 0.0, 0, (0.0, 255.0)),
    ],
)
def test_an_input_that_takes_pixels_is_let_pass(
    dtype: Any, scale: float, zero_point: int, ends: tuple[float, float]
) -> None:
    check_input(fake_classifier(input_quantization=(scale, zero_point), input_dtype=dtype), (4, 6), ends)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "ends"),
    [
        # These inputs read pixels one level too dark or too bright.
        (np.uint8, 1.0, 1, (0.0, 255.0)),
        (np.int8, 1.0, -127, (0.0, 255.0)),
        (np.uint8, 2 / 255, 129, (-1.0, 1.0)),
        (np.uint8, 2 / 255, 126, (-1.0, 1.0)),
        # The zero points of uint8 and int8, which differ by 128, are mixed up.
        (np.int8, 2 / 255, 128, (-1.0, 1.0)),
        (np.uint8, 2 / 255, 0, (-1.0, 1.0)),
        # These inputs are right for black, and wrong for white.
        (np.uint8, 1.01, 0, (0.0, 255.0)),
        (np.uint8, 1 / 255, 0, (0.0, 255.0)),
        # This input is right for white, and wrong for black.
        (np.uint8, 1.01, 3, (0.0, 254.52)),
    ],
)
def test_an_input_that_misreads_pixels_is_refused(
    dtype: Any, scale: float, zero_point: int, ends: tuple[float, float]
) -> None:
    with pytest.raises(ModelError, match="pixels would be misread"):
        check_input(fake_classifier(input_quantization=(scale, zero_point), input_dtype=dtype), (4, 6), ends)


def test_an_input_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="has 4 x 6 pixels, but the input of the network has 6 x 4"):
        check_input(fake_classifier(), (6, 4), (-1.0, 1.0))


@pytest.mark.parametrize("view", [True, False])
def test_a_file_is_asked_as_by_a_camera_and_its_median_time_told(view: bool) -> None:
    images = np.zeros((3, 4, 6, 3), np.uint8)
    images[:, :, :] = [[[[10, 20, 30]]], [[[40, 50, 60]]], [[[70, 80, 90]]]]
    shown: list[tuple[int, int]] = []
    rows, invoke_ms = device_logits(
        fake_classifier(view=view), images, lambda done, total: shown.append((done, total))
    )
    assert rows.tolist() == [[30, 20, 10], [60, 50, 40], [90, 80, 70]]
    assert invoke_ms == 2.0
    assert shown == [(1, 3), (2, 3), (3, 3)]
    found = device._answers(fake_classifier(view=view), images, lambda done, total: None)
    assert found.golden == {}
    if view:
        assert found.close_up == pytest.approx([30 / 255, 60 / 255, 90 / 255])
    else:
        assert found.close_up is None


def test_a_file_is_checked_run_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, bytes, dict[str, Any]]] = []

    @contextmanager
    def open_classifier(path: Path, **options: Any) -> Iterator[FakeClassifier]:
        opened.append((path, path.read_bytes(), options))
        yield FakeClassifier((2 / 255, 128))

    monkeypatch.setattr(device, "Classifier", open_classifier)
    monkeypatch.setattr(device, "record", lambda path: {"recorded": path.read_bytes()})
    images = np.full((2, 4, 6, 3), 200, np.uint8)
    found = device.run_on_device(b"model", images, (-1.0, 1.0))
    assert found.golden == {"recorded": b"model"}
    assert found.logits.tolist() == [[200] * 3] * 2
    with pytest.raises(ModelError, match="misread"):
        device.run_on_device(b"model", images, (0.0, 255.0))
    with pytest.raises(ModelError, match="has 4 x 6 pixels, but the input of the network has 6 x 4"):
        device.run_on_device(b"model", images.transpose(0, 2, 1, 3), (-1.0, 1.0))
    with device.open_on_device(b"another") as classifier:
        assert classifier.layout == WIDE
    assert [(one[1], one[2]) for one in opened] == [
        *[(b"model", {"num_threads": 2})] * 3,
        (b"another", {"num_threads": 2}),
    ]
    assert not any(path.exists() for path, _, _ in opened)


def test_the_shift_is_the_mean_over_images_less_that_over_classes() -> None:
    differences = np.array([[1, 2, 6], [3, 2, 2]], np.float32)
    found = rounded_shift(differences)
    assert found.dtype == np.float32
    # The means of the classes are 2, 2 and 4. Their mean of 8 / 3 is subtracted, and the results are rounded
    # to four decimals.
    assert found.tolist() == np.array([-0.6667, -0.6667, 1.3333], np.float32).tolist()


@pytest.mark.parametrize(
    ("kind", "has_heat_map", "files"),
    [
        (INT8_PTQ, True, 2),
        (INT8_MIXED, True, 2),
        (INT8_PTQ, False, 1),
        (INT8_QAT, True, 1),
        (INT16X8, True, 1),
        (FLOAT16, True, 1),
    ],
)
def test_the_shift_is_taken_from_the_network_before_the_file_is_made_again(
    kind: str, has_heat_map: bool, files: int, source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted_networks: list[tuple[ColourNetwork, Form]] = []
    network, form, manifest = source.network, Form(kind), source.manifest
    shift = np.array([0.5, -0.125, -0.375])

    def make(one: ColourNetwork, of_form: Form, images: Any) -> bytes:
        assert images is source.calibration
        converted_networks.append((one, of_form))
        return f"file {len(converted_networks)}".encode()

    @contextmanager
    def open_file(model: bytes) -> Iterator[FakeClassifier]:
        assert model == b"file 1, described, with a manifest"
        yield FakeClassifier(has_heat_map=has_heat_map)

    def answers(classifier: FakeClassifier, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
        assert images.shape == (5, 2, 2, 3)
        # A constant that is added to a row changes nothing.
        rows = network.logits(images).astype(np.float64) + shift + np.arange(5)[:, None]
        return rows, 1.0

    def describe(model: bytes, of: Manifest) -> bytes:
        assert of is manifest
        return model + b", described"

    monkeypatch.setattr(bias_correction, "to_tflite", make)
    monkeypatch.setattr(bias_correction, "with_metadata", describe)
    monkeypatch.setattr(bias_correction, "attach", lambda model, of: model + b", with a manifest")
    monkeypatch.setattr(bias_correction, "open_on_device", open_file)
    monkeypatch.setattr(bias_correction, "device_logits", answers)
    found = to_corrected_tflite(network, form, source.calibration, manifest)
    assert found == f"file {files}, described".encode()
    assert [one[1] for one in converted_networks] == [form] * files
    assert converted_networks[0][0] is network
    if files == 2:
        assert converted_networks[1][0].offsets == pytest.approx((-0.5, 0.125, 0.375), abs=1e-4)


@pytest.mark.parametrize(
    ("form", "ends"),
    [
        (Form(INT8_PTQ), (-1, 1)),
        (Form(INT8_PTQ, "int8"), (-1, 1)),
        (Form(INT8_MIXED, float_layers=("a",)), (-1, 1)),
        (Form(INT8_PTQ, "float32"), None),
        (Form(INT16X8), None),
    ],
)
def test_a_calibrated_form_gets_the_range_of_its_pixels(
    form: Form, ends: tuple[float, float] | None, source: ConversionInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def quantize(*given: Any) -> bytes:
        calls.append(given)
        return b"quantized"

    monkeypatch.setattr(converter, "quantize", quantize)
    assert converter.to_tflite(source.network, form, source.calibration) == b"quantized"
    [(model, of_form, inputs, of_ends)] = calls
    assert model == source.network.float_tflite(form)
    assert of_form is form
    assert of_ends == ends
    assert [one.shape for one in inputs] == [(1, 2, 2, 3)] * 5


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT16, DYNAMIC, INT8_QAT])
def test_other_forms_are_finished_by_the_network(kind: str, source: ConversionInput) -> None:
    found = converter.to_tflite(source.network, Form(kind), source.calibration)
    assert found == f"finished file of colours for {kind}".encode()


def test_16_bit_activations_have_no_int8_input(source: ConversionInput) -> None:
    with pytest.raises(OptionError, match="--int16x8 has no int8 input"):
        converter.to_tflite(source.network, Form(INT16X8, "int8"), source.calibration)
