"""Where the results of a conversion are written, and which options fit together, without TensorFlow."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dermedge.convert.cli import _request, main, parser
from dermedge.convert.request import AIMS, ConversionRequest, check_request
from dermedge.edge.errors import DataError, OptionError, StorageError


@pytest.fixture
def keras_file(tmp_path: Path) -> ConversionRequest:
    """A request for a .keras file, with photos."""
    return ConversionRequest(tmp_path / "a.keras", "int8", data=tmp_path)


@pytest.mark.parametrize("aim", AIMS)
def test_a_file_is_written_beside_the_model_with_the_aim_in_its_name(aim: str) -> None:
    request = ConversionRequest(Path("models/a.keras"), aim)
    ending = "float32.onnx" if aim == "onnx" else f"{aim}.tflite"
    assert request.target == Path(f"models/a-{ending}")
    assert request.report_folder == Path(f"models/{request.target.stem}-report")
    named = replace(request, output=Path("out/b.tflite"), report=Path("report"))
    assert (named.target, named.report_folder) == (Path("out/b.tflite"), Path("report"))
    assert replace(named, report=None).report_folder == Path("out/b-report")


def test_a_saved_model_in_the_current_folder_is_named_after_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moles" / "variables").mkdir(parents=True)
    (tmp_path / "moles" / "saved_model.pb").touch()
    for folder, model in (("moles", "."), ("moles/variables", "..")):
        monkeypatch.chdir(tmp_path / folder)
        request = ConversionRequest(Path(model), "int8", data=tmp_path)
        check_request(request)
        assert request.named_model == tmp_path.resolve() / "moles"
        assert request.target == tmp_path.resolve() / "moles-int8.tflite"
    assert ConversionRequest(Path("moles"), "int8").named_model == Path("moles")


def test_of_onnx_files_the_second_is_named_int8() -> None:
    request = ConversionRequest(Path("models/a.keras"), "onnx")
    assert request.target_of("onnx-float32") == Path("models/a-float32.onnx")
    assert request.target_of("onnx-int8") == Path("models/a-int8.onnx")
    named = replace(request, output=Path("b.onnx"))
    assert (named.target_of("onnx-float32"), named.target_of("onnx-int8")) == (
        Path("b.onnx"),
        Path("b-int8.onnx"),
    )


def test_a_folder_is_a_run_unless_it_is_a_saved_model(tmp_path: Path) -> None:
    assert ConversionRequest(tmp_path, "int8").is_run
    (tmp_path / "saved_model.pb").touch()
    assert not ConversionRequest(tmp_path, "int8").is_run
    assert not ConversionRequest(tmp_path / "a.keras", "int8").is_run
    assert ConversionRequest(tmp_path / "a.TFLITE", "int8").is_tflite
    assert not ConversionRequest(tmp_path / "a.keras", "int8").is_tflite
    (tmp_path / "b.tflite").mkdir()
    assert not ConversionRequest(tmp_path / "b.tflite", "int8").is_tflite


def test_a_request_is_refused_before_tensorflow_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dermedge.convert.pipeline", None)
    (tmp_path / "a.keras").touch()
    with pytest.raises(OptionError, match="needs labelled photos"):
        main([str(tmp_path / "a.keras"), "--int8"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": None}, r"a\.keras' is not a run folder .* needs labelled photos: with --data, give"),
        ({"evidence": False}, r"^--no-evidence is for a run; leave the option out$"),
        (
            {"float_layers": "2", "aim": "float16"},
            r"^--float-layers is for --int8; use --int8, or leave the option out$",
        ),
        ({"float_layers": "", "aim": "search"}, r"^--float-layers is for --int8"),
        (
            {"ranges": "mse", "aim": "int16x8"},
            r"^--ranges is for --int8; use --int8, or leave the option out$",
        ),
        ({"method": "ptq", "aim": "float16"}, r"^--method is for --int8"),
        ({"ranges": "mse", "method": "qat"}, r"^--ranges does not work with --method qat; use --method ptq$"),
        (
            {"float_layers": "2", "method": "qat"},
            r"^--float-layers does not work with --method qat; use --method ptq$",
        ),
        ({"method": "qat"}, r"^--method qat needs a run with a QAT stage"),
        (
            {"aim": "onnx", "io": "int8"},
            r"^--io int8 is for a \.tflite; leave --io out, because an ONNX file",
        ),
    ],
)
def test_options_that_do_not_fit_a_classifier(
    keras_file: ConversionRequest, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check_request(replace(keras_file, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"size": 64},
            r"^--imgsz is for a Keras classifier, and '.*a\.tflite' is a \.tflite; leave the option out$",
        ),
        ({"trusted": True}, r"^--trust is for a Keras classifier"),
        ({"aim": "dynamic"}, r"^--dynamic is for a run or a Keras classifier; use --int8 or --float16"),
    ],
)
def test_options_that_do_not_fit_a_tflite(
    keras_file: ConversionRequest, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    request = replace(keras_file, model=tmp_path / "a.tflite")
    check_request(request)
    with pytest.raises(OptionError, match=message):
        check_request(replace(request, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": Path("photos")}, "--data is for a Keras classifier or a .tflite, and '.*' is a run; leave"),
        ({"labels": ("a",)}, "--labels is for"),
        ({"normalization": "unit"}, "--normalization is for"),
        ({"size": 64}, "--imgsz is for a Keras classifier, and '.*' is a run"),
        ({"trusted": True}, "--trust is for a Keras classifier, and '.*' is a run"),
    ],
)
def test_options_that_do_not_fit_a_run(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    request = ConversionRequest(tmp_path, "int8", output=tmp_path / "a.tflite")
    with pytest.raises(DataError, match="holds neither a run of dermedge train nor a SavedModel"):
        check_request(request)
    (tmp_path / "config.json").write_text("{}")
    check_request(request)
    with pytest.raises(OptionError, match=message):
        check_request(replace(request, **change))


def test_nothing_is_overwritten(keras_file: ConversionRequest) -> None:
    check_request(keras_file)
    keras_file.report_folder.mkdir()
    with pytest.raises(StorageError, match=r"a-int8-report' exists already; delete it, or .* --report"):
        check_request(keras_file)
    keras_file.target.touch()
    with pytest.raises(StorageError, match=r"a-int8\.tflite' exists already; delete it, or .* --output"):
        check_request(keras_file)


@pytest.mark.parametrize("name", ["a-float32.onnx", "a-float32.json", "a-int8.onnx", "a-int8.json"])
def test_no_file_of_onnx_is_overwritten(
    name: str, keras_file: ConversionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermedge.convert.request.find_spec", lambda name: object())
    request = replace(keras_file, aim="onnx")
    check_request(request)
    (tmp_path / name).touch()
    with pytest.raises(StorageError, match=f"{name}' exists already"):
        check_request(request)


@pytest.mark.parametrize("name", ["a.json", "a.JSON", "a-float32.json"])
def test_an_onnx_file_and_its_manifest_have_paths_of_their_own(
    name: str, keras_file: ConversionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermedge.convert.request.find_spec", lambda name: object())
    request = replace(keras_file, aim="onnx", output=tmp_path / name)
    with pytest.raises(OptionError, match=rf"{name}' is also the path of the manifest.* ends in \.onnx$"):
        check_request(request)
    check_request(replace(request, output=tmp_path / "a.onnx"))
    check_request(replace(request, aim="int8"))


@pytest.mark.parametrize("report", ["b", "b/report", "other/../b", "b.json", "b-int8", "b-int8.json/report"])
def test_the_report_is_not_at_the_path_of_a_file(
    report: str, keras_file: ConversionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermedge.convert.request.find_spec", lambda name: object())
    request = replace(keras_file, aim="onnx", output=tmp_path / "b", report=tmp_path / report)
    with pytest.raises(
        OptionError, match=r"^--report '.*' is at the path of a file .*; choose another folder"
    ):
        check_request(request)
    check_request(replace(request, report=tmp_path / "c"))
    # The folder of the report may contain the output file.
    check_request(replace(request, output=tmp_path / "c" / "b", report=tmp_path / "c"))


@pytest.mark.parametrize(("text", "points"), [("0", 0.0), ("1.5", 1.5), ("100", 100.0)])
def test_a_loss_from_none_to_all_points_can_be_allowed(text: str, points: float) -> None:
    assert parser().parse_args(["run", "--int8", "--max-drop", text]).max_drop == points


def test_every_option_is_in_the_request(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    options = [
        "a.keras",
        "--int8",
        "--method",
        "ptq",
        "--ranges",
        "mse",
        "--float-layers",
        "2",
        "--io",
        "int8",
    ]
    options += [
        "--max-drop",
        "2.5",
        "--cannot-tell",
        "refuse",
        "--critical",
        "one",
        "--calibration-photos",
        "9",
    ]
    options += ["--data", "photos", "--labels", str(tmp_path / "labels.txt"), "--imgsz", "64"]
    options += ["--normalization", "unit", "--trust", "--no-evidence", "--licence", "mine"]
    options += ["--output", "out.tflite", "--report", "report"]
    assert _request(parser().parse_args(options), "a command") == ConversionRequest(
        model=Path("a.keras"),
        aim="int8",
        output=Path("out.tflite"),
        report=Path("report"),
        command="a command",
        method="ptq",
        ranges="mse",
        float_layers="2",
        io="int8",
        max_drop=0.025,
        delivers_untold=False,
        critical="one",
        calibration_photos=9,
        data=Path("photos"),
        labels=["one", "two"],
        size=64,
        normalization="unit",
        trusted=True,
        evidence=False,
        licence="mine",
    )


@pytest.mark.parametrize("aim", AIMS)
def test_without_options_a_loss_of_one_point_is_allowed_and_200_photos_calibrate(aim: str) -> None:
    request = _request(parser().parse_args(["run", f"--{aim}"]), "")
    assert request == ConversionRequest(Path("run"), aim)
    assert (request.max_drop, request.calibration_photos, request.delivers_untold) == (0.01, 200, True)
    assert (request.method, request.ranges, request.io, request.normalization) == (
        "auto",
        "min-max",
        "uint8",
        "auto",
    )
    assert request.evidence
    assert not request.trusted
