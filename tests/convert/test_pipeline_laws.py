"""A request decides on the stages of a conversion: the loader, the forms, and the file that is delivered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from dermedge.convert import pipeline
from dermedge.convert.request import ConversionRequest
from dermedge.convert.search import ConversionAttempt, SearchResult
from dermedge.convert.to_tflite.form import Form
from dermedge.edge.errors import OptionError, StorageError

Show = Callable[[str], Callable[[int, int], None]]
PLAIN, TUNED = (SimpleNamespace(quantization_aware=one) for one in (None, lambda: None))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The loaders that were called, and the arguments of each call."""
    found: list[Any] = []

    def loader(name: str) -> Callable[..., str]:
        def load(*given: Any, **options: Any) -> str:
            found.append((name, *given, options))
            return name

        return load

    for module, name in (
        ("dermedge.convert.load.run", "load_run"),
        ("dermedge.convert.load.keras_file", "open_keras"),
        ("dermedge.convert.load.tflite_file", "open_tflite"),
    ):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: loader(name)}))  # type: ignore[arg-type]
    monkeypatch.setattr(pipeline, "load_foreign", loader("load_foreign"))
    monkeypatch.setattr(pipeline, "load_tensorflow", loader("load_tensorflow"))
    return found


def show(what: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def test_a_run_is_loaded_with_the_options_for_runs(asked: list[Any], tmp_path: Path) -> None:
    request = ConversionRequest(
        tmp_path, "int8", calibration_photos=7, evidence=False, licence="mine", critical="nevus"
    )
    assert pipeline._load(request, show, print) == "load_run"
    started, (_, run, photos, options) = asked
    assert started == ("load_tensorflow", {})
    assert (run.path, photos) == (tmp_path, 7)
    assert options == {"evidence": False, "licence": "mine", "critical": "nevus", "show_progress": show}


def test_a_keras_file_is_loaded_with_its_size_and_the_trust_in_its_code(asked: list[Any]) -> None:
    request = ConversionRequest(Path("a.keras"), "int8", size=64, trusted=True)
    assert pipeline._load(request, show, print) == "load_foreign"
    assert asked == [
        ("load_tensorflow", {}),
        ("open_keras", Path("a.keras"), 64, True, {}),
        ("load_foreign", "open_keras", request, print, {}),
    ]


def test_a_tflite_needs_no_tensorflow(asked: list[Any]) -> None:
    request = ConversionRequest(Path("a.tflite"), "int8")
    assert pipeline._load(request, show, print) == "load_foreign"
    assert asked == [
        ("open_tflite", Path("a.tflite"), {}),
        ("load_foreign", "open_tflite", request, print, {}),
    ]


@pytest.mark.parametrize(
    ("source", "options", "forms"),
    [
        (PLAIN, {"aim": "onnx"}, [Form("onnx-float32", "float32"), Form("onnx-int8", "float32")]),
        (PLAIN, {"aim": "float16", "io": "int8"}, [Form("float16", "int8")]),
        (PLAIN, {"aim": "int8", "io": "int8", "ranges": "mse"}, [Form("int8-ptq", "int8", "mse")]),
        (TUNED, {"aim": "int8"}, [Form("int8-qat"), Form("int8-ptq")]),
        (TUNED, {"aim": "int8", "method": "qat"}, [Form("int8-qat")]),
        (TUNED, {"aim": "int8", "method": "ptq", "ranges": "entropy"}, [Form("int8-ptq", ranges="entropy")]),
    ],
)
def test_an_aim_has_its_forms(source: Any, options: dict[str, Any], forms: list[Form]) -> None:
    assert pipeline._forms(source, ConversionRequest(Path("a"), **options)) == forms


def test_layers_in_float_are_taken_out_of_the_form_with_the_ranges_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "mixed_form", lambda source, form, layers: (source, form, layers))
    request = ConversionRequest(Path("a"), "int8", io="int8", ranges="mse", float_layers="2")
    assert pipeline._forms(TUNED, request) == [(TUNED, Form("int8-ptq", "int8", "mse"), "2")]


def test_a_run_without_a_qat_stage_has_no_qat_form() -> None:
    with pytest.raises(OptionError, match="has no QAT stage"):
        pipeline._forms(PLAIN, ConversionRequest(Path("a"), "int8", method="qat"))


