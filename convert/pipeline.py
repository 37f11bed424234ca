"""Convert a trained classifier to a .tflite, in five stages.

1. load: read the network, the photos for the calibration, and the proof set: the photos for stages 3 and 4
   (`dermedge.convert.load`).
2. to_tflite: convert the network to a form, such as int8 (`dermedge.convert.to_tflite`). For other runtimes, convert
   the network to ONNX (`dermedge.convert.to_onnx`).
3. calibrate: fit the temperature and the thresholds to the outputs of the file (`dermedge.convert.calibrate`).
4. accept: compare the file with its float network (`dermedge.convert.accept`).
5. report: write a report on the forms that were tried and on the accuracy that each form lost
   (`dermedge.convert.report`).

Stages 2 to 4 run once per form: `dermedge.convert.conversion` calls them, and `dermedge.convert.search` chooses
the forms.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dermedge.convert.load.conversion_input import ConversionInput, ShowProgress
from dermedge.convert.load.foreign_classifier import load_foreign
from dermedge.convert.report.report import save_report
from dermedge.convert.request import ONNX, SEARCH, ConversionRequest, check_request
from dermedge.convert.search import SearchResult, int8_forms, mixed_form, search_forms, try_forms
from dermedge.convert.to_tflite.form import ONNX_KINDS, Form
from dermedge.edge.errors import OptionError, StorageError
from dermedge.train.data.learned import LEARNED_NAME
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.tensorflow_start import load_tensorflow

__all__ = ["ConvertedFiles", "convert_model"]


@dataclass(frozen=True)
class ConvertedFiles:
    """The result of a conversion.

    Attributes:
        result: the forms that were tried, and the best file.
        files: the paths of the files that were written; empty if no file was accepted.
        page: the path of the HTML page of the report.
    """

    result: SearchResult
    files: tuple[Path, ...]
    page: Path


def convert_model(
    request: ConversionRequest,
    show_progress: ShowProgress = lambda what: lambda done, total: None,
    log: Callable[[str], None] = print,
) -> ConvertedFiles:
    """Convert a model, write its report, and write the file if it was accepted.

    Args:
        request: the model, and the options of the conversion.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).
        log: a function that is called with each line for the user, such as one line per form if several are tried.

    Raises:
        OptionError: an option is missing, or does not fit the model or another option.
        StorageError: a file or the report exists already, or cannot be written.
        ModelError: the model cannot be read, or the converter or the device runtime refuses it.
        DataError: photos are missing or too few, or have other classes than the model.
    """
    check_request(request)
    source = _load(request, show_progress, log)
    result = _convert(source, request, show_progress, log)
    result = replace(result, delivers_untold=request.delivers_untold)
    if result.deliveries and not result.delivered:
        result = replace(result, best=result.deliveries[0])
    if source.learned and not result.best.is_onnx:
        result = replace(result, best=result.best.with_file(LEARNED_NAME, source.learned))
    page = save_report(result, source, request)
    return ConvertedFiles(result, _save(result, request), page)


def _load(
    request: ConversionRequest, show_progress: ShowProgress, log: Callable[[str], None]
) -> ConversionInput:
    """Run stage 1 (load). TensorFlow is only imported if the model needs it."""
    if request.is_tflite:
        from dermedge.convert.load.tflite_file import open_tflite

        return load_foreign(open_tflite(request.model), request, log)
    load_tensorflow()
    if not request.is_run:
        from dermedge.convert.load.keras_file import open_keras

        return load_foreign(open_keras(request.named_model, request.size, request.trusted), request, log)
    from dermedge.convert.load.run import load_run

    return load_run(
        RunFolder(request.model),
        request.calibration_photos,
        evidence=request.evidence,
        licence=request.licence,
        critical=request.critical,
        show_progress=show_progress,
    )


def _convert(
    source: ConversionInput,
    request: ConversionRequest,
    show_progress: ShowProgress,
    log: Callable[[str], None],
) -> SearchResult:
    """Run stages 2 to 4 (convert, calibrate and accept) for each form that the request asks for."""
    if request.aim == SEARCH:
        return search_forms(source, request.io, request.max_drop, show_progress, log)
    return try_forms(source, _forms(source, request), request.max_drop, show_progress, log)


def _forms(source: ConversionInput, request: ConversionRequest) -> list[Form]:
    """Return the forms that the request asks for. The request must not ask for a search."""
    if request.aim == ONNX:
        return [Form(kind, "float32") for kind in ONNX_KINDS]
    if request.aim != "int8":
        return [Form(request.aim, request.io)]
    if request.method == "qat" and not source.quantization_aware:
        raise OptionError(
            f"the run '{request.model}' has no QAT stage; train with --qat-epochs, or use --method ptq"
        )
    if request.float_layers is not None:
        (ptq,) = int8_forms(source, request.io, "ptq", request.ranges)
        return [mixed_form(source, ptq, request.float_layers)]
    return int8_forms(source, request.io, request.method, request.ranges)


def _save(result: SearchResult, request: ConversionRequest) -> tuple[Path, ...]:
    """Write the files, and return their paths. If a file cannot be written, delete the other files and the report."""
    targets = {request.target_of(one.form.kind): one for one in result.deliveries}
    written: list[Path] = []
    try:
        for path, conversion in targets.items():
            conversion.save(path)
            written.extend(conversion.paths(path))
    except StorageError:
        for path in written:
            path.unlink()
        shutil.rmtree(request.report_folder)
        raise
    return tuple(targets)