def test_the_search_and_the_forms_get_the_limit_and_the_type_of_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "search_forms", lambda *given: ("search", *given))
    monkeypatch.setattr(pipeline, "try_forms", lambda *given: ("try", *given))
    searched = ConversionRequest(Path("a"), "search", io="int8", max_drop=0.03)
    assert pipeline._convert(PLAIN, searched, show, print) == ("search", PLAIN, "int8", 0.03, show, print)
    tried = replace(searched, aim="float32")
    assert pipeline._convert(PLAIN, tried, show, print) == (
        "try",
        PLAIN,
        [Form("float32", "int8")],
        0.03,
        show,
        print,
    )


class MadeFile(SimpleNamespace):
    """A converted file that saves the name of its form as its content."""

    def with_file(self, name: str, content: bytes) -> MadeFile:
        return MadeFile(**{**vars(self), "files": (*self.files, (name, content))})

    def paths(self, path: Path) -> tuple[Path, ...]:
        return (path,)

    def save(self, path: Path) -> None:
        if self.form.kind == "onnx-int8":
            raise StorageError("the disk is full")
        path.write_text(self.form.kind)


def made(kind: str, verdict: str) -> Any:
    return MadeFile(
        form=Form(kind),
        is_onnx=kind.startswith("onnx"),
        acceptance=SimpleNamespace(verdict=verdict),
        files=(),
    )


def converted(
    request: ConversionRequest, files: list[Any], best: int, learned: bytes, monkeypatch: pytest.MonkeyPatch
) -> tuple[SearchResult, list[SearchResult], Any]:
    """The result of a conversion whose stages are made up, the results that were reported, and what was written."""
    result = SearchResult(tuple(ConversionAttempt(one.form, one) for one in files), files[best], ())
    reported: list[SearchResult] = []

    def report(found: SearchResult, source: Any, of: ConversionRequest) -> Path:
        reported.append(found)
        of.report_folder.mkdir()
        return of.report_folder / "report.html"

    monkeypatch.setattr(pipeline, "check_request", lambda of: None)
    monkeypatch.setattr(pipeline, "_load", lambda *given: SimpleNamespace(learned=learned))
    monkeypatch.setattr(pipeline, "_convert", lambda *given: result)
    monkeypatch.setattr(pipeline, "save_report", report)
    found = pipeline.convert_model(request)
    assert found.page == request.report_folder / "report.html"
    return found.result, reported, found.files


@pytest.mark.parametrize("delivers_untold", [True, False])
def test_a_doubtful_file_is_written_only_if_that_is_wanted(
    delivers_untold: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ConversionRequest(
        tmp_path / "a.keras", "int8", output=tmp_path / "a.tflite", delivers_untold=delivers_untold
    )
    result, [reported], files = converted(
        request, [made("int8-ptq", "cannot tell")], 0, b"photos", monkeypatch
    )
    assert reported == result
    assert result.delivered is delivers_untold
    assert files == ((tmp_path / "a.tflite",) if delivers_untold else ())
    assert (tmp_path / "a.tflite").exists() is delivers_untold
    assert result.best.files == (("learned-photos.bin", b"photos"),)


def test_a_file_whose_photos_are_not_known_gets_no_list_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ConversionRequest(tmp_path / "a.keras", "int8", output=tmp_path / "a.tflite")
    result, _, _ = converted(request, [made("int8-ptq", "passed")], 0, b"", monkeypatch)
    assert result.best.files == ()


def test_of_onnx_files_the_best_is_one_that_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ConversionRequest(tmp_path / "a.keras", "onnx", output=tmp_path / "a.onnx")
    files = [made("onnx-float32", "passed"), made("onnx-int8", "refused")]
    result, _, written = converted(request, files, 1, b"photos", monkeypatch)
    assert result.best is files[0]
    assert written == (tmp_path / "a.onnx",)


def test_if_a_file_cannot_be_written_neither_the_others_nor_the_report_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ConversionRequest(tmp_path / "a.keras", "onnx", output=tmp_path / "a.onnx")
    files = [made("onnx-float32", "passed"), made("onnx-int8", "passed")]
    with pytest.raises(StorageError, match="full"):
        converted(request, files, 0, b"", monkeypatch)
    assert list(tmp_path.iterdir()) == []
